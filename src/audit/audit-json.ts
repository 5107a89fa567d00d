import { adviceFor } from '../advice/advice.js';
import { switchAdvice } from '../advice/switch.js';
import { PROVIDER_NAMES } from '../imds/providers.js';
import { severityRank } from '../imds/severities.js';
import type { ProviderName } from '../imds/types.js';
import { noneByVerdict } from '../imds/verdict.js';
import { type Client, type Clients, exampleArgs } from './clients.js';
import { CoverageNotes } from './coverage.js';
import { Installed } from './installed.js';
import type { ObservedHost } from './observation.js';
import { ROOT_CAUSES, type RootCauseCode } from './root-cause.js';
import { sdkOfUserAgent } from './sdk.js';
import type { AuditResult, ClientResult, InventoryEntry, RootCause, SdkFinding, Totals } from './types.js';
import { IMPACTS, impactOf, judgeAudit } from './verdict.js';

export interface ResultInput {
  clients: Clients;
  /** Losses and gaps; what the clients themselves tell is added here. */
  coverage: CoverageNotes;
  host: ObservedHost;
  /** Epoch milliseconds. */
  started: number;
  ended: number;
  tracedMs: number;
  /** That nothing was seen does not count against it. */
  allowSilent: boolean;
  /** That were traced. */
  providers: readonly string[];
  inventory: readonly InventoryEntry[];
  /** It could look at everything; undefined where none was taken. */
  inventoryComplete?: boolean | undefined;
}

/** The result of what was gathered. Changes nothing; may be called again with more. */
export function auditResult(input: ResultInput): AuditResult {
  const { clients, host, inventory } = input;
  const totals = totalsOf(clients);
  const coverage = new CoverageNotes();
  coverage.merge(input.coverage.toJSON());
  coverage.note('unparsed', totals.unparsed);
  coverage.note('unattributed', totals.unattributed);
  coverage.note('clients_overflow', clients.other.requests);
  // A request to another cloud says nothing of who asks this one.
  if (totals.requests - totals.foreign_probe === 0 && !input.allowSilent) coverage.note('nothing_seen');
  const installed = new Installed(inventory);
  const results = [...clients.values()].map((client) => clientResult(client, clients, installed)).sort(byUrgency);
  const covered = coverage.result();
  const { verdict, reasons } = judgeAudit(
    totals,
    covered,
    results.map(({ impact }) => impact),
  );
  return {
    schema_version: 1,
    host: host.name,
    ...(host.id !== undefined && { host_id: host.id }),
    started: iso(input.started),
    ended: iso(input.ended),
    traced_seconds: Math.round(input.tracedMs / 1000),
    verdict,
    verdict_reasons: reasons,
    coverage: covered,
    totals,
    clients: results,
    other: { ...clients.other },
    timeline: clients.timeline.result(),
    switches: switchAdvice(input.providers),
    ...(input.inventoryComplete !== undefined && { inventory_complete: input.inventoryComplete }),
    inventory: [...inventory],
  };
}

/** A log's times can be any; those that are no dates are the first one. */
const iso = (time: number): string => new Date(Number.isFinite(time) ? time : 0).toISOString();

function totalsOf(clients: Clients): Totals {
  const totals = {
    requests: 0,
    ...noneByVerdict(),
    blocked: 0,
    unattributed: 0,
    clients: 0,
    hosts: clients.hosts,
  } as Totals;
  for (const client of clients.values()) {
    totals.requests += client.requests;
    for (const [verdict, count] of client.verdicts) totals[verdict] += count;
    totals.blocked += client.normal.blocked;
    totals.unattributed += client.attribution.get('none');
    if (client.command !== null) totals.clients++;
  }
  totals.requests += clients.other.requests;
  totals.normal_mode += clients.other.normal_mode;
  return totals;
}

const byUrgency = (a: ClientResult, b: ClientResult): number =>
  IMPACTS[a.impact].rank - IMPACTS[b.impact].rank ||
  severityRank(b.severity) - severityRank(a.severity) ||
  (b.counts.verdicts.normal_mode ?? 0) - (a.counts.verdicts.normal_mode ?? 0) ||
  b.counts.requests - a.counts.requests ||
  (a.id < b.id ? -1 : 1);

function clientResult(client: Client, clients: Clients, installed: Installed): ClientResult {
  const impact = impactOf(client);
  const sdks = sdksOf(client, installed);
  const causes = rootCauses(client, clients);
  const paths = [...client.paths]
    .map(([path, counts]) => ({ path, ...counts }))
    .sort((a, b) => b.normal_mode - a.normal_mode || b.requests - a.requests || (a.path < b.path ? -1 : 1));
  const examples = client.examples.texts().map(exampleArgs);
  return {
    id: client.id,
    executable: client.executable,
    command: client.command,
    unit: client.unit,
    container_id: client.container_id,
    user: client.user,
    impact,
    severity: client.count('normal_mode') > 0 ? client.normal_severity : client.severity,
    providers: client.providers.texts(),
    reasons: [...client.reasons.keys()].sort(),
    counts: {
      requests: client.requests,
      verdicts: Object.fromEntries(client.verdicts),
      reasons: Object.fromEntries(client.reasons),
      statuses: Object.fromEntries(client.statuses.sorted()),
    },
    paths,
    paths_other: client.paths_other,
    first_seen: iso(client.first),
    last_seen: iso(client.last),
    processes: client.processes,
    hosts: client.hosts.size,
    attribution: Object.fromEntries(client.attribution.sorted()),
    ...(client.container_runtime !== undefined && { container_runtime: client.container_runtime }),
    ...(client.pod_uid !== undefined && { pod_uid: client.pod_uid }),
    user_agents: client.user_agents.texts(),
    callers: client.callers.texts(),
    examples: examples.map((args) => args.join(' ')),
    sdks,
    root_causes: causes.map(({ code, text, requests }) => ({ code, text, requests })),
    advice: adviceFor({
      provider: client.providers.texts().find(isProvider) ?? 'alibaba',
      impact,
      causes: new Set(causes.map(({ code }) => code)),
      sdks,
      unit: client.unit,
      container: client.container_id !== null || client.container_runtime !== undefined,
      path: paths.find(({ normal_mode }) => normal_mode > 0)?.path,
      examples,
      others: causes.flatMap(({ code, others }) => (code === 'asks_for_others' ? others : [])),
    }),
  };
}

const isProvider = (name: string): name is ProviderName => (PROVIDER_NAMES as readonly string[]).includes(name);

/** Matches in time that are more than chance: so many, and such a share of the requests. */
const MIN_MATCHES = 3;
const MIN_SHARE = 0.5;

function rootCauses(client: Client, clients: Clients): (RootCause & { code: RootCauseCode; others: string[] })[] {
  const counts = new Map<RootCauseCode, number>(client.causes);
  const others = new Map<RootCauseCode, string[]>();
  const normal = client.count('normal_mode');
  const asked = client.count('token_issue') + client.count('token_refused');
  const tokens = client.count('hardened') + client.count('token_invalid');
  if (normal > 0 && asked + tokens === 0) counts.set('never_asks', normal);
  // What no other cause explains, though it uses tokens elsewhere.
  const explained = ['drops_token', 'falls_back', 'empty_token', 'other_provider_token', 'sent_on'] as const;
  const unexplained = normal - explained.reduce((sum, code) => sum + (counts.get(code) ?? 0), 0);
  if (unexplained > 0 && asked + tokens > 0) counts.set('sometimes_without', unexplained);
  for (const [code, matches] of [
    ['asks_for_others', client.asks_for],
    ['asks_through_proxy', client.asks_through],
  ] as const) {
    const found = matches.sorted().filter(([, count]) => count >= MIN_MATCHES);
    const sum = found.reduce((total, [, count]) => total + count, 0);
    if (found.length === 0 || sum < client.requests * MIN_SHARE) continue;
    counts.set(code, sum);
    others.set(
      code,
      found.map(([id]) => clients.byId(id)?.command ?? id),
    );
  }
  return (Object.keys(ROOT_CAUSES) as RootCauseCode[]).flatMap((code) => {
    const requests = counts.get(code) ?? 0;
    if (requests === 0) return [];
    const named = others.get(code) ?? [];
    const details = named.length > 0 ? named : (client.details.get(code)?.texts() ?? []);
    return [{ code, text: ROOT_CAUSES[code].text(details), requests, others: named }];
  });
}

const MAX_SDKS = 16;

/** What is known of a client's SDKs, the surest first: what it says itself, what it has open, what is installed where it runs. */
function sdksOf(client: Client, installed: Installed): SdkFinding[] {
  const said = client.user_agents.texts().flatMap((userAgent) => sdkOfUserAgent(userAgent) ?? []);
  const found: SdkFinding[] = [];
  for (const sdk of [...said, ...client.sdks, ...installed.of(client)]) {
    if (!found.some((other) => other.name === sdk.name && other.version === sdk.version)) found.push(sdk);
  }
  return found.slice(0, MAX_SDKS);
}
