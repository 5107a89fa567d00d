import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Constants, Layout } from '../../src/capture/layout.js';
import { decodeBatch } from '../../src/capture/records.js';
import type { CaptureRecord, PacketRecord } from '../../src/capture/types.js';
import { TracerError } from '../../src/errors.js';

const ADDRESS = Buffer.from('00000000000000000000ffff646464c8', 'hex');

interface Header {
  type: number;
  flags?: number;
  /** Of the fixed part; `tail` follows, and padding. */
  size: number;
  tail?: Buffer;
}

function record({ type, flags = 0, size, tail = Buffer.alloc(0) }: Header): Buffer {
  const bytes = Buffer.alloc((size + tail.length + 7) & ~7);
  bytes.writeUInt32LE(bytes.length, Layout.header.length);
  bytes.writeUInt16LE(type, Layout.header.type);
  bytes.writeUInt16LE(flags, Layout.header.flags);
  bytes.writeBigUInt64LE(1_763_700_000_123_456_789n, Layout.header.time);
  tail.copy(bytes, size);
  return bytes;
}

function packet(data: Buffer, flags = 0): Buffer {
  const { packet: at } = Layout;
  const bytes = record({ type: Constants.recordPacket, flags, size: at.size, tail: data });
  bytes.writeBigUInt64LE(0xffff_ffff_ffff_fff0n, at.cookie);
  ADDRESS.copy(bytes, at.remoteAddress);
  bytes.writeUInt16LE(80, at.remotePort);
  bytes.writeUInt32LE(9000, at.wireLength);
  bytes.writeUInt32LE(at.size, at.data);
  bytes.writeUInt32LE(data.length, at.data + 4);
  return bytes;
}

function connect(argv: string, ancestors: number): Buffer {
  const { connect: at, process } = Layout;
  const size = at.size + Math.min(ancestors, 8) * process.size;
  const bytes = record({ type: Constants.recordConnect, flags: 1, size, tail: Buffer.from(argv) });
  ADDRESS.copy(bytes, at.remoteAddress);
  bytes[at.family] = 6;
  bytes[at.ancestorCount] = ancestors;
  bytes.writeUInt16LE(size, at.argv);
  bytes.writeUInt16LE(argv.length, at.argv + 2);
  bytes.write('curl\0garbage', at.process + process.comm, 'latin1');
  for (let i = 0; i < Math.min(ancestors, 8); i++)
    bytes.writeUInt32LE(100 + i, at.ancestors + i * process.size + process.pid);
  return bytes;
}

function head(text: string, number: number): Buffer {
  const { head: at } = Layout;
  const bytes = record({ type: Constants.recordHead, size: at.size, tail: Buffer.from(text) });
  bytes.writeUInt32LE(number, at.number);
  bytes.writeUInt32LE(at.size, at.data);
  bytes.writeUInt32LE(text.length, at.data + 4);
  return bytes;
}

function exchange(query: string, body: string): Buffer {
  const { exchange: at } = Layout;
  const bytes = record({ type: Constants.recordExchange, size: at.size, tail: Buffer.from(query + body) });
  bytes.writeBigUInt64LE(1_763_700_000_122_000_000n, at.requestTime);
  bytes.writeUInt16LE(404, at.status);
  bytes[at.family] = 4;
  bytes[at.minor] = 1;
  bytes.writeUInt16LE(7, at.head);
  bytes.writeUInt16LE(query.length, at.queryLength);
  Buffer.from('00000000000000000000ffff0a000005', 'hex').copy(bytes, at.localAddress);
  ADDRESS.copy(bytes, at.remoteAddress);
  bytes.writeUInt16LE(40_000, at.localPort);
  bytes.writeUInt16LE(80, at.remotePort);
  bytes.writeUInt32LE(body.length, at.bodyLength);
  return bytes;
}

const decode = (bytes: Buffer): CaptureRecord[] => {
  const records: CaptureRecord[] = [];
  expect(decodeBatch(bytes, (item) => records.push(item))).toEqual({ count: records.length, bytes: bytes.length });
  return records;
};

describe('decodeBatch', () => {
  it('decodes records that follow one another', () => {
    const [first, second, third] = decode(
      Buffer.concat([connect('curl\0-s\0', 8), packet(Buffer.from('abc'), 2), packet(Buffer.alloc(0))]),
    );
    expect(first).toMatchObject({
      type: 'connect',
      time: expect.closeTo(1_763_700_000_123.4568, 3),
      family: 6,
      remoteAddress: '100.100.100.200',
      argvTruncated: true,
      argv: Buffer.from('curl\0-s\0'),
      executable: Buffer.alloc(0),
      process: { comm: Buffer.from('curl') },
      ancestors: [100, 101, 102, 103, 104, 105, 106, 107].map((pid) => ({ pid, startBootNs: 0n })),
    });
    expect(second).toMatchObject({
      type: 'packet',
      direction: 'egress',
      cookie: 0xffff_ffff_ffff_fff0n,
      localAddress: '::',
      remoteAddress: '100.100.100.200',
      remotePort: 80,
      wireLength: 9000,
      data: Buffer.from('abc'),
    });
    expect(third).toMatchObject({ direction: 'ingress', data: Buffer.alloc(0) });
  });

  it('decodes what packet files have: heads, exchanges, what is left of them, times', () => {
    const seen: unknown[] = [];
    const passed = record({ type: Constants.recordPassed, size: Layout.passed.size });
    passed.writeBigUInt64LE(1_763_700_000_000_000_000n, Layout.passed.lastUse);
    passed.writeInt32LE(-5, Layout.passed.clientFirst);
    passed.writeInt32LE(9, Layout.passed.serviceNext);
    const bytes = Buffer.concat([
      head('GET / HTTP/1.1', 7),
      exchange('?a', 'body'),
      passed,
      record({ type: Constants.recordTime, size: Layout.header.size }),
    ]);
    decodeBatch(bytes, (item) => {
      if (item.type === 'head') seen.push(item.number, item.data.toString());
      else if (item.type === 'exchange') {
        const { requestTime, status, family, version, head: number, localAddress, localPort, remoteAddress } = item;
        seen.push(
          requestTime,
          status,
          family,
          version,
          number,
          localAddress,
          localPort,
          remoteAddress,
          item.remotePort,
        );
        seen.push(item.batch.toString('latin1', item.queryStart, item.bodyStart));
        seen.push(item.batch.toString('latin1', item.bodyStart, item.bodyEnd));
      } else if (item.type === 'passed') {
        seen.push(item.lastUse, item.clientFirst, item.clientNext, item.serviceFirst, item.serviceNext);
      } else seen.push(item.type);
    });
    const addresses = ['10.0.0.5', 40_000, '100.100.100.200', 80];
    const ofExchange = [1_763_700_000_122, 404, 4, '1.1', 7, ...addresses, '?a', 'body'];
    expect(seen).toEqual([7, 'GET / HTTP/1.1', ...ofExchange, 1_763_700_000_000, -5, 0, 0, 9, 'time']);
  });

  it('goes on later with what was too much for once', () => {
    const bytes = Buffer.concat(['one', 'two', 'three'].map((text) => packet(Buffer.from(text))));
    const seen: string[] = [];
    const read = (from: number, atMost: number) => {
      let left = atMost;
      const onRecord = (item: CaptureRecord) => seen.push((item as PacketRecord).data.toString());
      return decodeBatch(bytes.subarray(from), onRecord, () => --left === 0);
    };
    const first = read(0, 2);
    expect(first.count).toBe(2);
    expect(seen).toEqual(['one', 'two']);
    expect(read(first.bytes, 2)).toEqual({ count: 1, bytes: bytes.length - first.bytes });
    expect(seen).toEqual(['one', 'two', 'three']);
  });

  it('decodes no record of an empty batch', () => {
    expect(decode(Buffer.alloc(0))).toEqual([]);
  });

  const broken = (change: (bytes: Buffer) => void, base = packet(Buffer.from('abc'))): Buffer => {
    change(base);
    return base;
  };

  it.each([
    ['a length of 0', broken((bytes) => bytes.writeUInt32LE(0, 0))],
    ['a length below its kind', broken((bytes) => bytes.writeUInt32LE(72, 0))],
    ['a length beyond the batch', broken((bytes) => bytes.writeUInt32LE(96, 0))],
    ['the largest length', broken((bytes) => bytes.writeUInt32LE(0xffff_fff8, 0))],
    ['a length that is no multiple of 8', broken((bytes) => bytes.writeUInt32LE(bytes.length - 4, 0))],
    ['an unknown type', broken((bytes) => bytes.writeUInt16LE(9, 4))],
    ['half a header', packet(Buffer.alloc(0)).subarray(0, 12)],
    ['data beyond the record', broken((bytes) => bytes.writeUInt32LE(0xffff_ffff, Layout.packet.data + 4))],
    ['argv beyond the record', broken((bytes) => bytes.writeUInt16LE(0xffff, Layout.connect.argv), connect('x', 0))],
    ['a head without room for its number', head('GET / HTTP/1.1', Constants.heads)],
    ['a head beyond the record', broken((bytes) => bytes.writeUInt32LE(99, Layout.head.data + 4), head('x', 0))],
    [
      'a query beyond the record',
      broken((bytes) => bytes.writeUInt16LE(99, Layout.exchange.queryLength), exchange('?', '')),
    ],
    [
      'a body beyond the record',
      broken((bytes) => bytes.writeUInt32LE(0xffff_ffff, Layout.exchange.bodyLength), exchange('', 'x')),
    ],
    ['nine ancestors', connect('x', 9)],
    [
      'an ancestor beyond the record',
      broken((bytes) => bytes.writeUInt8(2, Layout.connect.ancestorCount), connect('x', 1)),
    ],
  ])('refuses %s, after the records before it', (_, bytes) => {
    const seen: CaptureRecord[] = [];
    const run = () => decodeBatch(Buffer.concat([packet(Buffer.from('first')), bytes]), (item) => seen.push(item));
    expect(run).toThrow(expect.objectContaining({ code: 'IMDS_E_RECORD' }));
    expect(seen).toHaveLength(1);
  });

  it('refuses in no other way, whatever the bytes are', () => {
    const bases = [connect('curl\0-s\0', 3), packet(Buffer.alloc(40)), head('GET /', 1), exchange('?a', 'b')];
    const change = fc.record({ base: fc.nat(3), at: fc.nat(120), byte: fc.nat(255), cut: fc.nat(200) });
    fc.assert(
      fc.property(fc.array(change, { maxLength: 6 }), (changes) => {
        const parts = changes.map(({ base, at, byte, cut }) => {
          const bytes = Buffer.from(bases[base]!);
          bytes[at % bytes.length] = byte;
          return bytes.subarray(0, cut < 20 ? bytes.length - cut : bytes.length);
        });
        const batch = Buffer.concat(parts);
        try {
          decodeBatch(batch, (item) => {
            for (const value of Object.values(item))
              if (Buffer.isBuffer(value)) expect(value.buffer).toBe(batch.buffer);
          });
        } catch (error) {
          expect(error).toBeInstanceOf(TracerError);
        }
      }),
      { numRuns: 2000 },
    );
  });
});
