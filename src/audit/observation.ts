import { urlParts } from '../imds/paths.js';
import { REASONS } from '../imds/reasons.js';
import { SEVERITIES } from '../imds/severities.js';
import type { Severity, Verdict } from '../imds/types.js';
import { LEVELS } from '../imds/verdict.js';
import { boundText } from '../output/escape.js';
import type { ShownEvent, ShownRequest } from '../output/redact.js';
import type { ProcessSummary } from '../process/types.js';

/** Whose events these are. Names of different hosts may be the same; ids are not. */
export interface ObservedHost {
  name: string;
  id?: string;
}

/** A process as an audit needs it. Text may hold control characters, no secrets; each is bounded. */
export interface ObservedProcess {
  pid: number;
  name: string;
  /** Path as /proc/PID/exe shows it. */
  executable?: string;
  /** Epoch milliseconds; exact to a clock tick. */
  startTime?: number;
  /** Stable identity: of host, pid and start. */
  entityId?: string;
  args?: readonly string[];
  /** They come from one text, cut at its spaces: good for telling programs and scripts, not to be shown as what was run. */
  argsJoined?: true;
  user?: { id: number; name?: string };
  unit?: string;
  container?: { id: string; runtime: string };
  podUid?: string;
  netns?: number;
  /** The nearest first. */
  ancestors: readonly ProcessSummary[];
}

/** One request, in the form that a running tracer and the log of a past one both give. */
export interface RequestObservation {
  kind: 'request';
  host: ObservedHost;
  /** Of the request's first byte, epoch milliseconds. */
  time: number;
  /** From there to the response's first byte, in milliseconds; absent without a response. */
  latencyMs?: number;
  provider: string;
  verdict: Verdict;
  severity: Severity;
  reasons: readonly string[];
  endpoint: { address: string; port: number };
  /** Absent where `unparsed`, as are path and user agent. */
  method?: string;
  /** Without query. */
  path?: string;
  userAgent?: string;
  status?: number;
  /** That a token request asks for, where it is a number. */
  ttlSeconds?: number;
  attribution: 'connect' | 'procfs' | 'none';
  attributionDetail?: string;
  process?: ObservedProcess;
}

/** What a tracer says of itself. */
export type TracerObservation = { host: ObservedHost; time: number } & (
  | { kind: 'started'; source: string; sourceDetail: string; providers: readonly string[] }
  /** Counters since the tracer's start, as numbers; those by verdict are left out. `final` when it stopped. */
  | { kind: 'stats'; final: boolean; counters: Readonly<Record<string, number>> }
  | { kind: 'loss'; lost: Readonly<Record<string, number>> }
);

export type Observation = RequestObservation | TracerObservation;

/** Bounds of texts, in UTF-16 code units: what is read of a log was made by somebody else. */
const MAX_TEXT = 1024;
const MAX_PATH = 4096;
const MAX_ITEMS = 64;
const MAX_ARGS = 512;
const MAX_ANCESTORS = 8;

/** Of an event of this process's own tracer. */
export function fromShown(event: ShownEvent, host: ObservedHost): Observation {
  return FROM_SHOWN[event.kind](event as never, host);
}

const FROM_SHOWN: { [Kind in ShownEvent['kind']]: (event: never, host: ObservedHost) => Observation } = {
  request: shownRequest,
  'tracer-started': ({ time, source, sourceDetail, providers }: ShownEvent & { kind: 'tracer-started' }, host) => ({
    kind: 'started',
    host,
    time,
    source,
    sourceDetail,
    providers,
  }),
  'tracer-reloaded': ({ time, source, providers }: ShownEvent & { kind: 'tracer-reloaded' }, host) => ({
    kind: 'started',
    host,
    time,
    source,
    sourceDetail: '',
    providers,
  }),
  'tracer-stats': shownStats,
  'tracer-stopped': shownStats,
  'capture-loss': ({ time, lost }: ShownEvent & { kind: 'capture-loss' }, host) => ({ kind: 'loss', host, time, lost }),
};

function shownStats(
  event: ShownEvent & { kind: 'tracer-stats' | 'tracer-stopped' },
  host: ObservedHost,
): TracerObservation {
  const { by_verdict: _, ...counters } = event.stats;
  return { kind: 'stats', host, time: event.time, final: event.kind === 'tracer-stopped', counters };
}

function shownRequest(event: ShownRequest, host: ObservedHost): RequestObservation {
  const { time, judgement, request, response, attribution, endpoint } = event;
  const seen: RequestObservation = {
    kind: 'request',
    host,
    time,
    provider: judgement.provider,
    verdict: judgement.verdict,
    severity: judgement.severity,
    reasons: judgement.reasons,
    endpoint,
    attribution: attribution.how,
  };
  if (judgement.ttlSeconds !== undefined) seen.ttlSeconds = judgement.ttlSeconds;
  if (request !== undefined) {
    seen.method = request.method;
    seen.path = urlParts(request.target).path;
    if (request.userAgent !== undefined) seen.userAgent = request.userAgent;
  }
  if (response !== undefined) {
    seen.status = response.status;
    seen.latencyMs = response.time - time;
  }
  if (attribution.detail !== undefined) seen.attributionDetail = attribution.detail;
  if (attribution.process !== undefined) seen.process = attribution.process;
  return seen;
}

/**
 * Of an object of `imds-events.ndjson`, as JSON.parse gives it. Undefined for what is no event of the tracer: such a line is
 * to be counted by the caller. Nothing in it is trusted: what is not of the type that the tracer writes is left out.
 */
export function fromEcs(json: unknown): Observation | undefined {
  const event = record(json);
  const action = text(record(event?.['event'])?.['action']);
  const time = timeOf(event?.['@timestamp']);
  if (event === undefined || action === undefined || time === undefined || !Object.hasOwn(FROM_ECS, action)) {
    return undefined;
  }
  const hostFields = record(event['host']);
  const host: ObservedHost = { name: text(hostFields?.['name']) ?? '' };
  const id = text(hostFields?.['id']);
  if (id !== undefined) host.id = id;
  return FROM_ECS[action]!(event, host, time);
}

type Fields = Readonly<Record<string, unknown>>;

const FROM_ECS: Readonly<Record<string, (event: Fields, host: ObservedHost, time: number) => Observation | undefined>> =
  {
    'imds-request': ecsRequest,
    'tracer-started': ecsStarted,
    'tracer-reloaded': ecsStarted,
    'tracer-stats': (event, host, time) => ecsStats(event, host, time, false),
    'tracer-stopped': (event, host, time) => ecsStats(event, host, time, true),
    'capture-loss': (event, host, time) => ({
      kind: 'loss',
      host,
      time,
      lost: counts(record(event['imds'])?.['lost']),
    }),
  };

function ecsStarted(event: Fields, host: ObservedHost, time: number): TracerObservation {
  const imds = record(event['imds']);
  return {
    kind: 'started',
    host,
    time,
    source: text(imds?.['source']) ?? '',
    sourceDetail: text(imds?.['source_detail']) ?? '',
    providers: texts(imds?.['providers']),
  };
}

function ecsStats(event: Fields, host: ObservedHost, time: number, final: boolean): TracerObservation {
  return { kind: 'stats', host, time, final, counters: counts(record(event['imds'])?.['stats']) };
}

function ecsRequest(event: Fields, host: ObservedHost, time: number): RequestObservation | undefined {
  const imds = record(event['imds']);
  const verdict = text(imds?.['verdict']);
  const severity = text(imds?.['severity']);
  const how = text(imds?.['attribution']);
  if (verdict === undefined || !Object.hasOwn(LEVELS, verdict)) return undefined;
  const destination = record(event['destination']);
  const seen: RequestObservation = {
    kind: 'request',
    host,
    time,
    provider: text(imds?.['provider']) ?? '',
    verdict: verdict as Verdict,
    severity: SEVERITIES.find((known) => known === severity) ?? 'low',
    reasons: texts(imds?.['reasons']).filter((reason) => Object.hasOwn(REASONS, reason)),
    endpoint: { address: text(destination?.['ip']) ?? '', port: whole(destination?.['port']) ?? 0 },
    attribution: how === 'connect' || how === 'procfs' ? how : 'none',
  };
  const http = record(event['http']);
  setDefined(seen, 'method', text(record(http?.['request'])?.['method']));
  setDefined(seen, 'status', whole(record(http?.['response'])?.['status_code']));
  setDefined(seen, 'path', text(record(event['url'])?.['path'], MAX_PATH));
  setDefined(seen, 'userAgent', text(record(event['user_agent'])?.['original'], MAX_PATH));
  setDefined(seen, 'ttlSeconds', whole(imds?.['ttl_seconds']));
  setDefined(seen, 'latencyMs', number(imds?.['latency_ms']));
  setDefined(seen, 'attributionDetail', text(imds?.['attribution_detail']));
  if (seen.attribution !== 'none') setDefined(seen, 'process', ecsProcess(event, imds));
  return seen;
}

function ecsProcess(event: Fields, imds: Fields | undefined): ObservedProcess | undefined {
  const summary = ecsSummary(event['process']);
  if (summary === undefined) return undefined;
  const fields = record(event['process'])!;
  const user = record(fields['user']);
  const userId = text(user?.['id']);
  const userName = text(user?.['name']);
  const container = record(event['container']);
  const containerId = text(container?.['id']);
  const parent = ecsSummary(fields['parent']);
  const ancestors = array(imds?.['ancestors'], MAX_ANCESTORS).flatMap((value) => ecsSummary(value) ?? []);
  // Of the parent more is known than of the other ancestors.
  if (parent !== undefined) ancestors.splice(0, 1, parent);
  const process: ObservedProcess = { ...summary, ancestors };
  if (fields['args_joined'] === true) process.argsJoined = true;
  setDefined(process, 'startTime', timeOf(fields['start']));
  setDefined(process, 'entityId', text(fields['entity_id']));
  if (userId !== undefined && /^\d{1,10}$/.test(userId)) {
    process.user = { id: Number(userId) };
    setDefined(process.user, 'name', userName);
  }
  setDefined(process, 'unit', text(record(event['service'])?.['name']));
  setDefined(process, 'podUid', text(record(record(event['orchestrator'])?.['resource'])?.['id']));
  setDefined(process, 'netns', whole(imds?.['netns']));
  if (containerId !== undefined) {
    process.container = { id: containerId, runtime: text(container?.['runtime']) ?? 'unknown' };
  }
  return process;
}

function ecsSummary(value: unknown): ProcessSummary | undefined {
  const fields = record(value);
  const pid = whole(fields?.['pid']);
  if (fields === undefined || pid === undefined) return undefined;
  const summary: ProcessSummary = { pid, name: text(fields['name']) ?? '' };
  setDefined(summary, 'executable', text(fields['executable'], MAX_PATH));
  if (Array.isArray(fields['args'])) summary.args = texts(fields['args'], MAX_ARGS, MAX_PATH);
  return summary;
}

function setDefined<T, Key extends keyof T>(target: T, key: Key, value: T[Key] | undefined): void {
  if (value !== undefined) target[key] = value;
}

const record = (value: unknown): Fields | undefined =>
  value !== null && typeof value === 'object' && !Array.isArray(value) ? (value as Fields) : undefined;

const text = (value: unknown, limit = MAX_TEXT): string | undefined =>
  typeof value === 'string' ? boundText(value, limit) : undefined;

const number = (value: unknown): number | undefined =>
  typeof value === 'number' && Number.isFinite(value) && value >= 0 ? value : undefined;

const whole = (value: unknown): number | undefined =>
  Number.isSafeInteger(value) && (value as number) >= 0 ? (value as number) : undefined;

const array = (value: unknown, limit = MAX_ITEMS): unknown[] => (Array.isArray(value) ? value.slice(0, limit) : []);

const texts = (value: unknown, limit = MAX_ITEMS, maxText = MAX_TEXT): string[] =>
  array(value, limit).flatMap((item) => text(item, maxText) ?? []);

const timeOf = (value: unknown): number | undefined => {
  const time = typeof value === 'string' && value.length <= 40 ? Date.parse(value) : Number.NaN;
  return Number.isNaN(time) ? undefined : time;
};

function counts(value: unknown): Record<string, number> {
  const fields = record(value) ?? {};
  const found: Record<string, number> = {};
  for (const [name, count] of Object.entries(fields).slice(0, MAX_ITEMS)) {
    const known = whole(count);
    if (known !== undefined && /^[a-z_]{1,40}$/.test(name)) found[name] = known;
  }
  return found;
}
