import type { CaptureRecord, CaptureSource } from './capture/types.js';
import { LOSSES } from './output/losses.js';
import type { LossEvent, TracerEvent, TracerStats } from './output/types.js';
import type { Pipeline } from './pipeline.js';

/** How long one wait for records may take while nothing is pending, in milliseconds. */
const IDLE_WAIT_MS = 500;
/** … and while a request waits for its response's deadline or a look at the counters is due. */
const BUSY_WAIT_MS = 100;
const LOSS_CHECK_MS = 1_000;
/** How long a stop may go on with what was captured before it. */
const DRAIN_MS = 10_000;
const STATS_INTERVAL_MS = 60_000;

export interface LiveTracer {
  /** Resolves when it was stopped and everything that was captured is written; rejects, after that, where the source failed. */
  done: Promise<TracerStats>;
  stop(): void;
  stats(): TracerStats;
}

/**
 * Moves records from a live source through the pipeline until it is stopped, and writes the tracer's own events: the
 * counters each minute, each loss within a second, the final counters at the end. Of files: replay.ts.
 */
export function runTracer(options: {
  source: CaptureSource;
  pipeline: Pipeline;
  write: (event: TracerEvent) => void;
  /** Lines that could not be written so far. */
  logErrors: () => number;
  /** Lines can't be written at present. */
  logFailing?: () => boolean;
  /** Events that a receiver elsewhere will never get, so far; undefined where there is none. */
  undelivered?: () => number | undefined;
  onTick?: (stats: TracerStats) => void;
  /** Resolves when more may be written, soon in any case: until then records wait where they are captured. */
  room?: () => Promise<void>;
  /** No more should be written before `room`: what is written would be lost where it waits. */
  full?: () => boolean;
}): LiveTracer {
  const { source, pipeline, write } = options;
  let stopping = false;
  let reported: TracerStats | undefined;

  const stats = (): TracerStats => {
    const undelivered = options.undelivered?.();
    const counted = pipeline.stats(source.stats(), options.logErrors());
    return undelivered === undefined ? counted : { ...counted, ship_dropped: undelivered };
  };

  const reportLoss = (now: number, last = false): void => {
    const current = stats();
    const lost: LossEvent['lost'] = {};
    for (const [where, counter] of LOSSES) {
      // It would be lost as well, and with it how many there were: told in one event when lines can be written again.
      if (counter === 'log_errors' && !last && options.logFailing?.()) {
        current.log_errors = reported?.log_errors ?? 0;
        continue;
      }
      const more = (current[counter] ?? 0) - (reported?.[counter] ?? 0);
      if (more > 0) lost[where] = more;
    }
    reported = current;
    if (Object.keys(lost).length > 0) write({ kind: 'capture-loss', time: now, lost });
  };

  /** Takes the records of a batch; how many there were, or -1 at the end. */
  const step = async (timeoutMs: number): Promise<number> => {
    let time: number | undefined;
    const onRecord = (record: CaptureRecord): void => {
      time = record.time;
      pipeline.accept(record);
    };
    const handed = await source.next(timeoutMs, onRecord, options.full);
    // Records may have waited: what comes in time by their clock must not be given up by that of the wall.
    if (handed >= 0) pipeline.tick(time ?? Date.now(), options.full);
    await options.room?.();
    return handed;
  };

  const follow = async (): Promise<void> => {
    // Not by the wall clock: set back by an hour, it would keep losses unsaid for as long.
    let nextLossCheck = performance.now() + LOSS_CHECK_MS;
    let nextStats = performance.now() + STATS_INTERVAL_MS;
    while (!stopping) {
      if ((await step(pipeline.waiting ? BUSY_WAIT_MS : IDLE_WAIT_MS)) < 0) break;
      const now = Date.now();
      const elapsed = performance.now();
      if (elapsed >= nextLossCheck) {
        nextLossCheck = elapsed + LOSS_CHECK_MS;
        reportLoss(now);
        options.onTick?.(stats());
      }
      if (elapsed >= nextStats) {
        nextStats = elapsed + STATS_INTERVAL_MS;
        write({ kind: 'tracer-stats', time: now, stats: stats() });
      }
    }
    // What was captured when the stop came is still written: seconds of it after a burst.
    source.stop();
    const deadline = performance.now() + DRAIN_MS;
    while (performance.now() < deadline) {
      if ((await step(0)) <= 0) return;
    }
    // What is left then is only counted.
    const count = (record: CaptureRecord): void => {
      if (record.type === 'packet') pipeline.abandon();
    };
    while ((await source.next(0, count)) > 0);
  };

  const end = async (): Promise<TracerStats> => {
    const now = Date.now();
    while (!pipeline.finish(now, options.full)) await options.room?.();
    reportLoss(now, true);
    const last = stats();
    write({ kind: 'tracer-stopped', time: now, stats: last });
    return last;
  };

  /** However it ends, what was read is written, and that it ended. */
  const loop = async (): Promise<TracerStats> => {
    try {
      await follow();
    } catch (error) {
      await end();
      throw error;
    }
    return end();
  };

  return {
    done: loop(),
    stop: () => {
      stopping = true;
      source.wake();
    },
    stats,
  };
}
