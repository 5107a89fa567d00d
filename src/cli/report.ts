import process from 'node:process';
import { setFlagsFromString } from 'node:v8';
import { Command, Option } from 'commander';
import { auditJson } from '../audit/document.js';
import { ExitCode, type ExitStatus, usageError } from '../errors.js';
import { escapeText } from '../output/escape.js';
import { sizeText } from '../output/figures.js';
import { ProgressLine } from '../output/progress-line.js';
import { inColour } from '../output/terminal.js';
import { writeWhole } from '../output/whole-file.js';
import { type ReportResult, reportResult } from '../report/fleet.js';
import type { Period } from '../report/hosts.js';
import { renderHtml } from '../report/html.js';
import { findLogs } from '../report/log-files.js';
import { readLogs } from '../report/read-logs.js';
import { reportText } from '../report/text.js';
import { version } from '../version.js';
import { stopOnSignal } from './signals.js';
import { writeResult } from './streams.js';

type Format = 'text' | 'json' | 'html';

interface ReportCommandOptions {
  format: Format;
  out?: string;
  since?: string;
  until?: string;
  expectNormalMode?: string;
}

const REDRAW_MS = 200;
/** Of what could not be read, on standard error. */
const MAX_PROBLEMS = 20;

export function reportCommand(): Command {
  return new Command('report')
    .description('summarises event logs, of one host or of thousands')
    .argument('<PATH...>', 'event logs (imds-events*.ndjson, also rotated or gzip), or folders of them')
    .addOption(
      new Option('--format <FORMAT>', 'for people, programs or a browser')
        .choices(['text', 'json', 'html'])
        .default('text'),
    )
    .option('--out <FILE>', 'write it there instead of standard output')
    .option('--since <TIME>', 'only requests from this time on (2026-11-21T00:00:00Z, 2026-11-21)')
    .option('--until <TIME>', 'only requests before this time')
    .option(
      '--expect-normal-mode <N>',
      "the cloud's own count of accesses without a token in the same period, to compare with",
    )
    .addHelpText(
      'after',
      `
Examples:
  imds-tracer report /var/log/imds                             this host
  imds-tracer report --format html --out fleet.html /srv/logs  a folder of folders, one a host
  imds-tracer report --since 2026-11-20 --until 2026-11-21 --expect-normal-mode 1442 /var/log/imds
                                                               against CloudMonitor's or CloudWatch's figure

Exit status: 0 done, 2 wrong usage, 4 done but something is missing: the text says what.`,
    )
    .action(async (paths: string[], options: ReportCommandOptions) => {
      process.exitCode = await report(paths, options);
    });
}

async function report(paths: string[], options: ReportCommandOptions): Promise<ExitStatus> {
  // For a tracer that runs for weeks; here it would only take longer.
  setFlagsFromString('--no-optimize-for-size');
  setFlagsFromString('--max-semi-space-size=16');
  const period = periodOf(options);
  const expected = expectedOf(options.expectNormalMode);
  const { groups, bytes, problems } = await findLogs(paths);
  const files = groups.flat().length;
  if (files === 0) {
    sayProblems(problems);
    throw usageError(
      'IMDS_REPORT_EMPTY',
      `there is no event log in ${paths.map((path) => escapeText(path)).join(', ')}`,
      'name files, or folders with files imds-events*.ndjson',
    );
  }
  const abort = new AbortController();
  const stop = stopOnSignal(() => abort.abort());
  const progress = new ProgressLine(process.stderr, REDRAW_MS);
  let done = 0;
  const onProgress = (more: number): void => {
    done += more;
    const share = Math.min(Math.floor((done / Math.max(bytes, 1)) * 100), 100);
    progress.show(() => `report: ${share} % of ${sizeText(bytes)}`);
  };
  try {
    const read = await readLogs({ groups, period, onProgress, signal: abort.signal });
    progress.clear();
    const all = [...problems, ...read.problems];
    sayProblems(all);
    const result = reportResult({
      gathered: read.gathered,
      files,
      problems: all,
      period,
      ...(expected !== undefined && { expectNormalMode: expected }),
    });
    await write(result, options);
    return result.coverage.complete ? ExitCode.done : ExitCode.incomplete;
  } finally {
    progress.clear();
    stop.release();
  }
}

async function write(result: ReportResult, { format, out }: ReportCommandOptions): Promise<void> {
  const text = FORMATS[format](result, out === undefined && inColour(process.stdout));
  if (out !== undefined) {
    await writeWhole(out, text).catch((error: Error) => {
      throw usageError(
        'IMDS_REPORT_OUT',
        escapeText(`cannot write ${out}: ${error.message}`),
        'give a file in a directory that this user can write to with --out',
      );
    });
    return;
  }
  await writeResult(text);
}

const FORMATS: Readonly<Record<Format, (result: ReportResult, colour: boolean) => string>> = {
  text: (result, colour) => reportText(result, { colour }),
  json: auditJson,
  html: (result) => renderHtml(result, { version }),
};

function periodOf({ since, until }: ReportCommandOptions): Period {
  const period: Period = {};
  if (since !== undefined) period.since = timeOf(since, '--since');
  if (until !== undefined) period.until = timeOf(until, '--until');
  if (period.since !== undefined && period.until !== undefined && period.since >= period.until) {
    throw usageError('IMDS_BAD_VALUE', '--since must be before --until');
  }
  return period;
}

/** ISO 8601, a date being its midnight in UTC; of times without a zone the local one counts. */
function timeOf(value: string, option: string): number {
  const time = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)?)?$/.test(value)
    ? Date.parse(value)
    : Number.NaN;
  // Date takes the 31st of any month, and means the next one by it.
  const day = value.slice(0, 10);
  if (Number.isNaN(time) || !new Date(Date.parse(day)).toISOString().startsWith(day)) {
    throw usageError(
      'IMDS_BAD_VALUE',
      `${option} ${escapeText(value)}: no time`,
      'as in 2026-11-21T08:00:00Z or 2026-11-21',
    );
  }
  return time;
}

function expectedOf(value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  if (!/^\d{1,15}$/.test(value)) {
    throw usageError('IMDS_BAD_VALUE', `--expect-normal-mode ${escapeText(value)}: no number of accesses`);
  }
  return Number(value);
}

function sayProblems(problems: readonly string[]): void {
  for (const problem of problems.slice(0, MAX_PROBLEMS)) process.stderr.write(`imds-tracer: ${problem}\n`);
  if (problems.length > MAX_PROBLEMS)
    process.stderr.write(`imds-tracer: … and ${problems.length - MAX_PROBLEMS} more\n`);
}
