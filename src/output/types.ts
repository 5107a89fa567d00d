import type { CaptureSource } from '../capture/types.js';
import type { Judgement } from '../imds/types.js';
import type { Attribution } from '../process/types.js';
import type { RequestHead, ResponseHead, UnparsedBytes } from '../wire/types.js';

/** Everything that is known of one request; what the output formats are made from. */
export interface RequestEvent {
  kind: 'request';
  /** Time of the first byte of the request, epoch milliseconds with a fraction. */
  time: number;
  client: { address: string; port: number };
  endpoint: { address: string; port: number };
  family: 4 | 6;
  cookie: bigint;
  /** Absent when `unparsed`. */
  request?: RequestHead;
  unparsed?: UnparsedBytes;
  response?: ResponseHead;
  judgement: Judgement;
  attribution: Attribution;
}

/** The counters of `tracer-stats` and `tracer-stopped`, named as in the interface. */
export interface TracerStats {
  packets_seen: number;
  packets_captured: number;
  ring_dropped: number;
  packets_passed_over: number;
  truncated: number;
  /** Packets that hold no readable TCP segment: IP fragments, cut headers. */
  packets_refused: number;
  /** Packets captured before the end that there was no time to read. */
  packets_abandoned: number;
  connects_dropped: number;
  connections: number;
  requests: number;
  by_verdict: Record<string, number>;
  unparsed: number;
  gaps: number;
  flows_evicted: number;
  attributed: number;
  unattributed: number;
  log_errors: number;
  /** Events that a receiver of `--ship` will never get; only where there is one. */
  ship_dropped?: number;
}

export interface StartedEvent {
  kind: 'tracer-started';
  time: number;
  version: string;
  source: CaptureSource['kind'];
  /** Which source and how it is attached, for people. */
  sourceDetail: string;
  providers: readonly string[];
  endpoints: readonly { address: string; port: number }[];
}

/** The configuration was read again, and what could change has changed. */
export interface ReloadedEvent {
  kind: 'tracer-reloaded';
  time: number;
  source: CaptureSource['kind'];
  providers: readonly string[];
  /** As from now on. */
  endpoints: readonly { address: string; port: number }[];
  /** Names of options. */
  changed: readonly string[];
  /** Options that are other in the configuration, and stay as they were until a restart. */
  kept: readonly string[];
}

export interface StatsEvent {
  kind: 'tracer-stats' | 'tracer-stopped';
  time: number;
  stats: TracerStats;
}

/** Packets or connects were lost since the last such event. */
export interface LossEvent {
  kind: 'capture-loss';
  time: number;
  /** How many, by where: the first column of LOSSES (losses.ts). */
  lost: Record<string, number>;
}

export type TracerEvent = RequestEvent | StartedEvent | ReloadedEvent | StatsEvent | LossEvent;
