import { boundText } from '../output/escape.js';

/** Room for texts that others choose, shared by many tallies. */
export class TextRoom {
  constructor(private left: number) {}

  /** Takes room for a text; false where there is not enough and `reserve` characters must stay. */
  take(text: string, reserve = 0): boolean {
    // An object and an entry of a map beside the characters.
    const size = text.length + 64;
    if (this.left - reserve < size) return false;
    this.left -= size;
    return true;
  }
}

/** How often each of a bounded number of texts occurred, as JSON. */
export interface TallyJson {
  counts: [text: string, count: number][];
  more: number;
}

/** Counts texts, the first `limit` of them by themselves, and all further ones together. */
export class Tally {
  readonly #counts = new Map<string, number>();
  #more = 0;

  constructor(
    readonly limit: number,
    readonly maxText: number,
    private readonly room: TextRoom,
    /** Characters of the room that this tally must leave to others. */
    private readonly reserve = 0,
  ) {}

  add(text: string, count = 1): void {
    const key = boundText(text, this.maxText);
    const known = this.#counts.get(key);
    if (known === undefined && (this.#counts.size >= this.limit || !this.room.take(key, this.reserve))) {
      this.#more += count;
      return;
    }
    this.#counts.set(key, (known ?? 0) + count);
  }

  get(text: string): number {
    return this.#counts.get(text) ?? 0;
  }

  get size(): number {
    return this.#counts.size;
  }

  /** Occurrences of texts that there was no room for. */
  get more(): number {
    return this.#more;
  }

  get total(): number {
    let sum = this.#more;
    for (const count of this.#counts.values()) sum += count;
    return sum;
  }

  /** The most frequent first, those as frequent by their text. */
  sorted(): [text: string, count: number][] {
    return [...this.#counts].sort(([a, many], [b, more]) => more - many || (a < b ? -1 : 1));
  }

  texts(): string[] {
    return this.sorted().map(([text]) => text);
  }

  toJSON(): TallyJson {
    return { counts: [...this.#counts], more: this.#more };
  }

  merge({ counts, more }: TallyJson): void {
    for (const [text, count] of counts) this.add(text, count);
    this.#more += more;
  }
}
