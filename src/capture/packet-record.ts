import { formatAddress } from '../addresses.js';
import { Constants, Layout } from './layout.js';
import type { PacketRecord } from './types.js';

/**
 * A packet's record. There is one for each packet of an endpoint, so it is read by whole words: Buffer's read methods check
 * each offset anew, and the text of an address costs more than all the rest.
 */
export class DecodedPacket implements PacketRecord {
  readonly type = 'packet';
  readonly direction: PacketRecord['direction'];
  readonly localAddress: string;
  readonly localPort: number;
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly wireLength: number;
  readonly flowKey: PacketRecord['flowKey'];
  readonly cookie: bigint;
  readonly cgroupId: bigint;

  /**
   * @param words of `batch`
   * @param first of the record's words, whose fixed part is there
   */
  constructor(
    readonly batch: Buffer,
    words: Int32Array,
    first: number,
    readonly time: number,
    readonly start: number,
    readonly end: number,
  ) {
    this.direction = (words[first + FLAGS]! & EGRESS) !== 0 ? 'egress' : 'ingress';
    const cookieLow = words[first + COOKIE]!;
    const cookieHigh = words[first + COOKIE + 1]!;
    this.cookie = uint64(cookieLow, cookieHigh);
    this.cgroupId = uint64(words[first + CGROUP]!, words[first + CGROUP + 1]!);
    this.localAddress = local.at(batch, words, first + LOCAL_ADDRESS);
    this.remoteAddress = remote.at(batch, words, first + REMOTE_ADDRESS);
    const ports = words[first + PORTS]!;
    this.localPort = ports & 0xffff;
    this.remotePort = ports >>> 16;
    this.wireLength = words[first + WIRE_LENGTH]! >>> 0;
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

/** Fields by the number of their word; those of 16 bits share one, the first in its low half (little-endian). */
const FLAGS = Layout.header.type >> 2;
const EGRESS = Constants.flagEgress << 16;
const COOKIE = Layout.packet.cookie >> 2;
const CGROUP = Layout.packet.cgroupId >> 2;
const LOCAL_ADDRESS = Layout.packet.localAddress >> 2;
const REMOTE_ADDRESS = Layout.packet.remoteAddress >> 2;
const PORTS = Layout.packet.localPort >> 2;
const WIRE_LENGTH = Layout.packet.wireLength >> 2;

/** Cookies are counted from 1, so that nearly all are exact as a number. */
const keyOfCookie = (cookie: bigint, low: number, high: number): number | bigint =>
  high < 2 ** 21 ? high * 2 ** 32 + low : cookie;

/** Without a cookie. An IPv4 address and a port have 48 bits; with the number of the remote end, as a negative number, they are no cookie's. */
export function keyOfAddresses({
  localAddress,
  localPort,
  remoteAddress,
  remotePort,
}: Pick<PacketRecord, 'localAddress' | 'localPort' | 'remoteAddress' | 'remotePort'>): number | string {
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
  /** The last word, which an IPv4 address consists of; signed. */
  last = 0;
  #first = 0;
  #second = 0;
  #third = 0;
  #text = '::';
  readonly #known = new Map<number, string>();

  at(batch: Buffer, words: Int32Array, at: number): string {
    const first = words[at]!;
    const second = words[at + 1]!;
    const third = words[at + 2]!;
    const last = words[at + 3]!;
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
      text = formatAddress(batch, at << 2);
      if (this.#known.size >= MAX_KNOWN) this.#known.clear();
      if (this.isMapped) this.#known.set(last, text);
    }
    this.#text = text;
    return text;
  }
}

/** Of the record read last, for `keyOfAddresses`. */
export const local = new AddressTexts();
export const remote = new AddressTexts();

const uint64 = (low: number, high: number): bigint =>
  low === 0 && high === 0 ? 0n : (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);
