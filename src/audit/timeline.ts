import type { Verdict } from '../imds/types.js';
import type { TimelineResult } from './types.js';

const MAX_BUCKETS = 240;
const SECOND = 1000;
const DAY = 86_400 * SECOND;
/** Each divides the next; the last is enough for all times that are taken. */
const WIDTHS = [1, 5, 15, 60, 300, 900, 3600, 10_800, 43_200]
  .map((seconds) => seconds * SECOND)
  .concat([1, 8, 400, 16_000].map((days) => days * DAY));
/** The year 10000: what claims to be later, or before 1970, is no time of a request. */
const LAST_TIME = Date.UTC(10_000);

export interface TimelineJson {
  start: number;
  width: number;
  counts: [verdict: Verdict, buckets: number[]][];
}

/** Requests over time by verdict, in at most 240 buckets of the least width that holds them all. Whatever the times are. */
export class Timeline {
  #width = WIDTHS[0]!;
  /** Of the first bucket, a multiple of the width; NaN while there is nothing. */
  #start = Number.NaN;
  #length = 0;
  readonly #counts = new Map<Verdict, number[]>();

  /** `time` in epoch milliseconds. */
  add(time: number, verdict: Verdict, count = 1): void {
    if (!(time >= 0 && time < LAST_TIME)) return;
    this.#cover(time);
    const buckets = this.#counts.get(verdict) ?? [];
    this.#counts.set(verdict, buckets);
    while (buckets.length < this.#length) buckets.push(0);
    const at = Math.floor((time - this.#start) / this.#width);
    buckets[at] = (buckets[at] ?? 0) + count;
  }

  toJSON(): TimelineJson {
    return { start: this.#start, width: this.#width, counts: [...this.#counts] };
  }

  merge({ start, width, counts }: TimelineJson): void {
    if (counts.length === 0) return;
    while (this.#width < width && this.#width < WIDTHS.at(-1)!) this.#widen();
    for (const [verdict, buckets] of counts) {
      buckets.forEach((count, i) => {
        if (count > 0) this.add(start + i * width, verdict, count);
      });
    }
  }

  result(): TimelineResult {
    const counts: TimelineResult['counts'] = {};
    for (const [verdict, buckets] of this.#counts) {
      counts[verdict] = Array.from({ length: this.#length }, (_, i) => buckets[i] ?? 0);
    }
    const start = Number.isNaN(this.#start) ? 0 : this.#start;
    return { start: new Date(start).toISOString(), bucket_ms: this.#width, counts };
  }

  #cover(time: number): void {
    const floor = () => Math.floor(time / this.#width) * this.#width;
    if (Number.isNaN(this.#start)) {
      this.#start = floor();
      this.#length = 1;
      return;
    }
    for (;;) {
      const start = Math.min(this.#start, floor());
      const end = Math.max(this.#start + this.#length * this.#width, floor() + this.#width);
      const length = Math.round((end - start) / this.#width);
      if (length <= MAX_BUCKETS) {
        const before = Math.round((this.#start - start) / this.#width);
        if (before > 0)
          for (const buckets of this.#counts.values()) buckets.unshift(...new Array<number>(before).fill(0));
        this.#start = start;
        this.#length = length;
        return;
      }
      this.#widen();
    }
  }

  #widen(): void {
    const width = WIDTHS[WIDTHS.indexOf(this.#width) + 1]!;
    if (!Number.isNaN(this.#start)) {
      const start = Math.floor(this.#start / width) * width;
      const end = this.#start + this.#length * this.#width;
      for (const [verdict, buckets] of this.#counts) {
        const wider: number[] = [];
        buckets.forEach((count, i) => {
          const at = Math.floor((this.#start + i * this.#width - start) / width);
          while (wider.length <= at) wider.push(0);
          wider[at]! += count;
        });
        this.#counts.set(verdict, wider);
      }
      this.#start = start;
      this.#length = Math.ceil((end - start) / width);
    }
    this.#width = width;
  }
}
