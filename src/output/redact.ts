import type { Judgement } from '../imds/types.js';
import { memo } from '../memo.js';
import type { Attribution, ProcessInfo, ProcessSummary } from '../process/types.js';
import { decodeLatin1 } from '../text.js';
import type { HttpHeader, RequestHead, UnparsedBytes } from '../wire/types.js';
import { boundText } from './escape.js';
import type { LearnedSecrets } from './learned.js';
import { redactArgs } from './secret-args.js';
import { MAY_HOLD_SECRET, secretKind } from './secret-names.js';
import { redactText } from './secret-text.js';
import type { LossEvent, ReloadedEvent, RequestEvent, StartedEvent, StatsEvent, TracerEvent } from './types.js';

/**
 * A request as every output may show it: decoded, without secrets, each text bounded. The formats take only this, so
 * that none can be made from what has not been redacted. Control characters are still there: escaping is the format's.
 */
export interface ShownRequest {
  kind: 'request';
  time: number;
  client: { address: string; port: number };
  endpoint: { address: string; port: number };
  family: 4 | 6;
  cookie: bigint;
  /** Of the headers only those that the outputs show: a header that is not here can't leak. */
  request?: { method: string; target: string; version: string; headBytes: number; host?: string; userAgent?: string };
  unparsed?: UnparsedBytes;
  response?: { time: number; status: number; accessKeyId?: string };
  judgement: Judgement;
  attribution: Attribution;
}

/** What the formats take. The tracer's own events hold nothing from the wire. */
export type ShownEvent = ShownRequest | StartedEvent | ReloadedEvent | StatsEvent | LossEvent;

/** Bounds of what is shown, in UTF-16 code units. */
const MAX_TARGET = 8192;
const MAX_HEADER = 4096;
const MAX_PATH = 4096;
const MAX_NAME = 256;
const MAX_METHOD = 64;
/**
 * All arguments of one process together, and how many of them. Of an ancestor less: shells and CI runners have whole scripts
 * as an argument, and every request of every process below them would carry those.
 */
const MAX_ARGS_LENGTH = 8192;
const MAX_ANCESTOR_ARGS_LENGTH = 1024;
const MAX_ARGS = 512;
/** Redaction shortens: of texts up to this length all is looked at, of longer ones their beginning. */
const MAX_READ = 16384;
const MAX_ANCESTORS = 8;

/**
 * The event without any secret. Learns the values of its secret headers first, so that an argument that equals one is
 * known even where no name stands beside it.
 */
export function redactEvent(event: TracerEvent, learned: LearnedSecrets): ShownEvent {
  return event.kind === 'request' ? redactRequest(event, learned) : event;
}

function redactRequest(event: RequestEvent, learned: LearnedSecrets): ShownRequest {
  const { request, response, attribution } = event;
  const shown: ShownRequest = {
    kind: 'request',
    time: event.time,
    client: event.client,
    endpoint: event.endpoint,
    family: event.family,
    cookie: event.cookie,
    judgement: event.judgement,
    attribution: { how: attribution.how },
  };
  if (attribution.detail !== undefined) shown.attribution.detail = boundText(attribution.detail, MAX_NAME);
  if (event.unparsed !== undefined) shown.unparsed = event.unparsed;
  if (request !== undefined) {
    const { host, userAgent } = redactHeaders(request, learned);
    shown.request = {
      method: knownTexts.redact(request.method, MAX_METHOD, learned),
      target: redactTarget(request.target, learned),
      version: request.version,
      headBytes: request.headBytes,
    };
    if (host !== undefined) shown.request.host = host;
    if (userAgent !== undefined) shown.request.userAgent = userAgent;
  }
  if (response !== undefined) {
    shown.response = { time: response.time, status: response.status };
    if (response.accessKeyId !== undefined) shown.response.accessKeyId = boundText(response.accessKeyId, MAX_NAME);
  }
  if (attribution.process !== undefined) {
    shown.attribution.process = redactOnce(attribution.process, learned, redactProcess);
  }
  return shown;
}

interface ShownHeaders {
  host?: string;
  userAgent?: string;
}

/** Of header lines that recur, as long as nothing is learned that they may hold. */
const headersBefore = new WeakMap<
  readonly HttpHeader[],
  { learned: LearnedSecrets; version: number; shown: ShownHeaders }
>();

function redactHeaders({ headers, recurring }: RequestHead, learned: LearnedSecrets): ShownHeaders {
  const before = recurring ? headersBefore.get(headers) : undefined;
  if (before?.learned === learned && before.version === learned.version) return before.shown;
  for (const { name, value } of headers) if (isSecretHeader(name)) learned.learn(value);
  const shown: ShownHeaders = {};
  const host = firstHeader(headers, 'host');
  const userAgent = firstHeader(headers, 'user-agent');
  if (host !== undefined) shown.host = knownTexts.redact(host, MAX_HEADER, learned);
  if (userAgent !== undefined) shown.userAgent = knownTexts.redact(userAgent, MAX_HEADER, learned);
  if (recurring) headersBefore.set(headers, { learned, version: learned.version, shown });
  return shown;
}

/** Headers whose value is secret as a whole; in a real head any name that ends like a token's is one. */
const isSecretHeader = memo(
  (name: string): boolean => MAY_HOLD_SECRET.test(name) && name.length <= 128 && secretKind(name) !== undefined,
);

function firstHeader(headers: readonly HttpHeader[], lowerCaseName: string): string | undefined {
  for (const { name, value } of headers) {
    if (name.length === lowerCaseName.length && name.toLowerCase() === lowerCaseName) return value;
  }
  return undefined;
}

/** Texts up to this length, and how many of them, are known again. */
const MAX_KNOWN_LENGTH = 256;
const MAX_KNOWN = 256;

/**
 * Methods, hosts and user agents that hold no secret, as far as was learned: nearly all requests have one of a few. A text
 * is kept only once it is shown as it is, and as a copy, for a piece of a head would keep the head.
 */
class KnownTexts {
  #learned: LearnedSecrets | undefined;
  #version = 0;
  readonly #texts = new Map<string, string>();

  redact(bytes: string, limit: number, learned: LearnedSecrets): string {
    if (learned !== this.#learned || learned.version !== this.#version) {
      this.#learned = learned;
      this.#version = learned.version;
      this.#texts.clear();
    }
    const known = bytes.length <= limit ? this.#texts.get(bytes) : undefined;
    if (known !== undefined) return known;
    const shown = redactBounded(bytes, limit, learned);
    if (shown === bytes && shown.length <= MAX_KNOWN_LENGTH) {
      if (this.#texts.size >= MAX_KNOWN) this.#texts.clear();
      this.#texts.set(shown, shown);
    }
    return shown;
  }
}

const knownTexts = new KnownTexts();

/** Bytes that are the same in ASCII and UTF-8 need no decoding. */
const BEYOND_ASCII = /[^\x00-\x7f]/;

/** Of wire bytes (latin1). */
function redactBounded(bytes: string, limit: number, learned: Pick<LearnedSecrets, 'redact'>): string {
  const cut = bytes.length > MAX_READ;
  const read = cut ? bytes.slice(0, MAX_READ) : bytes;
  const text = BEYOND_ASCII.test(read) ? decodeLatin1(read) : read;
  return boundText(redactText(text, learned, cut).text, limit, bytes.length - MAX_READ);
}

/** The path is not compared with learned words: whoever sends requests could blank the path of a finding. */
function redactTarget(target: string, learned: LearnedSecrets): string {
  const query = target.indexOf('?');
  if (query < 0) return redactPath(target);
  if (query >= MAX_READ) return redactBounded(target, MAX_TARGET, nothingLearned);
  return boundText(
    redactPath(target.slice(0, query)) + redactBounded(target.slice(query), MAX_TARGET, learned),
    MAX_TARGET,
  );
}

const redactPath = memo((path: string): string => redactBounded(path, MAX_TARGET, nothingLearned));

const nothingLearned: Pick<LearnedSecrets, 'redact'> = { redact: (text) => text };

/**
 * A process's description is one object for all its requests, and never changes: it is redacted again only where words
 * have been learned since. As it is, redacting the arguments of a process and its ancestors takes as long as all the rest.
 */
const redactedBefore = new WeakMap<
  ProcessSummary,
  { learned: LearnedSecrets; version: number; shown: ProcessSummary }
>();

function redactOnce<P extends ProcessSummary>(
  process: P,
  learned: LearnedSecrets,
  redact: (process: P, learned: LearnedSecrets) => P,
): P {
  const before = redactedBefore.get(process);
  if (before?.learned === learned && before.version === learned.version) return before.shown as P;
  const shown = redact(process, learned);
  redactedBefore.set(process, { learned, version: learned.version, shown });
  return shown;
}

function redactProcess(process: ProcessInfo, learned: LearnedSecrets): ProcessInfo {
  const { entityId, user, unit, container, podUid, netns } = process;
  const shown = redactSummary(process, learned, MAX_ARGS_LENGTH) as ProcessInfo;
  shown.entityId = boundText(entityId, MAX_NAME);
  shown.ancestors = process.ancestors
    .slice(0, MAX_ANCESTORS)
    .map((ancestor) => redactOnce(ancestor, learned, redactAncestor));
  if (user !== undefined) {
    shown.user = { id: user.id };
    if (user.name !== undefined) shown.user.name = boundText(user.name, MAX_NAME);
  }
  if (unit !== undefined) shown.unit = boundText(unit, MAX_NAME);
  if (container !== undefined) {
    shown.container = { id: boundText(container.id, MAX_NAME), runtime: boundText(container.runtime, MAX_NAME) };
  }
  if (podUid !== undefined) shown.podUid = boundText(podUid, MAX_NAME);
  if (netns !== undefined) shown.netns = netns;
  return shown;
}

const redactAncestor = (process: ProcessSummary, learned: LearnedSecrets): ProcessSummary =>
  redactSummary(process, learned, MAX_ANCESTOR_ARGS_LENGTH);

// Members are set one by one: spreading optional ones takes ten times as long, and this is done for every request.
function redactSummary(process: ProcessSummary, learned: LearnedSecrets, maxArgs: number): ProcessSummary {
  const { pid, name, startTime, args, argsTruncated, executable } = process;
  const shown: ProcessSummary = { pid, name: boundText(name, MAX_NAME) };
  if (startTime !== undefined) shown.startTime = startTime;
  if (args !== undefined) shown.args = boundedArgs(args, argsTruncated ?? false, learned, maxArgs);
  if (argsTruncated !== undefined) shown.argsTruncated = argsTruncated;
  if (executable !== undefined) shown.executable = boundText(executable, MAX_PATH);
  return shown;
}

/** Arguments without secrets and within bounds; one more at the end says how many were left out. */
function boundedArgs(
  args: readonly string[],
  truncated: boolean,
  learned: LearnedSecrets,
  maxLength: number,
): string[] {
  const read: string[] = [];
  let length = 0;
  while (read.length < Math.min(args.length, MAX_ARGS) && length < MAX_READ) {
    const arg = args[read.length]!;
    read.push(arg.slice(0, MAX_READ - length));
    length += arg.length;
  }
  const cutBefore = Math.max(length - MAX_READ, 0);
  const cut = cutBefore > 0 || (truncated && read.length === args.length);
  const shown: string[] = [];
  let room = maxLength;
  for (const [i, arg] of redactArgs(read, learned, cut).entries()) {
    if (room <= 0) break;
    shown.push(boundText(arg, room, i === read.length - 1 ? cutBefore : 0));
    room -= arg.length;
  }
  const left = args.length - shown.length;
  if (left > 0) shown.push(`...[+${left} arguments]`);
  return shown;
}
