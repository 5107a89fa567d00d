/** What tells a connection from all others: a socket cookie, or addresses and ports, as a number where they fit. */
export type FlowKey = string | number | bigint;

/** A power of two. */
const INITIAL_SLOTS = 1_024;

/**
 * Values by key, as a Map has them. V8's Map lays its table out anew for every so many that come and go, and keeps each
 * number in an object of its own: with thousands of connections a second, all of which are soon forgotten, that is most of
 * what the garbage collector has to carry. Here a number costs no object, and a table that is large enough stays.
 *
 * Open addressing with linear probing, at most half full, without tombstones. Ports and addresses are the choice of
 * whoever connects, so the hash has multipliers that are drawn anew for each table.
 */
export class FlowIndex<T> {
  readonly #others = new Map<string | bigint, T>();
  readonly #low = randomOdd();
  readonly #high = randomOdd();
  #keys = new Float64Array(INITIAL_SLOTS);
  #values: (T | undefined)[] = emptySlots(INITIAL_SLOTS);
  #numbered = 0;

  get size(): number {
    return this.#numbered + this.#others.size;
  }

  get(key: FlowKey): T | undefined {
    return typeof key === 'number' ? this.#values[this.#slotOf(key)] : this.#others.get(key);
  }

  set(key: FlowKey, value: T): void {
    if (typeof key !== 'number') {
      this.#others.set(key, value);
      return;
    }
    if ((this.#numbered + 1) * 2 > this.#keys.length) this.#grow();
    const slot = this.#slotOf(key);
    if (this.#values[slot] === undefined) this.#numbered++;
    this.#keys[slot] = key;
    this.#values[slot] = value;
  }

  delete(key: FlowKey): void {
    if (typeof key !== 'number') {
      this.#others.delete(key);
      return;
    }
    const values = this.#values;
    const keys = this.#keys;
    const mask = keys.length - 1;
    let hole = this.#slotOf(key);
    if (values[hole] === undefined) return;
    this.#numbered--;
    // Whoever was put behind because this one was in the way moves up.
    for (let at = (hole + 1) & mask; values[at] !== undefined; at = (at + 1) & mask) {
      const home = this.#home(keys[at]!);
      if (((at - home) & mask) < ((at - hole) & mask)) continue;
      keys[hole] = keys[at]!;
      values[hole] = values[at];
      hole = at;
    }
    values[hole] = undefined;
  }

  /** Where the key is, or the free slot where it belongs. */
  #slotOf(key: number): number {
    const mask = this.#keys.length - 1;
    let slot = this.#home(key);
    while (this.#values[slot] !== undefined && this.#keys[slot] !== key) slot = (slot + 1) & mask;
    return slot;
  }

  /** Keys are whole numbers below 2^53 and their negatives. */
  #home(key: number): number {
    const high = Math.floor(key / 2 ** 32) | 0;
    const mixed = Math.imul(key | 0, this.#low) ^ Math.imul(high, this.#high);
    return (mixed ^ (mixed >>> 15)) & (this.#keys.length - 1);
  }

  #grow(): void {
    const keys = this.#keys;
    const values = this.#values;
    this.#keys = new Float64Array(keys.length * 2);
    this.#values = emptySlots(keys.length * 2);
    for (const [i, value] of values.entries()) {
      if (value === undefined) continue;
      const slot = this.#slotOf(keys[i]!);
      this.#keys[slot] = keys[i]!;
      this.#values[slot] = value;
    }
  }
}

const emptySlots = <T>(count: number): (T | undefined)[] => new Array<T | undefined>(count).fill(undefined);

const randomOdd = (): number => Math.floor(Math.random() * 2 ** 32) | 1;
