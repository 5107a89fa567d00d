/** Something that values of a cache refer to, and whose size counts once as long as any of them does. */
export interface Charged {
  /** Its size in memory, an estimate on the high side. */
  readonly bytes: number;
}

/**
 * A map that keeps its most recently used entries: at most `maxEntries`, and no more than what they refer to fits into
 * `maxBytes`. A Map iterates in insertion order, so taking an entry out and putting it back makes it the youngest, and
 * the first key is the oldest. The cost of a call is that of its own value and of those that it pushes out.
 */
export class LruMap<K, V> {
  readonly #entries = new Map<K, V>();
  readonly #references = new Map<Charged, number>();
  #bytes = 0;

  /** `chargesOf` lists what a value refers to; it must say the same as long as the value is kept. */
  constructor(
    private readonly maxEntries: number,
    private readonly maxBytes: number,
    private readonly chargesOf: (value: V) => readonly Charged[],
  ) {}

  get size(): number {
    return this.#entries.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** The value, which becomes the most recently used one. */
  get(key: K): V | undefined {
    const value = this.#entries.get(key);
    if (value === undefined) return undefined;
    this.#entries.delete(key);
    this.#entries.set(key, value);
    return value;
  }

  set(key: K, value: V): void {
    this.delete(key);
    this.#entries.set(key, value);
    for (const item of this.chargesOf(value)) {
      const references = this.#references.get(item) ?? 0;
      if (references === 0) this.#bytes += item.bytes;
      this.#references.set(item, references + 1);
    }
    while (this.#entries.size > this.maxEntries || (this.#bytes > this.maxBytes && this.#entries.size > 1)) {
      for (const oldest of this.#entries.keys()) {
        this.delete(oldest);
        break;
      }
    }
  }

  delete(key: K): void {
    const value = this.#entries.get(key);
    if (value === undefined) return;
    this.#entries.delete(key);
    for (const item of this.chargesOf(value)) {
      const references = this.#references.get(item)! - 1;
      if (references > 0) {
        this.#references.set(item, references);
      } else {
        this.#references.delete(item);
        this.#bytes -= item.bytes;
      }
    }
  }
}
