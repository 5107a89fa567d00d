import type { Advice, ClientResult, Impact, SdkFinding } from '../../audit/types.js';
import { IMPACTS as RANKED } from '../../audit/verdict.js';
import { SEVERITIES } from '../../imds/severities.js';
import type { Verdict } from '../../imds/types.js';
import { count } from '../../output/figures.js';
import { html, type Markup } from './markup.js';
import { IMPACTS, KNOWN_BY, plural, SDK_KNOWN_BY, utc, VERDICTS } from './words.js';

/** A page of more would be slow in a browser; the JSON has them all. */
const MAX_CLIENTS = 2_000;

const COLUMNS: ReadonlyArray<{ title: string; number?: boolean }> = [
  { title: 'Client' },
  { title: 'After the switch' },
  { title: 'Severity' },
  { title: 'Without token', number: true },
  { title: 'Requests', number: true },
  { title: 'Last seen' },
];

const IMPACT_ORDER = (Object.keys(RANKED) as Impact[]).sort((a, b) => RANKED[a].rank - RANKED[b].rank);
/** The worst first. */
const SEVERITY_ORDER = [...SEVERITIES].reverse();

/** The table of clients, each with what is known of it in a row below that opens. */
export function clientsSection(
  clients: readonly ClientResult[],
  other: { requests: number },
  ofHosts: boolean,
): Markup {
  const shown = clients.slice(0, MAX_CLIENTS);
  return html`<section aria-labelledby="clients">
<h2 id="clients">Clients</h2>
${
  shown.length === 0
    ? html`<p>No client was seen.</p>`
    : html`<form class="filters" id="filters">
<label>Search <input type="search" id="filter-text" placeholder="program, unit, container, user, path" autocomplete="off"></label>
<label>After the switch <select id="filter-impact"><option value="">all</option>${options(
        IMPACT_ORDER,
        shown.map(({ impact }) => impact),
        (impact) => IMPACTS[impact as keyof typeof IMPACTS].title,
      )}</select></label>
<label>Severity <select id="filter-severity"><option value="">all</option>${options(
        SEVERITY_ORDER,
        shown.map(({ severity }) => severity),
        (severity) => severity,
      )}</select></label>
<output id="filter-count">${plural(shown.length, 'client')}</output>
</form>
<div class="scroll"><table id="client-table">
<thead><tr>${COLUMNS.map(
        ({ title, number }) => html`<th scope="col"${number ? html` class="number"` : ''}>${title}</th>`,
      )}</tr></thead>
${shown.map((client, i) => clientRows(client, i, ofHosts))}
</table></div>`
}
${clients.length > shown.length && html`<p class="quiet">${plural(clients.length - shown.length, 'further client')} in the JSON report.</p>`}
${other.requests > 0 && html`<p class="quiet">${plural(other.requests, 'request')} of clients that there was no room for.</p>`}
</section>`;
}

function options(order: readonly string[], present: readonly string[], title: (value: string) => string): Markup[] {
  return order
    .filter((value) => present.includes(value))
    .map((value) => html`<option value="${value}">${title(value)}</option>`);
}

/** Name and place of a client, for people. */
const clientName = (client: ClientResult): string =>
  client.command ?? client.executable ?? (client.attribution['none'] ? 'process not known' : 'unknown program');

const placeOf = (client: ClientResult): string[] =>
  [
    client.unit,
    client.container_id && `container ${client.container_id.slice(0, 12)}`,
    client.pod_uid && `pod ${client.pod_uid}`,
    client.user && `user ${client.user}`,
  ].filter((part): part is string => Boolean(part));

/** A body for each client, so that sorting moves both rows. */
function clientRows(client: ClientResult, index: number, ofHosts: boolean): Markup {
  const normal = client.counts.verdicts.normal_mode ?? 0;
  const place = placeOf(client).join(' · ');
  const search = [
    clientName(client),
    client.executable,
    place,
    client.container_id,
    ...client.paths.map(({ path }) => path),
    ...client.reasons,
  ].join(' ');
  return html`<tbody class="client" data-impact="${client.impact}" data-severity="${client.severity}" data-search="${search.toLowerCase()}">
<tr class="summary">
<td data-sort="${clientName(client).toLowerCase()}"><button type="button" class="open" aria-expanded="true" aria-controls="client-${index}"><span class="name">${clientName(client)}</span></button><div class="place">${place}${ofHosts && html` · ${plural(client.hosts, 'host')}`}</div></td>
<td data-sort="${IMPACT_ORDER.indexOf(client.impact)}"><span class="badge i-${client.impact}" title="${IMPACTS[client.impact].about}">${IMPACTS[client.impact].title}</span></td>
<td data-sort="${SEVERITY_ORDER.indexOf(client.severity)}"><span class="severity s-${client.severity}">${client.severity}</span></td>
<td class="number" data-sort="${-normal}">${count(normal)}</td>
<td class="number" data-sort="${-client.counts.requests}">${count(client.counts.requests)}</td>
<td data-sort="${client.last_seen}" class="time">${utc(client.last_seen)}</td>
</tr>
<tr class="detail" id="client-${index}"><td colspan="${COLUMNS.length}"><div class="details">${details(client)}</div></td></tr>
</tbody>`;
}

function details(client: ClientResult): Markup[] {
  return [
    client.root_causes.length > 0 &&
      html`<div><h3>What it does</h3><ul>${client.root_causes.map(
        ({ text, requests }) => html`<li>${text} <span class="quiet">${plural(requests, 'request')}</span></li>`,
      )}</ul></div>`,
    client.advice.length > 0 &&
      html`<div class="advice"><h3>What to change</h3><ul>${client.advice.map(adviceItem)}</ul></div>`,
    client.sdks.length > 0 && html`<div><h3>Libraries and tools</h3><ul>${client.sdks.map(sdkItem)}</ul></div>`,
    html`<div><h3>What it asks for</h3><table class="small">
<thead><tr><th scope="col">Path</th><th scope="col">Severity</th><th scope="col" class="number">Without token</th><th scope="col" class="number">Requests</th></tr></thead>
<tbody>${client.paths.map(
      ({ path, severity, normal_mode, requests }) =>
        html`<tr><td class="code">${path}</td><td><span class="severity s-${severity}">${severity}</span></td><td class="number">${count(normal_mode)}</td><td class="number">${count(requests)}</td></tr>`,
    )}</tbody></table>${client.paths_other > 0 && html`<p class="quiet">${plural(client.paths_other, 'request')} to further paths</p>`}</div>`,
    client.examples.length > 0 &&
      html`<div><h3>Seen command lines</h3>${client.examples.map((example) => html`<pre>${example}</pre>`)}</div>`,
    html`<div><h3>How this is known</h3><dl>${facts(client).map(
      ([term, text]) => html`<dt>${term}</dt><dd>${text}</dd>`,
    )}</dl></div>`,
  ].filter((part): part is Markup => part !== false);
}

const facts = (client: ClientResult): [string, string][] =>
  (
    [
      ['Program', client.executable],
      ['Started by', client.callers.join(', ')],
      ['Container', client.container_id && [client.container_runtime, client.container_id].filter(Boolean).join(' ')],
      ['User-Agent', client.user_agents.join(', ')],
      [
        'Process',
        Object.entries(client.attribution)
          .map(([how, requests]) => `${KNOWN_BY[how] ?? how} (${plural(requests, 'request')})`)
          .join('; '),
      ],
      ['Processes', client.processes > 0 && count(client.processes)],
      [
        'Verdicts',
        Object.entries(client.counts.verdicts)
          .map(([verdict, requests]) => `${VERDICTS[verdict as Verdict].title.toLowerCase()} ${count(requests)}`)
          .join(', '),
      ],
      [
        'Answers',
        Object.entries(client.counts.statuses)
          .map(([status, requests]) => `${status} (${count(requests)})`)
          .join(', '),
      ],
      ['Reasons', client.reasons.join(', ')],
      ['Seen', `${utc(client.first_seen)} to ${utc(client.last_seen)}`],
    ] as [string, string | false | null][]
  ).filter((fact): fact is [string, string] => Boolean(fact[1]));

const adviceItem = ({ text, commands, source }: Advice): Markup =>
  html`<li>${text}${source && html` <span class="source">${sourceLink(source)}</span>`}${commands.length > 0 && commandBlock(commands.join('\n'))}</li>`;

export const commandBlock = (command: string): Markup =>
  html`<div class="command"><pre>${command}</pre><button type="button" class="copy">Copy</button></div>`;

/** Our own tables name pages by https only; anything else is text. */
export const sourceLink = (source: string): Markup =>
  /^https:\/\/[^\s"'<>]+$/.test(source)
    ? html`<a href="${source}" rel="noreferrer noopener">source</a>`
    : html`${source}`;

const sdkItem = ({ name, version, how, path, status, minimum }: SdkFinding): Markup =>
  html`<li><span class="code">${name}${version === null ? '' : ` ${version}`}</span> <span class="badge k-${status}">${
    { ok: 'new enough', too_old: `too old${minimum === undefined ? '' : `, needs ${minimum}`}`, unknown: 'not known' }[
      status
    ]
  }</span> <span class="quiet">${SDK_KNOWN_BY[how]}${path !== undefined && `: ${path}`}</span></li>`;
