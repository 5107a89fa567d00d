import { Layout } from './layout.js';
import { keyOfAddresses, local, remote } from './packet-record.js';
import type { ExchangeRecord, PacketRecord, PassedRecord } from './types.js';

/**
 * A whole connection's record. One object for all of them, each for as long as the call that it is handed to: they are many,
 * and little of each is looked at.
 */
export class DecodedExchange implements ExchangeRecord {
  readonly type = 'exchange';
  readonly cookie = 0n;
  readonly cgroupId = 0n;
  batch: Buffer = NOTHING;
  time = 0;
  requestTime = 0;
  status = 0;
  head = 0;
  remoteAddress = '';
  remotePort = 0;
  localPort = 0;
  queryStart = 0;
  bodyStart = 0;
  bodyEnd = 0;
  #words: Int32Array = NO_WORDS;
  #first = 0;

  /**
   * @param words of `batch`
   * @param first of the record's words, whose fixed part is there
   */
  read(batch: Buffer, words: Int32Array, first: number, time: number, requestTime: number): void {
    this.batch = batch;
    this.time = time;
    this.requestTime = requestTime;
    this.status = words[first + STATUS]! & 0xffff;
    const head = words[first + HEAD]!;
    this.head = head & 0xffff;
    this.remoteAddress = remote.at(batch, words, first + REMOTE_ADDRESS);
    const ports = words[first + PORTS]!;
    this.localPort = ports & 0xffff;
    this.remotePort = ports >>> 16;
    this.queryStart = (first << 2) + Layout.exchange.size;
    this.bodyStart = this.queryStart + (head >>> 16);
    this.bodyEnd = this.bodyStart + words[first + BODY_LENGTH]!;
    this.#words = words;
    this.#first = first;
  }

  get localAddress(): string {
    return local.at(this.batch, this.#words, this.#first + LOCAL_ADDRESS);
  }
  get flowKey(): PacketRecord['flowKey'] {
    return keyOfAddresses(this);
  }
  get family(): 4 | 6 {
    return ((this.#words[this.#first + STATUS]! >> 16) & 0xff) === 4 ? 4 : 6;
  }
  get version(): '1.0' | '1.1' {
    return this.#words[this.#first + STATUS]! >>> 24 === 0 ? '1.0' : '1.1';
  }
}

const NOTHING = Buffer.alloc(0);
const NO_WORDS = new Int32Array(0);

/** @param lastUse in milliseconds */
export function decodedPassed(
  batch: Buffer,
  words: Int32Array,
  first: number,
  time: number,
  lastUse: number,
): PassedRecord {
  const at = Layout.passed;
  const ports = words[first + (at.localPort >> 2)]!;
  const addresses = {
    localAddress: local.at(batch, words, first + (at.localAddress >> 2)),
    remoteAddress: remote.at(batch, words, first + (at.remoteAddress >> 2)),
    localPort: ports & 0xffff,
    remotePort: ports >>> 16,
  };
  return {
    type: 'passed',
    time,
    lastUse,
    flowKey: keyOfAddresses(addresses),
    clientFirst: words[first + (at.clientFirst >> 2)]!,
    clientNext: words[first + (at.clientNext >> 2)]!,
    serviceFirst: words[first + (at.serviceFirst >> 2)]!,
    serviceNext: words[first + (at.serviceNext >> 2)]!,
  };
}

/** Fields by the number of their word; those of 8 or 16 bits share one, the first in its lowest bits (little-endian). */
const STATUS = Layout.exchange.status >> 2;
const HEAD = Layout.exchange.head >> 2;
const LOCAL_ADDRESS = Layout.exchange.localAddress >> 2;
const REMOTE_ADDRESS = Layout.exchange.remoteAddress >> 2;
const PORTS = Layout.exchange.localPort >> 2;
const BODY_LENGTH = Layout.exchange.bodyLength >> 2;
