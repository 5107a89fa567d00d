import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { TracerError } from '../../src/errors.js';
import { packageRoot } from '../../src/package-root.js';
import { parseStat } from '../../src/process/proc.js';
import { frameRecord, parseRecords } from '../../src/ship/records.js';
import { Spool } from '../../src/ship/spool.js';
import { zombie } from '../support/zombie.js';
import { until } from './support.js';

const parent = mkdtempSync(join(tmpdir(), 'imds-spool-'));
let directory = '';
let count = 0;
const opened: Spool[] = [];

function open(maxBytes = 64 * 1024 * 1024, path = directory): Spool {
  const spool = new Spool(path, maxBytes);
  opened.push(spool);
  return spool;
}

const fresh = (): string => {
  directory = join(parent, String(count++));
  return directory;
};

afterAll(() => rmSync(parent, { recursive: true, force: true }));
afterEach(async () => {
  for (const spool of opened.splice(0)) await spool.close();
  rmSync(directory, { recursive: true, force: true });
});

const record = (i: number, bytes = 12): Buffer => Buffer.from(`record ${i} `.padEnd(bytes, '.'));
const numberOf = (payload: Buffer): number => Number(/^record (\d+) /.exec(payload.toString())![1]);
const files = (): string[] => readdirSync(directory).filter((name) => name.endsWith('.spool'));

/** Everything there is to read now, with what the last batch ends with. */
async function drain(spool: Spool, acknowledge = true): Promise<number[]> {
  const numbers: number[] = [];
  for (;;) {
    const batch = await spool.next(100, 64 * 1024);
    if (batch === undefined) return numbers;
    numbers.push(...batch.records.map(numberOf));
    if (acknowledge) spool.ack(batch.end);
  }
}

const bytesOf = (): number => files().reduce((sum, name) => sum + statSync(join(directory, name)).size, 0);

/** Until so many bytes are in the files, and the spools know it. */
const written = (least = 1): Promise<void> =>
  until(() => bytesOf() >= least && opened.every((spool) => !spool.isWriting));

const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i);

describe('a spool', () => {
  it('gives records back in order, and again until they are acknowledged', async () => {
    fresh();
    const spool = open();
    for (const i of range(0, 1000)) spool.append(record(i));
    await written(1000 * 20);
    expect(await drain(spool, false)).toEqual(range(0, 1000));
    spool.rewind();
    const first = await spool.next(10, 64 * 1024);
    spool.ack(first!.end);
    spool.rewind();
    expect(await drain(spool)).toEqual(range(10, 1000));
    expect(spool).toMatchObject({ waitingBytes: 0, dropped: 0, failures: 0 });
  });

  it('leaves nothing behind when all has arrived', async () => {
    fresh();
    const spool = open();
    spool.append(record(1));
    await written();
    expect(await drain(spool)).toEqual([1]);
    await spool.close();
    expect(readdirSync(directory)).toEqual([]);
  });

  it('goes on after a new start with what was not acknowledged', async () => {
    fresh();
    const first = open();
    for (const i of range(0, 100)) first.append(record(i));
    await written(100 * 20);
    first.ack((await first.next(40, 64 * 1024))!.end);
    for (const i of range(100, 120)) first.append(record(i));
    await first.close();
    const second = open();
    second.append(record(120));
    await written(20 * 121);
    expect(await drain(second)).toEqual(range(40, 121));
    expect(second.dropped).toBe(0);
  });

  it('has its files for its user alone', async () => {
    fresh();
    const spool = open();
    spool.append(record(1));
    await written();
    expect(statSync(directory).mode & 0o777).toBe(0o700);
    for (const name of readdirSync(directory)) expect(statSync(join(directory, name)).mode & 0o777).toBe(0o600);
  });

  it('drops the oldest beyond its bound, counts them exactly, and keeps the rest', async () => {
    fresh();
    const bound = 1024 * 1024;
    const spool = open(bound);
    for (const i of range(0, 3000)) {
      spool.append(record(i, 1000));
      if (i % 500 === 0) await until(() => spool.waitingBytes <= bound);
    }
    await until(() => spool.waitingBytes <= bound);
    const left = await drain(spool);
    expect(spool.dropped).toBe(3000 - left.length);
    expect(left).toEqual(range(spool.dropped, 3000));
    expect(left.length).toBeGreaterThan(800);
  });

  it('does not count as dropped what arrived while it was given up', async () => {
    fresh();
    const bound = 1024 * 1024;
    const spool = open(bound);
    const arrived: number[] = [];
    for (const i of range(0, 3000)) {
      spool.append(record(i, 1000));
      if (i % 300 !== 299) continue;
      await until(async () => {
        arrived.push(...(await drain(spool)));
        return arrived.at(-1) === i;
      });
    }
    expect(spool.dropped).toBe(0);
    expect(arrived).toEqual(range(0, 3000));
  });

  it('is used by one process at a time, but not held by one that is gone', async () => {
    fresh();
    const spool = open();
    expect(() => new Spool(directory, 1024 * 1024)).toThrow(
      expect.objectContaining({ code: 'IMDS_SHIP_SPOOL_IN_USE', exitStatus: 2 }),
    );
    await spool.close();
    // The pid of a living process, but of another that had it before.
    writeFileSync(join(directory, 'lock'), `${process.pid} 1`);
    expect(() => open()).not.toThrow();
  });

  it('is not held by one that was killed and that nobody has asked for', async () => {
    fresh();
    mkdirSync(directory, { mode: 0o700 });
    const { pid, release } = await zombie();
    try {
      const { startTicks } = parseStat(readFileSync(`/proc/${pid}/stat`, 'latin1'))!;
      writeFileSync(join(directory, 'lock'), `${pid} ${startTicks}`);
      expect(() => open()).not.toThrow();
    } finally {
      release();
    }
  });

  it('says why a path can be no spool', () => {
    fresh();
    writeFileSync(directory, '');
    expect(() => new Spool(directory, 1024)).toThrow(TracerError);
    expect(() => new Spool(directory, 1024)).toThrow(/--spool-dir|cannot use/);
  });
});

describe('damage to a spool', () => {
  const fill = async (): Promise<string> => {
    fresh();
    const spool = open();
    for (const i of range(0, 100)) spool.append(record(i));
    await written(100 * 20);
    await spool.close();
    return join(directory, files()[0]!);
  };

  it.each([1, 7, 8, 9, 17])('a torn end of %d bytes is cut off and counted', async (bytes) => {
    const file = await fill();
    appendFileSync(file, frameRecord(record(100)).subarray(0, bytes));
    const spool = open();
    spool.append(record(101));
    await written(101 * 20);
    expect(await drain(spool)).toEqual([...range(0, 100), 101]);
    expect(spool.dropped).toBe(1);
  });

  it('zeros, as a power failure leaves them, are no records', async () => {
    const file = await fill();
    appendFileSync(file, Buffer.alloc(4096));
    const spool = open();
    expect(await drain(spool)).toEqual(range(0, 100));
    expect(spool.dropped).toBe(1);
  });

  it('a spoilt byte costs what stands behind it in that file, and no other file', async () => {
    fresh();
    const first = open(1024 * 1024);
    for (const i of range(0, 500)) first.append(record(i, 1000));
    await written(500_000);
    await first.close();
    const names = files().sort();
    expect(names.length).toBeGreaterThan(3);
    const file = join(directory, names[1]!);
    const content = readFileSync(file);
    const inFile = parseRecords(content, 1e9, 1e9).payloads.map(numberOf);
    content[20 * 1008 + 100]! ^= 1;
    writeFileSync(file, content);
    const spool = open(1024 * 1024);
    const read = await drain(spool);
    expect(read).toEqual(range(0, 500).filter((i) => i < inFile[20]! || i > inFile.at(-1)!));
    expect(spool.dropped).toBeGreaterThan(0);
  });

  it.each(['', '1', '1 5 0\n', '999999 999999 3\n', '-1 -1 0\n'])('a cursor %j means the beginning', async (cursor) => {
    await fill();
    writeFileSync(join(directory, 'cursor'), cursor);
    expect(await drain(open())).toEqual(range(0, 100));
  });

  it('a file that somebody removed does not stop the others', async () => {
    fresh();
    const spool = open(1024 * 1024);
    for (const i of range(0, 500)) spool.append(record(i, 1000));
    await written(500_000);
    rmSync(join(directory, files().sort()[0]!));
    const read = await drain(spool);
    expect(read.at(-1)).toBe(499);
    expect(spool.dropped).toBeGreaterThan(0);
    expect(spool.failures).toBeGreaterThan(0);
  });

  it('a directory that somebody removed is made anew', async () => {
    fresh();
    const spool = open();
    spool.append(record(0));
    await written();
    expect(await drain(spool)).toEqual([0]);
    rmSync(directory, { recursive: true });
    for (const i of range(1, 2000)) spool.append(record(i, 1000));
    const read: number[] = [];
    await until(async () => {
      read.push(...(await drain(spool)));
      return read.at(-1) === 1999;
    });
    await until(async () => {
      spool.append(record(2000));
      read.push(...(await drain(spool)));
      return existsSync(directory) && files().length > 0;
    });
    expect(new Set(read)).toEqual(new Set(range(1, 2001)));
  });
});

const mount = (...args: string[]): number | null => spawnSync('mount', args).status;
const canMount = process.getuid!() === 0;

describe.skipIf(!canMount)(`a full disk${canMount ? '' : ' (needs root, for a small tmpfs)'}`, () => {
  it('costs nothing that has room in memory: it is read from there, and written when there is room again', async () => {
    fresh();
    mkdirSync(directory);
    expect(mount('-t', 'tmpfs', '-o', 'size=1M', 'imds-spool', directory)).toBe(0);
    try {
      const spool = open(64 * 1024 * 1024, join(directory, 'spool'));
      for (const i of range(0, 3000)) spool.append(record(i, 1000));
      await until(() => spool.problem !== undefined);
      expect(spool.problem).toContain('ENOSPC');
      // Not acknowledged: a receiver that breaks then gets the same again.
      const read: number[] = [];
      await until(async () => {
        read.push(...(await drain(spool, false)));
        return read.at(-1) === 2999;
      });
      expect(read).toEqual(range(0, 3000));
      spool.rewind();
      const again: number[] = [];
      await until(async () => {
        again.push(...(await drain(spool)));
        return again.at(-1) === 2999;
      });
      expect(new Set(again)).toEqual(new Set(range(0, 3000)));
      expect(spool).toMatchObject({ waitingBytes: 0, dropped: 0 });
      expect(mount('-o', 'remount,size=64M', directory)).toBe(0);
      for (const i of range(3000, 4000)) spool.append(record(i, 1000));
      await until(() => spool.problem === undefined && !spool.isWriting);
      await spool.close();
      const next = open(64 * 1024 * 1024, join(directory, 'spool'));
      expect((await drain(next)).filter((i) => i >= 3000)).toEqual(range(3000, 4000));
      await next.close();
    } finally {
      for (const spool of opened.splice(0)) await spool.close();
      spawnSync('umount', [directory]);
    }
  });

  it('drops the newest beyond the room in memory, and counts them', async () => {
    fresh();
    mkdirSync(directory);
    expect(mount('-t', 'tmpfs', '-o', 'size=256K', 'imds-spool', directory)).toBe(0);
    try {
      const spool = open(64 * 1024 * 1024, join(directory, 'spool'));
      for (const i of range(0, 12_000)) spool.append(record(i, 1000));
      const read: number[] = [];
      await until(async () => {
        read.push(...(await drain(spool)));
        return read.length + spool.dropped === 12_000;
      });
      expect(read).toEqual(range(0, read.length));
      expect(spool.dropped).toBeGreaterThan(1000);
    } finally {
      for (const spool of opened.splice(0)) await spool.close();
      spawnSync('umount', [directory]);
    }
  });
});

describe('kill -9', () => {
  it('at any moment costs no record that was in a file, and no order', async () => {
    fresh();
    const program = join(packageRoot(), 'test/ship/fixtures/append.mjs');
    let next = 0;
    for (const wait of [0, 30, 100, 200]) {
      const child = spawn(process.execPath, [program, directory, String(next)], {
        stdio: ['ignore', 'inherit', 'inherit'],
      });
      const ended = once(child, 'close');
      await until(() => existsSync(directory) && bytesOf() > next * 32);
      await sleep(wait);
      child.kill('SIGKILL');
      await ended;
      const whole = files().reduce((sum, name) => sum + Math.floor(statSync(join(directory, name)).size / 32), 0);
      const spool = open();
      const read = await drain(spool, false);
      expect(read).toEqual(range(0, read.length));
      expect(read).toHaveLength(whole);
      next = whole;
      await spool.close();
    }
  });
});

describe('many spools', () => {
  it('that close and open at once leave each other alone', async () => {
    fresh();
    const paths = range(0, 12).map((i) => join(directory, String(i)));
    for (const round of range(0, 3)) {
      const spools = paths.map((path) => open(1024 * 1024, path));
      for (const spool of spools) for (const i of range(0, 100)) spool.append(record(round * 100 + i));
      await Promise.all(
        spools.map(async (spool, i) => {
          // Some go with all acknowledged, and remove their files, while others begin anew.
          if (i % 2 === 0) await until(async () => (await drain(spool)).length > 0);
          await spool.close();
          expect(spool.dropped).toBe(0);
        }),
      );
    }
    for (const path of paths.filter((_, i) => i % 2 === 1)) {
      const spool = open(1024 * 1024, path);
      expect(await drain(spool)).toEqual(range(0, 300));
    }
  });
});
