import type { WireCounters } from './counters.js';
import { MAX_HEAD_BYTES } from './limits.js';

const LF = 10;
const CR = 13;
const INITIAL_CAPACITY = 1024;

/** Where in a line the search for the blank line stopped. */
const IN_LINE = 0;
const LINE_START = 1;
const AFTER_CR = 2;

/**
 * Finds the end of a head (a blank line; line ends may be bare LF, RFC 9112 section 2.2) over any split into segments. Each
 * byte is looked at once. A head that is whole in one segment is not copied; otherwise its parts are kept, at most
 * MAX_HEAD_BYTES, and counted.
 */
export class HeadCollector {
  readonly #counters: WireCounters;
  #kept: Buffer | undefined;
  #line = IN_LINE;
  /** Bytes kept of a head that is not whole yet. */
  length = 0;

  constructor(counters: WireCounters) {
    this.#counters = counters;
  }

  /** What the kept bytes take up. */
  get bufferedBytes(): number {
    return this.#kept?.length ?? 0;
  }

  /** Looks for the end of the head in `bytes[from..to)`, which follow what is kept: the index behind it, or -1. */
  find(bytes: Buffer, from: number, to: number): number {
    let line = this.#line;
    let at = from;
    while (at < to) {
      if (line === IN_LINE) {
        while (at < to && bytes[at] !== LF) at++;
        if (at === to) break;
        at++;
        line = LINE_START;
      } else {
        const byte = bytes[at++];
        if (byte === LF) {
          this.#line = IN_LINE;
          return at;
        }
        line = byte === CR && line === LINE_START ? AFTER_CR : IN_LINE;
      }
    }
    this.#line = line;
    return -1;
  }

  /** Keeps bytes that `find` went through. The caller sees to the bound on `length`. */
  keep(bytes: Buffer, from: number, to: number): void {
    const length = this.length + (to - from);
    if (this.#kept === undefined || this.#kept.length < length) {
      let capacity = Math.max(INITIAL_CAPACITY, this.#kept?.length ?? 0);
      while (capacity < length) capacity *= 2;
      const grown = Buffer.allocUnsafeSlow(Math.min(capacity, Math.max(length, MAX_HEAD_BYTES)));
      this.#kept?.copy(grown, 0, 0, this.length);
      this.#counters.bufferedBytes += grown.length - this.bufferedBytes;
      this.#kept = grown;
    }
    bytes.copy(this.#kept, this.length, from, to);
    this.length = length;
  }

  /** The kept bytes `[from..to)` as latin1. */
  text(from: number, to: number): string {
    return this.#kept?.toString('latin1', from, to) ?? '';
  }

  /** The index of the first LF among the kept bytes from `from` on, or -1. */
  lineEnd(from: number): number {
    const index = this.#kept?.subarray(0, this.length).indexOf(LF, from) ?? -1;
    return index;
  }

  /** The whole head as latin1: what is kept and `bytes[from..end)`. Nothing is kept any more. */
  take(bytes: Buffer, from: number, end: number): string {
    const head = this.text(0, this.length) + bytes.toString('latin1', from, end);
    this.drop();
    return head;
  }

  /** Forgets a head that will not become whole. */
  drop(): void {
    this.#counters.bufferedBytes -= this.bufferedBytes;
    this.#kept = undefined;
    this.length = 0;
    this.#line = IN_LINE;
  }
}
