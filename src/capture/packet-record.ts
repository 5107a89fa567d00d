import { formatAddress } from './addresses.js';
import { Constants, Layout } from './layout.js';
import type { PacketRecord } from './types.js';

/**
 * A packet's record. There is one for each packet of an endpoint, so it is read by hand: Buffer's read methods check each
 * offset anew, and the text of an address costs more than all the rest.
 */
export class DecodedPacket implements PacketRecord {
  readonly type = 'packet';
  readonly direction: PacketRecord['direction'];
  readonly localAddress: string;
  readonly localPort: number;
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly wireLength: number;
  readonly flowKey: NonNullable<PacketRecord['flowKey']>;
  readonly cookie: bigint;
  readonly cgroupId: bigint;

  /** @param at where the record begins in `batch`; its fixed part is there */
  constructor(
    readonly batch: Buffer,
    at: number,
    readonly time: number,
    readonly start: number,
    readonly end: number,
  ) {
    const fields = Layout.packet;
    this.direction = (batch[at + Layout.header.flags]! & Constants.flagEgress) !== 0 ? 'egress' : 'ingress';
    const cookieLow = int32(batch, at + fields.cookie);
    const cookieHigh = int32(batch, at + fields.cookie + 4);
    this.cookie = uint64(cookieLow, cookieHigh);
    this.cgroupId = uint64(int32(batch, at + fields.cgroupId), int32(batch, at + fields.cgroupId + 4));
    this.localAddress = local.at(batch, at + fields.localAddress);
    this.localPort = uint16(batch, at + fields.localPort);
    this.remoteAddress = remote.at(batch, at + fields.remoteAddress);
    this.remotePort = uint16(batch, at + fields.remotePort);
    this.wireLength = int32(batch, at + fields.wireLength) >>> 0;
    this.flowKey =
      cookieLow !== 0 || cookieHigh !== 0
        ? keyOfCookie(this.cookie, cookieLow >>> 0, cookieHigh >>> 0)
        : keyOfAddresses(this);
  }

  /** Made when asked for: a view costs as much as all else here. */
  get data(): Buffer {
    return this.batch.subarray(this.start, this.end);
  }
}

/** Cookies are counted from 1, so that nearly all are exact as a number. */
const keyOfCookie = (cookie: bigint, low: number, high: number): number | bigint =>
  high < 2 ** 21 ? high * 2 ** 32 + low : cookie;

/** An IPv4 address and a port have 48 bits; with the number of the remote end, as a negative number, they are no cookie's. */
function keyOfAddresses({ localAddress, localPort, remoteAddress, remotePort }: PacketRecord): number | string {
  const end = endNumber(remoteAddress, remotePort);
  return end < MAX_NUMBERED_ENDS && local.isMapped
    ? -((end * 2 ** 16 + localPort) * 2 ** 32 + (local.last >>> 0))
    : `${localAddress} ${localPort} ${remoteAddress} ${remotePort}`;
}

/** 2^53 / 2^48. */
const MAX_NUMBERED_ENDS = 32;
const ends = new Map<string, number>();
let lastAddress = '';
let lastPort = 0;
let lastEnd = MAX_NUMBERED_ENDS;

/** Of an endpoint: from 0 on, MAX_NUMBERED_ENDS for those that found no number left. */
function endNumber(address: string, port: number): number {
  if (address === lastAddress && port === lastPort) return lastEnd;
  const name = `${address} ${port}`;
  let end = ends.get(name);
  if (end === undefined) {
    end = ends.size;
    if (end < MAX_NUMBERED_ENDS) ends.set(name, end);
  }
  lastAddress = address;
  lastPort = port;
  lastEnd = end;
  return end;
}

/** IPv4 addresses whose text is remembered. */
const MAX_KNOWN = 4096;
/** The bytes 0, 0, 0xff, 0xff before an IPv4 address. */
const MAPPED = 0xffff0000 | 0;

/** Text of addresses, most of which were seen before. */
class AddressTexts {
  isMapped = false;
  /** The last four bytes, of which an IPv4 address consists, most significant first; signed. */
  last = 0;
  #first = 0;
  #second = 0;
  #third = 0;
  #text = '::';
  readonly #known = new Map<number, string>();

  at(batch: Buffer, at: number): string {
    const first = int32(batch, at);
    const second = int32(batch, at + 4);
    const third = int32(batch, at + 8);
    const last = (batch[at + 12]! << 24) | (batch[at + 13]! << 16) | (batch[at + 14]! << 8) | batch[at + 15]!;
    if (last === this.last && third === this.#third && second === this.#second && first === this.#first) {
      return this.#text;
    }
    this.#first = first;
    this.#second = second;
    this.#third = third;
    this.last = last;
    this.isMapped = first === 0 && second === 0 && third === MAPPED;
    let text = this.isMapped ? this.#known.get(last) : undefined;
    if (text === undefined) {
      text = formatAddress(batch, at);
      if (this.#known.size >= MAX_KNOWN) this.#known.clear();
      if (this.isMapped) this.#known.set(last, text);
    }
    this.#text = text;
    return text;
  }
}

const local = new AddressTexts();
const remote = new AddressTexts();

const uint16 = (bytes: Buffer, at: number): number => bytes[at]! | (bytes[at + 1]! << 8);
const int32 = (bytes: Buffer, at: number): number =>
  bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);

const uint64 = (low: number, high: number): bigint =>
  low === 0 && high === 0 ? 0n : (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);
