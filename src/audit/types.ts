import type { ClientKind } from '../advice/clients.js';
import type { Severity, Verdict } from '../imds/types.js';

/** `audit.json`, and the same of many hosts at once. Times are ISO 8601 in UTC with milliseconds. */
export interface AuditResult {
  schema_version: 1;
  /** Name of the host; of several, how many there are. */
  host: string;
  host_id?: string;
  started: string;
  ended: string;
  /** How long was traced, in seconds: less than from `started` to `ended` where there were gaps. */
  traced_seconds: number;
  verdict: AuditVerdict;
  /** Why, the weightiest first; for people. */
  verdict_reasons: string[];
  coverage: Coverage;
  totals: Totals;
  /** Those that must change first: by impact, severity, and number of requests without a token. */
  clients: ClientResult[];
  /** Requests of clients that there was no room for. */
  other: OtherClients;
  timeline: TimelineResult;
  /** How each provider's switch to tokens only is made, and undone. */
  switches: SwitchAdvice[];
  /** Whether the inventory could look at everything; absent where none was taken. */
  inventory_complete?: boolean;
  /** What `imds-tracer inventory` finds on this host; empty where it was not taken. */
  inventory: InventoryEntry[];
}

export type AuditVerdict = 'ready' | 'not_ready' | 'inconclusive';

/** Whether everything that the verdict speaks of was seen. */
export interface Coverage {
  complete: boolean;
  reasons: CoverageReason[];
}

export interface CoverageReason {
  /** One of `COVERAGE` in coverage.ts. */
  code: string;
  /** For people. */
  text: string;
  /** How many packets, requests, … ; absent where there is nothing to count. */
  count?: number;
}

export type Totals = { requests: number } & Record<Verdict, number> & {
    /** Of `normal_mode`, those that the service refused. */
    blocked: number;
    unattributed: number;
    clients: number;
    hosts: number;
  };

/** What the switch to tokens only does to a client. */
export type Impact =
  /** It got an answer without a token (or none was seen): that ends with the switch. */
  | 'breaks'
  /** It asks without a token and is refused already. */
  | 'broken'
  /** It asks without a token, and all its answers were errors of another kind, a path that is not there for instance. */
  | 'fails_anyway'
  /** It is refused each token it asks for (or gets no answer), or the tokens it has, and was not seen to go without. */
  | 'no_token'
  /** What it sent could not be read. */
  | 'unknown'
  /** It uses tokens, or is no client of this cloud's service. */
  | 'none';

/** Requests that come from the same program in the same place. Text from outside is exact: escaping is the reader's. */
export interface ClientResult {
  /** Short hash of what follows up to `user`. */
  id: string;
  /** Null where no process is known. */
  executable: string | null;
  /** Program and script, without arguments that vary. */
  command: string | null;
  unit: string | null;
  container_id: string | null;
  /** Name, or id where it has none. */
  user: string | null;
  impact: Impact;
  /** Of its worst request without a token; of clients without any, of its worst request. */
  severity: Severity;
  providers: string[];
  reasons: string[];
  /** By verdict (only those that there are), and by reason under `reasons`. */
  counts: ClientCounts;
  paths: PathResult[];
  /** Requests to further paths. */
  paths_other: number;
  first_seen: string;
  last_seen: string;
  /** How many processes, as far as they were told apart. */
  processes: number;
  /** How many hosts. */
  hosts: number;
  /** How its processes are known: `connect`, `procfs`, `none` with the number of requests. */
  attribution: Record<string, number>;
  container_runtime?: string;
  pod_uid?: string;
  user_agents: string[];
  /** Commands of the nearest ancestors that say who runs it. */
  callers: string[];
  /** Full command lines of some requests without a token, secrets taken out. */
  examples: string[];
  sdks: SdkFinding[];
  root_causes: RootCause[];
  advice: Advice[];
}

export interface ClientCounts {
  requests: number;
  verdicts: Partial<Record<Verdict, number>>;
  reasons: Record<string, number>;
  /** Responses by status code; `none` where none was seen. */
  statuses: Record<string, number>;
}

export interface PathResult {
  path: string;
  requests: number;
  normal_mode: number;
  severity: Severity;
}

export interface OtherClients {
  requests: number;
  normal_mode: number;
}

/** A library or tool that made the requests, as far as can be told. */
export interface SdkFinding {
  /** As in the table of known clients; null for tools and libraries that it does not have. */
  kind: ClientKind | null;
  name: string;
  version: string | null;
  /** How it is known: the User-Agent, a file that the running process uses or can load, or the inventory. */
  how: 'user_agent' | 'process' | 'inventory';
  path?: string;
  /** Against the table of known clients. */
  status: 'ok' | 'too_old' | 'unknown';
  minimum?: string;
}

export interface RootCause {
  /** One of `ROOT_CAUSES` in root-cause.ts. */
  code: string;
  /** What was seen, for people. */
  text: string;
  /** How many requests show it. */
  requests: number;
}

/** One thing to do. */
export interface Advice {
  /** Stable name of the row it comes from. */
  id: string;
  text: string;
  /** Commands or lines to copy. */
  commands: string[];
  source?: string;
}

export interface SwitchAdvice {
  provider: string;
  /** What to know before. */
  text: string;
  commands: string[];
  way_back: string[];
  source: string;
}

/** Requests by verdict over time. */
export interface TimelineResult {
  /** Of the first bucket. */
  start: string;
  bucket_ms: number;
  /** Each as long as those of all other verdicts; verdicts that there are none of are left out. */
  counts: Partial<Record<Verdict, number[]>>;
}

/** An item of `imds-tracer inventory --format json`. */
export interface InventoryEntry {
  kind: ClientKind;
  name: string;
  version: string | null;
  path: string;
  minimum: string | null;
  status: 'ok' | 'too_old' | 'unknown';
  may_fall_back: boolean;
  advice: string;
  /** Processes that run it, have it open or would load it, as far as that was seen. */
  pids?: number[];
  /** Of the container in which it is; null or absent for the host itself. */
  container_id?: string | null;
}
