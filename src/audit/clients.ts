import { hash } from 'node:crypto';
import { REASONS } from '../imds/reasons.js';
import { worse } from '../imds/severities.js';
import type { Severity, Verdict } from '../imds/types.js';
import { LEVELS } from '../imds/verdict.js';
import { LruMap } from '../lru.js';
import { boundText } from '../output/escape.js';
import { callersOf, clientCommand } from './command.js';
import type { ObservedProcess, RequestObservation } from './observation.js';
import { ProxyFinder } from './proxies.js';
import { causeOf, ROOT_CAUSES, type RootCauseCode } from './root-cause.js';
import { Tally, type TallyJson, TextRoom } from './tally.js';
import { Timeline, type TimelineJson } from './timeline.js';
import type { OtherClients, SdkFinding } from './types.js';

/** Requests of the same program in the same place are one client. */
export interface ClientIdentity {
  executable: string | null;
  command: string | null;
  unit: string | null;
  container_id: string | null;
  user: string | null;
}

export interface ClientLimits {
  clients: number;
  /** Characters of all texts together that clients, paths, callers, … may take. */
  characters: number;
}

const LIMITS: ClientLimits = { clients: 4096, characters: 16 * 1024 * 1024 };
/** The share of the characters that only the clients' own names may take, so that one client's paths can't keep out another client. */
const RESERVED_FOR_CLIENTS = 0.5;

const MAX_PATHS = 64;
const MAX_NAME = 1024;
const MAX_PATH = 256;
const MAX_AGENTS = 8;
const MAX_CALLERS = 8;
const MAX_EXAMPLES = 4;
const MAX_SDKS = 16;
const MAX_PIDS = 16;
const MAX_DETAILS = 4;
const MAX_HOSTS = 4096;
/** Processes that are told apart, all clients together; the one that was seen longest ago goes first. */
const MAX_PROCESSES = 8192;

/** Answers to requests without a token. */
export interface NormalMode {
  /** Below 400. */
  answered: number;
  /** None seen. */
  unanswered: number;
  /** 401 or 403. */
  blocked: number;
  /** Any other status. */
  failed: number;
}

interface PathCounts {
  requests: number;
  normal_mode: number;
  severity: Severity;
}

/** A client's sums as JSON: what a state on disk and a merge take. */
export interface ClientJson extends ClientIdentity {
  container_runtime?: string;
  pod_uid?: string;
  requests: number;
  verdicts: [Verdict, number][];
  reasons: [string, number][];
  causes: [RootCauseCode, number][];
  details: [RootCauseCode, TallyJson][];
  normal: NormalMode;
  severity: Severity;
  normal_severity: Severity;
  paths: [string, PathCounts][];
  paths_other: number;
  statuses: TallyJson;
  providers: TallyJson;
  user_agents: TallyJson;
  callers: TallyJson;
  examples: TallyJson;
  hosts: TallyJson;
  attribution: TallyJson;
  asks_for: TallyJson;
  asks_through: TallyJson;
  first: number;
  last: number;
  processes: number;
  sdks: SdkFinding[];
}

/** What is made of a process once, for all its requests. */
interface DescribedProcess {
  /** Id of its client. */
  id: string;
  identity: ClientIdentity;
  /** What `identity` takes of the room for texts. */
  key: string;
  callers: string | undefined;
  example: string | undefined;
}

/** The sums of one client. */
export class Client implements ClientIdentity {
  readonly executable: string | null;
  readonly command: string | null;
  readonly unit: string | null;
  readonly container_id: string | null;
  readonly user: string | null;
  container_runtime: string | undefined;
  pod_uid: string | undefined;
  requests = 0;
  readonly verdicts = new Map<Verdict, number>();
  readonly reasons = new Map<string, number>();
  readonly causes = new Map<RootCauseCode, number>();
  readonly details = new Map<RootCauseCode, Tally>();
  readonly normal: NormalMode = { answered: 0, unanswered: 0, blocked: 0, failed: 0 };
  severity: Severity = 'low';
  normal_severity: Severity = 'low';
  readonly paths = new Map<string, PathCounts>();
  paths_other = 0;
  readonly statuses: Tally;
  readonly providers: Tally;
  readonly user_agents: Tally;
  readonly callers: Tally;
  readonly examples: Tally;
  readonly hosts: Tally;
  readonly attribution: Tally;
  /** Ids of the clients that it seems to ask for, with the number of requests. */
  readonly asks_for: Tally;
  readonly asks_through: Tally;
  first = Number.POSITIVE_INFINITY;
  last = Number.NEGATIVE_INFINITY;
  processes = 0;
  /** Of the processes seen last, for finding those that still run; not kept on disk. */
  readonly pids = new Set<number>();
  readonly sdks: SdkFinding[] = [];

  constructor(
    readonly id: string,
    identity: ClientIdentity,
    private readonly room: TextRoom,
    private readonly reserve: number,
  ) {
    this.executable = identity.executable;
    this.command = identity.command;
    this.unit = identity.unit;
    this.container_id = identity.container_id;
    this.user = identity.user;
    const tally = (limit: number, maxText: number) => new Tally(limit, maxText, room, reserve);
    this.statuses = tally(32, 16);
    this.providers = tally(8, 32);
    this.user_agents = tally(MAX_AGENTS, 256);
    this.callers = tally(MAX_CALLERS, 384);
    this.examples = tally(MAX_EXAMPLES, 1024);
    this.hosts = tally(MAX_HOSTS, 256);
    // Has room whatever others have taken: by it the requests of no known process are counted.
    this.attribution = new Tally(3, 16, new TextRoom(Number.POSITIVE_INFINITY));
    this.asks_for = tally(8, 32);
    this.asks_through = tally(8, 32);
  }

  count(verdict: Verdict): number {
    return this.verdicts.get(verdict) ?? 0;
  }

  /** `process`: of the request, as it was described. */
  add(request: RequestObservation, process: DescribedProcess | undefined): void {
    const { verdict, severity, reasons, status, time } = request;
    const normal = verdict === 'normal_mode';
    this.requests++;
    bump(this.verdicts, verdict);
    for (const reason of reasons) bump(this.reasons, reason);
    const cause = causeOf(request);
    if (cause !== undefined) this.cause(cause.code, cause.detail);
    if (normal) {
      this.normal[answerOf(status, reasons)]++;
      this.normal_severity = worse(this.normal_severity, severity);
    }
    this.severity = worse(this.severity, severity);
    if (request.path !== undefined) this.#path(boundText(request.path, MAX_PATH), 1, normal ? 1 : 0, severity);
    this.statuses.add(status === undefined ? 'none' : String(status));
    this.providers.add(request.provider);
    if (request.userAgent !== undefined) this.user_agents.add(request.userAgent);
    this.hosts.add(request.host.name);
    this.attribution.add(request.attribution);
    if (process?.callers !== undefined) this.callers.add(process.callers);
    if (process?.example !== undefined && normal) this.examples.add(process.example);
    this.container_runtime ??= request.process?.container?.runtime;
    this.pod_uid ??= request.process?.podUid;
    this.first = Math.min(this.first, time);
    this.last = Math.max(this.last, time);
  }

  cause(code: RootCauseCode, detail?: string, count = 1): void {
    bump(this.causes, code, count);
    if (detail !== undefined) this.#details(code).add(detail, count);
  }

  ranAs(pid: number): void {
    this.pids.add(pid);
    if (this.pids.size > MAX_PIDS) {
      for (const first of this.pids) {
        this.pids.delete(first);
        break;
      }
    }
  }

  addSdk(found: SdkFinding): void {
    const same = ({ name, version, how }: SdkFinding) =>
      name === found.name && version === found.version && how === found.how;
    if (this.sdks.length < MAX_SDKS && !this.sdks.some(same)) this.sdks.push(found);
  }

  toJSON(): ClientJson {
    const { executable, command, unit, container_id, user, container_runtime, pod_uid } = this;
    return {
      executable,
      command,
      unit,
      container_id,
      user,
      ...(container_runtime !== undefined && { container_runtime }),
      ...(pod_uid !== undefined && { pod_uid }),
      requests: this.requests,
      verdicts: [...this.verdicts],
      reasons: [...this.reasons],
      causes: [...this.causes],
      details: [...this.details].map(([code, tally]) => [code, tally.toJSON()]),
      normal: { ...this.normal },
      severity: this.severity,
      normal_severity: this.normal_severity,
      paths: [...this.paths],
      paths_other: this.paths_other,
      statuses: this.statuses.toJSON(),
      providers: this.providers.toJSON(),
      user_agents: this.user_agents.toJSON(),
      callers: this.callers.toJSON(),
      examples: this.examples.toJSON(),
      hosts: this.hosts.toJSON(),
      attribution: this.attribution.toJSON(),
      asks_for: this.asks_for.toJSON(),
      asks_through: this.asks_through.toJSON(),
      first: this.first,
      last: this.last,
      processes: this.processes,
      sdks: this.sdks,
    };
  }

  merge(other: ClientJson): void {
    this.requests += other.requests;
    for (const [verdict, count] of other.verdicts) bump(this.verdicts, verdict, count);
    for (const [reason, count] of other.reasons) bump(this.reasons, reason, count);
    for (const [code, count] of other.causes) bump(this.causes, code, count);
    for (const [code, tally] of other.details) this.#details(code).merge(tally);
    for (const answer of ['answered', 'unanswered', 'blocked', 'failed'] as const) {
      this.normal[answer] += other.normal[answer];
    }
    this.severity = worse(this.severity, other.severity);
    this.normal_severity = worse(this.normal_severity, other.normal_severity);
    for (const [path, { requests, normal_mode, severity }] of other.paths) {
      this.#path(path, requests, normal_mode, severity);
    }
    this.paths_other += other.paths_other;
    for (const name of TALLIES) this[name].merge(other[name]);
    this.container_runtime ??= other.container_runtime;
    this.pod_uid ??= other.pod_uid;
    this.first = Math.min(this.first, other.first);
    this.last = Math.max(this.last, other.last);
    this.processes += other.processes;
    for (const sdk of other.sdks) this.addSdk(sdk);
  }

  #details(code: RootCauseCode): Tally {
    let tally = this.details.get(code);
    if (tally === undefined) {
      tally = new Tally(MAX_DETAILS, 64, this.room, this.reserve);
      this.details.set(code, tally);
    }
    return tally;
  }

  #path(path: string, requests: number, normal: number, severity: Severity): void {
    let counts = this.paths.get(path);
    if (counts === undefined) {
      if (this.paths.size >= MAX_PATHS || !this.room.take(path, this.reserve)) {
        this.paths_other += requests;
        return;
      }
      counts = { requests: 0, normal_mode: 0, severity: 'low' };
      this.paths.set(path, counts);
    }
    counts.requests += requests;
    counts.normal_mode += normal;
    counts.severity = worse(counts.severity, severity);
  }
}

const TALLIES = [
  'statuses',
  'providers',
  'user_agents',
  'callers',
  'examples',
  'hosts',
  'attribution',
  'asks_for',
  'asks_through',
] as const;

function answerOf(status: number | undefined, reasons: readonly string[]): keyof NormalMode {
  if (status === undefined) return 'unanswered';
  if (reasons.includes('blocked')) return 'blocked';
  return status < 400 ? 'answered' : 'failed';
}

const bump = <Key>(counts: Map<Key, number>, key: Key, by = 1): void => {
  counts.set(key, (counts.get(key) ?? 0) + by);
};

/** Arguments as an example keeps them: apart, so that they can be quoted again. */
const exampleOf = (args: readonly string[]): string => args.join('\0');

/** The arguments of an example; the last may have been cut. */
export const exampleArgs = (example: string): string[] => example.split('\0');

export interface ClientsJson {
  clients: ClientJson[];
  other: OtherClients;
  timeline: TimelineJson;
  hosts: TallyJson;
}

/** What a request was counted with. */
export interface Counted {
  client: Client;
  /** Its process, where that is seen for the first time: for whoever looks into it while it runs. */
  newProcess: ObservedProcess | undefined;
}

/**
 * Groups requests into clients. Bounded, whatever comes: clients beyond the limits are counted together. What it holds can be
 * merged with that of another host or of an earlier run.
 */
export class Clients {
  readonly #clients = new Map<string, Client>();
  readonly #timeline = new Timeline();
  readonly #proxies = new ProxyFinder();
  /** What the last token-related answer of a process was, and so that it is known. */
  readonly #processes = new LruMap<string, 'token_invalid' | 'other'>(MAX_PROCESSES);
  readonly #room: TextRoom;
  readonly #reserve: number;
  readonly #limits: ClientLimits;
  readonly #together: boolean;
  readonly #hosts: Tally;
  readonly #described = new WeakMap<ObservedProcess, DescribedProcess>();
  readonly other: OtherClients = { requests: 0, normal_mode: 0 };

  /**
   * `containersTogether`: the containers of a program are one client, as is fit for many hosts, where each has ids of its own.
   */
  constructor({
    limits = LIMITS,
    containersTogether = false,
  }: { limits?: ClientLimits; containersTogether?: boolean } = {}) {
    this.#limits = limits;
    this.#together = containersTogether;
    this.#room = new TextRoom(limits.characters);
    this.#reserve = limits.characters * RESERVED_FOR_CLIENTS;
    this.#hosts = new Tally(65_536, 256, this.#room, this.#reserve);
  }

  get size(): number {
    return this.#clients.size;
  }

  get hosts(): number {
    return this.#hosts.size;
  }

  values(): Iterable<Client> {
    return this.#clients.values();
  }

  byId(id: string): Client | undefined {
    return this.#clients.get(id);
  }

  get timeline(): Timeline {
    return this.#timeline;
  }

  /** Takes a request; undefined where there was no room for its client. */
  add(request: RequestObservation): Counted | undefined {
    this.#hosts.add(request.host.name);
    this.#timeline.add(request.time, request.verdict);
    const described = this.#describe(request.process);
    const client = this.#clientOf(described);
    if (client === undefined) {
      this.other.requests++;
      if (request.verdict === 'normal_mode') this.other.normal_mode++;
      return undefined;
    }
    client.add(request, described);
    for (const { inner, outer } of this.#proxies.observe(client.id, request)) {
      this.byId(inner)?.asks_for.add(outer);
      this.byId(outer)?.asks_through.add(inner);
    }
    const { process } = request;
    const isNew = process?.entityId !== undefined && this.#isNewProcess(client, process.entityId, request.verdict);
    if (!isNew) return { client, newProcess: undefined };
    client.processes++;
    client.ranAs(process!.pid);
    return { client, newProcess: process };
  }

  #isNewProcess(client: Client, entityId: string, verdict: Verdict): boolean {
    const before = this.#processes.get(entityId);
    const now = verdict === 'token_invalid' ? 'token_invalid' : 'other';
    if (before === 'token_invalid' && now === 'token_invalid') client.cause('keeps_old_token');
    this.#processes.set(entityId, now);
    return before === undefined;
  }

  toJSON(): ClientsJson {
    return {
      clients: [...this.#clients.values()].map((client) => client.toJSON()),
      other: this.other,
      timeline: this.#timeline.toJSON(),
      hosts: this.#hosts.toJSON(),
    };
  }

  /** Adds what another has gathered: trusted as far as its form goes. */
  merge({ clients, other, timeline, hosts }: ClientsJson): void {
    for (const json of clients) {
      const client = this.#clientOf(identified(this.#together ? withoutContainer(json) : json));
      if (client !== undefined) {
        client.merge(json);
        continue;
      }
      this.other.requests += json.requests;
      this.other.normal_mode += json.verdicts.find(([verdict]) => verdict === 'normal_mode')?.[1] ?? 0;
    }
    this.other.requests += other.requests;
    this.other.normal_mode += other.normal_mode;
    this.#timeline.merge(timeline);
    this.#hosts.merge(hosts);
  }

  /** A running tracer describes a process by one object for all its requests: what is made of it is kept as long. */
  #describe(process: ObservedProcess | undefined): DescribedProcess {
    const known = process === undefined ? undefined : this.#described.get(process);
    if (known !== undefined) return known;
    const described: DescribedProcess = {
      ...identified(identityOf(process, this.#together)),
      callers: process === undefined ? undefined : callersOf(process.ancestors),
      example: process?.args === undefined || process.argsJoined ? undefined : exampleOf(process.args),
    };
    if (process !== undefined) this.#described.set(process, described);
    return described;
  }

  #clientOf({ id, identity, key }: Pick<DescribedProcess, 'id' | 'identity' | 'key'>): Client | undefined {
    const known = this.#clients.get(id);
    if (known !== undefined) return known;
    if (this.#clients.size >= this.#limits.clients || !this.#room.take(key)) return undefined;
    const client = new Client(id, identity, this.#room, this.#reserve);
    this.#clients.set(id, client);
    return client;
  }
}

function identified(identity: ClientIdentity): Pick<DescribedProcess, 'id' | 'identity' | 'key'> {
  const { executable, command, unit, container_id, user } = identity;
  const key = JSON.stringify([executable, command, unit, container_id, user]);
  return { id: hash('sha256', key, 'hex').slice(0, 12), identity, key };
}

function identityOf(process: ObservedProcess | undefined, together: boolean): ClientIdentity {
  if (process === undefined) return { executable: null, command: null, unit: null, container_id: null, user: null };
  const { executable, unit, container, user } = process;
  const command = clientCommand(process);
  const identity: ClientIdentity = {
    executable: executable === undefined ? null : boundText(executable, MAX_NAME),
    command: command ?? null,
    // A container's own scope says no more than its id.
    unit: unit === undefined || (container !== undefined && unit.includes(container.id)) ? null : steadyUnit(unit),
    container_id: container === undefined ? null : boundText(container.id, MAX_NAME),
    user: user === undefined ? null : (user.name ?? String(user.id)),
  };
  return together ? withoutContainer(identity) : identity;
}

const withoutContainer = (identity: ClientIdentity): ClientIdentity => ({ ...identity, container_id: null });

/** Units that are named anew for each login or run: systemd-logind's sessions, systemd-run's transient units. */
const TRANSIENT = /^(session-|run-[ur]?)[0-9a-f]+((?:-[0-9a-f]+)*)\.(scope|service)$/;

const steadyUnit = (unit: string): string => boundText(unit, MAX_NAME).replace(TRANSIENT, '$1*.$3');

/** Whether JSON from disk has the form of `ClientsJson`, as far as merging it needs; it was written by this program, or by nobody else's leave. */
export function isClientsJson(value: unknown): value is ClientsJson {
  try {
    const probe = new Clients();
    probe.merge(value as ClientsJson);
    const json = value as ClientsJson;
    return (
      json.clients.every(
        ({ verdicts, reasons, causes, details }) =>
          verdicts.every(([verdict, count]) => Object.hasOwn(LEVELS, verdict) && Number.isSafeInteger(count)) &&
          reasons.every(([reason]) => Object.hasOwn(REASONS, reason)) &&
          [...causes, ...details].every(([code]) => Object.hasOwn(ROOT_CAUSES, code)),
      ) && Number.isSafeInteger(json.other.requests + json.other.normal_mode)
    );
  } catch {
    return false;
  }
}
