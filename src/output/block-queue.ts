/** A part of a file that is written whole or not at all: a line with its end, a packet. */
export type Block = string | Buffer;

/** Blocks lie one behind another in pieces of memory of this size, and a longer one in a piece of its own. */
const CHUNK_BYTES = 256 * 1024;

interface Chunk {
  bytes: Buffer;
  /** Blocks lie in `bytes[from..to)`. */
  from: number;
  to: number;
  /** Of the blocks, in order, from `first` on. */
  lengths: number[];
  first: number;
}

/** Whole blocks that lie one behind another. */
export interface Blocks {
  readonly bytes: Buffer;
  readonly lengths: readonly number[];
}

/**
 * Blocks that wait to be written, in order, as the bytes that they will be. As strings they would wait on V8's heap, long
 * enough for each collection of young garbage to copy them, and to be taken for what lives long.
 */
export class BlockQueue {
  readonly #chunks: Chunk[] = [];
  #spare: Buffer | undefined;
  #count = 0;

  /** How many blocks there are. */
  get count(): number {
    return this.#count;
  }

  /** `length`: of the block in bytes. */
  append(block: Block, length: number): void {
    let chunk = this.#chunks.at(-1);
    if (chunk === undefined || length > chunk.bytes.length - chunk.to) {
      chunk = this.#newChunk(length);
      this.#chunks.push(chunk);
    }
    if (typeof block !== 'string') block.copy(chunk.bytes, chunk.to);
    // So many bytes as characters: then all are ASCII, and copied as they are.
    else chunk.bytes.write(block, chunk.to, block.length === length ? 'latin1' : 'utf8');
    chunk.to += length;
    chunk.lengths.push(length);
    this.#count++;
  }

  /** Length of the first block, undefined where there is none. */
  get firstLength(): number | undefined {
    const chunk = this.#firstChunk();
    return chunk?.lengths[chunk.first];
  }

  /** Takes the first block, and of those that lie behind it as many as `room` has bytes for. The bytes stay until `taken`. */
  take(room: number): Blocks | undefined {
    const chunk = this.#firstChunk();
    if (chunk === undefined) return undefined;
    const { first, from } = chunk;
    let last = first + 1;
    let to = from + chunk.lengths[first]!;
    for (; last < chunk.lengths.length; last++) {
      const next = to + chunk.lengths[last]!;
      if (next - from > room) break;
      to = next;
    }
    chunk.first = last;
    chunk.from = to;
    this.#count -= last - first;
    return { bytes: chunk.bytes.subarray(from, to), lengths: chunk.lengths.slice(first, last) };
  }

  /** What was taken last is not needed any more, its memory is free. */
  taken(): void {
    const chunk = this.#chunks[0];
    if (chunk === undefined || chunk.first < chunk.lengths.length) return;
    chunk.from = 0;
    chunk.to = 0;
    chunk.first = 0;
    chunk.lengths = [];
    if (this.#chunks.length > 1 || chunk.bytes.length > CHUNK_BYTES) this.#drop();
  }

  /** Puts blocks before the others; `bytes` are copied. */
  putBack({ bytes, lengths }: Blocks): void {
    if (lengths.length === 0) return;
    this.#chunks.unshift({ bytes: Buffer.from(bytes), from: 0, to: bytes.length, lengths: [...lengths], first: 0 });
    this.#count += lengths.length;
  }

  /** Takes all. */
  takeAll(): Buffer {
    const all = Buffer.concat(this.#chunks.map(({ bytes, from, to }) => bytes.subarray(from, to)));
    this.clear();
    return all;
  }

  clear(): void {
    this.#chunks.length = 0;
    this.#count = 0;
  }

  /** The first that holds a block; those before it are used up. */
  #firstChunk(): Chunk | undefined {
    for (;;) {
      const chunk = this.#chunks[0];
      if (chunk === undefined || chunk.first < chunk.lengths.length) return chunk;
      // Still to be filled.
      if (this.#chunks.length === 1) return undefined;
      this.#drop();
    }
  }

  #drop(): void {
    const { bytes } = this.#chunks.shift()!;
    if (bytes.length === CHUNK_BYTES) this.#spare ??= bytes;
  }

  #newChunk(length: number): Chunk {
    let bytes = length <= CHUNK_BYTES ? this.#spare : undefined;
    if (bytes !== undefined) this.#spare = undefined;
    bytes ??= Buffer.allocUnsafeSlow(Math.max(length, CHUNK_BYTES));
    return { bytes, from: 0, to: 0, lengths: [], first: 0 };
  }
}

/** In bytes. */
export const lengthOf = (block: Block): number => (typeof block === 'string' ? Buffer.byteLength(block) : block.length);
