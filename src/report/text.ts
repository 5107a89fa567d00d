import pc from 'picocolors';
import { auditText } from '../audit/text.js';
import { escapeText } from '../output/escape.js';
import type { ReportResult } from './fleet.js';

/** Hosts in the text; all of them are in the JSON. */
const MAX_HOSTS = 40;
const MAX_NAME = 200;

const WORDS = { not_ready: 'not ready', inconclusive: 'inconclusive', ready: 'ready' } as const;

/** The report for a terminal: whatever is in the logs, no text of theirs can steer one. Ends with a line break. */
export function reportText(result: ReportResult, { colour = false } = {}): string {
  const { bold } = pc.createColors(colour);
  const { hosts, logs, cross_check: check, totals } = result;
  const lines: string[] = [];
  if (totals.hosts !== 1) {
    const counts = (Object.keys(WORDS) as (keyof typeof WORDS)[]).map(
      (verdict) => `${hosts.filter((host) => host.verdict === verdict).length} ${WORDS[verdict]}`,
    );
    lines.push('', bold(`${totals.hosts} hosts: ${counts.join(', ')}`));
    for (const { name, verdict, requests, normal_mode: normal, coverage } of hosts.slice(0, MAX_HOSTS)) {
      const lacks = coverage.length > 0 ? `; lacks: ${coverage.join(', ')}` : '';
      lines.push(
        `  ${escapeText(name, MAX_NAME)}: ${WORDS[verdict]}, ${normal} of ${requests} requests without a token${lacks}`,
      );
    }
    if (totals.hosts > MAX_HOSTS) lines.push(`  … and ${totals.hosts - MAX_HOSTS} more: see the JSON`);
  }
  if (check !== undefined) lines.push('', `Cross-check: ${check.text}`);
  lines.push('', `Read: ${logs.lines} events in ${logs.files} files`);
  return `${auditText(result, { colour })}${lines.join('\n')}\n`;
}
