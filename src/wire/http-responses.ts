import { findAccessKeyId } from './access-key-id.js';
import type { WireCounters } from './counters.js';
import { HeadCollector } from './head-collector.js';
import { ChunkedBody } from './http-chunked.js';
import { firstLine, type HeaderBlock, parseHeaders, parseStatusLine } from './http-head.js';
import type { KnownHeads } from './known-heads.js';
import { MAX_HEAD_BYTES } from './limits.js';
import type { ExpectedBody, ResponseStart } from './pairing.js';
import type { Origin, StreamSink } from './tcp.js';
import type { ResponseHead } from './types.js';

export interface ResponseOwner {
  /** A final response's head (or a 101) is whole. */
  responseHead(head: ResponseHead, start: ResponseStart): ExpectedBody;
  /** The number at which the next response must begin, if that is certain. */
  expectedResponse(): number | undefined;
  /** Responses may have been missed. */
  responsesMissed(): void;
}

type State =
  | 'head'
  | 'body'
  | 'chunked'
  | 'lost' // within a body of unknown length, or behind missing bytes: waiting for where a response must begin
  | 'skip';

const CR = 13;
const LF = 10;
const PREFIX = Buffer.from('HTTP/1.');

/** Reads the responses of one connection. */
export class ResponseReader implements StreamSink {
  readonly #owner: ResponseOwner;
  readonly #head: HeadCollector;
  readonly #known: KnownHeads;
  #state: State = 'head';
  #bodyLeft = 0;
  #chunked: ChunkedBody | undefined;
  #time = 0;
  /** Where the exchange's first head began: an informational response comes before the final one. */
  #start: ResponseStart | undefined;

  constructor(owner: ResponseOwner, counters: WireCounters) {
    this.#owner = owner;
    this.#head = new HeadCollector(counters);
    this.#known = counters.responseHeads;
  }

  get bufferedBytes(): number {
    return this.#head.bufferedBytes;
  }

  begin(midStream: boolean): void {
    if (midStream) this.#lose();
  }

  data(bytes: Buffer, from: number, to: number, origin: Origin): void {
    let at = from;
    while (at < to) {
      switch (this.#state) {
        case 'head':
          at = this.#readHead(bytes, at, to, origin, (origin.seq - from) | 0);
          break;
        case 'body': {
          const taken = Math.min(this.#bodyLeft, to - at);
          at += taken;
          this.#bodyLeft -= taken;
          if (this.#bodyLeft === 0) this.#state = 'head';
          break;
        }
        case 'chunked': {
          const body = this.#chunked!;
          at = body.consume(bytes, at, to);
          if (body.broken) this.#lose();
          else if (body.done) this.#state = 'head';
          break;
        }
        case 'lost':
          if (at !== from || !this.#beginsResponse(bytes, from, to, origin)) return;
          this.#state = 'head';
          break;
        case 'skip':
          return;
      }
    }
  }

  gap(bytes: number): void {
    if (this.#state === 'body' && bytes <= this.#bodyLeft) {
      this.#bodyLeft -= bytes;
      if (this.#bodyLeft === 0) this.#state = 'head';
    } else if (this.#state !== 'skip' && !(this.#state === 'chunked' && this.#chunked!.absorb(bytes))) {
      this.#lose();
    }
  }

  /** What follows is another protocol's, or nothing. */
  skip(): void {
    this.#head.drop();
    this.#state = 'skip';
  }

  #lose(): void {
    this.#head.drop();
    this.#start = undefined;
    this.#state = 'lost';
    this.#owner.responsesMissed();
  }

  /**
   * Where a body's end is not known, only a place that a request acknowledged is taken for a response's beginning; or, when
   * the request may come later (a capture that reorders), a segment that holds a whole head: its owner waits for the proof.
   */
  #beginsResponse(bytes: Buffer, from: number, to: number, origin: Origin): boolean {
    if (!origin.segmentStart || !hasPrefix(bytes, from, to)) return false;
    if (this.#owner.expectedResponse() === origin.seq) return true;
    const whole = this.#head.find(bytes, from, to) >= 0;
    this.#head.drop();
    return whole;
  }

  #readHead(bytes: Buffer, from: number, to: number, origin: Origin, base: number): number {
    const head = this.#head;
    let at = from;
    if (head.length === 0) {
      while (at < to && (bytes[at] === CR || bytes[at] === LF)) at++;
      if (at === to) return to;
      this.#time = origin.time;
      this.#start ??= { seq: (base + at) | 0, serverHad: origin.ack };
    }
    const end = head.find(bytes, at, to);
    if (head.length + (end < 0 ? to : end) - at > MAX_HEAD_BYTES) {
      this.#lose();
      return to;
    }
    if (end < 0) {
      const begun = head.length < PREFIX.length;
      head.keep(bytes, at, to);
      if (begun && !'HTTP/1.'.startsWith(head.text(0, Math.min(head.length, PREFIX.length)))) this.#lose();
      return to;
    }
    const whole = head.length === 0;
    const known = whole ? this.#known.find(bytes, at, end) : undefined;
    if (known !== undefined) return this.#headRead(known.status, known.version, known.block, bytes, end, to);
    const text = head.take(bytes, at, end);
    const line = parseStatusLine(firstLine(text));
    const block = line === undefined ? undefined : parseHeaders(text, line.version);
    if (line === undefined || block === undefined) {
      this.#lose();
      return to;
    }
    if (whole) this.#known.add(bytes, at, end, block, line.version, line.status);
    return this.#headRead(line.status, line.version, block, bytes, end, to);
  }

  /** A head is whole, and ends at `end` in `bytes`. */
  #headRead(status: number, version: string, block: HeaderBlock, bytes: Buffer, end: number, to: number): number {
    // 101 ends the exchange; other informational responses come before the final one (RFC 9110 section 15.2).
    if (status < 200 && status !== 101) return end;

    const response: ResponseHead = { time: this.#time, status, version, headers: block.headers };
    if (status === 200) {
      const accessKeyId = findAccessKeyId(bytes, end, to);
      if (accessKeyId !== undefined) response.accessKeyId = accessKeyId;
    }
    const start = this.#start!;
    this.#start = undefined;
    const expected = this.#owner.responseHead(response, start);
    // RFC 9112 section 6.3. Without a length the body ends with the connection, or, should the server not keep to that, where
    // the next request says it did.
    if (expected === 'tunnel') this.skip();
    else if (expected === 'unknown') this.#lose();
    else if (expected === 'none' || block.framing === 0) this.#state = 'head';
    else if (block.framing === 'chunked') {
      this.#chunked = new ChunkedBody();
      this.#state = 'chunked';
    } else if (typeof block.framing === 'number') {
      this.#bodyLeft = block.framing;
      this.#state = 'body';
    } else this.#lose();
    return end;
  }
}

function hasPrefix(bytes: Buffer, from: number, to: number): boolean {
  if (to - from < PREFIX.length) return false;
  for (let i = 0; i < PREFIX.length; i++) if (bytes[from + i] !== PREFIX[i]) return false;
  return true;
}
