import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf } from '../errors.js';
import { Backoff } from './backoff.js';
import { type Sender, ShipFailure } from './sender.js';
import type { Batch, Position, Spool } from './spool.js';

/** Between two records that the receiver refuses: time to notice before much is given up. */
const REFUSED_MS = 100;
/** After the time for a stop is over, what is under way may end for so long. */
const ABORT_MS = 100;
const NEVER = Number.POSITIVE_INFINITY;

/** What is sent but may still be lost if the way breaks soon. */
interface Mark {
  end: Position;
  records: number;
  /** Arrived by then, unless the way breaks before. In the time of performance.now(). */
  at: number;
}

/**
 * Brings what is in a spool to a receiver, in order, at least once: what was sent is acknowledged to the spool when it counts as
 * arrived, and is sent again where the way broke before. Runs until `stop`; a receiver that is away is tried again for ever.
 */
export class Courier {
  /** Records that arrived. */
  sent = 0;
  /** Records that the receiver will not take, and that were given up for it. */
  refused = 0;
  /** Attempts that failed. */
  failures = 0;
  /** Why the last attempt failed; undefined when the one before went well. */
  problem: string | undefined;

  readonly #backoff: Backoff;
  readonly #marks: Mark[] = [];
  #sender: Sender | undefined;
  /** Records a batch may have; fewer while the search goes on for one that is refused. */
  #limit = NEVER;
  #wake: (() => void) | undefined;
  #woken = false;
  #stopping = false;
  /** After it, nothing is begun any more. */
  #aborted = false;
  readonly #done: Promise<void>;

  constructor(
    private readonly spool: Spool,
    private readonly open: () => Promise<Sender>,
    /** Hears of each change between well and not well. */
    private readonly onChange: () => void,
    backoff = new Backoff(),
  ) {
    this.#backoff = backoff;
    spool.onData = () => this.#poke();
    // What another courier had in hand when it was stopped.
    spool.rewind();
    this.#done = this.#run();
  }

  /**
   * Brings what is there for at most `withinMs`; where the receiver is away, tries once more and leaves it. Then the spool may
   * be closed. Never rejects.
   */
  async stop(withinMs: number): Promise<void> {
    this.#stopping = true;
    this.#poke();
    const given = new AbortController();
    const after = (ms: number): Promise<void> => sleep(ms, undefined, { signal: given.signal }).catch(() => undefined);
    await Promise.race([this.#done, after(withinMs)]);
    this.#aborted = true;
    this.#sender?.destroy();
    // A name that is looked up, or a disk that hangs, has nothing that could be cut short.
    await Promise.race([this.#done, after(ABORT_MS)]);
    given.abort();
  }

  async #run(): Promise<void> {
    while (!this.#aborted) {
      try {
        if (await this.#deliver()) return;
      } catch (error) {
        const wait = this.#failed(error);
        // Somebody who waits for the end doesn't wait for a receiver that is away.
        if (this.#stopping && wait > 0) break;
        await this.#pause(wait, false);
      }
    }
    this.#sender?.destroy();
  }

  /** One step: a batch, or waiting for one. True at the end. */
  async #deliver(): Promise<boolean> {
    const sender = this.#sender;
    if (sender?.broken !== undefined) {
      if (this.#marks.length > 0) throw sender.broken;
      // A connection that ends while nothing is on it is no failure: the next event opens another.
      this.#sender = undefined;
      return false;
    }
    this.#confirm(performance.now());
    const limits = sender ?? FIRST_BATCH;
    const batch = await this.spool.next(Math.min(this.#limit, limits.maxRecords), limits.maxBytes);
    if (batch === undefined) {
      if (this.#stopping) {
        if (!this.spool.isWriting) return this.#finish();
        await sleep(1);
        return false;
      }
      await this.#pause((this.#marks[0]?.at ?? NEVER) - performance.now(), true);
      return false;
    }
    try {
      await this.#send(batch);
    } catch (error) {
      if (!(error instanceof ShipFailure) || error.meaning !== 'refused') throw error;
      await this.#narrow(batch, error);
    }
    return false;
  }

  async #send(batch: Batch): Promise<void> {
    if (this.#sender === undefined) {
      const sender = await this.open();
      if (this.#aborted) {
        sender.destroy();
        throw new Error('stopped');
      }
      sender.onBroken = () => this.#poke();
      this.#sender = sender;
    }
    const sender = this.#sender;
    const rejected = await sender.send(batch.records);
    this.refused += rejected;
    const now = performance.now();
    this.#marks.push({ end: batch.end, records: batch.records.length - rejected, at: now + sender.holdMs });
    this.#confirm(now);
    this.#limit = Math.min(NEVER, this.#limit * 2);
    if (sender.holdMs === 0) this.#well();
  }

  /** The receiver won't take the batch: halves find the record that is at fault, and only that is given up. */
  async #narrow(batch: Batch, { message }: ShipFailure): Promise<void> {
    this.failures++;
    const count = batch.records.length;
    this.#limit = Math.max(1, Math.floor(count / 2));
    if (count > 1) {
      this.spool.rewind();
      return;
    }
    this.refused++;
    this.#say(message);
    this.spool.ack(batch.end);
    await this.#pause(REFUSED_MS, false);
  }

  /** Acknowledges what has arrived. */
  #confirm(now: number): void {
    let last: Mark | undefined;
    while (this.#marks.length > 0 && this.#marks[0]!.at <= now) {
      last = this.#marks.shift()!;
      this.sent += last.records;
    }
    if (last === undefined) return;
    this.spool.ack(last.end);
    this.#well();
  }

  /** Nothing is left to send: whether that was all. */
  async #finish(): Promise<boolean> {
    if (this.#sender === undefined) return true;
    if (await this.#sender.finish()) this.#confirm(NEVER);
    return true;
  }

  /** What to do after a failure: how long to wait. */
  #failed(error: unknown): number {
    this.failures++;
    this.#sender?.destroy();
    this.#sender = undefined;
    this.#marks.length = 0;
    this.spool.rewind();
    this.#say(messageOf(error));
    return this.#backoff.next(error instanceof ShipFailure ? error.retryAfterMs : 0);
  }

  #well(): void {
    this.#backoff.reset();
    this.#say(undefined);
  }

  #say(problem: string | undefined): void {
    const changed = (this.problem === undefined) !== (problem === undefined);
    this.problem = problem;
    if (changed) this.onChange();
  }

  #poke(): void {
    this.#woken = true;
    this.#wake?.();
  }

  /** Waits, if `forEvents` no longer than until something happens; a stop ends each wait. */
  async #pause(ms: number, forEvents: boolean): Promise<void> {
    if (forEvents && this.#woken) {
      this.#woken = false;
      return;
    }
    if (ms <= 0 || this.#stopping) return;
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      if (ms !== NEVER) timer = setTimeout(resolve, ms);
      this.#wake = () => {
        if (forEvents || this.#stopping) resolve();
      };
    });
    clearTimeout(timer);
    this.#wake = undefined;
    if (forEvents) this.#woken = false;
  }
}

/** Before the receiver's own limits are known. */
const FIRST_BATCH = { maxRecords: 64, maxBytes: 64 * 1024 };
