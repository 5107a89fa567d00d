import { isIPv4 } from 'node:net';
import { parseAddress } from '../../src/addresses.js';

/** Packets made by hand, for captures whose every byte a test decides on. */

export interface TcpFields {
  from: { address: string; port: number };
  to: { address: string; port: number };
  seq?: number;
  ack?: number;
  flags?: number;
  payload?: Buffer | string;
  /** Identification of the IPv4 header. */
  id?: number;
  /** IPv4 fragment field (flags and offset). */
  fragment?: number;
  /** IPv6 extension headers before TCP: the first one's type and their bytes, chained by the caller. */
  extension?: { type: number; bytes: Buffer };
}

export const FIN = 0x01;
export const SYN = 0x02;
export const RST = 0x04;
export const PSH = 0x08;
export const ACK = 0x10;

const u16 = (value: number): Buffer => Buffer.from([(value >> 8) & 0xff, value & 0xff]);
const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value >>> 0);
  return bytes;
};
const bytesOf = (data: Buffer | string): Buffer => (typeof data === 'string' ? Buffer.from(data, 'latin1') : data);

/** An IP packet with a TCP segment. Checksums are 0: nobody here looks at them. */
export function ipPacket(fields: TcpFields): Buffer {
  const { from, to, seq = 0, ack = 0, flags = ACK, payload = '', id = 0, fragment = 0x4000, extension } = fields;
  const tcp = Buffer.concat([
    u16(from.port),
    u16(to.port),
    u32(seq),
    u32(ack),
    Buffer.from([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]),
    bytesOf(payload),
  ]);
  const source = parseAddress(from.address)!;
  const destination = parseAddress(to.address)!;
  if (isIPv4(from.address)) {
    return Buffer.concat([
      Buffer.from([0x45, 0]),
      u16(20 + tcp.length),
      u16(id),
      u16(fragment),
      Buffer.from([64, 6, 0, 0]),
      source.subarray(12),
      destination.subarray(12),
      tcp,
    ]);
  }
  const rest = Buffer.concat([extension?.bytes ?? Buffer.alloc(0), tcp]);
  const head = Buffer.concat([Buffer.from([0x60, 0, 0, 0]), u16(rest.length), Buffer.from([extension?.type ?? 6, 64])]);
  return Buffer.concat([head, source, destination, rest]);
}

/** How each link type carries an IP packet. */
export const LINKS = {
  ethernet: { type: 1, wrap: (ip: Buffer) => ethernet(ip) },
  vlan: { type: 1, wrap: (ip: Buffer) => ethernet(ip, [0x8100]) },
  qinq: { type: 1, wrap: (ip: Buffer) => ethernet(ip, [0x88a8, 0x8100]) },
  padded: { type: 1, wrap: (ip: Buffer) => Buffer.concat([ethernet(ip), Buffer.alloc(18, 0x47)]) },
  sll: {
    type: 113,
    wrap: (ip: Buffer) => Buffer.concat([Buffer.from([0, 4, 0, 1, 0, 6]), Buffer.alloc(8), etherType(ip), ip]),
  },
  sll2: { type: 276, wrap: (ip: Buffer) => Buffer.concat([etherType(ip), Buffer.alloc(18), ip]) },
  sllVlan: {
    type: 113,
    wrap: (ip: Buffer) => Buffer.concat([Buffer.alloc(14), u16(0x8100), u16(7), etherType(ip), ip]),
  },
  raw: { type: 101, wrap: (ip: Buffer) => ip },
  nullLittle: { type: 0, wrap: (ip: Buffer) => Buffer.concat([Buffer.from([isV4(ip) ? 2 : 30, 0, 0, 0]), ip]) },
  nullBig: { type: 0, wrap: (ip: Buffer) => Buffer.concat([Buffer.from([0, 0, 0, isV4(ip) ? 2 : 10]), ip]) },
  loop: { type: 108, wrap: (ip: Buffer) => Buffer.concat([Buffer.from([0, 0, 0, isV4(ip) ? 2 : 24]), ip]) },
  ppp: { type: 9, wrap: (ip: Buffer) => Buffer.concat([Buffer.from([0xff, 0x03]), u16(isV4(ip) ? 0x21 : 0x57), ip]) },
  pppShort: { type: 9, wrap: (ip: Buffer) => Buffer.concat([Buffer.from([isV4(ip) ? 0x21 : 0x57]), ip]) },
} as const satisfies Record<string, { type: number; wrap: (ip: Buffer) => Buffer }>;

export type LinkName = keyof typeof LINKS;

const isV4 = (ip: Buffer): boolean => ip[0]! >> 4 === 4;
const etherType = (ip: Buffer): Buffer => u16(isV4(ip) ? 0x0800 : 0x86dd);
const ethernet = (ip: Buffer, tags: readonly number[] = []): Buffer =>
  Buffer.concat([Buffer.alloc(12, 2), ...tags.flatMap((tag) => [u16(tag), u16(100)]), etherType(ip), ip]);

/** A frame of a capture; `cut` is how many of its bytes were captured. */
export interface Frame {
  /** Epoch milliseconds. */
  time: number;
  bytes: Buffer;
  cut?: number;
  /** Number of the interface, in pcapng. */
  on?: number;
}

export interface Format {
  bigEndian?: boolean;
  nanoseconds?: boolean;
}

class Writer {
  readonly parts: Buffer[] = [];
  constructor(private readonly bigEndian: boolean) {}
  u16(value: number): this {
    const bytes = Buffer.alloc(2);
    this.bigEndian ? bytes.writeUInt16BE(value) : bytes.writeUInt16LE(value);
    this.parts.push(bytes);
    return this;
  }
  u32(value: number): this {
    const bytes = Buffer.alloc(4);
    this.bigEndian ? bytes.writeUInt32BE(value >>> 0) : bytes.writeUInt32LE(value >>> 0);
    this.parts.push(bytes);
    return this;
  }
  raw(bytes: Buffer): this {
    this.parts.push(bytes);
    return this;
  }
  get bytes(): Buffer {
    return Buffer.concat(this.parts);
  }
}

/** A classic pcap file. */
export function pcap(
  linkType: number,
  frames: readonly Frame[],
  format: Format & { snapLength?: number } = {},
): Buffer {
  const { bigEndian = false, nanoseconds = false, snapLength = 262144 } = format;
  const out = new Writer(bigEndian);
  out
    .u32(nanoseconds ? 0xa1b23c4d : 0xa1b2c3d4)
    .u16(2)
    .u16(4)
    .u32(0)
    .u32(0)
    .u32(snapLength)
    .u32(linkType);
  for (const { time, bytes, cut = bytes.length } of frames) {
    const seconds = Math.floor(time / 1000);
    const rest = (time - seconds * 1000) * (nanoseconds ? 1e6 : 1e3);
    out.u32(seconds).u32(Math.round(rest)).u32(cut).u32(bytes.length).raw(bytes.subarray(0, cut));
  }
  return out.bytes;
}

export interface Interface {
  linkType: number;
  snapLength?: number;
  /** Option if_tsresol; microseconds where it is left out. */
  resolution?: number;
  /** Option if_tsoffset, in seconds. */
  offset?: number;
}

/** A section of a pcapng file: several of them after each other are a file, too. */
export function pcapng(
  interfaces: readonly Interface[],
  frames: readonly Frame[],
  { bigEndian = false, between }: Format & { /** A block before each packet. */ between?: Buffer } = {},
): Buffer {
  const blocks = [block(bigEndian, 0x0a0d0d0a, (out) => out.u32(0x1a2b3c4d).u16(1).u16(0).u32(-1).u32(-1))];
  for (const { linkType, snapLength = 0, resolution, offset } of interfaces) {
    blocks.push(
      block(bigEndian, 1, (out) => {
        out.u16(linkType).u16(0).u32(snapLength);
        if (resolution !== undefined)
          out
            .u16(9)
            .u16(1)
            .raw(Buffer.from([resolution, 0, 0, 0]));
        if (offset !== undefined) out.u16(14).u16(8).raw(bigEndian64(offset, bigEndian));
        out.u16(0).u16(0);
      }),
    );
  }
  for (const { time, bytes, cut = bytes.length, on = 0 } of frames) {
    if (between) blocks.push(between);
    const units = unitsOf(time, interfaces[on]!);
    blocks.push(
      block(bigEndian, 6, (out) =>
        out
          .u32(on)
          .u32(Number(units >> 32n))
          .u32(Number(units & 0xffffffffn))
          .u32(cut)
          .u32(bytes.length)
          .raw(padded(bytes.subarray(0, cut))),
      ),
    );
  }
  return Buffer.concat(blocks);
}

export function block(bigEndian: boolean, type: number, body: (out: Writer) => unknown): Buffer {
  const inner = new Writer(bigEndian);
  body(inner);
  const bytes = inner.bytes;
  return new Writer(bigEndian)
    .u32(type)
    .u32(bytes.length + 12)
    .raw(bytes)
    .u32(bytes.length + 12).bytes;
}

function unitsOf(time: number, { resolution = 6, offset = 0 }: Interface): bigint {
  const ns = BigInt(Math.round(time * 1e3)) * 1000n - BigInt(offset) * 1_000_000_000n;
  return resolution & 0x80
    ? (ns << BigInt(resolution & 0x7f)) / 1_000_000_000n
    : (ns * 10n ** BigInt(resolution)) / 1_000_000_000n;
}

function bigEndian64(value: number, bigEndian: boolean): Buffer {
  const bytes = Buffer.alloc(8);
  bigEndian ? bytes.writeBigInt64BE(BigInt(value)) : bytes.writeBigInt64LE(BigInt(value));
  return bytes;
}

const padded = (bytes: Buffer): Buffer => Buffer.concat([bytes, Buffer.alloc((4 - (bytes.length % 4)) % 4)]);

export interface Exchange {
  client?: { address: string; port: number };
  server?: { address: string; port: number };
  request: Buffer | string;
  response?: Buffer | string;
  /** Epoch milliseconds of the first packet. */
  time?: number;
}

export const SERVER = { address: '100.100.100.200', port: 80 };
export const CLIENT = { address: '10.0.0.5', port: 40_000 };

/** The eight IP packets of a connection with one request, a millisecond apart. */
export function connection(exchange: Exchange): { time: number; ip: Buffer }[] {
  const { client = CLIENT, server = SERVER, request, response = OK, time = 1_700_000_000_000 } = exchange;
  const asked = bytesOf(request).length;
  const answered = bytesOf(response).length;
  const up = { from: client, to: server };
  const down = { from: server, to: client };
  return [
    ipPacket({ ...up, seq: 1000, flags: SYN, id: 1 }),
    ipPacket({ ...down, seq: 5000, ack: 1001, flags: SYN | ACK, id: 0 }),
    ipPacket({ ...up, seq: 1001, ack: 5001, id: 2 }),
    ipPacket({ ...up, seq: 1001, ack: 5001, flags: PSH | ACK, payload: request, id: 3 }),
    ipPacket({ ...down, seq: 5001, ack: 1001 + asked, flags: PSH | ACK, payload: response, id: 1 }),
    ipPacket({ ...up, seq: 1001 + asked, ack: 5001 + answered, flags: FIN | ACK, id: 4 }),
    ipPacket({ ...down, seq: 5001 + answered, ack: 1002 + asked, flags: FIN | ACK, id: 2 }),
    ipPacket({ ...up, seq: 1002 + asked, ack: 5002 + answered, id: 5 }),
  ].map((ip, i) => ({ time: time + i, ip }));
}

export const GET = (target: string, headers = ''): string =>
  `GET ${target} HTTP/1.1\r\nHost: 100.100.100.200\r\n${headers}\r\n`;
export const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

/** The frames of IP packets on a link. */
export const onLink = (link: LinkName, packets: readonly { time: number; ip: Buffer }[]): Frame[] =>
  packets.map(({ time, ip }) => ({ time, bytes: LINKS[link].wrap(ip) }));
