import { urlParts } from '../imds/paths.js';
import type { Level } from '../imds/types.js';
import type { ProcessInfo } from '../process/types.js';
import type { EventContext } from './context.js';
import { CREDENTIAL_THREAT, ECS, formatEcs, processFields } from './ecs.js';
import { escapeJson, jsonInside } from './escape.js';
import {
  type Fields,
  hostName,
  isCredentialAccess,
  isRefused,
  latencyMs,
  MODES,
  originFields,
  outcomeOf,
} from './fields.js';
import { perProcess } from './per-process.js';
import type { ShownEvent, ShownRequest } from './redact.js';
import { namesInText, type TextLine } from './text.js';
import { utcTime } from './time.js';

/**
 * An ECS event as a line of JSON that is safe to print, without a line end.
 *
 * A request's is put together from text instead of from objects, as it is the largest part of what a traced request costs:
 * about three quarters of an object say who asked, and are the same for all requests of a process. It is, character for
 * character, what JSON.stringify makes of `formatEcs`, whose fields these are.
 */
export function ecsJson(event: ShownEvent, context: EventContext, text: TextLine): string {
  if (event.kind === 'request') return requestJson(event, context, text);
  return printable(formatEcs(event, context, text));
}

const printable = (fields: Fields): string => escapeJson(JSON.stringify(fields));

function requestJson(event: ShownRequest, context: EventContext, text: TextLine): string {
  const { client, endpoint, judgement, attribution } = event;
  const who = attribution.process === undefined ? NOBODY : jsonOfProcess(attribution.process);
  const threat = isCredentialAccess(judgement) ? THREAT : '';
  return (
    `${OPENING[text.level]}${utcTime(event.time)}"${jsonOfRun(context)},"event":{"kind":"event","category":["network","web"],` +
    `"type":${isRefused(event) ? '["access","denied"]' : '["access"]'},"action":"imds-request",` +
    `"outcome":"${outcomeOf(event)}",` +
    `"dataset":"imds.trace","id":"${context.idOf(event)}"},"cloud":{"provider":"${judgement.provider}"},` +
    `"source":{"ip":"${client.address}","port":${client.port}},` +
    `"destination":{"ip":"${endpoint.address}","port":${endpoint.port}},` +
    httpJson(event) +
    `${who.process}${threat},"imds":{${imdsJson(event, who.origin)}},"message":"${messageJson(text, who.names)}"}`
  );
}

const OPENING: Readonly<Record<Level, string>> = {
  INFO: openingOf('INFO'),
  NOTICE: openingOf('NOTICE'),
  WARNING: openingOf('WARNING'),
  ERROR: openingOf('ERROR'),
};

function openingOf(level: Level): string {
  return `{"log":{"level":"${level}"},"@timestamp":"`;
}

const THREAT = `,"threat":${printable(CREDENTIAL_THREAT)}`;

const runs = new WeakMap<EventContext, string>();

/** What is the same in all events of a run. */
function jsonOfRun(context: EventContext): string {
  let json = runs.get(context);
  if (json === undefined) {
    const { host, agent } = context;
    json = `,${printable({ ecs: ECS, host, agent }).slice(1, -1)}`;
    runs.set(context, json);
  }
  return json;
}

/** `network`, `http`, `url` and `user_agent`. */
function httpJson({ request, response, family }: ShownRequest): string {
  const type = family === 4 ? 'ipv4' : 'ipv6';
  if (request === undefined) return `"network":{"transport":"tcp","type":"${type}","direction":"egress"}`;
  const { method, target, version, headBytes, host, userAgent } = request;
  const { path, query } = urlParts(target);
  const original = jsonInside(target);
  return (
    `"network":{"transport":"tcp","protocol":"http","type":"${type}","direction":"egress"},` +
    `"http":{"request":{"method":"${jsonInside(method)}","bytes":${headBytes}},"version":"${jsonInside(version)}"` +
    (response === undefined ? '}' : `,"response":{"status_code":${response.status}}}`) +
    `,"url":{"original":"${original}","path":"${path === target ? original : jsonInside(path)}"` +
    (query === undefined ? '' : `,"query":"${jsonInside(query)}"`) +
    // An empty Host header has no name.
    (host === undefined ? '}' : `,"domain":"${jsonInside(host && hostName(host))}"}`) +
    (userAgent === undefined ? '' : `,"user_agent":{"original":"${jsonInside(userAgent)}"}`)
  );
}

function imdsJson(event: ShownRequest, origin: string): string {
  const { judgement, attribution, cookie, unparsed, response } = event;
  const { provider, verdict, severity, reasons, tokenPresent, ttlSeconds } = judgement;
  const mode = MODES[verdict];
  const latency = latencyMs(event, 1000);
  return (
    `"provider":"${provider}",${mode === undefined ? '' : `"mode":"${mode}",`}"verdict":"${verdict}","severity":"${severity}",` +
    `"reasons":${reasons.length === 0 ? '[]' : printableList(reasons)},"token_present":${tokenPresent}` +
    (ttlSeconds === undefined ? '' : `,"ttl_seconds":${JSON.stringify(ttlSeconds)}`) +
    `,"attribution":"${attribution.how}"` +
    (attribution.detail === undefined ? '' : `,"attribution_detail":"${jsonInside(attribution.detail)}"`) +
    origin +
    (cookie === 0n ? '' : `,"socket_cookie":"${cookie}"`) +
    (latency === undefined ? '' : `,"latency_ms":${latency}`) +
    (unparsed === undefined ? '' : `,"unparsed":{"reason":"${unparsed.reason}","bytes":${unparsed.bytes}}`) +
    (response?.accessKeyId === undefined ? '' : `,"credential":{"access_key_id":"${jsonInside(response.accessKeyId)}"}`)
  );
}

const printableList = (words: readonly string[]): string => escapeJson(JSON.stringify(words));

const messageJson = ({ message, around }: TextLine, names: string): string =>
  around === undefined ? jsonInside(message) : `${around.before}${names}${jsonInside(around.behind)}`;

/** The parts of an object that only say who asked, each with a comma before it. */
interface ProcessJson {
  process: string;
  origin: string;
  /** Within the message. */
  names: string;
}

const NOBODY: ProcessJson = { process: '', origin: '', names: '' };

const jsonOfProcess = perProcess(
  (process: ProcessInfo): ProcessJson => ({
    process: `,${printable(processFields(process)).slice(1, -1)}`,
    origin: `,${printable(originFields(process)).slice(1, -1)}`,
    names: jsonInside(namesInText(process)),
  }),
  ({ process, origin, names }) => process.length + origin.length + names.length,
);
