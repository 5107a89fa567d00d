import type { TcpPacket } from '../../wire/ip.js';

const PROTOCOL_TCP = 6;
/** Where the checksum stands in a TCP header (RFC 9293 section 3.1). */
const CHECKSUM_OFFSET = 16;

/**
 * Writes the TCP checksum that fits the bytes (RFC 9293 section 3.1; pseudo-header of IPv6: RFC 8200 section 8.1). The one
 * that was captured is of other bytes, or, on a packet that its host sent, not computed yet: network cards do that.
 * @param bytes an IP packet up to the end of its TCP payload
 * @param complete whether all of the payload is there; if not, the checksum can't be known and is 0
 */
export function writeTcpChecksum(
  bytes: Buffer,
  version: TcpPacket['version'],
  tcpStart: number,
  complete: boolean,
): void {
  const at = tcpStart + CHECKSUM_OFFSET;
  bytes.writeUInt16BE(0, at);
  if (!complete) return;
  const [from, to] = version === 4 ? [12, 20] : [8, 40];
  let sum =
    PROTOCOL_TCP + (bytes.length - tcpStart) + sumWords(bytes, from, to) + sumWords(bytes, tcpStart, bytes.length);
  while (sum > 0xffff) sum = (sum % 0x10000) + Math.floor(sum / 0x10000);
  bytes.writeUInt16BE(~sum & 0xffff, at);
}

/** Stays exact in a double for any packet. */
function sumWords(bytes: Buffer, from: number, to: number): number {
  let sum = 0;
  for (let i = from; i + 1 < to; i += 2) sum += (bytes[i]! << 8) | bytes[i + 1]!;
  if ((to - from) % 2 === 1) sum += bytes[to - 1]! << 8;
  return sum;
}
