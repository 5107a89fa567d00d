import { describe, expect, it } from 'vitest';
import { writeTcpChecksum } from '../../../src/output/evidence/checksum.js';
import { TcpPacket } from '../../../src/wire/ip.js';
import { CLIENT, ipPacket, SERVER, type TcpFields } from '../../support/packets.js';

const V6 = { from: { address: 'fd00:1::5', port: 40_001 }, to: { address: 'fd00:ec2::254', port: 80 } };
const V4 = { from: CLIENT, to: SERVER };

/** The checksum by its definition: of a pseudo-header made apart, with the field itself as 0. */
function expected(bytes: Buffer, tcpStart: number): number {
  const tcp = Buffer.from(bytes.subarray(tcpStart));
  tcp.writeUInt16BE(0, 16);
  const addresses = bytes[0]! >> 4 === 4 ? bytes.subarray(12, 20) : bytes.subarray(8, 40);
  const lengthAndProtocol = Buffer.alloc(8);
  lengthAndProtocol.writeUInt32BE(tcp.length);
  lengthAndProtocol[7] = 6;
  const all = Buffer.concat([addresses, lengthAndProtocol, tcp, Buffer.alloc(tcp.length % 2)]);
  let sum = 0;
  for (let i = 0; i < all.length; i += 2) {
    sum += all.readUInt16BE(i);
    if (sum > 0xffff) sum -= 0xffff;
  }
  return ~sum & 0xffff;
}

describe('the TCP checksum', () => {
  const cases: [what: string, fields: TcpFields][] = [
    ['IPv4', { ...V4, payload: 'GET / HTTP/1.1\r\n\r\n' }],
    ['IPv4, an odd length', { ...V4, payload: 'abc' }],
    ['IPv4, no payload', V4],
    ['64 KiB of ones', { ...V4, payload: Buffer.alloc(65_000, 0xff) }],
    ['IPv6', { ...V6, payload: 'GET / HTTP/1.1\r\n\r\n' }],
    [
      'IPv6 behind an extension header',
      { ...V6, payload: 'odd', extension: { type: 60, bytes: Buffer.from([6, 0, 1, 4, 0, 0, 0, 0]) } },
    ],
  ];
  it.each(cases)('%s', (_, fields) => {
    const bytes = ipPacket(fields);
    const packet = new TcpPacket();
    expect(packet.parse(bytes, bytes.length)).toBeUndefined();
    bytes.writeUInt16BE(0xbeef, packet.tcpStart + 16);
    writeTcpChecksum(bytes, packet.version, packet.tcpStart, true);
    expect(bytes.readUInt16BE(packet.tcpStart + 16)).toBe(expected(bytes, packet.tcpStart));
  });

  it('is 0 where the packet was cut', () => {
    const bytes = ipPacket({ ...V4, payload: 'abc' }).subarray(0, 42);
    bytes.writeUInt16BE(0xbeef, 36);
    writeTcpChecksum(bytes, 4, 20, false);
    expect(bytes.readUInt16BE(36)).toBe(0);
  });
});
