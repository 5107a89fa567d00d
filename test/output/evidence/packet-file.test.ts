import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openPcapFile } from '../../../src/capture/pcap.js';
import { TracerError } from '../../../src/errors.js';
import { PacketFile } from '../../../src/output/evidence/packet-file.js';
import type { DumpedPacket } from '../../../src/output/evidence/types.js';
import { until } from '../../e2e/support/wait.js';
import { CLIENT, GET, ipPacket, SERVER } from '../../support/packets.js';

/** What may wait for the disk. */
const MAX_PENDING_BYTES = 8 * 1024 * 1024;
/** Root of a container may not mount. */
const canMount = process.geteuid!() === 0 && spawnSync('unshare', ['-m', 'true']).status === 0;

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'imds-evidence-'));
  path = join(folder, 'found.pcapng');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const T0 = 1_700_000_000_123.456;
const packet = (i: number, size = 100, comments: string[] = []): DumpedPacket => {
  const bytes = ipPacket({ from: CLIENT, to: SERVER, seq: i, payload: GET(`/${i}`).padEnd(size, 'x') });
  return { time: T0 + i, direction: 'egress', bytes, wireLength: bytes.length, comments };
};
const mode = (file: string): number => lstatSync(file).mode & 0o7777;

/** The sequence numbers of a file's packets, by libpcap. */
async function numbersIn(file: string): Promise<number[]> {
  const source = await openPcapFile({ file, endpoints: [SERVER] });
  const numbers: number[] = [];
  try {
    while (
      (await source.next(5_000, (record) => {
        if (record.type === 'packet') numbers.push(record.data.readUInt32BE(24));
      })) >= 0
    );
    expect(source.progress().problem).toBeUndefined();
    return numbers;
  } finally {
    source.close();
  }
}

/** The files of a dump, the oldest first. */
const files = (extension: string): string[] =>
  readdirSync(folder)
    .filter((name) => name.endsWith(extension))
    .sort((a, b) => (Number(/\.(\d+)\./.exec(b)?.[1]) || 0) - (Number(/\.(\d+)\./.exec(a)?.[1]) || 0))
    .map((name) => join(folder, name));

async function write(file: PacketFile, packets: readonly DumpedPacket[]): Promise<PacketFile> {
  for (const one of packets) file.append(one);
  await file.close();
  return file;
}

describe.each(['pcapng', 'pcap'])('a file .%s', (extension) => {
  const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i);

  it('rotates by size and keeps a bounded number, each a file by itself, none without its packets', async () => {
    const file = new PacketFile(join(folder, `a.${extension}`), { maxBytes: 2_000, maxFiles: 3 });
    await write(
      file,
      range(0, 100).map((i) => packet(i)),
    );
    expect(file.errors).toBe(0);
    const found = files(extension);
    expect(found.map((name) => name.slice(folder.length + 1))).toEqual([
      `a.3.${extension}`,
      `a.2.${extension}`,
      `a.1.${extension}`,
      `a.${extension}`,
    ]);
    const numbers: number[] = [];
    for (const name of found) {
      const inFile = await numbersIn(name);
      expect(inFile.length).toBeGreaterThan(0);
      expect(lstatSync(name).size).toBeLessThanOrEqual(2_000);
      expect(mode(name)).toBe(0o600);
      numbers.push(...inFile);
    }
    expect(numbers).toEqual(range(numbers[0]!, 100));
  });

  it('begins anew at the start, so that what a killed tracer left is still whole but for its torn end', async () => {
    const name = join(folder, `a.${extension}`);
    await write(
      new PacketFile(name),
      range(0, 3).map((i) => packet(i)),
    );
    const torn = readFileSync(name);
    writeFileSync(name, torn.subarray(0, torn.length - 30));
    await write(new PacketFile(name), [packet(7)]);
    expect(await numbersIn(name)).toEqual([7]);
    expect(readFileSync(join(folder, `a.1.${extension}`)).length).toBe(torn.length - 30);
  });

  it('does not put out older packets by files without any', async () => {
    const name = join(folder, `a.${extension}`);
    await write(new PacketFile(name), [packet(1)]);
    for (let i = 0; i < 20; i++) await write(new PacketFile(name), []);
    expect(await numbersIn(join(folder, `a.1.${extension}`))).toEqual([1]);
    expect(files(extension)).toHaveLength(2);
    expect(await numbersIn(name)).toEqual([]);
  });
});

describe('formats', () => {
  it('gives classic pcap that pcap-parser reads', async () => {
    const name = join(folder, 'a.pcap');
    const written = [packet(1), packet(2, 5_000)];
    await write(new PacketFile(name), written);
    // It has no types.
    const { parse } = createRequire(import.meta.url)('pcap-parser') as {
      parse(file: string): NodeJS.EventEmitter;
    };
    const parser = parse(name);
    const read: { header: Record<string, number>; data: Buffer }[] = [];
    let header: Record<string, number> = {};
    parser.on('globalHeader', (value: Record<string, number>) => {
      header = value;
    });
    parser.on('packet', (value: { header: Record<string, number>; data: Buffer }) => read.push(value));
    await once(parser, 'end');
    expect(header).toMatchObject({ majorVersion: 2, minorVersion: 4, linkLayerType: 101 });
    expect(read.map(({ data }) => data)).toEqual(written.map(({ bytes }) => bytes));
    expect(read.map(({ header: one }) => one['originalLength'])).toEqual(written.map(({ wireLength }) => wireLength));
    expect(read.map(({ header: one }) => [one['timestampSeconds'], one['timestampMicroseconds']])).toEqual([
      [1_700_000_000, 124_456],
      [1_700_000_000, 125_456],
    ]);
  });

  it('takes times and comments of any size', async () => {
    const times = [Number.NaN, -5, Number.POSITIVE_INFINITY, 1e300, 0.5];
    const long = '\u{1f600}'.repeat(40_000);
    await write(
      new PacketFile(path),
      times.map((time, i) => ({ ...packet(i, 40, [long, '']), time })),
    );
    expect(await numbersIn(path)).toEqual([0, 1, 2, 3, 4]);
    await write(
      new PacketFile(join(folder, 'a.pcap')),
      times.map((time, i) => ({ ...packet(i), time })),
    );
    expect(await numbersIn(join(folder, 'a.pcap'))).toEqual([0, 1, 2, 3, 4]);
  });

  it.each(['a', 'a.txt', '.pcapng', 'a.pcapng.gz'])('refuses the name %s', (name) => {
    expect(() => new PacketFile(join(folder, name))).toThrow(/which format/);
  });
});

describe('what is at the path', () => {
  const refused = (name: string): void => {
    expect(() => new PacketFile(name)).toThrow(TracerError);
  };

  it('is not followed, opened or moved where it is no plain file of this user', () => {
    const target = join(folder, 'target');
    writeFileSync(target, 'kept');
    symlinkSync(target, path);
    refused(path);
    rmSync(path);
    linkSync(target, path);
    refused(path);
    rmSync(path);
    mkdirSync(path);
    refused(path);
    expect(readFileSync(target, 'utf8')).toBe('kept');
    expect(lstatSync(path).isDirectory()).toBe(true);
  });

  it('can be a dangling link, which is refused as well', () => {
    symlinkSync(join(folder, 'nowhere'), path);
    refused(path);
    expect(existsSync(join(folder, 'nowhere'))).toBe(false);
  });

  it('needs a directory, whose rights stay as they are', async () => {
    refused(join(folder, 'missing', 'a.pcapng'));
    expect(existsSync(join(folder, 'missing'))).toBe(false);
    const before = mode(folder);
    await write(new PacketFile(path), []);
    expect(mode(folder)).toBe(before);
  });
});

describe('a disk', () => {
  it('that is slow costs what is beyond the bound, which is counted', async () => {
    const file = new PacketFile(path);
    const count = 200;
    for (let i = 0; i < count; i++) file.append(packet(i, 60_000));
    const lost = file.errors;
    expect(lost).toBeGreaterThan(0);
    await file.close();
    expect(file.errors).toBe(lost);
    const kept = await numbersIn(path);
    expect(kept).toEqual(Array.from({ length: count - lost }, (_, i) => i));
    expect(lstatSync(path).size).toBeLessThanOrEqual(MAX_PENDING_BYTES + 1024);
  });

  it.runIf(canMount)('that is full for a while: nothing torn, nothing twice', async () => {
    const mount = (...args: string[]) => expect(spawnSync('mount', args).status).toBe(0);
    mount('-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', folder);
    try {
      const said: string[] = [];
      const file = new PacketFile(path, undefined, (message) => said.push(message));
      for (let i = 0; i < 100; i++) file.append(packet(i, 1_000));
      await until('the disk is full', () => said.length === 1);
      mount('-o', 'remount,size=1m', folder);
      await until('all packets', () => lstatSync(path).size > 100_000);
      await file.close();
      expect(file.errors).toBe(0);
      expect(said[1]).toMatch(/is written again/);
      expect(await numbersIn(path)).toEqual(Array.from({ length: 100 }, (_, i) => i));
    } finally {
      spawnSync('umount', ['-l', folder]);
    }
  });

  it('from which the directory has gone: counted, not thrown, and tried again', async () => {
    const file = new PacketFile(path, { maxBytes: 1_000, maxFiles: 1 });
    await file.room();
    rmSync(folder, { recursive: true });
    for (let i = 0; i < 50; i++) file.append(packet(i));
    await file.close();
    expect(file.errors).toBe(50);
  });

  it('from which the file has gone, or was moved away: a new one, whole by itself', async () => {
    await write(new PacketFile(path), []);
    const empty = lstatSync(path).size;
    const file = new PacketFile(path);
    file.append(packet(1));
    await until('the packet', () => lstatSync(path).size > empty);
    rmSync(path);
    file.append(packet(2));
    await until('a new file', () => existsSync(path) && lstatSync(path).size > empty);
    expect(await numbersIn(path)).toEqual([2]);
    renameSync(path, `${path}.moved`);
    file.reopen();
    file.append(packet(3));
    // Nothing has happened to it since.
    file.reopen();
    file.append(packet(4));
    await file.close();
    expect(await numbersIn(`${path}.moved`)).toEqual([2]);
    expect(await numbersIn(path)).toEqual([3, 4]);
    expect(file.errors).toBe(0);
  });
});
