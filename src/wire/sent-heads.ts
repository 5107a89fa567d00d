/** What all connections together have sent and is not known to have arrived; a request takes some hundred bytes for as long as its answer. */
const RING_BYTES = 1024 * 1024;
/** Pieces of one connection that are remembered apart; those that follow one another are one. */
const MAX_PIECES = 64;

/** Bytes of heads, the oldest of which are overwritten where there are too many. Places are counted on and on. */
export class SentBytes {
  #bytes: Buffer | undefined;
  /** Where the next piece comes. */
  #end = 0;
  /** Pieces that somebody still asks for. */
  #pieces = 0;

  get end(): number {
    return this.#end;
  }

  /** Keeps `bytes[from..to)`, at most a segment: its place. `more` of the piece that ends at `end`, or a new one. */
  put(bytes: Buffer, from: number, to: number, more: boolean): number {
    this.#bytes ??= Buffer.alloc(RING_BYTES);
    if (!more) this.#pieces++;
    const at = this.fits(to - from) ? this.#end : Math.ceil(this.#end / RING_BYTES) * RING_BYTES;
    bytes.copy(this.#bytes, at % RING_BYTES, from, to);
    this.#end = at + (to - from);
    return at;
  }

  /** Whether as many more come directly behind what is there, and not at the ring's beginning. */
  fits(length: number): boolean {
    return (this.#end % RING_BYTES) + length <= RING_BYTES;
  }

  /** Undefined where the bytes from that place on are not there any more. */
  isSame(at: number, bytes: Buffer, from: number, to: number): boolean | undefined {
    if (!this.#isThere(at)) return undefined;
    const start = at % RING_BYTES;
    return bytes.compare(this.#bytes!, start, start + (to - from), from, to) === 0;
  }

  /** They may hold a token: they go as soon as they are of no use. */
  forget(at: number, length: number): void {
    if (this.#isThere(at)) this.#bytes!.fill(0, at % RING_BYTES, (at % RING_BYTES) + length);
    this.#pieces--;
    // Mostly there is one at a time: so it is the same memory again and again.
    if (this.#pieces === 0) this.#end = 0;
  }

  #isThere(at: number): boolean {
    return this.#end - at <= RING_BYTES;
  }
}

interface Piece {
  seq: number;
  length: number;
  at: number;
}

/**
 * The bytes of one connection's heads until the service has acknowledged them. TCP sends again what did not arrive, and what
 * it sends then need not be what it sent first: of sendfile(2), splice(2) and MSG_ZEROCOPY it holds the sender's own pages, not a
 * copy. Who has the first attempt lost on the way (by a short time to live, say) could so show one request, and ask another.
 */
export class SentHeads {
  readonly #bytes: SentBytes;
  /** In the order of the stream. */
  #pieces: Piece[] | undefined;
  /** Behind what there was no room for. */
  #forgotten: number | undefined;

  constructor(bytes: SentBytes) {
    this.#bytes = bytes;
  }

  /** Keeps `bytes[from..to)`, of which the first has the number `seq`. */
  keep(bytes: Buffer, from: number, to: number, seq: number): void {
    if (from === to) return;
    this.#pieces ??= [];
    const pieces = this.#pieces;
    const last = pieces.at(-1);
    const follows =
      last !== undefined &&
      ((last.seq + last.length) | 0) === seq &&
      last.at + last.length === this.#bytes.end &&
      this.#bytes.fits(to - from);
    const at = this.#bytes.put(bytes, from, to, follows);
    if (follows) {
      last.length += to - from;
      return;
    }
    pieces.push({ seq, length: to - from, at });
    if (pieces.length > MAX_PIECES) this.#forgotten = this.#takeFirst(pieces);
  }

  /** The service has all before `ack`. */
  acknowledged(ack: number): void {
    const pieces = this.#pieces;
    if (pieces === undefined) return;
    while (pieces.length > 0 && ((pieces[0]!.seq + pieces[0]!.length - ack) | 0) <= 0) this.#takeFirst(pieces);
    if (pieces.length === 0) this.clear();
  }

  /** Whether `bytes[from..to)`, of which the first has the number `seq`, are not, or can't be told to be, what was sent before. */
  differ(bytes: Buffer, from: number, to: number, seq: number): boolean {
    const pieces = this.#pieces;
    if (pieces === undefined || pieces.length === 0) return false;
    const last = pieces.at(-1)!;
    // Nearly always: it is new.
    if (((seq - last.seq - last.length) | 0) >= 0) return false;
    if (this.#forgotten !== undefined && ((seq - this.#forgotten) | 0) < 0) return true;
    for (const piece of pieces) {
      const offset = (piece.seq - seq) | 0;
      const start = Math.max(0, offset);
      const end = Math.min(to - from, offset + piece.length);
      if (start < end && !this.#bytes.isSame(piece.at + start - offset, bytes, from + start, from + end)) return true;
    }
    return false;
  }

  clear(): void {
    const pieces = this.#pieces;
    this.#pieces = undefined;
    this.#forgotten = undefined;
    if (pieces !== undefined) for (const { at, length } of pieces) this.#bytes.forget(at, length);
  }

  /** The number behind it. */
  #takeFirst(pieces: Piece[]): number {
    const { seq, length, at } = pieces.shift()!;
    this.#bytes.forget(at, length);
    return (seq + length) | 0;
  }
}
