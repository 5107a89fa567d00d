import type { Judgement, Verdict } from '../imds/types.js';
import type { ProcessInfo } from '../process/types.js';
import { boundText } from './escape.js';
import type { ShownEvent, ShownRequest } from './redact.js';
import type { LossEvent, ReloadedEvent, StartedEvent, StatsEvent } from './types.js';

/** An object of an event; members that are undefined are left out of the JSON. */
export type Fields = { readonly [name: string]: unknown };

/** What no schema has a name for: `imds` in ECS, `unmapped.imds` in OCSF. */
export function imdsFields(event: ShownEvent): Fields {
  return FIELDS[event.kind](event as never);
}

const FIELDS = {
  request: requestFields,
  'tracer-started': ({ source, sourceDetail, providers, endpoints }: StartedEvent) => ({
    source,
    source_detail: sourceDetail,
    providers,
    endpoints: endpoints.map(({ address, port }) => ({ ip: address, port })),
  }),
  'tracer-reloaded': ({ source, providers, endpoints, changed, kept }: ReloadedEvent) => ({
    source,
    providers,
    endpoints: endpoints.map(({ address, port }) => ({ ip: address, port })),
    changed,
    kept,
  }),
  'tracer-stats': ({ stats }: StatsEvent) => ({ stats }),
  'tracer-stopped': ({ stats }: StatsEvent) => ({ stats }),
  'capture-loss': ({ lost }: LossEvent) => ({ lost }),
} satisfies { [Kind in ShownEvent['kind']]: (event: never) => Fields };

/** The mode that a request uses, in the provider's words; requests that tell nothing of it have none. */
export const MODES: Readonly<Partial<Record<Verdict, string>>> = {
  normal_mode: 'normal',
  hardened: 'hardened',
  token_issue: 'hardened',
  token_refused: 'hardened',
  token_invalid: 'hardened',
};

function requestFields(event: ShownRequest): Fields {
  const { response, judgement, attribution } = event;
  const { process } = attribution;
  return {
    provider: judgement.provider,
    mode: MODES[judgement.verdict],
    verdict: judgement.verdict,
    severity: judgement.severity,
    reasons: judgement.reasons,
    token_present: judgement.tokenPresent,
    ttl_seconds: judgement.ttlSeconds,
    attribution: attribution.how,
    attribution_detail: attribution.detail,
    ...(process && originFields(process)),
    // 64 bits do not fit a JSON number; 0 is a source without cookies.
    socket_cookie: event.cookie === 0n ? undefined : String(event.cookie),
    latency_ms: latencyMs(event, 1000),
    unparsed: event.unparsed && { reason: event.unparsed.reason, bytes: event.unparsed.bytes },
    credential: response?.accessKeyId === undefined ? undefined : { access_key_id: response.accessKeyId },
  };
}

/** What no schema has a name for in a process. */
export const originFields = ({ ancestors, netns }: ProcessInfo): Fields => ({
  ancestors: ancestors.map(({ pid, name, args }) => ({ pid, name, args })),
  netns,
});

/**
 * From the request's first byte to the response's, in milliseconds, to `parts` of one. Undefined where one of them is not
 * there, or has a time that is none: of a packet file, times may be anything.
 */
export function latencyMs({ request, response, time }: ShownRequest, parts: number): number | undefined {
  if (request === undefined || response === undefined) return undefined;
  const latency = Math.round((response.time - time) * parts) / parts;
  return Number.isFinite(latency) ? latency : undefined;
}

/** The name of a Host header: without the port; an IPv6 address keeps its brackets. */
export function hostName(host: string): string {
  const end = host.startsWith('[') ? host.indexOf(']') + 1 : host.indexOf(':');
  return boundText(end > 0 ? host.slice(0, end) : host, 256);
}

/** Whether the service gave what it was asked for, as far as an answer was seen. */
export const outcomeOf = ({ response }: ShownRequest): 'success' | 'failure' | 'unknown' =>
  response === undefined ? 'unknown' : response.status < 400 ? 'success' : 'failure';

/** The service turned the request away for what it carries or lacks. */
export const isRefused = ({ response }: ShownRequest): boolean =>
  response !== undefined && (response.status === 401 || response.status === 403);

/** MITRE ATT&CK, https://attack.mitre.org/techniques/T1552/005/ */
export const CREDENTIAL_ACCESS = {
  framework: 'MITRE ATT&CK',
  tactic: { id: 'TA0006', name: 'Credential Access' },
  technique: { id: 'T1552', name: 'Unsecured Credentials' },
  subTechnique: {
    id: 'T1552.005',
    name: 'Cloud Instance Metadata API',
    url: 'https://attack.mitre.org/techniques/T1552/005/',
  },
} as const;

/** The keys of the instance's role were asked for in the way that a forged request can ask for them too. */
export const isCredentialAccess = ({ verdict, reasons }: Judgement): boolean =>
  verdict === 'normal_mode' && reasons.includes('credential_path');
