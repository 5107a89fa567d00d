/** The first wait is up to this long, each further one up to twice the one before, up to the greatest, in milliseconds. */
const FIRST_MS = 500;
const GREATEST_MS = 30_000;
/** A receiver that asks for more than this (Retry-After) is asked again all the same. */
const GREATEST_ASKED_MS = 10 * 60_000;

/**
 * Waits between attempts, with full jitter: each is anywhere from nothing to the bound, so that many hosts whose receiver
 * comes back don't all come at once (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
 */
export class Backoff {
  #failures = 0;

  constructor(private readonly random: () => number = Math.random) {}

  /** After a failure: how long to wait, in milliseconds. `askedMs` is what the receiver wants at least. */
  next(askedMs = 0): number {
    const bound = Math.min(GREATEST_MS, FIRST_MS * 2 ** Math.min(this.#failures, 30));
    this.#failures++;
    // What was asked for is kept to; the jitter comes on top.
    return Math.min(askedMs, GREATEST_ASKED_MS) + this.random() * bound;
  }

  /** After a success. */
  reset(): void {
    this.#failures = 0;
  }
}
