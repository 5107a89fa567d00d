import type { Severity, Verdict } from '../imds/types.js';
import type { EventContext } from './context.js';
import { type Fields, imdsFields, isRefused, outcomeOf } from './fields.js';
import {
  actor,
  attacks,
  connection,
  device,
  endpoint,
  httpRequest,
  httpResponse,
  metadata,
  methodActivity,
  product,
} from './ocsf/objects.js';
import { CLASSES, CONTROL, eventType, OTHER_ACTIVITY, SEVERITY, STATUS } from './ocsf/schema.js';
import type { ShownEvent, ShownRequest } from './redact.js';
import { formatText, type TextLine } from './text.js';
import { wholeMilliseconds } from './time.js';

/**
 * The event as an object of the Open Cybersecurity Schema Framework, ready for JSON.stringify; members that are undefined
 * are left out there. Values are exact, as in ECS, and bounded by what a ShownEvent holds.
 */
export function formatOcsf(event: ShownEvent, context: EventContext, text: TextLine = formatText(event)): Fields {
  return FORMATS[event.kind](event as never, context, text);
}

const FORMATS = {
  request: requestFields,
  'tracer-started': (event, context, text) => ownFields(event, context, text, STARTED),
  'tracer-reloaded': (event, context, text) => ownFields(event, context, text, RELOADED),
  'tracer-stopped': (event, context, text) => ownFields(event, context, text, STOPPED),
  'tracer-stats': (event, context, text) => ownFields(event, context, text, STATISTICS),
  'capture-loss': (event, context, text) => ownFields(event, context, text, LOST),
} satisfies {
  [Kind in ShownEvent['kind']]: (event: ShownEvent & { kind: Kind }, context: EventContext, text: TextLine) => Fields;
};

/** How bad it is: of a request without a token what it gives away, of others whether somebody has to look. */
const SEVERITIES: Readonly<Record<Exclude<Verdict, 'normal_mode'>, Fields>> = {
  hardened: SEVERITY.informational,
  token_issue: SEVERITY.informational,
  foreign_probe: SEVERITY.informational,
  token_refused: SEVERITY.low,
  token_invalid: SEVERITY.low,
  unparsed: SEVERITY.medium,
};

const NORMAL_MODE_SEVERITIES: Readonly<Record<Severity, Fields>> = {
  low: SEVERITY.low,
  medium: SEVERITY.medium,
  high: SEVERITY.high,
  critical: SEVERITY.critical,
};

/** What became of a request: let through by the service, turned away for what it carries or lacks, or no answer seen. */
const CONTROLS: Readonly<Record<Verdict, Readonly<Record<'passed' | 'refused' | 'unanswered', Fields>>>> = {
  normal_mode: { passed: CONTROL.detected, refused: CONTROL.blocked, unanswered: CONTROL.detected },
  hardened: { passed: CONTROL.allowed, refused: CONTROL.blocked, unanswered: CONTROL.logged },
  token_issue: { passed: CONTROL.approved, refused: CONTROL.rejected, unanswered: CONTROL.logged },
  // Whatever the status: of a malformed one the service's rules say so, of others the answer.
  token_refused: { passed: CONTROL.rejected, refused: CONTROL.rejected, unanswered: CONTROL.logged },
  token_invalid: { passed: CONTROL.unauthorized, refused: CONTROL.unauthorized, unanswered: CONTROL.logged },
  foreign_probe: { passed: CONTROL.logged, refused: CONTROL.logged, unanswered: CONTROL.logged },
  unparsed: { passed: CONTROL.logged, refused: CONTROL.logged, unanswered: CONTROL.logged },
};

/** The class HTTP Activity demands a request or a response: bytes that are none are traffic. */
const TRAFFIC = eventType(CLASSES.network, 6, 'Traffic');

function requestType({ request }: ShownRequest): Fields {
  if (request === undefined) return TRAFFIC;
  const [id, name] = methodActivity(request.method) ?? [OTHER_ACTIVITY, request.method];
  return eventType(CLASSES.http, id, name);
}

function requestFields(event: ShownRequest, context: EventContext, { level, message }: TextLine): Fields {
  const { judgement, response, attribution } = event;
  const { process } = attribution;
  const { verdict, severity, reasons } = judgement;
  const fate = response === undefined ? 'unanswered' : isRefused(event) ? 'refused' : 'passed';
  const { ancestors: _, ...imds } = imdsFields(event);
  return {
    time: wholeMilliseconds(event.time),
    ...requestType(event),
    ...(verdict === 'normal_mode' ? NORMAL_MODE_SEVERITIES[severity] : SEVERITIES[verdict]),
    ...STATUS[outcomeOf(event)],
    status_code: response && String(response.status),
    status_detail: reasons.length === 0 ? undefined : reasons.join(','),
    message,
    metadata: metadata(context, {
      uid: context.idOf(event),
      code: 'imds-request',
      level,
      profiles: process?.container === undefined ? REQUEST_PROFILES : CONTAINER_PROFILES,
    }),
    ...CONTROLS[verdict][fate],
    is_alert: verdict === 'normal_mode',
    attacks: attacks(judgement),
    cloud: { provider: judgement.provider },
    device: device(context),
    actor: actor(process),
    src_endpoint: endpoint(event.client),
    dst_endpoint: endpoint(event.endpoint),
    connection_info: connection(event),
    http_request: httpRequest(event),
    http_response: httpResponse(event),
    unmapped: {
      imds: { ...imds, method: event.request?.method, head_bytes: event.request?.headBytes, pod_uid: process?.podUid },
    },
  };
}

const REQUEST_PROFILES = ['cloud', 'host', 'security_control'];
const CONTAINER_PROFILES = [...REQUEST_PROFILES, 'container'];

interface OwnEvent {
  type: Fields;
  severity: Fields;
  status: Fields;
  /** The class says which application it is about in `app`. */
  app?: boolean;
}

const STARTED: OwnEvent = {
  type: eventType(CLASSES.lifecycle, 3, 'Start'),
  severity: SEVERITY.informational,
  status: STATUS.success,
  app: true,
};
const RELOADED: OwnEvent = { ...STARTED, type: eventType(CLASSES.lifecycle, OTHER_ACTIVITY, 'tracer-reloaded') };
const STOPPED: OwnEvent = { ...STARTED, type: eventType(CLASSES.lifecycle, 4, 'Stop') };
/** No class holds the counters of an application; what fits none is a base event, with its own name as the activity. */
const STATISTICS: OwnEvent = {
  type: eventType(CLASSES.base, OTHER_ACTIVITY, 'tracer-stats'),
  severity: SEVERITY.informational,
  status: STATUS.success,
};
/** What the tracer missed is an error of the application, not of the metadata service. */
const LOST: OwnEvent = {
  type: eventType(CLASSES.error, 1, 'General Error'),
  severity: SEVERITY.medium,
  status: STATUS.failure,
};

function ownFields(
  event: Exclude<ShownEvent, ShownRequest>,
  context: EventContext,
  { level, message }: TextLine,
  { type, severity, status, app }: OwnEvent,
): Fields {
  return {
    time: wholeMilliseconds(event.time),
    ...type,
    ...severity,
    ...status,
    message,
    metadata: metadata(context, { uid: context.idOf(event), code: event.kind, level, profiles: OWN_PROFILES }),
    device: device(context),
    app: app ? product(context) : undefined,
    unmapped: { imds: imdsFields(event) },
  };
}

const OWN_PROFILES = ['host'];
