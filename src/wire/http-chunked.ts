import { MAX_HEAD_BYTES } from './limits.js';

const LF = 10;
const CR = 13;
/** 13 hexadecimal digits are exact in a double. */
const MAX_SIZE_DIGITS = 13;

/** What a byte of a chunked body belongs to; `data` is its content. */
export type ChunkedPart = 'size' | 'extension' | 'size_lf' | 'data' | 'data_cr' | 'data_lf' | 'trailer' | 'trailer_lf';

/**
 * Finds the end of a chunked body (RFC 9112 section 7.1), looking at nothing but its framing. Strict, unlike the reading of
 * heads: servers disagree on bare LFs and odd sizes here, and each disagreement is a way to smuggle (RFC 9112 section 11.2).
 */
export class ChunkedBody {
  done = false;
  broken = false;
  #state: ChunkedPart = 'size';
  #size = 0;
  #digits = 0;
  /** Bytes of the current trailer line. */
  #line = 0;
  /** Bytes of extensions and trailers so far: a server's patience with them is bounded too. */
  #extra = 0;

  /** What the next byte belongs to. */
  get part(): ChunkedPart {
    return this.#state;
  }

  /** Takes bytes of the body: the index behind those taken, less than `to` only when `done` or `broken`. */
  consume(bytes: Buffer, from: number, to: number): number {
    let at = from;
    while (at < to) {
      if (this.#state === 'data') {
        const taken = Math.min(this.#size, to - at);
        this.#skip(taken);
        at += taken;
        continue;
      }
      this.#step(bytes[at]!);
      if (this.broken) return at;
      at++;
      if (this.done) return at;
    }
    return at;
  }

  /** Takes note of bytes that are missing: false when they are not all within a chunk's data. */
  absorb(bytes: number): boolean {
    if (this.#state !== 'data' || bytes > this.#size) return false;
    this.#skip(bytes);
    return true;
  }

  #skip(bytes: number): void {
    this.#size -= bytes;
    if (this.#size === 0) this.#state = 'data_cr';
  }

  #step(byte: number): void {
    switch (this.#state) {
      case 'size': {
        const digit = hexValue(byte);
        if (digit >= 0) {
          this.#size = this.#size * 16 + digit;
          if (++this.#digits > MAX_SIZE_DIGITS) this.broken = true;
        } else if (this.#digits === 0) this.broken = true;
        else if (byte === CR) this.#state = 'size_lf';
        else if (byte === 0x3b || byte === 0x20 || byte === 0x09) this.#state = 'extension';
        else this.broken = true;
        return;
      }
      case 'extension':
        if (byte === CR) this.#state = 'size_lf';
        else if (byte === LF || ++this.#extra > MAX_HEAD_BYTES) this.broken = true;
        return;
      case 'size_lf':
        if (byte !== LF) this.broken = true;
        this.#state = this.#size === 0 ? 'trailer' : 'data';
        this.#digits = 0;
        return;
      case 'data_cr':
        if (byte !== CR) this.broken = true;
        this.#state = 'data_lf';
        return;
      case 'data_lf':
        if (byte !== LF) this.broken = true;
        this.#state = 'size';
        return;
      case 'trailer':
        if (byte === CR) this.#state = 'trailer_lf';
        else if (byte === LF || ++this.#extra > MAX_HEAD_BYTES) this.broken = true;
        else this.#line++;
        return;
      case 'trailer_lf':
        if (byte !== LF) this.broken = true;
        this.done = this.#line === 0;
        this.#line = 0;
        this.#state = 'trailer';
        return;
      case 'data':
        return;
    }
  }
}

function hexValue(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const lower = byte | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}
