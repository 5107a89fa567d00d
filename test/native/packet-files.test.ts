import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { connection, GET, LINKS, type LinkName, onLink, pcap, pcapng } from '../support/packets.js';
import { PATIENCE } from '../support/patience.js';
import { randomFrom } from '../support/random.js';
import { compile } from './support.js';

const FILES = 3_000;

const PACKETS = connection({ request: GET('/latest/meta-data/') });

const WHOLE: readonly Buffer[] = [
  ...(Object.keys(LINKS) as LinkName[]).map((link) => pcap(LINKS[link].type, onLink(link, PACKETS))),
  pcap(1, onLink('ethernet', PACKETS), { bigEndian: true, nanoseconds: true }),
  pcapng(
    [{ linkType: 1 }, { linkType: 276, resolution: 0x9e, offset: -3 }],
    [...onLink('ethernet', PACKETS), ...onLink('sll2', PACKETS).map((frame) => ({ ...frame, on: 1 }))],
  ),
  Buffer.concat([
    pcapng([{ linkType: 101, resolution: 9 }], onLink('raw', PACKETS)),
    pcapng([{ linkType: 0 }], onLink('nullBig', PACKETS), { bigEndian: true }),
  ]),
];

/** Values that lengths and types are likely to be compared with. */
const ODD = [0, 1, 4, 11, 12, 0x7f, 0x80, 0xff, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff, 0xfffffff0];

function mutate(bytes: Buffer, random: (below: number) => number): Buffer {
  let out = Buffer.from(bytes);
  for (let times = 1 + random(6); times > 0; times--) {
    const at = random(Math.max(out.length - 4, 1));
    const ways = [
      () => out.writeUInt8(random(256), at),
      () => out.writeUInt32LE(ODD[random(ODD.length)]!, Math.min(at & ~3, out.length - 4)),
      () => out.writeUInt32BE(ODD[random(ODD.length)]!, Math.min(at & ~3, out.length - 4)),
      () => {
        out = out.subarray(0, 8 + random(Math.max(out.length - 8, 1)));
      },
      () => {
        out = Buffer.concat([out.subarray(0, at), out.subarray(random(out.length))]);
      },
    ];
    if (out.length >= 8) ways[random(ways.length)]!();
  }
  return random(8) === 0 ? gzipSync(out).subarray(0, 20 + random(400)) : out;
}

describe('packet files under the sanitizers', () => {
  const folder = mkdtempSync(join(tmpdir(), 'imds-packet-files-'));
  let driver: string;
  beforeAll(() => {
    driver = compile(
      'file_driver.c',
      join(folder, 'driver'),
      '-O1',
      '-fsanitize=address,undefined',
      '-fno-sanitize-recover=all',
    );
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  const read = (files: readonly Buffer[]) => {
    const names = files.map((bytes, i) => {
      const name = join(folder, `${i}`);
      writeFileSync(name, bytes);
      return name;
    });
    const { status, stdout, stderr } = spawnSync(driver, {
      input: names.join('\n'),
      encoding: 'utf8',
      timeout: 50_000 * PATIENCE,
    });
    return { status, stdout, stderr };
  };

  it('whole ones are read to their end', () => {
    expect(read(WHOLE)).toEqual({ status: 0, stdout: `0 refused, 0 damaged, ${WHOLE.length} whole\n`, stderr: '' });
  });

  it(`${FILES} mutated ones give whole records and an end, without a finding of ASan, LSan or UBSan`, () => {
    const random = randomFrom(20_261_121);
    const { status, stdout, stderr } = read(
      Array.from({ length: FILES }, () => mutate(WHOLE[random(WHOLE.length)]!, random)),
    );
    expect(stderr).toBe('');
    expect(status).toBe(0);
    const counts = stdout.match(/\d+/g)!.map(Number);
    expect(counts.reduce((sum, count) => sum + count, 0)).toBe(FILES);
    // The mutations reach all three: none of them hides behind another.
    for (const count of counts) expect(count).toBeGreaterThan(FILES / 20);
  });
});
