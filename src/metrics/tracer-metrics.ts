import { readdirSync } from 'node:fs';
import { performance } from 'node:perf_hooks';
import process from 'node:process';
import { SEVERITIES } from '../imds/severities.js';
import { VERDICTS } from '../imds/verdict.js';
import { escapeText } from '../output/escape.js';
import type { ShownEvent } from '../output/redact.js';
import type { EventSink, TracerHealth } from '../output/sink.js';
import type { TracerStats } from '../output/types.js';
import { version } from '../version.js';
import type { Metric, Sample } from './types.js';

/** Executables with a series of their own. Who makes more of them (anybody can) is counted together. */
export const MAX_EXECUTABLES = 100;
const OTHER_EXECUTABLES = 'other';
const UNKNOWN_EXECUTABLE = 'unknown';
const MAX_LABEL = 256;

/** After so long without a turn of the pipeline, which makes one each second, something is wrong. */
const STANDSTILL_MS = 10_000;

/** By counter of the interface: its name here is `NAME_total`. */
const STATS_HELP = {
  packets_seen: 'Packets of connections with an endpoint.',
  packets_captured: 'Packets handed to the tracer.',
  ring_dropped: 'Packets lost because the buffer between kernel and tracer was full.',
  packets_passed_over: 'Packets without payload, passed over by design.',
  truncated: 'Packets captured with fewer bytes than they had.',
  packets_refused: 'Packets that hold no readable TCP segment.',
  packets_abandoned: 'Captured packets that there was no time to read at the end.',
  connects_dropped: 'Records of connecting processes lost because the ring buffer was full.',
  connections: 'Connections with an endpoint.',
  requests: 'Requests read.',
  unparsed: 'Findings of bytes that are no HTTP/1.x request, or of heads with a gap.',
  gaps: 'Heads of which bytes are missing.',
  flows_evicted: 'Connections dropped from the full table.',
  attributed: 'Events whose process is known.',
  unattributed: 'Events whose process is not known.',
  log_errors: 'Lines of the log files and packets of evidence that could not be written.',
} satisfies Partial<Record<keyof TracerStats, string>>;

/** Whether the tracer does its work: undefined, or why not. */
export type Problem = string | undefined;

/** Counts what goes by for the metrics, and knows whether the pipeline turns. One a run; cheap where nobody asks. */
export class TracerMetrics implements EventSink {
  #health: TracerHealth | undefined;
  #lastTurn = performance.now();
  #stopped = false;
  readonly #events: Sample[];
  readonly #eventOf = new Map<string, Sample & { value: number }>();
  readonly #normalMode = new Map<string, number>();

  constructor() {
    // All from the start: what appears with its first event has no increase to alert on.
    for (const verdict of VERDICTS) {
      for (const severity of SEVERITIES)
        this.#eventOf.set(`${verdict} ${severity}`, { labels: { verdict, severity }, value: 0 });
    }
    this.#events = [...this.#eventOf.values()];
  }

  write(event: ShownEvent): void {
    if (event.kind !== 'request') return;
    const { verdict, severity } = event.judgement;
    this.#eventOf.get(`${verdict} ${severity}`)!.value++;
    if (verdict !== 'normal_mode') return;
    const path = event.attribution.process?.executable;
    const named = path === undefined || path === '' ? UNKNOWN_EXECUTABLE : escapeText(path, MAX_LABEL);
    const name = this.#normalMode.has(named) || this.#normalMode.size < MAX_EXECUTABLES ? named : OTHER_EXECUTABLES;
    this.#normalMode.set(name, (this.#normalMode.get(name) ?? 0) + 1);
  }

  status(health: TracerHealth): void {
    this.#health = health;
    this.#lastTurn = performance.now();
  }

  close(): void {
    this.#stopped = true;
  }

  /** What `/healthz` answers. */
  problem(): Problem {
    if (this.#stopped) return 'the tracer is stopping';
    if (this.#health === undefined) return 'capture has not begun';
    const still = performance.now() - this.#lastTurn;
    if (still > STANDSTILL_MS) return `the pipeline stands still for ${Math.floor(still / 1000)} s`;
    return this.#health.problem;
  }

  readonly metrics: readonly Metric[] = [
    {
      name: 'build_info',
      help: 'Version of the tracer and of Node.',
      type: 'gauge',
      labels: ['version', 'node'],
      read: () => [{ labels: { version, node: process.version }, value: 1 }],
    },
    {
      name: 'capture_info',
      help: 'What captures: ebpf or pcap.',
      type: 'gauge',
      labels: ['source'],
      read: () => (this.#health === undefined ? [] : [{ labels: { source: this.#health.source }, value: 1 }]),
    },
    {
      name: 'healthy',
      help: 'Whether the pipeline turns and captures: 1 or 0, as /healthz.',
      type: 'gauge',
      read: () => (this.problem() === undefined ? 1 : 0),
    },
    {
      name: 'seconds_since_turn',
      help: 'Time since the pipeline last made its turn, which it makes each second.',
      type: 'gauge',
      read: () => (performance.now() - this.#lastTurn) / 1000,
    },
    {
      name: 'events_total',
      help: 'Events by verdict and severity.',
      type: 'counter',
      labels: ['verdict', 'severity'],
      read: () => this.#events,
    },
    {
      name: 'normal_mode_requests_total',
      help: `Requests without a token by executable; beyond ${MAX_EXECUTABLES} executables they count as ${OTHER_EXECUTABLES}.`,
      type: 'counter',
      labels: ['executable'],
      read: () => [...this.#normalMode].map(([executable, value]) => ({ labels: { executable }, value })),
    },
    ...Object.entries(STATS_HELP).map(
      ([counter, help]): Metric => ({
        name: `${counter}_total`,
        help,
        type: 'counter',
        read: () => this.#health?.stats[counter as keyof typeof STATS_HELP] ?? 0,
      }),
    ),
    {
      name: 'process_resident_memory_bytes',
      help: 'Resident memory of the tracer.',
      type: 'gauge',
      read: () => process.memoryUsage.rss(),
    },
    {
      name: 'process_cpu_seconds_total',
      help: 'User and system CPU time of the tracer.',
      type: 'counter',
      read: () => {
        const { user, system } = process.cpuUsage();
        return (user + system) / 1e6;
      },
    },
    { name: 'process_open_fds', help: 'Open file descriptors of the tracer.', type: 'gauge', read: openDescriptors },
    {
      name: 'process_start_time_seconds',
      help: 'Start of the tracer, in seconds since 1970.',
      type: 'gauge',
      read: () => performance.timeOrigin / 1000,
    },
  ];
}

function openDescriptors(): readonly Sample[] {
  try {
    return [{ value: readdirSync('/proc/self/fd').length }];
  } catch {
    return [];
  }
}
