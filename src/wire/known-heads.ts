import type { HeaderBlock } from './http-head.js';

/** Of each length that many different texts are known, and that many in all. */
const MAX_ALIKE = 8;
const MAX_KNOWN = 64;
/** Longer ones are rare, and what is kept stays small. */
const MAX_LENGTH = 2_048;

/** What was read from bytes that may come again. */
export interface KnownHead {
  /** The same object whenever the same header lines came before: what was made of them can be kept by it. */
  readonly block: HeaderBlock;
  /** Of the message's first line. */
  readonly version: string;
  /** Of a response. */
  readonly status: number;
}

interface Kept extends KnownHead {
  readonly bytes: Buffer;
}

/**
 * Heads that are byte for byte as one before need no parsing: the clients of a host are few, and send the same again and
 * again. What is kept holds tokens as they are on the wire, so it is only kept from `begin` to `end`, which is as long as
 * the batch that it came in is in memory anyway.
 */
export class KnownHeads {
  #byLength: (Kept[] | undefined)[] | undefined;
  #count = 0;

  /** A batch begins. */
  begin(): void {
    this.#byLength = [];
    this.#count = 0;
  }

  /** The batch is over: nothing is kept. */
  end(): void {
    this.#byLength = undefined;
  }

  get keeps(): boolean {
    return this.#byLength !== undefined;
  }

  /** What was read before of the bytes `[from..to)`. */
  find(bytes: Buffer, from: number, to: number): KnownHead | undefined {
    const candidates = this.#byLength?.[to - from];
    if (candidates === undefined) return undefined;
    for (const candidate of candidates) if (isSame(bytes, from, to, candidate.bytes)) return candidate;
    return undefined;
  }

  /** Keeps what was read of the bytes `[from..to)`. False where there is no room, or no batch. */
  add(bytes: Buffer, from: number, to: number, block: HeaderBlock, version: string, status: number): boolean {
    const table = this.#byLength;
    const length = to - from;
    if (table === undefined || length > MAX_LENGTH || this.#count >= MAX_KNOWN) return false;
    const alike = table[length] ?? [];
    if (alike.length >= MAX_ALIKE) return false;
    table[length] = alike;
    // A copy of its own: the batch's buffer is filled again.
    const copy = Buffer.allocUnsafeSlow(length);
    bytes.copy(copy, 0, from, to);
    alike.push({ bytes: copy, block, version, status });
    this.#count++;
    return true;
  }
}

/** By hand: for some hundred bytes a call of Buffer's own comparison takes longer. */
function isSame(bytes: Buffer, from: number, to: number, known: Buffer): boolean {
  for (let i = 0, at = from; at < to; i++, at++) if (bytes[at] !== known[i]) return false;
  return true;
}
