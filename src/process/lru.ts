/**
 * A map that keeps the `maxEntries` most recently used entries: a Map iterates in insertion order, so taking an entry
 * out and putting it back makes it the youngest, and the first key is the oldest. Every call is O(1).
 */
export class LruMap<K, V> {
  readonly #entries = new Map<K, V>();

  /** `onRemove` hears of every value that leaves: replaced, deleted or pushed out. */
  constructor(
    private readonly maxEntries: number,
    private readonly onRemove: (value: V) => void,
  ) {}

  get size(): number {
    return this.#entries.size;
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
    if (this.#entries.size > this.maxEntries) this.dropOldest();
  }

  delete(key: K): void {
    const value = this.#entries.get(key);
    if (value === undefined) return;
    this.#entries.delete(key);
    this.onRemove(value);
  }

  /** Removes the least recently used entry; false when there is none. */
  dropOldest(): boolean {
    const oldest = this.#entries.keys().next();
    if (oldest.done) return false;
    this.delete(oldest.value);
    return true;
  }
}
