import { createHash } from 'node:crypto';
import type { AuditResult, InventoryEntry, SwitchAdvice } from '../audit/types.js';
import { severityRank } from '../imds/severities.js';
import type { Severity } from '../imds/types.js';
import { count, duration } from '../output/figures.js';
import type { ReportResult } from './fleet.js';
import type { HostResult } from './hosts.js';
import { clientsSection, commandBlock, sourceLink } from './html/clients.js';
import { html, Markup } from './html/markup.js';
import { SCRIPT } from './html/script.js';
import { STYLE } from './html/style.js';
import { timelineSection } from './html/timeline.js';
import { AUDIT_VERDICTS, plural, SEVERITIES, utc } from './html/words.js';

const MAX_PATHS = 20;
const MAX_INVENTORY = 1_000;

/**
 * An audit's result, or a report's, as one HTML page that asks for nothing from anywhere: its content security policy
 * allows its own style and script by their hashes and nothing else, so that nothing from an argv or a path can run.
 */
export function renderHtml(result: AuditResult & Partial<ReportResult>, about: { version: string }): string {
  const policy = `default-src 'none'; style-src '${hashOf(STYLE)}'; script-src '${hashOf(SCRIPT)}'; base-uri 'none'; form-action 'none'`;
  const ofHosts = result.totals.hosts > 1;
  const title = `${AUDIT_VERDICTS[result.verdict].title}: ${result.host}`;
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<meta name="generator" content="imds-tracer ${about.version}">
<title>${title} · imds-tracer</title>
<style>${new Markup(STYLE)}</style>
</head>
<body>
<header>
<div class="about"><span>Metadata access ${result.logs === undefined ? 'audit' : 'report'} of <b>${result.host}</b></span><span>${utc(result.started)} to ${utc(result.ended)}</span><span>traced for ${duration(result.traced_seconds * 1000)}${ofHosts && ' in all hosts together'}</span></div>
${verdictBanner(result)}
${figures(result, ofHosts)}
</header>
<main>
${coverageSection(result)}
${timelineSection(result.timeline)}
${crossCheckSection(result.cross_check)}
${ofHosts && hostsSection(result.hosts ?? [], result.totals.hosts)}
${clientsSection(result.clients, result.other, ofHosts)}
${pathsSection(result)}
${switchesSection(result.switches)}
${inventorySection(result.inventory)}
</main>
<footer><p>Written by imds-tracer ${about.version}. A request counts as “without a token” if it lacks the provider's token header or has it empty. Its process is recorded in the kernel when the socket connects (“connect”), or found through /proc afterwards (“procfs”); each client says how it is known. Values of tokens and other secrets never leave the tracer's parser.</p></footer>
<script>${new Markup(SCRIPT)}</script>
</body>
</html>
`.toString();
}

const hashOf = (text: string): string => `sha256-${createHash('sha256').update(text).digest('base64')}`;

function verdictBanner({ verdict, verdict_reasons: reasons }: AuditResult): Markup {
  const { title, mark } = AUDIT_VERDICTS[verdict];
  return html`<div class="verdict ${verdict}"><h1><span aria-hidden="true">${mark}</span> ${title}</h1>
<ul>${reasons.map((reason) => html`<li>${reason}</li>`)}</ul></div>`;
}

function figures({ totals, coverage }: AuditResult, ofHosts: boolean): Markup {
  const tiles: { value: string; title: string; alarm?: boolean }[] = [
    ...(ofHosts ? [{ value: count(totals.hosts), title: 'hosts' }] : []),
    { value: count(totals.clients), title: 'clients' },
    { value: count(totals.requests), title: 'requests' },
    { value: count(totals.normal_mode), title: 'without a token', alarm: totals.normal_mode > 0 },
    { value: count(totals.hardened), title: 'with a token' },
    { value: count(totals.token_issue), title: 'tokens issued' },
    { value: count(totals.token_refused + totals.token_invalid), title: 'tokens refused' },
    {
      value: coverage.complete ? 'complete' : 'incomplete',
      title: 'coverage',
      alarm: !coverage.complete,
    },
  ];
  return html`<div class="figures">${tiles.map(
    ({ value, title, alarm }) =>
      html`<div class="figure${alarm ? ' alarm' : ''}"><b>${value}</b><span>${title}</span></div>`,
  )}</div>`;
}

function coverageSection({ coverage }: AuditResult): Markup {
  return html`<section aria-labelledby="coverage">
<h2 id="coverage">Coverage</h2>
<div class="card">${
    coverage.reasons.length === 0
      ? html`<p>Everything that this speaks of was seen: no packet was lost, every request was read, and the process of each is known.</p>`
      : html`<ul>${coverage.reasons.map(
          ({ text, count: times }) =>
            html`<li>${text}${times !== undefined && html` <span class="quiet">(${count(times)})</span>`}</li>`,
        )}</ul>`
  }</div>
</section>`;
}

function crossCheckSection(check: ReportResult['cross_check']): Markup | false {
  if (check === undefined) return false;
  return html`<section aria-labelledby="cross-check">
<h2 id="cross-check">Against the cloud's own counter</h2>
<div class="card"><span class="badge ${check.accounted ? 'k-ok' : 'k-too_old'}">${check.accounted ? 'accounted for' : 'not accounted for'}</span> ${check.text}</div>
</section>`;
}

const MAX_HOSTS = 1_000;

function hostsSection(hosts: readonly HostResult[], total: number): Markup {
  const shown = hosts.slice(0, MAX_HOSTS);
  return html`<section aria-labelledby="hosts">
<h2 id="hosts">Hosts</h2>
<div class="scroll tall"><table>
<thead><tr><th scope="col">Host</th><th scope="col">Verdict</th><th scope="col" class="number">Without token</th><th scope="col" class="number">Requests</th><th scope="col">Last seen</th><th scope="col">Lacks</th></tr></thead>
<tbody>${shown.map(
    (host) =>
      html`<tr><td>${host.name}</td><td><span class="badge h-${host.verdict}">${AUDIT_VERDICTS[host.verdict].title}</span></td><td class="number">${count(host.normal_mode)}</td><td class="number">${count(host.requests)}</td><td class="time">${utc(host.last_seen)}</td><td class="quiet">${host.coverage.join(', ')}</td></tr>`,
  )}</tbody></table></div>
${total > shown.length && html`<p class="quiet">${plural(total - shown.length, 'further host')} in the JSON report.</p>`}
</section>`;
}

/** The paths that most is lost by: of requests without a token, by severity and number. */
function pathsSection({ clients }: AuditResult): Markup | false {
  const paths = new Map<string, { severity: Severity; requests: number; clients: number }>();
  for (const client of clients) {
    for (const { path, severity, normal_mode: requests } of client.paths) {
      if (requests === 0) continue;
      const seen = paths.get(path) ?? { severity, requests: 0, clients: 0 };
      seen.requests += requests;
      seen.clients++;
      paths.set(path, seen);
    }
  }
  if (paths.size === 0) return false;
  const worst = [...paths]
    .sort(([, a], [, b]) => severityRank(b.severity) - severityRank(a.severity) || b.requests - a.requests)
    .slice(0, MAX_PATHS);
  return html`<section aria-labelledby="paths">
<h2 id="paths">Worst paths without a token</h2>
<div class="scroll"><table>
<thead><tr><th scope="col">Path</th><th scope="col">Severity</th><th scope="col" class="number">Requests</th><th scope="col" class="number">Clients</th></tr></thead>
<tbody>${worst.map(
    ([path, { severity, requests, clients: by }]) =>
      html`<tr><td class="code">${path}</td><td><span class="severity s-${severity}">${SEVERITIES[severity]}</span></td><td class="number">${count(requests)}</td><td class="number">${count(by)}</td></tr>`,
  )}</tbody></table></div>
${paths.size > worst.length && html`<p class="quiet">${plural(paths.size - worst.length, 'further path')}</p>`}
</section>`;
}

function switchesSection(switches: readonly SwitchAdvice[]): Markup | false {
  if (switches.length === 0) return false;
  return html`<section aria-labelledby="switch">
<h2 id="switch">The switch itself</h2>
${switches.map(
  ({ provider, text, commands, way_back: back, source }) => html`<div class="card advice">
<p><b>${provider}</b>: ${text} <span class="source">${sourceLink(source)}</span></p>
${commands.map(commandBlock)}
<p>The way back:</p>
${back.map(commandBlock)}
</div>`,
)}
</section>`;
}

const INVENTORY_STATUS = { too_old: 'too old', unknown: 'not known', ok: 'new enough' } as const;

function inventorySection(inventory: readonly InventoryEntry[]): Markup | false {
  if (inventory.length === 0) return false;
  const order = Object.keys(INVENTORY_STATUS);
  const shown = [...inventory]
    .sort((a, b) => order.indexOf(a.status) - order.indexOf(b.status))
    .slice(0, MAX_INVENTORY);
  return html`<section aria-labelledby="inventory">
<h2 id="inventory">Installed clients</h2>
<div class="scroll"><table>
<thead><tr><th scope="col">Name</th><th scope="col">Version</th><th scope="col">Status</th><th scope="col">Where, and what to do</th></tr></thead>
<tbody>${shown.map(
    (item) => html`<tr><td>${item.name} <span class="quiet">${item.kind}</span></td><td>${item.version ?? '–'}</td>
<td><span class="badge k-${item.status}">${INVENTORY_STATUS[item.status]}</span>${item.may_fall_back && html`<div class="quiet">may fall back</div>`}</td>
<td><div class="code">${item.path}</div>${item.advice}${item.minimum !== null && html` <span class="quiet">(from ${item.minimum})</span>`}</td></tr>`,
  )}</tbody></table></div>
${inventory.length > shown.length && html`<p class="quiet">${plural(inventory.length - shown.length, 'further item')} in the JSON report.</p>`}
</section>`;
}
