import { CoverageNotes } from '../audit/coverage.js';
import type { Observation, ObservedHost } from '../audit/observation.js';
import type { AuditVerdict } from '../audit/types.js';

/** Hosts that are told apart; requests of further ones count as one host's. */
const MAX_HOSTS = 65_536;
/** Runs of a tracer that are told apart per host; a host that restarts it more often has other troubles. */
const MAX_RUNS = 1_024;
const OTHERS: ObservedHost = { name: '(further hosts)' };

/** A tracer's run, from its start to its last event in the logs. */
interface Run {
  first: number;
  last: number;
  /** Its first and its last event are there. */
  started: boolean;
  stopped: boolean;
  /** The highest seen: they only grow. */
  counters: Record<string, number>;
  pcap: boolean;
}

export interface RunJson extends Run {
  id: string;
}

export interface HostJson {
  host: ObservedHost;
  requests: number;
  normal_mode: number;
  unattributed: number;
  unparsed: number;
  first: number;
  last: number;
  runs: RunJson[];
}

/** A host in the report. Times are ISO 8601 in UTC. */
export interface HostResult {
  name: string;
  id?: string;
  verdict: AuditVerdict;
  requests: number;
  normal_mode: number;
  first_seen: string;
  last_seen: string;
  /** Codes of what its logs lack, as in `coverage`. */
  coverage: string[];
}

class HostSums {
  requests = 0;
  normalMode = 0;
  unattributed = 0;
  unparsed = 0;
  first = Number.POSITIVE_INFINITY;
  last = Number.NEGATIVE_INFINITY;
  readonly runs = new Map<string, Run>();

  constructor(readonly host: ObservedHost) {}

  add(observation: Observation, runId: string): void {
    const { time } = observation;
    this.first = Math.min(this.first, time);
    this.last = Math.max(this.last, time);
    const run = this.#run(runId, time);
    run.first = Math.min(run.first, time);
    run.last = Math.max(run.last, time);
    switch (observation.kind) {
      case 'request':
        this.requests++;
        if (observation.verdict === 'normal_mode') this.normalMode++;
        if (observation.verdict === 'unparsed') this.unparsed++;
        if (observation.attribution === 'none') this.unattributed++;
        break;
      case 'started':
        run.started = true;
        run.pcap ||= observation.source === 'pcap';
        break;
      case 'stats':
        run.stopped ||= observation.final;
        raise(run.counters, observation.counters);
        break;
      case 'loss':
        break;
    }
  }

  merge({ host: _, runs, ...sums }: HostJson): void {
    this.requests += sums.requests;
    this.normalMode += sums.normal_mode;
    this.unattributed += sums.unattributed;
    this.unparsed += sums.unparsed;
    this.first = Math.min(this.first, sums.first);
    this.last = Math.max(this.last, sums.last);
    for (const { id, ...other } of runs) {
      const run = this.#run(id, other.first);
      run.first = Math.min(run.first, other.first);
      run.last = Math.max(run.last, other.last);
      run.started ||= other.started;
      run.stopped ||= other.stopped;
      run.pcap ||= other.pcap;
      raise(run.counters, other.counters);
    }
  }

  toJSON(): HostJson {
    return {
      host: this.host,
      requests: this.requests,
      normal_mode: this.normalMode,
      unattributed: this.unattributed,
      unparsed: this.unparsed,
      first: this.first,
      last: this.last,
      runs: [...this.runs].map(([id, run]) => ({ id, ...run })),
    };
  }

  /** Milliseconds that the tracer ran for. */
  get tracedMs(): number {
    return [...this.runs.values()].reduce((sum, { first, last }) => sum + (last - first), 0);
  }

  coverage(): CoverageNotes {
    const notes = new CoverageNotes();
    const runs = [...this.runs.values()];
    for (const run of runs) {
      notes.counters(run.counters);
      if (run.pcap) notes.note('pcap_source');
    }
    notes.note('tracer_down', runs.length - 1);
    return notes;
  }

  /** Milliseconds between the runs. */
  get downMs(): number {
    const runs = [...this.runs.values()].sort((a, b) => a.first - b.first);
    return runs.slice(1).reduce((sum, run, i) => sum + Math.max(run.first - runs[i]!.last, 0), 0);
  }

  #run(id: string, time: number): Run {
    const known = this.runs.get(id);
    if (known !== undefined) return known;
    const run: Run = { first: time, last: time, started: false, stopped: false, counters: {}, pcap: false };
    // The sums of what is beyond the bound are with the host's first run.
    if (this.runs.size >= MAX_RUNS) return this.runs.values().next().value!;
    this.runs.set(id, run);
    return run;
  }
}

function raise(counters: Record<string, number>, seen: Readonly<Record<string, number>>): void {
  for (const [name, value] of Object.entries(seen)) counters[name] = Math.max(counters[name] ?? 0, value);
}

/** The sums of each host, and what its logs lack. Bounded; can be merged with those of other logs. */
export class Hosts {
  readonly #hosts = new Map<string, HostSums>();

  get size(): number {
    return this.#hosts.size;
  }

  /** `runId`: the same for all events of a tracer's run. */
  add(observation: Observation, runId: string): void {
    this.#of(observation.host).add(observation, runId);
  }

  merge(hosts: readonly HostJson[]): void {
    for (const json of hosts) this.#of(json.host).merge(json);
  }

  toJSON(): HostJson[] {
    return [...this.#hosts.values()].map((host) => host.toJSON());
  }

  /** What the logs of all hosts lack. */
  coverage(): CoverageNotes {
    const all = new CoverageNotes();
    let downMs = 0;
    for (const host of this.#hosts.values()) {
      downMs += host.downMs;
      for (const [code, count] of host.coverage().toJSON()) {
        all.note(code, count, code === 'tracer_down' ? `, for ${Math.ceil(downMs / 1000)} s together` : '');
      }
    }
    return all;
  }

  get tracedMs(): number {
    return [...this.#hosts.values()].reduce((sum, { tracedMs }) => sum + tracedMs, 0);
  }

  /** Epoch milliseconds of the first and the last event; undefined without any. */
  get span(): [first: number, last: number] | undefined {
    let first = Number.POSITIVE_INFINITY;
    let last = Number.NEGATIVE_INFINITY;
    for (const host of this.#hosts.values()) {
      first = Math.min(first, host.first);
      last = Math.max(last, host.last);
    }
    return first <= last ? [first, last] : undefined;
  }

  /** Those that are not ready first, by their requests without a token. */
  results(): HostResult[] {
    return [...this.#hosts.values()]
      .map((sums): HostResult => {
        const notes = sums.coverage();
        notes.note('unparsed', sums.unparsed);
        notes.note('unattributed', sums.unattributed);
        const { complete, reasons } = notes.result();
        return {
          name: sums.host.name,
          ...(sums.host.id !== undefined && { id: sums.host.id }),
          verdict: sums.normalMode > 0 ? 'not_ready' : complete && sums.requests > 0 ? 'ready' : 'inconclusive',
          requests: sums.requests,
          normal_mode: sums.normalMode,
          first_seen: new Date(sums.first).toISOString(),
          last_seen: new Date(sums.last).toISOString(),
          coverage: reasons.map(({ code }) => code),
        };
      })
      .sort(
        (a, b) =>
          VERDICT_ORDER[a.verdict] - VERDICT_ORDER[b.verdict] ||
          b.normal_mode - a.normal_mode ||
          (a.name < b.name ? -1 : 1),
      );
  }

  #of(host: ObservedHost): HostSums {
    const key = host.id ?? `name ${host.name}`;
    const known = this.#hosts.get(key);
    if (known !== undefined) return known;
    const further = this.#hosts.size >= MAX_HOSTS;
    const sums = further ? (this.#hosts.get('') ?? new HostSums(OTHERS)) : new HostSums(host);
    this.#hosts.set(further ? '' : key, sums);
    return sums;
  }
}

const VERDICT_ORDER: Readonly<Record<AuditVerdict, number>> = { not_ready: 0, inconclusive: 1, ready: 2 };
