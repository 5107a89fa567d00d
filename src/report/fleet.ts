import { auditResult } from '../audit/audit-json.js';
import type { AuditResult } from '../audit/types.js';
import { type CrossCheck, crossCheck } from './cross-check.js';
import type { Gathered } from './gather.js';
import type { HostResult, Period } from './hosts.js';

/** What `report` gives: an audit's result over the logs of any number of hosts. */
export interface ReportResult extends AuditResult {
  /** Those that are not ready first. */
  hosts: HostResult[];
  logs: { files: number; lines: number; unreadable_lines: number; unreadable_files: number };
  cross_check?: CrossCheck;
}

export interface ReportInput {
  gathered: Gathered;
  files: number;
  /** Files and folders that could not be read whole, for people. */
  problems: readonly string[];
  period: Period;
  expectNormalMode?: number;
}

export function reportResult({ gathered, files, problems, period, expectNormalMode }: ReportInput): ReportResult {
  const { hosts, clients } = gathered;
  const coverage = hosts.coverage();
  coverage.note('unreadable_log', gathered.unreadable);
  coverage.note('unreadable_file', problems.length, problems[0] === undefined ? '' : `: ${problems[0]}`);
  const check = expectNormalMode === undefined ? undefined : crossCheck(expectNormalMode, clients);
  if (check !== undefined && !check.accounted) coverage.note('cross_check', 1, check.text);
  const [first, last] = hosts.span ?? [0, 0];
  const listed = hosts.results();
  const result = auditResult({
    clients,
    coverage,
    host: hosts.size === 1 ? { name: listed[0]!.name, ...pick(listed[0]!.id) } : { name: `${hosts.size} hosts` },
    started: period.since ?? first,
    ended: period.until ?? last,
    tracedMs: hosts.tracedMs,
    allowSilent: false,
    providers: [...gathered.providers],
    inventory: [],
  });
  result.totals.hosts = hosts.size;
  return {
    ...result,
    hosts: listed,
    logs: {
      files,
      lines: gathered.lines,
      unreadable_lines: gathered.unreadable,
      unreadable_files: problems.length,
    },
    ...(check !== undefined && { cross_check: check }),
  };
}

const pick = (id: string | undefined): { id?: string } => (id === undefined ? {} : { id });
