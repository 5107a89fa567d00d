import { CoverageNotes } from '../audit/coverage.js';
import type { Observation, ObservedHost, RequestObservation } from '../audit/observation.js';
import type { AuditVerdict } from '../audit/types.js';
import { NO_TOKENS, noTokenWorks, type TokenCounts } from '../audit/verdict.js';
import { seesNamespaceOnly } from '../capture/description.js';
import { LOSSES } from '../output/losses.js';

/** Hosts that are told apart; requests of further ones count as one host's. */
const MAX_HOSTS = 65_536;
/** Runs of a tracer that are told apart per host; a host that restarts it more often has other troubles. */
const MAX_RUNS = 1_024;
/** Of all hosts; half a kilobyte each. Beyond it each host's further runs count as its first. */
const MAX_ALL_RUNS = 500_000;
const OTHERS: ObservedHost = { name: '(further hosts)' };

/** Clients whose tokens are looked at by themselves, per host. */
const MAX_TOKEN_CLIENTS = 64;
/** Counters come each minute: so much may lie between the end of a period and what tells of losses in it. */
const COUNTERS_LATE_MS = 120_000;

/** Requests outside of it are left out. Epoch milliseconds. */
export interface Period {
  since?: number;
  /** Exclusive. */
  until?: number;
}

/** A tracer's run, from its start to its last event in the logs, whatever period is asked for. */
interface Run {
  first: number;
  last: number;
  /** Its first event is there, which says what was the source. */
  started: boolean;
  /** The highest seen: they only grow. */
  counters: Record<string, number>;
  /** By the same names, what single events told of. */
  losses: Record<string, number>;
  pcap: boolean;
  /** It saw a cgroup namespace only. */
  namespaced: boolean;
  /** A process was recorded as it connected, which only the eBPF source can do. */
  connect: boolean;
  /** Events by number: how many, the lowest and the highest. */
  events: number;
  lowest: number;
  highest: number;
  /** Whose requests were traced, as text, and how often that changed. */
  traced: string | undefined;
  reconfigured: number;
}

export interface RunJson extends Run {
  id: string;
}

export interface HostJson {
  host: ObservedHost;
  requests: number;
  normal_mode: number;
  foreign: number;
  unattributed: number;
  unparsed: number;
  first: number;
  last: number;
  runs: RunJson[];
  tokens: [client: string, counts: TokenCounts][];
  tokens_unknown: boolean;
}

/** Of which tracer's run an event is, and which of its events. */
export interface EventNumber {
  run: string;
  /** Undefined where it has none. */
  number: number | undefined;
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

/** What the hosts share: how many runs there are. */
interface AllRuns {
  count: number;
}

class HostSums {
  requests = 0;
  normalMode = 0;
  foreign = 0;
  unattributed = 0;
  unparsed = 0;
  /** Of the events in the period. */
  first = Number.POSITIVE_INFINITY;
  last = Number.NEGATIVE_INFINITY;
  readonly runs = new Map<string, Run>();
  /** Of each client here: others of the same program, elsewhere, may get tokens where it gets none. */
  readonly tokens = new Map<string, TokenCounts>();
  /** There was no room for a client that was refused one. */
  tokensUnknown = false;

  constructor(
    readonly host: ObservedHost,
    private readonly period: Period,
    private readonly all: AllRuns,
  ) {}

  add(observation: Observation, { run: runId, number }: EventNumber, client: string | undefined): void {
    const { time } = observation;
    const { since = Number.NEGATIVE_INFINITY, until = Number.POSITIVE_INFINITY } = this.period;
    const isWithin = time >= since && time < until;
    if (isWithin) {
      this.first = Math.min(this.first, time);
      this.last = Math.max(this.last, time);
    }
    const run = this.#run(runId, time);
    run.first = Math.min(run.first, time);
    run.last = Math.max(run.last, time);
    if (number !== undefined) {
      run.events++;
      run.lowest = Math.min(run.lowest, number);
      run.highest = Math.max(run.highest, number);
    }
    switch (observation.kind) {
      case 'request':
        run.connect ||= observation.attribution === 'connect';
        if (!isWithin) return;
        this.requests++;
        if (observation.verdict === 'normal_mode') this.normalMode++;
        if (observation.verdict === 'foreign_probe') this.foreign++;
        if (observation.verdict === 'unparsed') this.unparsed++;
        if (observation.attribution === 'none') this.unattributed++;
        if (client !== undefined) this.#token(client, observation);
        break;
      case 'started': {
        run.started = true;
        run.pcap ||= observation.source === 'pcap';
        run.namespaced ||= seesNamespaceOnly(observation.sourceDetail);
        const traced = [...observation.providers].sort().join(' ');
        if (run.traced !== undefined && run.traced !== traced) run.reconfigured++;
        run.traced = traced;
        break;
      }
      case 'stats':
        if (time < until + COUNTERS_LATE_MS) raise(run.counters, observation.counters);
        break;
      case 'loss':
        if (time < until + COUNTERS_LATE_MS) add(run.losses, observation.lost);
        break;
    }
  }

  merge({ runs, tokens, ...sums }: HostJson): void {
    this.requests += sums.requests;
    this.normalMode += sums.normal_mode;
    this.foreign += sums.foreign;
    this.unattributed += sums.unattributed;
    this.unparsed += sums.unparsed;
    this.first = Math.min(this.first, sums.first);
    this.last = Math.max(this.last, sums.last);
    this.tokensUnknown ||= sums.tokens_unknown;
    for (const [client, counts] of tokens) this.#addTokens(client, counts);
    for (const { id, ...other } of runs) {
      const run = this.#run(id, other.first);
      run.first = Math.min(run.first, other.first);
      run.last = Math.max(run.last, other.last);
      run.started ||= other.started;
      run.pcap ||= other.pcap;
      run.namespaced ||= other.namespaced;
      run.connect ||= other.connect;
      run.events += other.events;
      run.lowest = Math.min(run.lowest, other.lowest);
      run.highest = Math.max(run.highest, other.highest);
      run.reconfigured += other.reconfigured;
      if (run.traced !== undefined && other.traced !== undefined && run.traced !== other.traced) run.reconfigured++;
      run.traced ??= other.traced;
      raise(run.counters, other.counters);
      add(run.losses, other.losses);
    }
  }

  toJSON(): HostJson {
    return {
      host: this.host,
      requests: this.requests,
      normal_mode: this.normalMode,
      foreign: this.foreign,
      unattributed: this.unattributed,
      unparsed: this.unparsed,
      first: this.first,
      last: this.last,
      runs: [...this.runs].map(([id, run]) => ({ id, ...run })),
      tokens: [...this.tokens],
      tokens_unknown: this.tokensUnknown,
    };
  }

  /** Milliseconds of the period that the tracer ran for. */
  get tracedMs(): number {
    return this.#within().reduce((sum, { from, to }) => sum + (to - from), 0);
  }

  coverage(): CoverageNotes {
    const notes = new CoverageNotes();
    const within = this.#within();
    for (const { run } of within) {
      const counters = { ...run.counters };
      raise(counters, run.losses);
      notes.counters(counters);
      if (Object.keys(run.counters).length === 0) notes.note('no_counters');
      if (run.namespaced) notes.note('cgroup_namespace');
      if (run.pcap) notes.note('pcap_source');
      else if (!run.started && !run.connect) notes.note('source_unknown');
      notes.note('reconfigured', run.reconfigured);
      if (run.events > 0) {
        const numbers = run.highest - run.lowest + 1;
        notes.note('lines_missing', numbers - run.events);
        notes.note('lines_repeated', run.events - numbers);
      }
    }
    notes.note('tracer_down', within.length - 1);
    // Unlike elsewhere: a bound that was not asked for is reached by any log.
    const { since = Number.POSITIVE_INFINITY, until = Number.NEGATIVE_INFINITY } = this.period;
    const first = Math.min(...within.map(({ run }) => run.first));
    const last = Math.max(...within.map(({ run }) => run.last));
    if (first > since + COUNTERS_LATE_MS || last < until - COUNTERS_LATE_MS) notes.note('period_not_covered');
    if (this.tokensUnknown || [...this.tokens.values()].some(noTokenWorks)) notes.note('no_token_on_host');
    return notes;
  }

  /** Milliseconds between the runs. */
  get downMs(): number {
    const within = this.#within().sort((a, b) => a.from - b.from);
    let end = Number.POSITIVE_INFINITY;
    let sum = 0;
    for (const { from, to } of within) {
      sum += Math.max(from - end, 0);
      end = end === Number.POSITIVE_INFINITY ? to : Math.max(end, to);
    }
    return sum;
  }

  /** Of the host's events in the period; where there is none, of all. */
  get span(): [first: number, last: number] {
    if (this.first <= this.last) return [this.first, this.last];
    let [first, last] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
    for (const run of this.runs.values()) [first, last] = [Math.min(first, run.first), Math.max(last, run.last)];
    return [first, last];
  }

  /** The runs that lie in the period, and the part of them that does. */
  #within(): { run: Run; from: number; to: number }[] {
    const { since = Number.NEGATIVE_INFINITY, until = Number.POSITIVE_INFINITY } = this.period;
    return [...this.runs.values()].flatMap((run) =>
      run.last < since || run.first >= until
        ? []
        : [{ run, from: Math.max(run.first, since), to: Math.min(run.last, until) }],
    );
  }

  #token(client: string, { verdict, reasons }: RequestObservation): void {
    const row = TOKEN_ROWS[verdict];
    if (row === undefined) return;
    const name = verdict === 'token_issue' && reasons.includes('no_response') ? 'unanswered' : row;
    this.#addTokens(client, { ...NO_TOKENS, [name]: 1 });
  }

  #addTokens(client: string, counts: TokenCounts): void {
    const known = this.tokens.get(client);
    if (known === undefined && this.tokens.size >= MAX_TOKEN_CLIENTS) {
      this.tokensUnknown ||= counts.refused + counts.invalid + counts.unanswered > 0;
      return;
    }
    const sums = known ?? { ...NO_TOKENS };
    for (const name of Object.keys(NO_TOKENS) as (keyof TokenCounts)[]) sums[name] += counts[name];
    this.tokens.set(client, sums);
  }

  #run(id: string, time: number): Run {
    const known = this.runs.get(id);
    if (known !== undefined) return known;
    // The sums of what is beyond the bound are with the host's first run.
    const isFull = this.runs.size >= MAX_RUNS || (this.runs.size > 0 && this.all.count >= MAX_ALL_RUNS);
    if (isFull) return this.runs.values().next().value!;
    this.all.count++;
    const run: Run = {
      first: time,
      last: time,
      started: false,
      counters: {},
      losses: {},
      pcap: false,
      namespaced: false,
      connect: false,
      events: 0,
      lowest: Number.POSITIVE_INFINITY,
      highest: Number.NEGATIVE_INFINITY,
      traced: undefined,
      reconfigured: 0,
    };
    this.runs.set(id, run);
    return run;
  }
}

const TOKEN_ROWS: Readonly<Partial<Record<RequestObservation['verdict'], keyof TokenCounts>>> = {
  hardened: 'hardened',
  token_issue: 'granted',
  token_refused: 'refused',
  token_invalid: 'invalid',
};

const COUNTERS: ReadonlyMap<string, string> = new Map(LOSSES);
/** All that is asked of a run. A log can hold any other name, each time another one. */
const KNOWN: ReadonlySet<string> = new Set(COUNTERS.values());

function add(losses: Record<string, number>, lost: Readonly<Record<string, number>>): void {
  for (const [where, count] of Object.entries(lost)) {
    const counter = COUNTERS.get(where) ?? where;
    if (!KNOWN.has(counter)) continue;
    losses[counter] = (Object.hasOwn(losses, counter) ? losses[counter]! : 0) + count;
  }
}

function raise(counters: Record<string, number>, seen: Readonly<Record<string, number>>): void {
  for (const [name, value] of Object.entries(seen)) {
    if (!KNOWN.has(name)) continue;
    counters[name] = Math.max(Object.hasOwn(counters, name) ? counters[name]! : 0, value);
  }
}

/** The sums of each host, and what its logs lack. Bounded; can be merged with those of other logs. */
export class Hosts {
  readonly #hosts = new Map<string, HostSums>();
  readonly #runs: AllRuns = { count: 0 };

  constructor(private readonly period: Period = {}) {}

  get size(): number {
    return this.#hosts.size;
  }

  /** Takes any event, of whatever time; `client`: id of a request's client. */
  add(observation: Observation, number: EventNumber, client?: string): void {
    this.#of(observation.host).add(observation, number, client);
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
      const [from, to] = host.span;
      first = Math.min(first, from);
      last = Math.max(last, to);
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
          verdict:
            sums.normalMode > 0 ? 'not_ready' : complete && sums.requests > sums.foreign ? 'ready' : 'inconclusive',
          requests: sums.requests,
          normal_mode: sums.normalMode,
          first_seen: new Date(sums.span[0]).toISOString(),
          last_seen: new Date(sums.span[1]).toISOString(),
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
    const sums = further
      ? (this.#hosts.get('') ?? new HostSums(OTHERS, this.period, this.#runs))
      : new HostSums(host, this.period, this.#runs);
    this.#hosts.set(further ? '' : key, sums);
    return sums;
  }
}

const VERDICT_ORDER: Readonly<Record<AuditVerdict, number>> = { not_ready: 0, inconclusive: 1, ready: 2 };
