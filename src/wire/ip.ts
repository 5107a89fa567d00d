/** Reads an IP packet up to its TCP payload. Nothing is copied; a packet object is filled again and again. */

export const TCP_FIN = 0x01;
export const TCP_SYN = 0x02;
export const TCP_RST = 0x04;
export const TCP_ACK = 0x10;
export const TCP_URG = 0x20;

/** Why a packet has no TCP segment that can be read. */
export type PacketFailure =
  | 'bad_version' // neither IPv4 nor IPv6
  | 'bad_header' // lengths that contradict each other
  | 'truncated_header' // the capture ends before the TCP header does
  | 'fragment' // only part of a datagram: a TCP header can't be told from payload in the later ones
  | 'not_tcp';

/** A TCP segment. Its bytes are a view: `data[payloadStart..payloadEnd)`, valid as long as the packet's buffer is. */
export interface TcpSegment {
  readonly data: Buffer;
  readonly payloadStart: number;
  /** End of the captured payload. */
  readonly payloadEnd: number;
  /** Payload on the wire in bytes; more than was captured when the packet was cut. */
  readonly payloadLength: number;
  /** Sequence numbers are signed 32-bit, so that V8 keeps them unboxed; compare by `(a - b) | 0`. */
  readonly seq: number;
  readonly ack: number;
  readonly flags: number;
}

const PROTOCOL_TCP = 6;
const EMPTY = Buffer.alloc(0);

/**
 * IPv6 extension headers that may stand before TCP, with how their length byte counts (RFC 8200 section 4; AH: RFC 4302
 * section 2.2, in 4-byte words minus 2). Fragment headers are handled apart; anything else means "not TCP".
 */
const EXTENSION_LENGTH: ReadonlyMap<number, (lengthByte: number) => number> = new Map([
  [0, (n: number) => (n + 1) * 8], // hop-by-hop options
  [43, (n: number) => (n + 1) * 8], // routing
  [60, (n: number) => (n + 1) * 8], // destination options
  [135, (n: number) => (n + 1) * 8], // mobility (RFC 6275)
  [51, (n: number) => (n + 2) * 4], // authentication header
]);
const IPV6_FRAGMENT = 44;

export class TcpPacket implements TcpSegment {
  version: 4 | 6 = 4;
  data: Buffer = EMPTY;
  /** Where the TCP header begins in `data`. */
  tcpStart = 0;
  payloadStart = 0;
  payloadEnd = 0;
  payloadLength = 0;
  seq = 0;
  ack = 0;
  flags = 0;

  /**
   * Reads a packet from its IP header on.
   * @param data holds the captured bytes, maybe fewer than there were, from `start` to `end`
   * @param wireLength bytes on the wire; may include link-layer padding
   * @returns why not, or undefined when this object now describes the packet's segment
   */
  parse(data: Buffer, wireLength: number, start = 0, end = data.length): PacketFailure | undefined {
    this.data = data;
    if (end === start) return 'truncated_header';
    const version = data[start]! >> 4;
    if (version === 4) return this.#ipv4(data, wireLength, start, end);
    if (version === 6) return this.#ipv6(data, wireLength, start, end);
    return 'bad_version';
  }

  #ipv4(data: Buffer, wireLength: number, start: number, end: number): PacketFailure | undefined {
    this.version = 4;
    if (end - start < 20) return 'truncated_header';
    const headerLength = (data[start]! & 0x0f) * 4;
    if (headerLength < 20) return 'bad_header';
    // More fragments, or an offset. "Don't fragment" (0x40) is no fragment.
    if ((data[start + 6]! & 0x3f) !== 0 || data[start + 7] !== 0) return 'fragment';
    if (data[start + 9] !== PROTOCOL_TCP) return 'not_tcp';
    // Segmentation offload leaves the total length 0 for packets over 64 KiB (Linux BIG TCP, and older drivers for all).
    const totalLength = uint16(data, start + 2) || Math.max(wireLength, end - start);
    if (totalLength < headerLength) return 'bad_header';
    return this.#tcp(data, start + headerLength, start + totalLength, end);
  }

  #ipv6(data: Buffer, wireLength: number, start: number, end: number): PacketFailure | undefined {
    this.version = 6;
    if (end - start < 40) return 'truncated_header';
    const payloadLength = uint16(data, start + 4);
    // 0: a jumbogram (RFC 2675) or segmentation offload.
    const totalLength = payloadLength === 0 ? Math.max(wireLength, end - start) : payloadLength + 40;
    let next = data[start + 6]!;
    let offset = start + 40;
    while (next !== PROTOCOL_TCP) {
      if (next === IPV6_FRAGMENT) {
        if (offset + 8 > end) return 'truncated_header';
        // An "atomic fragment" (RFC 6946) is the whole datagram.
        if ((uint16(data, offset + 2) & 0xfff9) !== 0) return 'fragment';
        next = data[offset]!;
        offset += 8;
        continue;
      }
      const lengthOf = EXTENSION_LENGTH.get(next);
      if (lengthOf === undefined) return 'not_tcp';
      if (offset + 2 > end) return 'truncated_header';
      next = data[offset]!;
      offset += lengthOf(data[offset + 1]!);
    }
    return this.#tcp(data, offset, start + totalLength, end);
  }

  /** @param wireEnd where the packet would end in `data`, had all of it been captured */
  #tcp(data: Buffer, offset: number, wireEnd: number, end: number): PacketFailure | undefined {
    if (offset + 20 > wireEnd) return 'bad_header';
    if (offset + 20 > end) return 'truncated_header';
    const headerLength = (data[offset + 12]! >> 4) * 4;
    const payloadStart = offset + headerLength;
    if (headerLength < 20 || payloadStart > wireEnd) return 'bad_header';
    this.tcpStart = offset;
    this.seq = int32(data, offset + 4);
    this.ack = int32(data, offset + 8);
    this.flags = data[offset + 13]!;
    // A capture cut inside the TCP options still says how much payload there was: all of it is missing then.
    this.payloadStart = Math.min(payloadStart, end);
    // What follows the total length is Ethernet padding.
    this.payloadEnd = Math.max(this.payloadStart, Math.min(wireEnd, end));
    this.payloadLength = wireEnd - payloadStart;
    return undefined;
  }
}

// By hand: Buffer's read methods check their offset anew each time and cost several times as much.
const uint16 = (data: Buffer, at: number): number => (data[at]! << 8) | data[at + 1]!;
const int32 = (data: Buffer, at: number): number =>
  (data[at]! << 24) | (data[at + 1]! << 16) | (data[at + 2]! << 8) | data[at + 3]!;
