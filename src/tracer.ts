import type { CaptureRecord, CaptureSource } from './capture/types.js';
import type { LossEvent, TracerEvent, TracerStats } from './output/types.js';
import type { Pipeline } from './pipeline.js';

/** How long one wait for records may take while nothing is pending, in milliseconds. */
const IDLE_WAIT_MS = 500;
/** … and while a request waits for its response's deadline or a look at the counters is due. */
const BUSY_WAIT_MS = 100;
const LOSS_CHECK_MS = 1_000;
/** How long a stop may go on with what was captured before it. */
const DRAIN_MS = 1_500;
const STATS_INTERVAL_MS = 60_000;

/** What can be lost, by the counter that tells. */
const LOSSES: ReadonlyArray<[where: string, counter: keyof TracerStats]> = [
  ['ring', 'ring_dropped'],
  ['connect', 'connects_dropped'],
  ['truncated', 'truncated'],
  ['refused', 'packets_refused'],
  ['flow_table', 'flows_evicted'],
  ['stop', 'packets_abandoned'],
  ['log', 'log_errors'],
];

export interface LiveTracer {
  /** Resolves when it was stopped and everything that was captured is written; rejects, after that, where the source failed. */
  done: Promise<TracerStats>;
  stop(): void;
  stats(): TracerStats;
}

/**
 * Moves records from a source through the pipeline until it is stopped (or a file ends), and writes the tracer's own
 * events: the counters each minute, each loss within a second, the final counters at the end.
 */
export function runTracer(options: {
  source: CaptureSource;
  pipeline: Pipeline;
  write: (event: TracerEvent) => void;
  /** Lines that could not be written so far. */
  logErrors: () => number;
  onTick?: (stats: TracerStats) => void;
  /** Resolves when more may be written: until then records wait where they are captured. */
  room?: () => Promise<void>;
}): LiveTracer {
  const { source, pipeline, write } = options;
  let stopping = false;
  let reported: TracerStats | undefined;

  const stats = (): TracerStats => pipeline.stats(source.stats(), options.logErrors());

  const reportLoss = (now: number): void => {
    const current = stats();
    const lost: LossEvent['lost'] = {};
    for (const [where, counter] of LOSSES) {
      const more = (current[counter] as number) - ((reported?.[counter] as number | undefined) ?? 0);
      if (more > 0) lost[where] = more;
    }
    reported = current;
    if (Object.keys(lost).length > 0) write({ kind: 'capture-loss', time: now, lost });
  };

  const follow = async (): Promise<void> => {
    // Not by the wall clock: set back by an hour, it would keep losses unsaid for as long.
    let nextLossCheck = performance.now() + LOSS_CHECK_MS;
    let nextStats = performance.now() + STATS_INTERVAL_MS;
    while (!stopping) {
      const handed = await source.next(pipeline.waiting ? BUSY_WAIT_MS : IDLE_WAIT_MS, (record) =>
        pipeline.accept(record),
      );
      if (handed < 0) break;
      const now = Date.now();
      pipeline.tick(now);
      await options.room?.();
      const elapsed = performance.now();
      if (elapsed >= nextLossCheck) {
        nextLossCheck = elapsed + LOSS_CHECK_MS;
        reportLoss(now);
        options.onTick?.(reported!);
      }
      if (elapsed >= nextStats) {
        nextStats = elapsed + STATS_INTERVAL_MS;
        write({ kind: 'tracer-stats', time: now, stats: stats() });
      }
    }
    // What the kernel had recorded when the stop came is still written: bounded, as requests may go on coming.
    const deadline = performance.now() + DRAIN_MS;
    while (performance.now() < deadline) {
      if ((await source.next(0, (record) => pipeline.accept(record))) <= 0) return;
      await options.room?.();
    }
    // What is left then is only counted, for as short a time again.
    const countUntil = performance.now() + DRAIN_MS;
    const count = (record: CaptureRecord): void => {
      if (record.type === 'packet') pipeline.abandon();
    };
    while (performance.now() < countUntil && (await source.next(0, count)) > 0);
  };

  const end = (): TracerStats => {
    const now = Date.now();
    pipeline.finish(now);
    reportLoss(now);
    const last = stats();
    write({ kind: 'tracer-stopped', time: now, stats: last });
    return last;
  };

  /** However it ends, what was read is written, and that it ended. */
  const loop = async (): Promise<TracerStats> => {
    try {
      await follow();
    } catch (error) {
      end();
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
