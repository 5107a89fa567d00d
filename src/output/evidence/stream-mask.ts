import type { WireCounters } from '../../wire/counters.js';
import { HeadCollector } from '../../wire/head-collector.js';
import { ChunkedBody } from '../../wire/http-chunked.js';
import { MAX_HEAD_BYTES } from '../../wire/limits.js';
import type { Origin, StreamSink } from '../../wire/tcp.js';
import { BLANK } from './blank-head.js';

/**
 * What comes behind a head: so many bytes of body, chunks, bytes of which nothing is known until another head certainly
 * begins, or bytes that are never shown.
 */
export type Following = number | 'chunked' | 'unknown' | 'never';

/** Where a head stands in its stream: sequence numbers of its first byte and behind its last, and what the sender had received. */
export interface HeadPlace {
  seq: number;
  end: number;
  ack: number | undefined;
}

/** What requests and responses differ in. */
export interface HeadRules {
  /** The blanked head and what comes behind it; undefined for what is no head. `head` is latin1. */
  read(head: string, place: HeadPlace): { shown: Buffer; following: Following } | undefined;
  /** Whether a head certainly begins with this segment, whatever came before. */
  begins(bytes: Buffer, from: number, to: number, origin: Origin): boolean;
  /** Heads may have been missed. */
  missed(): void;
}

/** Shown bytes of a stream, BLANK between them. */
interface Piece {
  seq: number;
  bytes: Buffer;
}

/** Shown bytes that are remembered of a stream, for its last packets and their retransmissions; with bookkeeping. */
const MAX_PIECE_BYTES = 128 * 1024;
const PIECE_OVERHEAD = 256;

const CR = 13;
const LF = 10;

/**
 * Knows which bytes of one direction of a connection may be shown, and which they are: those of heads that were read whole,
 * blanked, and the framing of chunked bodies. Everything else is blank: bodies, what is no HTTP, and what could not be
 * placed (lost, cut, overtaken by another segment's bytes, or forgotten, as memory is bounded).
 */
export class StreamMask implements StreamSink {
  /** What is remembered, bookkeeping included. */
  bufferedBytes = 0;

  readonly #rules: HeadRules;
  readonly #head: HeadCollector;
  #state: 'head' | 'body' | 'chunked' | 'unknown' | 'never' = 'head';
  #bodyLeft = 0;
  #chunked = new ChunkedBody();
  #headSeq = 0;
  #headAck: number | undefined;
  /** Sequence number behind the last byte delivered. */
  #next: number | undefined;
  /** In the order of the stream. */
  readonly #pieces: Piece[] = [];
  /** Of the run in hand. */
  #found: Piece[] = [];

  constructor(rules: HeadRules, counters: WireCounters) {
    this.#rules = rules;
    this.#head = new HeadCollector(counters);
  }

  /** Whether all bytes before `end` are decided on: shown or blank for good. */
  decided(end: number): boolean {
    if (this.#next === undefined) return false;
    return ((end - (this.#head.length > 0 ? this.#headSeq : this.#next)) | 0) <= 0;
  }

  /** Blanks what may not be shown of `bytes[from..to)`, whose first byte has the number `seq`, in place. */
  blank(bytes: Buffer, from: number, to: number, seq: number): void {
    const length = to - from;
    if (length <= 0) return;
    const shown = Buffer.alloc(length, BLANK);
    for (let i = this.#pieces.length - 1; i >= 0; i--) {
      const piece = this.#pieces[i]!;
      const offset = (piece.seq - seq) | 0;
      if (offset + piece.bytes.length <= 0) break;
      const end = Math.min(length, offset + piece.bytes.length);
      for (let at = Math.max(0, offset); at < end; at++) {
        // A segment can have other bytes than those that were read at this place.
        const byte = piece.bytes[at - offset]!;
        if (bytes[from + at] === byte) shown[at] = byte;
      }
    }
    shown.copy(bytes, from);
  }

  /** Shows nothing that comes from here on. */
  stop(): void {
    this.#head.drop();
    this.#state = 'never';
  }

  begin(midStream: boolean): void {
    if (midStream) this.#state = 'unknown';
  }

  data(bytes: Buffer, from: number, to: number, origin: Origin): void {
    const base = (origin.seq - from) | 0;
    let at = from;
    while (at < to) {
      switch (this.#state) {
        case 'head':
          at = this.#readHead(bytes, at, to, origin, base);
          break;
        case 'body': {
          const taken = Math.min(this.#bodyLeft, to - at);
          at += taken;
          this.#bodyLeft -= taken;
          if (this.#bodyLeft === 0) this.#state = 'head';
          break;
        }
        case 'chunked':
          at = this.#readChunks(bytes, at, to, base);
          break;
        case 'unknown':
          if (at === from && origin.segmentStart && this.#rules.begins(bytes, from, to, origin)) this.#state = 'head';
          else at = to;
          break;
        case 'never':
          at = to;
          break;
      }
    }
    this.#next = (base + to) | 0;
    this.#rememberFound();
  }

  gap(bytes: number): void {
    if (this.#next !== undefined) this.#next = (this.#next + bytes) | 0;
    if (this.#state === 'body' && bytes <= this.#bodyLeft) {
      this.#bodyLeft -= bytes;
      if (this.#bodyLeft === 0) this.#state = 'head';
    } else if (this.#state !== 'never' && !(this.#state === 'chunked' && this.#chunked.absorb(bytes))) {
      this.#lose();
    }
  }

  #lose(): void {
    this.#head.drop();
    this.#state = 'unknown';
    this.#rules.missed();
  }

  /** @param base sequence number of index 0 of `bytes` */
  #readHead(bytes: Buffer, from: number, to: number, origin: Origin, base: number): number {
    const head = this.#head;
    let at = from;
    if (head.length === 0) {
      // Empty lines before a head.
      while (at < to && (bytes[at] === CR || bytes[at] === LF)) at++;
      if (at > from) this.#show((base + from) | 0, Buffer.from(bytes.subarray(from, at)));
      if (at === to) return to;
      this.#headSeq = (base + at) | 0;
      this.#headAck = origin.ack;
    }
    const end = head.find(bytes, at, to);
    if (head.length + (end < 0 ? to : end) - at > MAX_HEAD_BYTES) {
      this.stop();
      this.#rules.missed();
      return to;
    }
    if (end < 0) {
      head.keep(bytes, at, to);
      return to;
    }
    const read = this.#rules.read(head.take(bytes, at, end), {
      seq: this.#headSeq,
      end: (base + end) | 0,
      ack: this.#headAck,
    });
    if (read === undefined) {
      this.stop();
      this.#rules.missed();
      return to;
    }
    this.#show(this.#headSeq, read.shown);
    this.#follow(read.following);
    return end;
  }

  #follow(following: Following): void {
    if (following === 'unknown') this.#lose();
    else if (following === 'never') this.stop();
    else if (following === 'chunked') {
      this.#chunked = new ChunkedBody();
      this.#state = 'chunked';
    } else {
      this.#bodyLeft = following;
      this.#state = following > 0 ? 'body' : 'head';
    }
  }

  /** Shows sizes and line ends, which it takes to find the end of the body, and nothing of the extensions and trailers. */
  #readChunks(bytes: Buffer, from: number, to: number, base: number): number {
    const body = this.#chunked;
    const shown = Buffer.alloc(to - from, BLANK);
    let at = from;
    while (at < to && !body.done) {
      if (body.absorb(to - at)) {
        at = to;
        break;
      }
      const { part } = body;
      body.consume(bytes, at, at + 1);
      if (body.broken) {
        this.stop();
        this.#rules.missed();
        at = to;
        break;
      }
      const byte = bytes[at]!;
      const isFraming = part === 'size' || (part !== 'data' && (byte === CR || byte === LF));
      if (isFraming) shown[at - from] = byte;
      at++;
    }
    if (body.done) this.#state = 'head';
    this.#show((base + from) | 0, shown.subarray(0, at - from));
    return at;
  }

  #show(seq: number, bytes: Buffer): void {
    this.#found.push({ seq, bytes });
  }

  /** As one piece: a segment can hold thousands of heads. */
  #rememberFound(): void {
    const found = this.#found;
    const first = found[0];
    if (first === undefined) return;
    this.#found = [];
    const last = found.at(-1)!;
    let piece = first;
    if (found.length > 1) {
      piece = { seq: first.seq, bytes: Buffer.alloc(((last.seq - first.seq) | 0) + last.bytes.length, BLANK) };
      for (const { seq, bytes } of found) bytes.copy(piece.bytes, (seq - first.seq) | 0);
    }
    this.#pieces.push(piece);
    this.bufferedBytes += piece.bytes.length + PIECE_OVERHEAD;
    while (this.bufferedBytes > MAX_PIECE_BYTES && this.#pieces.length > 1) {
      this.bufferedBytes -= this.#pieces.shift()!.bytes.length + PIECE_OVERHEAD;
    }
  }
}
