import pc from 'picocolors';
import { escapeText } from '../output/escape.js';
import { duration } from '../output/figures.js';
import type { AuditResult, AuditVerdict, ClientResult } from './types.js';
import { IMPACTS } from './verdict.js';

type Colours = ReturnType<typeof pc.createColors>;

const VERDICTS: Readonly<Record<AuditVerdict, { words: string; paint: (colours: Colours, text: string) => string }>> = {
  ready: { words: 'READY', paint: ({ bold, green }, text) => bold(green(text)) },
  not_ready: { words: 'NOT READY', paint: ({ bold, red }, text) => bold(red(text)) },
  inconclusive: { words: 'INCONCLUSIVE', paint: ({ bold, yellow }, text) => bold(yellow(text)) },
};

/** What is listed here; all of it is in the JSON. */
const MAX_CLIENTS = 50;
const MAX_PATHS = 5;
const MAX_SHOWN = 300;

const show = (text: string | null, missing = '?'): string => (text === null ? missing : escapeText(text, MAX_SHOWN));

/** The result for a terminal: whatever is in it, no text from outside can steer one. Ends with a line break. */
export function auditText(result: AuditResult, { colour = false } = {}): string {
  const colours = pc.createColors(colour);
  const { verdict, totals, coverage } = result;
  const { words, paint } = VERDICTS[verdict];
  const lines = [
    `${paint(colours, words)} for tokens only: ${show(result.host)}, ${duration(result.traced_seconds * 1000)} traced from ${result.started} to ${result.ended}`,
    ...result.verdict_reasons.map((reason) => `  - ${escapeText(reason, 1000)}`),
    `Coverage: ${coverage.complete ? 'complete' : 'not complete'}`,
    `Requests: ${totals.requests} of ${totals.clients} clients: ${totals.normal_mode} without a token (${totals.blocked} of them refused), ` +
      `${totals.hardened} with one, ${totals.token_issue} tokens given, ${totals.token_refused} refused, ` +
      `${totals.token_invalid} tokens invalid, ${totals.unparsed} unparsed, ${totals.foreign_probe} to other clouds`,
  ];
  const urgent = result.clients.filter(({ impact }) => impact !== 'none');
  const fine = result.clients.length - urgent.length;
  for (const client of urgent.slice(0, MAX_CLIENTS)) lines.push('', ...clientLines(client, colours));
  if (urgent.length > MAX_CLIENTS) lines.push('', `… and ${urgent.length - MAX_CLIENTS} more clients: see the report`);
  if (fine > 0) lines.push('', `${fine === 1 ? '1 client goes' : `${fine} clients go`} on working with tokens only.`);
  if (verdict === 'ready') {
    for (const { provider, commands, way_back, text, source } of result.switches) {
      lines.push('', `The switch (${show(provider)}): ${text} [${source}]`, ...commands.map((line) => `    ${line}`));
      if (way_back.length > 0) lines.push('  and back:', ...way_back.map((line) => `    ${line}`));
    }
  }
  return `${lines.join('\n')}\n`;
}

function clientLines(client: ClientResult, { bold, dim }: Colours): string[] {
  const { counts } = client;
  const place = [
    client.unit === null ? [] : `unit ${show(client.unit)}`,
    client.container_id === null ? [] : `container ${show(client.container_id.slice(0, 12))}`,
    client.user === null ? [] : `user ${show(client.user)}`,
  ].flat();
  const lines = [
    `${bold(show(client.command, 'unknown process'))}${place.length > 0 ? ` (${place.join(', ')})` : ''}: ${IMPACTS[client.impact].text}, ` +
      `severity ${client.severity}`,
    `  ${counts.requests} requests, ${counts.verdicts.normal_mode ?? 0} without a token; ` +
      client.paths
        .slice(0, MAX_PATHS)
        .map(({ path, requests }) => `${show(path)} (${requests})`)
        .join(', ') +
      (client.paths.length > MAX_PATHS ? ', …' : ''),
  ];
  if (client.callers.length > 0)
    lines.push(
      `  called by ${client.callers
        .slice(0, 3)
        .map((caller) => show(caller))
        .join('; ')}`,
    );
  for (const { name, version, how, status } of client.sdks) {
    lines.push(`  ${show(name)} ${show(version, '')} (${HOW[how]}${status === 'too_old' ? ', too old' : ''})`);
  }
  for (const { text, requests } of client.root_causes) lines.push(`  it ${show(text)} [${requests}]`);
  for (const { text, commands, source } of client.advice) {
    lines.push(`  > ${escapeText(text, 1000)}${source === undefined ? '' : dim(` [${source}]`)}`);
    lines.push(...commands.map((line) => `      ${escapeText(line, 2000)}`));
  }
  return lines;
}

const HOW = {
  user_agent: 'by its User-Agent',
  process: 'by what the process has open',
  inventory: 'installed there',
} as const;
