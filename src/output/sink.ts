import type { CaptureSource } from '../capture/types.js';
import type { HasMetrics } from '../metrics/types.js';
import type { ShownEvent } from './redact.js';
import type { TextLine } from './text.js';
import type { TracerStats } from './types.js';

/** How a running tracer is. */
export interface TracerHealth {
  source: CaptureSource['kind'];
  stats: TracerStats;
  /** Why nothing is captured at present; undefined if all is well. */
  problem: string | undefined;
}

/** A receiver of the events of a run: the log files, the terminal, a shipper, an audit. Nothing here throws or rejects. */
export interface EventSink extends HasMetrics {
  /** Takes an event, secrets already taken out, and its text form. Returns at once: what takes time is done later. */
  write?(event: ShownEvent, text: TextLine): void;
  /** Called when capture has begun, and then after each second's work: a pipeline that stands still does not call. */
  status?(health: TracerHealth): void;
  /** Resolves when there is room for more events, soon in any case: until then packets wait where they are captured. */
  room?(): Promise<void>;
  /** No more should come before `room` says so. Not of a sink whose place takes nothing at present: nobody waits for that. */
  readonly full?: boolean;
  /** Writes what is pending, within a bounded time, and lets everything go. */
  close?(): Promise<void> | void;
  /** Events that did not get to where they should, so far; counted as `log_errors`. */
  readonly errors?: number;
  /** What it loses at present is told in one event when this has ended: where that event itself would be lost. */
  readonly failing?: boolean;
  /** Events that a receiver elsewhere will never get, so far; counted as `ship_dropped`. */
  readonly undelivered?: number | undefined;
}
