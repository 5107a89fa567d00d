import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { TcpPacket } from '../../src/wire/ip.js';
import { latin1 } from './support.js';

const PAYLOAD = latin1('GET / HTTP/1.1\r\n\r\n');

function tcp(payload = PAYLOAD, options = Buffer.alloc(0)): Buffer {
  const header = Buffer.alloc(20);
  header.writeUInt16BE(40_000, 0);
  header.writeUInt16BE(80, 2);
  header.writeUInt32BE(0xfffffff0, 4);
  header.writeUInt32BE(7, 8);
  header[12] = ((20 + options.length) / 4) << 4;
  header[13] = 0x18;
  return Buffer.concat([header, options, payload]);
}

function ipv4(
  content: Buffer,
  { options = Buffer.alloc(0), protocol = 6, fragment = 0x4000, total = -1 } = {},
): Buffer {
  const header = Buffer.alloc(20);
  header[0] = 0x40 | ((20 + options.length) / 4);
  header.writeUInt16BE(total < 0 ? 20 + options.length + content.length : total, 2);
  header.writeUInt16BE(fragment, 6);
  header[9] = protocol;
  header.set([10, 0, 0, 7], 12);
  header.set([100, 100, 100, 200], 16);
  return Buffer.concat([header, options, content]);
}

function ipv6(content: Buffer, { next = 6, length = -1 } = {}): Buffer {
  const header = Buffer.alloc(40);
  header[0] = 0x60;
  header.writeUInt16BE(length < 0 ? content.length : length, 4);
  header[6] = next;
  header.set(Buffer.from('fd00000000000000000000000000002a', 'hex'), 8);
  header.set(Buffer.from('fd000ec2000000000000000000000254', 'hex'), 24);
  return Buffer.concat([header, content]);
}

/** An extension header of 8 bytes times `units`, or an authentication header. */
const extension = (next: number, units = 1): Buffer =>
  Buffer.concat([Buffer.from([next, units - 1]), Buffer.alloc(8 * units - 2)]);

const parse = (data: Buffer, wireLength = data.length) => {
  const packet = new TcpPacket();
  const failure = packet.parse(data, wireLength);
  return failure ?? packet;
};

const payloadOf = (result: ReturnType<typeof parse>): string | undefined =>
  typeof result === 'string' ? result : result.data.toString('latin1', result.payloadStart, result.payloadEnd);

describe('an IP packet', () => {
  it('gives numbers and flags', () => {
    const packet = parse(ipv4(tcp()));
    expect(packet).toMatchObject({
      version: 4,
      seq: -16,
      ack: 7,
      flags: 0x18,
      payloadLength: PAYLOAD.length,
    });
    expect(parse(ipv6(tcp()))).toMatchObject({ version: 6, seq: -16, payloadLength: PAYLOAD.length });
  });

  it.each<[string, Buffer]>([
    ['IPv4', ipv4(tcp())],
    ['IPv4 options', ipv4(tcp(), { options: Buffer.alloc(40, 1) })],
    ['TCP options', ipv4(tcp(PAYLOAD, Buffer.alloc(12, 1)))],
    ['Ethernet padding', Buffer.concat([ipv4(tcp()), Buffer.alloc(6)])],
    ['total length 0 (segmentation offload)', ipv4(tcp(), { total: 0 })],
    ['IPv6', ipv6(tcp())],
    ['IPv6 payload length 0', ipv6(tcp(), { length: 0 })],
    ['IPv6 padding', Buffer.concat([ipv6(tcp()), Buffer.alloc(6)])],
    ['hop-by-hop options', ipv6(Buffer.concat([extension(6, 2), tcp()]), { next: 0 })],
    ['routing and destination options', ipv6(Buffer.concat([extension(60), extension(6), tcp()]), { next: 43 })],
    ['authentication header', ipv6(Buffer.concat([Buffer.from([6, 4]), Buffer.alloc(22), tcp()]), { next: 51 })],
    ['atomic fragment', ipv6(Buffer.concat([extension(6), tcp()]), { next: 44 })],
  ])('is read to its payload: %s', (_, data) => {
    expect(payloadOf(parse(data))).toBe(PAYLOAD.toString());
  });

  it.each<[string, string, Buffer]>([
    ['nothing', 'truncated_header', Buffer.alloc(0)],
    ['version 5', 'bad_version', Buffer.alloc(40, 0x55)],
    ['19 bytes', 'truncated_header', ipv4(tcp()).subarray(0, 19)],
    ['IHL of 16 bytes', 'bad_header', Buffer.concat([Buffer.from([0x44]), ipv4(tcp()).subarray(1)])],
    ['first fragment', 'fragment', ipv4(tcp(), { fragment: 0x2000 })],
    ['later fragment', 'fragment', ipv4(tcp(), { fragment: 185 })],
    ['UDP', 'not_tcp', ipv4(tcp(), { protocol: 17 })],
    ['total length below the IP header', 'bad_header', ipv4(tcp(), { total: 12 })],
    ['total length below the TCP header', 'bad_header', ipv4(tcp(), { total: 39 })],
    ['cut in the TCP header', 'truncated_header', ipv4(tcp()).subarray(0, 39)],
    ['data offset of 16 bytes', 'bad_header', ipv4(Buffer.concat([tcp().fill(0x40, 12, 13)]))],
    ['data offset beyond the end', 'bad_header', ipv4(tcp(Buffer.alloc(0)).fill(0xf0, 12, 13))],
    ['IPv6 fragment', 'fragment', ipv6(Buffer.concat([extension(6).fill(1, 3, 4), tcp()]), { next: 44 })],
    ['IPv6 UDP', 'not_tcp', ipv6(tcp(), { next: 17 })],
    ['no next header', 'not_tcp', ipv6(Buffer.alloc(0), { next: 59 })],
    [
      'extension header beyond the end',
      'bad_header',
      ipv6(Buffer.concat([extension(6).fill(255, 1, 2), tcp()]), { next: 0 }),
    ],
    ['extension header cut off', 'truncated_header', ipv6(extension(0), { next: 0, length: 100 })],
  ])('is refused: %s', (_, failure, data) => {
    expect(parse(data)).toBe(failure);
  });

  it('says how much a cut took', () => {
    const data = ipv4(tcp(PAYLOAD, Buffer.alloc(12, 1)));
    const cut = parse(data.subarray(0, data.length - 5), data.length);
    expect(cut).toMatchObject({ payloadLength: PAYLOAD.length });
    expect(payloadOf(cut)).toBe(PAYLOAD.toString().slice(0, -5));
    // Within the TCP options: the payload is missing as a whole.
    const packet = parse(data.subarray(0, 46), data.length);
    expect(packet).toMatchObject({ payloadLength: PAYLOAD.length });
    expect(payloadOf(packet)).toBe('');
    expect(parse(ipv4(tcp(), { total: 0 }), 65_600)).toMatchObject({ payloadLength: 65_560 });
  });

  it('never throws nor points outside its bytes', () => {
    const start = fc.constantFrom(0x45, 0x4f, 0x46, 0x60, 0x00);
    const next = fc.constantFrom(0, 6, 43, 44, 51, 60, 135, 17);
    const bytes = fc.uint8Array({ maxLength: 120 });
    fc.assert(
      fc.property(start, next, bytes, fc.nat(70_000), (first, protocol, rest, wireLength) => {
        const data = Buffer.concat([Buffer.from([first]), rest]);
        if (data.length > 9) data[first === 0x60 ? 6 : 9] = protocol;
        const packet = parse(data, wireLength);
        if (typeof packet === 'string') return;
        expect(packet.payloadStart).toBeLessThanOrEqual(packet.payloadEnd);
        expect(packet.payloadEnd).toBeLessThanOrEqual(data.length);
        expect(packet.payloadEnd - packet.payloadStart).toBeLessThanOrEqual(packet.payloadLength);
      }),
      { numRuns: 3_000 },
    );
  });
});
