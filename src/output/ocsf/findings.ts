import { createHash } from 'node:crypto';
import type { Severity } from '../../imds/types.js';
import type { EventContext } from '../context.js';
import { boundText } from '../escape.js';
import type { Fields } from '../fields.js';
import { CREDENTIAL_ATTACKS, device, metadata, product } from './objects.js';
import { CLASSES, CONTROL, eventType, SEVERITY } from './schema.js';

/** What the findings say of a client; `ClientResult` of an audit has it. Texts without secrets. */
export interface FoundClient {
  /** Stable across audits: the same program in the same place has the same. */
  id: string;
  executable: string | null;
  command: string | null;
  unit: string | null;
  container_id: string | null;
  user: string | null;
  severity: Severity;
  reasons: readonly string[];
  counts: { requests: number; verdicts: { readonly normal_mode?: number } };
  paths: readonly { path: string }[];
  /** ISO 8601. */
  first_seen: string;
  last_seen: string;
  root_causes: readonly { text: string }[];
  advice: readonly { text: string; source?: string }[];
}

/** What the findings say of an audit; `AuditResult` has it. */
export interface FoundAudit {
  /** ISO 8601. */
  started: string;
  ended: string;
  verdict: 'ready' | 'not_ready' | 'inconclusive';
  verdict_reasons: readonly string[];
  coverage: { complete: boolean; reasons: readonly { code: string; text: string }[] };
  totals: { requests: number; normal_mode: number };
  clients: readonly FoundClient[];
}

/** In characters, and in items; an audit bounds its clients itself. */
const MAX_TEXT = 1024;
const MAX_ITEMS = 32;

/** A finding is new each time that it is reported: who keeps findings knows by `finding_info.uid` which it has. */
const created = (name: 'compliance' | 'detection') => eventType(CLASSES[name], 1, 'Create');
const COMPLIANCE = created('compliance');
const DETECTION = created('detection');

const OUTCOMES = {
  ready: { status: { status_id: 1, status: 'Pass' }, severity: SEVERITY.informational },
  inconclusive: { status: { status_id: 2, status: 'Warning' }, severity: SEVERITY.medium },
  not_ready: { status: { status_id: 3, status: 'Fail' }, severity: SEVERITY.high },
} as const satisfies Record<FoundAudit['verdict'], unknown>;

const CONTROL_TEXT = 'Every request to the instance metadata service carries a session token';

/** A Compliance Finding: whether this host's instance can be switched to tokens only. */
export function formatComplianceFinding(audit: FoundAudit, context: EventContext): Fields {
  const { status, severity } = OUTCOMES[audit.verdict];
  const time = Date.parse(audit.ended);
  const uid = findingUid(context, 'migration');
  const failing = audit.clients.filter(hasNormalMode);
  return {
    time,
    ...COMPLIANCE,
    ...severity,
    // Of the finding's own life; the result is in `compliance`.
    status_id: 1,
    status: 'New',
    message: `audit: ${audit.verdict}, ${audit.totals.normal_mode} of ${audit.totals.requests} requests without a token`,
    metadata: metadata(context, { uid: eventUid(uid, audit.ended), code: 'audit', profiles: PROFILES }),
    device: device(context),
    start_time: Date.parse(audit.started),
    end_time: time,
    finding_info: {
      uid,
      title: 'Readiness for metadata access with session tokens only',
      desc: shortened(audit.verdict_reasons.join('; ')),
      created_time: time,
      product: product(context),
      analytic: ANALYTIC,
    },
    compliance: {
      control: CONTROL_TEXT,
      standards: ['imds-tracer'],
      ...status,
      status_code: audit.verdict,
      status_details: texts(audit.verdict_reasons),
      checks: [
        {
          uid: 'coverage',
          name: 'Everything was seen',
          ...outcome(audit.coverage.complete ? 'ready' : 'inconclusive'),
        },
        {
          uid: 'normal_mode',
          name: 'No client goes without a token',
          ...outcome(failing.length === 0 && audit.totals.normal_mode === 0 ? 'ready' : 'not_ready'),
        },
      ],
    },
    resources: [resource(context)],
    remediation: remediation(failing.flatMap(({ advice }) => advice)),
    unmapped: { imds: { totals: audit.totals, coverage: audit.coverage } },
  };
}

const outcome = (verdict: FoundAudit['verdict']): Fields => OUTCOMES[verdict].status;

/** A Detection Finding for each client of an audit that goes without a token: all of its requests together. */
export function formatDetectionFindings(audit: FoundAudit, context: EventContext): Fields[] {
  return audit.clients.filter(hasNormalMode).map((client) => detectionFinding(client, audit.ended, context));
}

const hasNormalMode = ({ counts }: FoundClient): boolean => (counts.verdicts.normal_mode ?? 0) > 0;

function detectionFinding(client: FoundClient, reported: string, context: EventContext): Fields {
  const uid = findingUid(context, client.id);
  const requests = client.counts.verdicts.normal_mode ?? 0;
  const name = shortened(client.command ?? client.executable ?? 'an unknown process');
  const [firstSeen, lastSeen] = [Date.parse(client.first_seen), Date.parse(client.last_seen)];
  const attacks = client.reasons.includes('credential_path') ? CREDENTIAL_ATTACKS : undefined;
  return {
    time: Date.parse(reported),
    ...DETECTION,
    ...SEVERITY[client.severity],
    status_id: 1,
    status: 'New',
    message: `${requests} requests without a token by ${name}`,
    metadata: metadata(context, { uid: eventUid(uid, reported), code: 'audit-client', profiles: PROFILES }),
    ...CONTROL.detected,
    is_alert: true,
    attacks,
    device: device(context),
    count: requests,
    start_time: firstSeen,
    end_time: lastSeen,
    finding_info: {
      uid,
      title: 'Metadata requests without a session token',
      desc: shortened(client.root_causes.map(({ text }) => text).join('; ')),
      first_seen_time: firstSeen,
      last_seen_time: lastSeen,
      created_time: Date.parse(reported),
      product: product(context),
      analytic: ANALYTIC,
      attacks,
      types: texts(client.reasons),
    },
    evidences: [
      {
        process: {
          uid: client.id,
          name: name,
          path: client.executable ?? undefined,
          cmd_line: client.command === null ? undefined : shortened(client.command),
          user: client.user === null ? undefined : { name: client.user },
        },
        actor: client.unit === null ? undefined : { app_name: client.unit },
        container: client.container_id === null ? undefined : { uid: client.container_id },
        data: { paths: texts(client.paths.map(({ path }) => path)) },
      },
    ],
    resources: [resource(context)],
    remediation: remediation(client.advice),
  };
}

const PROFILES = ['host', 'security_control'];

/** 1: a rule. */
const ANALYTIC = { type_id: 1, type: 'Rule', uid: 'normal_mode', name: 'Request without a session token' };

/** Stable across audits: the same host and matter. */
const findingUid = ({ host }: EventContext, matter: string): string => `imds-tracer:${host.id ?? host.name}:${matter}`;

/** Of one report of a finding: the same report written twice is one event. */
const eventUid = (finding: string, reported: string): string =>
  createHash('sha256').update(`${finding} ${reported}`).digest('base64url').slice(0, 22);

/** 3: affected. */
const resource = ({ host }: EventContext): Fields => ({
  uid: host.id,
  name: host.name,
  hostname: host.name,
  type: 'Instance',
  role_id: 3,
  role: 'Affected',
});

function remediation(advice: FoundClient['advice']): Fields | undefined {
  const unique = [...new Set(advice.map(({ text }) => text))];
  if (unique.length === 0) return undefined;
  const sources = [...new Set(advice.flatMap(({ source }) => source ?? []))];
  return { desc: texts(unique).join('\n'), references: sources.length === 0 ? undefined : texts(sources) };
}

const shortened = (text: string): string => boundText(text, MAX_TEXT);
const texts = (all: readonly string[]): string[] => all.slice(0, MAX_ITEMS).map(shortened);
