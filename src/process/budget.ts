/**
 * A token bucket of time. Work on /proc costs microseconds on one host and a tenth of a second on another, and what
 * asks for it is in the hands of any local user: so what is limited is the time that it took, not how often.
 */
export class WorkBudget {
  #availableMs: number;
  #updated: number;

  /** `share`: of wall time that may be spent in the long run (0.2 = 200 ms a second); `burstMs`: at once after a rest. */
  constructor(
    private readonly share: number,
    private readonly burstMs: number,
    private readonly now: () => number = () => performance.now(),
  ) {
    this.#availableMs = burstMs;
    this.#updated = now();
  }

  /**
   * Runs `work` unless the budget is used up, then `undefined`. Work that has begun is not cut short: it goes into
   * debt, which is paid off before the next begins.
   */
  run<T>(work: () => T): T | undefined {
    const started = this.now();
    this.#availableMs = Math.min(this.burstMs, this.#availableMs + (started - this.#updated) * this.share);
    this.#updated = started;
    if (this.#availableMs <= 0) return undefined;
    const result = work();
    this.#availableMs -= this.now() - started;
    return result;
  }
}
