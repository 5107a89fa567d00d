import type { WireCounters } from './counters.js';
import { HeadCollector } from './head-collector.js';
import { ChunkedBody } from './http-chunked.js';
import {
  beginsWithRequestLine,
  firstLine,
  type HeaderBlock,
  mayBeginRequestLine,
  parseHeaders,
  parseRequestLine,
  type RequestLine,
  TOKEN,
} from './http-head.js';
import type { KnownHeads } from './known-heads.js';
import { MAX_HEAD_BYTES } from './limits.js';
import { SentHeads } from './sent-heads.js';
import type { Origin, StreamSink } from './tcp.js';
import type { RequestHead, UnparsedBytes, UnparsedReason } from './types.js';

export interface RequestOwner {
  /** A head is whole; `clientHad` and `headEnd` as in pairing.ts. */
  requestHead(head: RequestHead, block: HeaderBlock, clientHad: number | undefined, headEnd: number): void;
  unparsed(what: UnparsedBytes): void;
}

type State =
  | 'head' // within a head, or before one
  | 'body' // within a body of known length
  | 'chunked'
  | 'distrusted' // behind a head whose framing is unsure, or that left HTTP: the first byte makes the rest unparsed
  | 'lost' // waiting for a segment that begins with a request line
  | 'skip'; // no HTTP/1.x, or no longer

const CR = 13;
const LF = 10;
const SPACE = 32;

/** Reads the requests of one connection. */
export class RequestReader implements StreamSink {
  readonly #owner: RequestOwner;
  readonly #head: HeadCollector;
  readonly #known: KnownHeads;
  /** All but bodies, whose bytes decide nothing. */
  readonly #sent: SentHeads;
  #state: State = 'head';
  #bodyLeft = 0;
  #chunked: ChunkedBody | undefined;
  /** What is skipped over now was already told of. */
  #told = false;
  /** The head being read was begun on the guess that the connection's first bytes seen are a head's first. */
  #guessed = false;
  #fresh = true;

  /** Of the head being read: its first byte's time and acknowledgment, and how far its first line is checked. */
  #time = 0;
  #clientHad: number | undefined;
  #methodSeen = false;
  #lineSeen = false;

  constructor(owner: RequestOwner, counters: WireCounters) {
    this.#owner = owner;
    this.#head = new HeadCollector(counters);
    this.#known = counters.requestHeads;
    this.#sent = new SentHeads(counters.sentHeads);
  }

  get bufferedBytes(): number {
    return this.#head.bufferedBytes;
  }

  begin(midStream: boolean): void {
    if (midStream) this.#state = 'lost';
  }

  data(bytes: Buffer, from: number, to: number, origin: Origin): void {
    let at = from;
    while (at < to) {
      switch (this.#state) {
        case 'head': {
          const start = at;
          at = this.#readHead(bytes, at, to, origin, (origin.seq - from) | 0);
          this.#sent.keep(bytes, start, at, (origin.seq + start - from) | 0);
          break;
        }
        case 'body': {
          const taken = Math.min(this.#bodyLeft, to - at);
          at += taken;
          this.#bodyLeft -= taken;
          if (this.#bodyLeft === 0) this.#state = 'head';
          break;
        }
        case 'chunked': {
          const body = this.#chunked!;
          const start = at;
          at = body.consume(bytes, at, to);
          this.#sent.keep(bytes, start, at, (origin.seq + start - from) | 0);
          if (body.broken) this.#state = 'distrusted';
          else if (body.done) this.#state = 'head';
          break;
        }
        case 'lost':
          if (at !== from || !this.#findsHead(bytes, from, to, origin)) {
            if (!this.#told) this.#tell('gap', to - at, origin.time);
            at = to;
          }
          break;
        case 'distrusted':
          this.#tell('non_http', to - at, origin.time);
          this.#state = 'skip';
          return;
        case 'skip':
          return;
      }
      this.#fresh = false;
    }
  }

  gap(bytes: number, time: number): void {
    this.#fresh = false;
    let missing = bytes;
    switch (this.#state) {
      case 'body':
        missing -= this.#bodyLeft;
        this.#bodyLeft = Math.max(0, -missing);
        if (this.#bodyLeft === 0) this.#state = 'head';
        if (missing <= 0) return;
        break;
      case 'chunked':
        if (this.#chunked!.absorb(bytes)) return;
        break;
      case 'lost':
        if (!this.#told) this.#tell('gap', bytes, time);
        return;
      case 'distrusted':
        this.distrust(bytes, time);
        return;
      case 'skip':
        return;
      case 'head':
        break;
    }
    this.#giveUp('gap', this.#head.length + missing, this.#head.length > 0 ? this.#time : time);
  }

  /** No more bytes will come: half a head is told of as `reason`. */
  end(reason: UnparsedReason): void {
    if (this.#head.length > 0) this.#tell(this.#guessed ? 'gap' : reason, this.#head.length, this.#time);
    this.skip();
  }

  /**
   * What follows is another protocol's. It is told of, if there is any: a metadata service has no other protocol, and what
   * it may have answered so by mistake must not hide the requests behind it.
   */
  leaveHttp(): void {
    if (this.#head.length > 0) this.distrust(0, this.#time);
    else if (this.#state !== 'skip') this.#state = 'distrusted';
  }

  /** The service has received all before `ack`. */
  acknowledged(ack: number): void {
    this.#sent.acknowledged(ack);
  }

  /** Takes a segment's bytes, the first with the number `seq`, before it is known which of them are new. */
  sent(bytes: Buffer, from: number, to: number, seq: number, time: number): void {
    if (this.#sent.differ(bytes, from, to, seq)) this.distrust(to - from, time, 'changed_on_resend');
  }

  /** Nothing more is read. */
  skip(): void {
    this.#head.drop();
    this.#sent.clear();
    this.#state = 'skip';
  }

  /** What follows can't be trusted to be read as the service reads it. */
  distrust(bytes: number, time: number, reason: UnparsedReason = 'non_http'): void {
    if (this.#state === 'skip') return;
    this.#tell(reason, this.#head.length + bytes, this.#head.length > 0 ? this.#time : time);
    this.skip();
  }

  #tell(reason: UnparsedReason, bytes: number, time: number): void {
    this.#told = true;
    this.#owner.unparsed({ time, reason, bytes });
  }

  /** The head being read is no head, or lost. */
  #giveUp(reason: UnparsedReason, bytes: number, time: number): void {
    const why = reason === 'non_http' && this.#guessed ? 'gap' : reason;
    this.#head.drop();
    this.#guessed = false;
    this.#state = why === 'non_http' ? 'skip' : 'lost';
    this.#tell(why, bytes, time);
  }

  #findsHead(bytes: Buffer, from: number, to: number, origin: Origin): boolean {
    if (!origin.segmentStart) return false;
    const guessed = this.#fresh && mayBeginRequestLine(bytes, from, to);
    if (!guessed && !beginsWithRequestLine(bytes, from, to)) return false;
    this.#guessed = guessed;
    this.#state = 'head';
    return true;
  }

  /** @param base sequence number of index 0 of `bytes` */
  #readHead(bytes: Buffer, from: number, to: number, origin: Origin, base: number): number {
    const head = this.#head;
    let at = from;
    if (head.length === 0) {
      // Empty lines before a request line are passed over (RFC 9112 section 2.2).
      while (at < to && (bytes[at] === CR || bytes[at] === LF)) at++;
      if (at === to) return to;
      this.#time = origin.time;
      this.#clientHad = origin.ack;
      if (this.#readKnown(bytes, at, to, base)) return to;
      this.#methodSeen = false;
      this.#lineSeen = false;
    }
    const whole = head.length === 0;
    const end = head.find(bytes, at, to);
    const length = head.length + (end < 0 ? to : end) - at;
    if (length > MAX_HEAD_BYTES) {
      const known = this.#lineSeen || (head.length === 0 && beginsWithRequestLine(bytes, at, to));
      this.#giveUp(known ? 'head_too_large' : 'non_http', head.length + to - at, this.#time);
      return to;
    }
    if (end < 0) {
      const before = head.length;
      head.keep(bytes, at, to);
      if (!this.#isPlausible(bytes, at, to, before)) this.#giveUp('non_http', head.length, this.#time);
      return to;
    }
    const text = head.take(bytes, at, end);
    const line = parseRequestLine(firstLine(text));
    if (line === undefined) {
      this.#giveUp('non_http', length + to - end, this.#time);
      return to;
    }
    const block = parseHeaders(text, line.version);
    if (block === undefined) {
      this.#giveUp('head_too_large', length + to - end, this.#time);
      return to;
    }
    const recurring =
      whole && end === to && this.#known.add(bytes, at + text.indexOf('\n') + 1, to, block, line.version, 0);
    this.#headRead(line, block, length, (base + end) | 0, recurring);
    return end;
  }

  /** A head that is all there is of its segment, and whose header lines came before. */
  #readKnown(bytes: Buffer, from: number, to: number, base: number): boolean {
    if (!this.#known.keeps || to - from > MAX_HEAD_BYTES) return false;
    let lineEnd = from;
    while (lineEnd < to && bytes[lineEnd] !== LF) lineEnd++;
    const known = this.#known.find(bytes, lineEnd + 1, to);
    if (known === undefined) return false;
    const line = parseRequestLine(firstLine(bytes.toString('latin1', from, lineEnd + 1)));
    if (line === undefined || line.version !== known.version) return false;
    this.#headRead(line, known.block, to - from, (base + to) | 0, true);
    return true;
  }

  /** @param headEnd sequence number behind the head */
  #headRead(line: RequestLine, block: HeaderBlock, length: number, headEnd: number, recurring: boolean): void {
    this.#guessed = false;
    this.#told = false;
    const { method, target, version } = line;
    const { headers, framing } = block;
    if (framing === 'chunked') {
      this.#chunked = new ChunkedBody();
      this.#state = 'chunked';
    } else if (framing === 'unsure') {
      this.#state = 'distrusted';
    } else if (typeof framing === 'number' && framing > 0) {
      this.#bodyLeft = framing;
      this.#state = 'body';
    } else {
      this.#state = 'head';
    }
    const head: RequestHead = { time: this.#time, method, target, version, headers, headBytes: length };
    if (recurring) head.recurring = true;
    this.#owner.requestHead(head, block, this.#clientHad, headEnd);
  }

  /** Whether what is kept can still become a head, each byte looked at once: what can't is told of at once. */
  #isPlausible(bytes: Buffer, from: number, to: number, keptBefore: number): boolean {
    let at = from;
    if (!this.#methodSeen) {
      while (at < to && TOKEN[bytes[at]!] === 1) at++;
      if (at === to) return true;
      if (bytes[at] !== SPACE || keptBefore + at - from === 0) return false;
      this.#methodSeen = true;
    }
    if (this.#lineSeen) return true;
    const lineEnd = this.#head.lineEnd(keptBefore + at - from);
    if (lineEnd < 0) return true;
    this.#lineSeen = true;
    return parseRequestLine(firstLine(this.#head.text(0, lineEnd + 1))) !== undefined;
  }
}
