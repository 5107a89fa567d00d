import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Constants, Layout } from '../../src/capture/layout.js';
import { decodeBatch } from '../../src/capture/records.js';
import type { ConnectRecord } from '../../src/capture/types.js';
import { Attributor } from '../../src/process/attribution.js';
import type { Attribution } from '../../src/process/types.js';
import { connectRecord, flow } from './support.js';

interface Said {
  pid: number;
  comm: string;
  start: number;
  uid: number;
  netns: number;
  argv: string;
  truncated: boolean;
  executable: string;
  cgroup: string;
  ancestors: readonly number[];
}

/** A record as the native module delivers it; the pids are of no process. */
function encode(said: Said, cookie: number): Buffer {
  const { connect: at, process } = Layout;
  const size = at.size + said.ancestors.length * process.size;
  const texts = [said.executable, said.cgroup, '', said.argv].map((text) => Buffer.from(text));
  const bytes = Buffer.alloc((size + Buffer.concat(texts).length + 7) & ~7);
  bytes.writeUInt32LE(bytes.length, Layout.header.length);
  bytes.writeUInt16LE(Constants.recordConnect, Layout.header.type);
  bytes.writeUInt16LE(said.truncated ? Constants.flagArgvTruncated : 0, Layout.header.flags);
  bytes.writeBigUInt64LE(BigInt(cookie), at.cookie);
  bytes[at.family] = 4;
  bytes[at.ancestorCount] = said.ancestors.length;
  bytes.writeUInt32LE(said.netns, at.netns);
  bytes.writeUInt32LE(said.uid, at.uid);
  let offset = size;
  for (const [i, span] of [at.executable, at.cgroup, at.cgroupV1, at.argv].entries()) {
    bytes.writeUInt16LE(offset, span + Layout.span.offset);
    bytes.writeUInt16LE(texts[i]!.length, span + Layout.span.length);
    texts[i]!.copy(bytes, offset);
    offset += texts[i]!.length;
  }
  const putProcess = (start: number, pid: number, comm: string, startTicks: number): void => {
    bytes.writeBigUInt64LE(BigInt(startTicks) * 10_000_000n, start + process.start);
    bytes.writeUInt32LE(pid, start + process.pid);
    bytes.write(comm, start + process.comm);
  };
  putProcess(at.process, 900_000_000 + said.pid, said.comm, said.start);
  for (const [i, ancestor] of said.ancestors.entries())
    putProcess(at.ancestors + i * process.size, 800_000_000 + ancestor, 'parent', 100);
  return bytes;
}

function decode(bytes: Buffer): ConnectRecord {
  let record: ConnectRecord | undefined;
  decodeBatch(bytes, (decoded) => {
    record = decoded as ConnectRecord;
  });
  return record!;
}

/** The same without the bytes that tell at a glance that nothing is new. */
function withoutWho(record: ConnectRecord): ConnectRecord {
  const { time, cookie, family, remoteAddress, remotePort, process, uid, gid, cgroupId, netns } = record;
  const { argv, argvTruncated, executable, cgroupPath, cgroupV1Path, ancestors } = record;
  const connection = { time, cookie, family, remoteAddress, remotePort, cgroupId };
  const texts = { argv, argvTruncated, executable, cgroupPath, cgroupV1Path };
  return connectRecord({ ...connection, process, uid, gid, netns, ...texts, ancestors });
}

/** Each has read the clocks for itself, some milliseconds apart. */
const withoutStarts = (attribution: Attribution): Attribution =>
  JSON.parse(JSON.stringify(attribution, (name, value) => (name === 'startTime' ? undefined : value)));

const said: fc.Arbitrary<Said> = fc.record({
  pid: fc.nat(2),
  comm: fc.constantFrom('curl', 'sh'),
  start: fc.constantFrom(5_000, 6_000),
  uid: fc.nat(1),
  netns: fc.nat(1),
  argv: fc.constantFrom('curl\0-s\0', 'curl\0-S\0', 'curl\0'),
  truncated: fc.boolean(),
  executable: fc.constantFrom('/usr/bin/curl', '/usr/bin/sh', ''),
  cgroup: fc.constantFrom('/a.service', '/b.service'),
  ancestors: fc.subarray([1, 2, 3]),
});

describe('a connect that says of its process what the one before said', () => {
  it('is attributed as if it were the first', () => {
    const many = fc.array(fc.tuple(said, fc.integer({ min: 1, max: 4 })), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(many, (turns) => {
        const short = new Attributor();
        const long = new Attributor();
        let cookie = 0;
        for (const [said, times] of turns) {
          for (let time = 0; time < times; time++) {
            cookie++;
            const bytes = encode(said, cookie);
            const record = decode(bytes);
            long.onConnect(withoutWho(record));
            short.onConnect(record);
            // The batch's memory is used again.
            bytes.fill(0xff);
            const attribution = short.forFlow(flow(BigInt(cookie)));
            expect(withoutStarts(attribution)).toEqual(withoutStarts(long.forFlow(flow(BigInt(cookie)))));
            expect(attribution.process?.pid).toBe(900_000_000 + said.pid);
          }
        }
        short.close();
        long.close();
      }),
      { numRuns: 60 },
    );
  });

  it('shares its description, and one that says otherwise does not', () => {
    const attributor = new Attributor();
    const base: Said = {
      pid: 1,
      comm: 'curl',
      start: 5_000,
      uid: 0,
      netns: 1,
      argv: 'curl\0-s\0',
      truncated: false,
      executable: '/usr/bin/curl',
      cgroup: '/a.service',
      ancestors: [1],
    };
    const attributed = (changes: Partial<Said>, cookie: number) => {
      attributor.onConnect(decode(encode({ ...base, ...changes }, cookie)));
      return attributor.forFlow(flow(BigInt(cookie)));
    };
    const first = attributed({}, 1);
    // From the third on by the bytes alone.
    for (const cookie of [2, 3, 4]) expect(attributed({}, cookie)).toBe(first);
    expect(attributed({ argv: 'curl\0-k\0' }, 5).process?.args).toEqual(['curl', '-k']);
    expect(attributed({ uid: 4_711 }, 6).process?.user?.id).toBe(4_711);
    expect(attributed({ truncated: true }, 7).detail).toBe('arguments_truncated');
    expect(attributed({}, 8)).toEqual(first);
    attributor.close();
  });

  it('shows what an ancestor has become since', () => {
    const attributor = new Attributor();
    const turn: Said = {
      pid: 1,
      comm: 'curl',
      start: 5_000,
      uid: 0,
      netns: 1,
      argv: 'curl\0',
      truncated: false,
      executable: '/usr/bin/curl',
      cgroup: '/a.service',
      ancestors: [1],
    };
    const record = decode(encode(turn, 1));
    for (const cookie of [1, 2, 3]) attributor.onConnect(decode(encode(turn, cookie)));
    expect(attributor.forFlow(flow(3n)).process?.ancestors[0]?.args).toBeUndefined();
    const [ancestor] = record.ancestors;
    const argv = Buffer.from('sh\0-c\0x\0');
    attributor.onProcess({ type: 'process', time: 0, process: ancestor!, argv, argvTruncated: false });
    attributor.onConnect(decode(encode(turn, 4)));
    expect(attributor.forFlow(flow(4n)).process?.ancestors[0]?.args).toEqual(['sh', '-c', 'x']);
    attributor.close();
  });
});
