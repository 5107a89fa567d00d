/** Something whose size counts as long as anyone refers to it. */
export interface Charged {
  /** About its size in memory. */
  readonly bytes: number;
  refs: number;
}

/**
 * Counts the bytes of objects that several caches share, each once. Sizes are estimates on the high side; the point is that the
 * sum can't grow with what a local user puts into his argv.
 */
export class MemoryAccount {
  #bytes = 0;

  get bytes(): number {
    return this.#bytes;
  }

  retain(item: Charged): void {
    if (item.refs === 0) this.#bytes += item.bytes;
    item.refs += 1;
  }

  release(item: Charged): void {
    item.refs -= 1;
    if (item.refs === 0) this.#bytes -= item.bytes;
  }
}
