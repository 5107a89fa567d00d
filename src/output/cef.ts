import type { Severity, Verdict } from '../imds/types.js';
import type { EventContext } from './context.js';
import { escapeLines } from './escape.js';
import { outcomeOf } from './fields.js';
import type { ShownEvent, ShownRequest } from './redact.js';
import { formatText, type TextLine } from './text.js';
import { wholeMilliseconds } from './time.js';

/**
 * The event in ArcSight's Common Event Format, `CEF:0|…|key=value …`: one line, printable, without a line end and without a
 * syslog header. Control characters show as `\xNN`; texts are cut to the lengths of CEF's dictionary, so that a line stays
 * under 64 KiB. What CEF has no key for is in its custom strings, each with its label.
 *
 * Keys, lengths and escapes are those of "ArcSight Common Event Format (CEF) Implementation Standard".
 */
export function formatCef(event: ShownEvent, context: EventContext, text: TextLine = formatText(event)): string {
  const { id, name, severity } = event.kind === 'request' ? requestKind(event) : OWN_KINDS[event.kind];
  const header = ['CEF:0', 'imds-tracer', 'imds-tracer', context.agent.version, id, name, String(severity)];
  const values: Values = {
    rt: wholeMilliseconds(event.time),
    dvchost: context.host.name,
    deviceExternalId: context.host.id,
    externalId: context.idOf(event),
    ...(event.kind === 'request' ? requestValues(event) : { cat: event.kind }),
    msg: text.message,
  };
  return `${header.map(escapeHeader).join('|')}|${extension(values)}`;
}

/** By key; in this order in the line. */
type Values = Readonly<Record<string, string | number | undefined>>;

interface Kind {
  /** "Signature ID": the same for all events of a kind. */
  id: string;
  /** For people. */
  name: string;
  /** 0 to 10: to 3 low, to 6 medium, to 8 high. */
  severity: number;
}

const VERDICT_NAMES: Readonly<Record<Verdict, string>> = {
  normal_mode: 'Metadata request without a session token',
  hardened: 'Metadata request with a session token',
  token_issue: 'Session token granted',
  token_refused: 'Session token refused',
  token_invalid: 'Invalid session token',
  foreign_probe: "Request to another cloud's metadata service",
  unparsed: 'Unreadable bytes to the metadata service',
};

const VERDICT_SEVERITIES: Readonly<Record<Exclude<Verdict, 'normal_mode'>, number>> = {
  hardened: 0,
  token_issue: 0,
  foreign_probe: 0,
  token_refused: 3,
  token_invalid: 3,
  unparsed: 5,
};

const NORMAL_MODE_SEVERITIES: Readonly<Record<Severity, number>> = { low: 4, medium: 6, high: 8, critical: 10 };

function requestKind({ judgement: { verdict, severity } }: ShownRequest): Kind {
  return {
    id: verdict,
    name: VERDICT_NAMES[verdict],
    severity: verdict === 'normal_mode' ? NORMAL_MODE_SEVERITIES[severity] : VERDICT_SEVERITIES[verdict],
  };
}

const OWN_KINDS: { readonly [Name in Exclude<ShownEvent['kind'], 'request'>]: Kind } = {
  'tracer-started': { id: 'tracer-started', name: 'Tracer started', severity: 0 },
  'tracer-reloaded': { id: 'tracer-reloaded', name: 'Configuration was read again', severity: 0 },
  'tracer-stopped': { id: 'tracer-stopped', name: 'Tracer stopped', severity: 2 },
  'tracer-stats': { id: 'tracer-stats', name: 'Counters of the tracer', severity: 0 },
  'capture-loss': { id: 'capture-loss', name: 'Packets or lines were lost', severity: 6 },
};

function requestValues(event: ShownRequest): Values {
  const { request, response, judgement, attribution, client, endpoint } = event;
  const { process } = attribution;
  return {
    cat: 'imds-request',
    outcome: outcomeOf(event),
    reason: judgement.reasons.join(','),
    ...ADDRESSES.source(client.address),
    spt: client.port,
    ...ADDRESSES.destination(endpoint.address),
    dpt: endpoint.port,
    proto: 'TCP',
    app: request && 'HTTP',
    requestMethod: request?.method,
    request: request?.target,
    dhost: request?.host,
    requestClientApplication: request?.userAgent,
    spid: process?.pid,
    sproc: process?.executable ?? process?.name,
    suid: process?.user && String(process.user.id),
    suser: process?.user?.name,
    sourceServiceName: process?.unit,
    ...labelled('cn1', 'statusCode', response?.status),
    ...labelled('cn2', 'ttlSeconds', judgement.ttlSeconds),
    ...labelled('cs1', 'commandLine', process?.args?.join(' ')),
    ...labelled('cs2', 'calledBy', process?.ancestors.map(({ name, args }) => args?.join(' ') ?? name).join(' <- ')),
    ...labelled('cs3', 'provider', judgement.provider),
    ...labelled('cs4', 'severity', judgement.severity),
    ...labelled('cs5', 'containerId', process?.container?.id),
    ...labelled('cs6', 'attribution', [attribution.how, attribution.detail].filter(Boolean).join(' ')),
  };
}

/** `src` and `dst` are IPv4 addresses; IPv6 has custom keys. */
const ADDRESSES = {
  source: (address: string): Values =>
    address.includes(':') ? labelled('c6a2', 'Source IPv6 Address', address) : { src: address },
  destination: (address: string): Values =>
    address.includes(':') ? labelled('c6a3', 'Destination IPv6 Address', address) : { dst: address },
};

const labelled = (key: string, label: string, value: string | number | undefined): Values =>
  value === undefined || value === '' ? {} : { [key]: value, [`${key}Label`]: label };

/** Greatest lengths by CEF's dictionary. Numbers, addresses, the event's id and our own words are shorter than theirs. */
const LIMITS: Readonly<Record<string, number>> = {
  dvchost: 100,
  deviceExternalId: 255,
  reason: 1023,
  requestMethod: 1023,
  request: 1023,
  dhost: 1023,
  requestClientApplication: 1023,
  sproc: 1023,
  suser: 1023,
  sourceServiceName: 1023,
  cs1: 4000,
  cs2: 4000,
  cs5: 4000,
  cs6: 4000,
  msg: 1023,
};
const DEFAULT_LIMIT = 255;
/** `...[+12345]` comes on top of what escapeLines cuts. */
const CUT_MARK_ROOM = 24;

function extension(values: Values): string {
  const pairs: string[] = [];
  for (const [key, value] of Object.entries(values)) {
    if (value === undefined || value === '') continue;
    const limit = LIMITS[key] ?? DEFAULT_LIMIT;
    pairs.push(`${key}=${escapeValue(escapeLines(String(value), limit - CUT_MARK_ROOM))}`);
  }
  return pairs.join(' ');
}

/** A line end can't be written in the header at all. */
const escapeHeader = (value: string): string =>
  escapeLines(value.replace(/[\n\r]/g, ' '), DEFAULT_LIMIT).replace(/[\\|]/g, '\\$&');

const ESCAPES: Readonly<Record<string, string>> = { '\\': '\\\\', '=': '\\=', '\n': '\\n', '\r': '\\r' };
const escapeValue = (value: string): string => value.replace(/[\\=\n\r]/g, (character) => ESCAPES[character]!);
