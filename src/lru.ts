/** How much of the byte limit a value takes, asked when it comes in, and gives back when it goes. */
export interface Weight<V> {
  take(value: V): number;
  giveBack(value: V): number;
}

interface Entry<K, V> {
  key: K;
  value: V;
  older: Entry<K, V> | undefined;
  newer: Entry<K, V> | undefined;
}

/** Finds the entries of an LruMap; a Map, or what serves its keys better. */
export interface Index<K, E> {
  readonly size: number;
  get(key: K): E | undefined;
  set(key: K, entry: E): unknown;
  delete(key: K): unknown;
}

const WEIGHTLESS: Weight<unknown> = { take: () => 0, giveBack: () => 0 };

/**
 * A map that keeps its most recently used entries, at most `maxEntries` of together at most `maxBytes`, but always the
 * newest. Each call is O(1), those entries aside that it pushes out.
 *
 * The order is a linked list beside the Map. The order of a Map itself would do, but for V8's hash table: an entry that is deleted
 * and put in again leaves a hole in its bucket, so that a key often used would cost a walk over thousands of holes.
 */
export class LruMap<K, V> {
  readonly #entries: Index<K, Entry<K, V>>;
  #oldest: Entry<K, V> | undefined;
  #newest: Entry<K, V> | undefined;
  #bytes = 0;

  constructor(
    private readonly maxEntries: number,
    private readonly maxBytes = Number.POSITIVE_INFINITY,
    private readonly weight: Weight<V> = WEIGHTLESS,
    entries: Index<K, Entry<K, V>> = new Map(),
  ) {
    this.#entries = entries;
  }

  get size(): number {
    return this.#entries.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Whether it is there, which is no use of it. */
  has(key: K): boolean {
    return this.#entries.get(key) !== undefined;
  }

  /** The value, which becomes the most recently used one. */
  get(key: K): V | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    this.#unlink(entry);
    this.#append(entry);
    return entry.value;
  }

  set(key: K, value: V): void {
    let entry: Entry<K, V> | undefined = this.#entries.get(key);
    this.#bytes += this.weight.take(value);
    if (entry === undefined) {
      // The one that has to go makes room, and lends what it was kept in: a full map makes nothing new.
      entry = this.#entries.size >= this.maxEntries ? this.#remove(this.#oldest!) : undefined;
      if (entry === undefined) {
        entry = { key, value, older: undefined, newer: undefined };
      } else {
        entry.key = key;
        entry.value = value;
      }
      this.#entries.set(key, entry);
    } else {
      this.#bytes -= this.weight.giveBack(entry.value);
      entry.value = value;
      this.#unlink(entry);
    }
    this.#append(entry);
    while (this.#bytes > this.maxBytes && this.#entries.size > 1) this.#remove(this.#oldest!);
  }

  delete(key: K): void {
    const entry = this.#entries.get(key);
    if (entry !== undefined) this.#remove(entry);
  }

  #remove(entry: Entry<K, V>): Entry<K, V> {
    this.#entries.delete(entry.key);
    this.#unlink(entry);
    this.#bytes -= this.weight.giveBack(entry.value);
    return entry;
  }

  #unlink(entry: Entry<K, V>): void {
    if (entry.older === undefined) this.#oldest = entry.newer;
    else entry.older.newer = entry.newer;
    if (entry.newer === undefined) this.#newest = entry.older;
    else entry.newer.older = entry.older;
  }

  #append(entry: Entry<K, V>): void {
    entry.older = this.#newest;
    entry.newer = undefined;
    if (this.#newest === undefined) this.#oldest = entry;
    else this.#newest.newer = entry;
    this.#newest = entry;
  }
}

/** The weight of values that know it and are in a cache once. */
export const OWN_BYTES: Weight<{ readonly bytes: number }> = {
  take: ({ bytes }) => bytes,
  giveBack: ({ bytes }) => bytes,
};
