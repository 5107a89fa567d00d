import { urlParts } from '../imds/paths.js';
import type { Level, Verdict } from '../imds/types.js';
import type { ProcessSummary } from '../process/types.js';
import type { EventContext } from './context.js';
import { boundText } from './escape.js';
import type { ShownEvent, ShownRequest } from './redact.js';
import { formatText } from './text.js';
import { utcTime } from './time.js';
import type { LossEvent, StartedEvent, StatsEvent } from './types.js';

/** Elastic Common Schema, https://www.elastic.co/docs/reference/ecs */
const ECS: EcsFields = { version: '9.3.0' };

/** An object of the event; members that are undefined are left out of the JSON. */
export type EcsFields = { readonly [name: string]: unknown };

/** The whole event, ready for JSON.stringify. Values are exact (but for secrets and bounds); unknown fields are left out. */
export function formatEcs(event: ShownEvent, context: EventContext, text = formatText(event)): EcsFields {
  return { log: ecsLog(text.level), ...ecsFields(event, context), message: text.message };
}

/** The object that carries the level. */
export const ecsLog = (level: Level): EcsFields => ({ level });

/** The event without level and message, which the logger adds. */
export function ecsFields(event: ShownEvent, context: EventContext): EcsFields {
  return FORMATS[event.kind](event as never, context);
}

const FORMATS = {
  request: requestFields,
  'tracer-started': startedFields,
  'tracer-stats': statsFields,
  'tracer-stopped': statsFields,
  'capture-loss': lossFields,
} satisfies { [Kind in ShownEvent['kind']]: (event: never, context: EventContext) => EcsFields };

/** The mode that a request uses, in the provider's words; requests that tell nothing of it have none. */
const MODES: Readonly<Partial<Record<Verdict, string>>> = {
  normal_mode: 'normal',
  hardened: 'hardened',
  token_issue: 'hardened',
  token_refused: 'hardened',
  token_invalid: 'hardened',
};

/** https://attack.mitre.org/techniques/T1552/005/ */
const CREDENTIAL_THREAT: EcsFields = {
  framework: 'MITRE ATT&CK',
  tactic: { id: ['TA0006'], name: ['Credential Access'] },
  technique: {
    id: ['T1552.005'],
    name: ['Unsecured Credentials: Cloud Instance Metadata API'],
    reference: ['https://attack.mitre.org/techniques/T1552/005/'],
  },
};

const TYPES_BY_STATUS = { allowed: ['access'], denied: ['access', 'denied'] } as const;

function requestFields(event: ShownRequest, context: EventContext): EcsFields {
  const { request, response, judgement, attribution } = event;
  const { process } = attribution;
  const refused = response?.status === 401 || response?.status === 403;
  return {
    '@timestamp': utcTime(event.time),
    ecs: ECS,
    host: context.host,
    agent: context.agent,
    event: {
      kind: 'event',
      category: ['network', 'web'],
      type: refused ? TYPES_BY_STATUS.denied : TYPES_BY_STATUS.allowed,
      action: 'imds-request',
      outcome: response === undefined ? 'unknown' : response.status < 400 ? 'success' : 'failure',
      dataset: 'imds.trace',
      id: context.idOf(event),
    },
    cloud: { provider: judgement.provider },
    source: { ip: event.client.address, port: event.client.port },
    destination: { ip: event.endpoint.address, port: event.endpoint.port },
    network: {
      transport: 'tcp',
      protocol: request === undefined ? undefined : 'http',
      type: event.family === 4 ? 'ipv4' : 'ipv6',
      direction: 'egress',
    },
    http: request && {
      request: { method: request.method, bytes: request.headBytes },
      version: request.version,
      response: response && { status_code: response.status },
    },
    url: request && urlFields(request.target, request.host),
    user_agent: request?.userAgent === undefined ? undefined : { original: request.userAgent },
    process: process && {
      pid: process.pid,
      name: process.name,
      executable: process.executable,
      args: process.args,
      args_count: process.args?.length,
      command_line: process.args?.join(' '),
      start: process.startTime === undefined ? undefined : utcTime(process.startTime),
      entity_id: process.entityId,
      user: process.user && { id: String(process.user.id), name: process.user.name },
      parent: process.ancestors[0] && parentFields(process.ancestors[0]),
    },
    container: process?.container && { id: process.container.id, runtime: process.container.runtime },
    orchestrator: process?.podUid === undefined ? undefined : { resource: { id: process.podUid, type: 'pod' } },
    service: process?.unit === undefined ? undefined : { name: process.unit },
    threat:
      judgement.verdict === 'normal_mode' && judgement.reasons.includes('credential_path')
        ? CREDENTIAL_THREAT
        : undefined,
    imds: {
      provider: judgement.provider,
      mode: MODES[judgement.verdict],
      verdict: judgement.verdict,
      severity: judgement.severity,
      reasons: judgement.reasons,
      token_present: judgement.tokenPresent,
      ttl_seconds: judgement.ttlSeconds,
      attribution: attribution.how,
      attribution_detail: attribution.detail,
      ancestors: process?.ancestors.map(({ pid, name, args }) => ({ pid, name, args })),
      netns: process?.netns,
      // 64 bits do not fit a JSON number; 0 is a source without cookies.
      socket_cookie: event.cookie === 0n ? undefined : String(event.cookie),
      latency_ms: response && request ? Math.round((response.time - event.time) * 1000) / 1000 : undefined,
      unparsed: event.unparsed && { reason: event.unparsed.reason, bytes: event.unparsed.bytes },
      credential: response?.accessKeyId === undefined ? undefined : { access_key_id: response.accessKeyId },
    },
  };
}

function parentFields({ pid, name, executable, args }: ProcessSummary): EcsFields {
  return { pid, name, executable, args, command_line: args?.join(' ') };
}

function urlFields(target: string, host: string | undefined): EcsFields {
  const { path, query } = urlParts(target);
  return { original: target, path, query, domain: host && domainOf(host) };
}

/** `url.domain` of a Host header: without the port; an IPv6 address keeps its brackets, as ECS has it. */
function domainOf(host: string): string {
  const end = host.startsWith('[') ? host.indexOf(']') + 1 : host.indexOf(':');
  return boundText(end > 0 ? host.slice(0, end) : host, 256);
}

function startedFields(event: StartedEvent, context: EventContext): EcsFields {
  return {
    ...ownEvent(event, context, { kind: 'event', type: 'start', outcome: 'success' }),
    imds: {
      source: event.source,
      source_detail: event.sourceDetail,
      providers: event.providers,
      endpoints: event.endpoints.map(({ address, port }) => ({ ip: address, port })),
    },
  };
}

function statsFields(event: StatsEvent, context: EventContext): EcsFields {
  const stopped = event.kind === 'tracer-stopped';
  return {
    ...ownEvent(event, context, {
      kind: stopped ? 'event' : 'metric',
      type: stopped ? 'end' : 'info',
      outcome: 'success',
    }),
    imds: { stats: event.stats },
  };
}

function lossFields(event: LossEvent, context: EventContext): EcsFields {
  return {
    ...ownEvent(event, context, { kind: 'pipeline_error', type: 'info', outcome: 'failure' }),
    imds: { lost: event.lost },
  };
}

function ownEvent(
  event: StartedEvent | StatsEvent | LossEvent,
  context: EventContext,
  { kind, type, outcome }: { kind: string; type: string; outcome: string },
): EcsFields {
  return {
    '@timestamp': utcTime(event.time),
    ecs: ECS,
    host: context.host,
    agent: context.agent,
    event: {
      kind,
      category: ['host'],
      type: [type],
      action: event.kind,
      outcome,
      dataset: 'imds.trace',
      id: context.idOf(event),
    },
  };
}
