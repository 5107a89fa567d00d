import { hash, randomBytes } from 'node:crypto';
import { LruMap } from '../lru.js';

/** How many values are remembered; the least recently seen goes first. */
const MAX_LEARNED = 4096;
/** Shorter words are no session token, and would blank ordinary words. */
const MIN_LENGTH = 16;
const MAX_LENGTH = 4096;
/** A word with a leading slash may be a path that someone sent as a "token" to blind the log: ask more of it. */
const MIN_LENGTH_WITH_SLASH = 24;

/**
 * Words of the alphabets of base64, base64url, hexadecimal numbers, JSON web tokens and percent-encoding. `=` is none of
 * them, so a token counts with and without its padding. A run that is too short fails within MIN_LENGTH steps.
 */
const WORD = new RegExp(`[A-Za-z0-9+/_.~%-]{${MIN_LENGTH},}`, 'g');

/**
 * Secret values seen on the wire, so that they are known again where no name stands beside them.
 *
 * Holds no value: only SHA-256 hashes under a random key of this process, and lengths. Whoever can send requests can
 * have words learned; that only words that look like tokens (16 characters or more, with a letter and a digit, no path
 * that begins with `//`) are, keeps such a sender from blanking the commands and addresses of others.
 */
export class LearnedSecrets {
  readonly #key = randomBytes(32).toString('base64');
  /** How many learned words have a length: spares the hash for nearly every word. */
  readonly #lengths = new Uint16Array(MAX_LENGTH + 1);
  /** By their hashes: each word, and the beginning of each. */
  readonly #words = new LruMap<string, LearnedWord>(MAX_LEARNED, Number.POSITIVE_INFINITY, {
    take: ({ length }) => {
      this.#lengths[length]! += 1;
      return 0;
    },
    giveBack: ({ length }) => {
      this.#lengths[length]! -= 1;
      return 0;
    },
  });
  readonly #beginnings = new LruMap<string, true>(MAX_LEARNED);
  #version = 0;
  /** Hash of the word that was seen last: as a rule the next request has it as well, and nothing is to be remembered. */
  #last = '';

  get size(): number {
    return this.#words.size;
  }

  /** Another number whenever something was learned that was not known: what was redacted before may hold it. */
  get version(): number {
    return this.#version;
  }

  /** Remembers the words of a secret header's value. */
  learn(value: string): void {
    for (const match of value.slice(0, MAX_LENGTH * 2).matchAll(WORD)) {
      const word = match[0];
      if (!isLearnable(word)) continue;
      const hashed = this.#hash(word);
      if (hashed === this.#last) continue;
      this.#last = hashed;
      let learned = this.#words.get(hashed);
      if (learned === undefined) {
        learned = { length: word.length, beginning: this.#hash(`^${word.slice(0, MIN_LENGTH)}`) };
        this.#version += 1;
        this.#words.set(hashed, learned);
      }
      this.#beginnings.set(learned.beginning, true);
    }
  }

  /** Whether `word`, as it is or percent-decoded, was learned. */
  has(word: string): boolean {
    const plain = word.includes('%') ? percentDecoded(word) : word;
    if (!this.#lengths[plain.length]) return false;
    return isLearnable(plain) && this.#words.has(this.#hash(plain));
  }

  /** Whether a learned word begins as `word` does: for a word that was cut short. */
  hasBeginning(word: string): boolean {
    return word.length >= MIN_LENGTH && this.#beginnings.has(this.#hash(`^${word.slice(0, MIN_LENGTH)}`));
  }

  /** `text` with every learned word replaced; with `cut`, a last word that begins like a learned one too. */
  redact(text: string, replacement: string, cut: boolean): string {
    if (this.#words.size === 0 || text.length < MIN_LENGTH) return text;
    return text.replace(WORD, (word, at: number) =>
      this.has(word) || (cut && at + word.length === text.length && this.hasBeginning(word)) ? replacement : word,
    );
  }

  #hash(text: string): string {
    return hash('sha256', this.#key + text, 'base64');
  }
}

interface LearnedWord {
  length: number;
  /** Hash of its beginning. */
  beginning: string;
}

function isLearnable(word: string): boolean {
  if (word.length < MIN_LENGTH || word.length > MAX_LENGTH) return false;
  if (!/[0-9]/.test(word) || !/[A-Za-z]/.test(word)) return false;
  if (/^[A-Za-z0-9+_]/.test(word)) return true;
  return word.length >= MIN_LENGTH_WITH_SLASH && /^\/[^/]/.test(word) && /[a-z]/.test(word) && /[A-Z]/.test(word);
}

function percentDecoded(word: string): string {
  try {
    const decoded = decodeURIComponent(word);
    let end = decoded.length;
    while (end > 0 && decoded[end - 1] === '=') end--;
    return decoded.slice(0, end);
  } catch {
    return word;
  }
}
