import { urlParts } from '../imds/paths.js';
import type { Level } from '../imds/types.js';
import type { ProcessInfo, ProcessSummary } from '../process/types.js';
import type { EventContext } from './context.js';
import {
  CREDENTIAL_ACCESS,
  type Fields,
  hostName,
  imdsFields,
  isCredentialAccess,
  isRefused,
  outcomeOf,
} from './fields.js';
import type { ShownEvent, ShownRequest } from './redact.js';
import { formatText } from './text.js';
import { utcTime } from './time.js';
import type { LossEvent, ReloadedEvent, StartedEvent, StatsEvent } from './types.js';

/** Elastic Common Schema, https://www.elastic.co/docs/reference/ecs */
export const ECS: Fields = { version: '9.3.0' };

/** The whole event, ready for JSON.stringify. Values are exact (but for secrets and bounds); unknown fields are left out. */
export function formatEcs(event: ShownEvent, context: EventContext, text = formatText(event)): Fields {
  return { log: ecsLog(text.level), ...ecsFields(event, context), message: text.message };
}

/** The object that carries the level. */
export const ecsLog = (level: Level): Fields => ({ level });

/** The event without level and message, which the logger adds. */
export function ecsFields(event: ShownEvent, context: EventContext): Fields {
  return FORMATS[event.kind](event as never, context);
}

const FORMATS = {
  request: requestFields,
  'tracer-started': startedFields,
  'tracer-reloaded': reloadedFields,
  'tracer-stats': statsFields,
  'tracer-stopped': statsFields,
  'capture-loss': lossFields,
} satisfies { [Kind in ShownEvent['kind']]: (event: never, context: EventContext) => Fields };

export const CREDENTIAL_THREAT: Fields = {
  framework: CREDENTIAL_ACCESS.framework,
  tactic: { id: [CREDENTIAL_ACCESS.tactic.id], name: [CREDENTIAL_ACCESS.tactic.name] },
  technique: {
    id: [CREDENTIAL_ACCESS.subTechnique.id],
    name: [`${CREDENTIAL_ACCESS.technique.name}: ${CREDENTIAL_ACCESS.subTechnique.name}`],
    reference: [CREDENTIAL_ACCESS.subTechnique.url],
  },
};

const TYPES_BY_STATUS = { allowed: ['access'], denied: ['access', 'denied'] } as const;

/** ecs-json.ts has the same in text. */
function requestFields(event: ShownRequest, context: EventContext): Fields {
  const { request, response, judgement, attribution } = event;
  const { process } = attribution;
  return {
    '@timestamp': utcTime(event.time),
    ecs: ECS,
    host: context.host,
    agent: context.agent,
    event: {
      kind: 'event',
      category: ['network', 'web'],
      type: isRefused(event) ? TYPES_BY_STATUS.denied : TYPES_BY_STATUS.allowed,
      action: 'imds-request',
      outcome: outcomeOf(event),
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
    ...(process && processFields(process)),
    threat: isCredentialAccess(judgement) ? CREDENTIAL_THREAT : undefined,
    imds: imdsFields(event),
  };
}

/** What an event says of nothing but its process. */
export function processFields(process: ProcessInfo): Fields {
  const { pid, name, executable, args, startTime, entityId, user, ancestors, container, podUid, unit } = process;
  return {
    process: {
      pid,
      name,
      executable,
      args,
      args_count: args?.length,
      command_line: args?.join(' '),
      start: startTime === undefined ? undefined : utcTime(startTime),
      entity_id: entityId,
      user: user && { id: String(user.id), name: user.name },
      parent: ancestors[0] && parentFields(ancestors[0]),
    },
    container: container && { id: container.id, runtime: container.runtime },
    orchestrator: podUid === undefined ? undefined : { resource: { id: podUid, type: 'pod' } },
    service: unit === undefined ? undefined : { name: unit },
  };
}

function parentFields({ pid, name, executable, args }: ProcessSummary): Fields {
  return { pid, name, executable, args, command_line: args?.join(' ') };
}

function urlFields(target: string, host: string | undefined): Fields {
  const { path, query } = urlParts(target);
  return { original: target, path, query, domain: host && hostName(host) };
}

function startedFields(event: StartedEvent, context: EventContext): Fields {
  return {
    ...ownEvent(event, context, { kind: 'event', type: 'start', outcome: 'success' }),
    imds: imdsFields(event),
  };
}

function reloadedFields(event: ReloadedEvent, context: EventContext): Fields {
  return {
    ...ownEvent(event, context, { kind: 'event', type: 'change', outcome: 'success' }),
    imds: imdsFields(event),
  };
}

function statsFields(event: StatsEvent, context: EventContext): Fields {
  const stopped = event.kind === 'tracer-stopped';
  return {
    ...ownEvent(event, context, {
      kind: stopped ? 'event' : 'metric',
      type: stopped ? 'end' : 'info',
      outcome: 'success',
    }),
    imds: imdsFields(event),
  };
}

function lossFields(event: LossEvent, context: EventContext): Fields {
  return {
    ...ownEvent(event, context, { kind: 'pipeline_error', type: 'info', outcome: 'failure' }),
    imds: imdsFields(event),
  };
}

function ownEvent(
  event: StartedEvent | ReloadedEvent | StatsEvent | LossEvent,
  context: EventContext,
  { kind, type, outcome }: { kind: string; type: string; outcome: string },
): Fields {
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
