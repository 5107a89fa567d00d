import process from 'node:process';
import { Command } from 'commander';
import { bracketed } from '../addresses.js';
import { Audit } from '../audit/audit.js';
import { AUDIT_FINDINGS, auditJson } from '../audit/document.js';
import { ProgressView } from '../audit/progress.js';
import { AuditFolder } from '../audit/state.js';
import { auditText } from '../audit/text.js';
import type { AuditResult, AuditVerdict, InventoryEntry } from '../audit/types.js';
import { ExitCode, type ExitStatus, messageOf } from '../errors.js';
import { takeInventory } from '../inventory/take.js';
import type { Lab } from '../lab/lab.js';
import { LiveSession } from '../live.js';
import type { EventContext } from '../output/context.js';
import { escapeJson, escapeText } from '../output/escape.js';
import { duration } from '../output/figures.js';
import { LearnedSecrets } from '../output/learned.js';
import { LogFiles } from '../output/logs.js';
import { formatComplianceFinding, formatDetectionFindings } from '../output/ocsf/findings.js';
import type { EventSink } from '../output/sink.js';
import { inColour } from '../output/terminal.js';
import { renderHtml } from '../report/html.js';
import { version } from '../version.js';
import { openEvidence } from './evidence.js';
import { hostContext } from './host.js';
import { LAB_PAUSE_MS, LAB_UNSEEN, startLab } from './lab.js';
import { type AuditOptions, addAuditOptions, resolveAuditOptions } from './options.js';
import { stopOnSignal } from './signals.js';
import { isTerminalGone } from './streams.js';

/** The result for a SIEM: a finding of the host, and one of each client without a token. An object a line. */
const auditFindings = (result: AuditResult, context: EventContext): string =>
  [formatComplianceFinding(result, context), ...formatDetectionFindings(result, context)]
    .map((finding) => `${escapeJson(JSON.stringify(finding))}\n`)
    .join('');

const STATUSES: Readonly<Record<AuditVerdict, ExitStatus>> = {
  ready: ExitCode.done,
  not_ready: ExitCode.normalModeFound,
  inconclusive: ExitCode.incomplete,
};

/** What the inventory at the end may take: an audit's result is not to wait for a slow disk for ever. */
const INVENTORY_MS = 120_000;

export function auditCommand(): Command {
  const command = new Command('audit')
    .description(
      'traces for a period, and says whether this host can be switched to tokens only, and who must change what',
    )
    .addHelpText(
      'after',
      `
Examples:
  imds-tracer audit --duration 24h --out /var/lib/imds-audit     a day; audit.json and audit.html in the directory
  imds-tracer audit --duration 7d --out /root/audit --provider aws
  imds-tracer audit --duration 30s --out /tmp/audit --lab        with sample clients in a private network namespace

Interrupted (Ctrl-C, a reboot, kill -9), it goes on with the time that is left when it is started with the same --out.

Exit status: 0 ready, 1 not ready: access without a token was seen, 2 wrong usage, 3 this host can't capture,
4 inconclusive: something was not seen, or nothing was seen at all.`,
    );
  return addAuditOptions(command).action(async (given: Record<string, unknown>) => {
    process.exitCode = await audit(resolveAuditOptions(given));
  });
}

async function audit(options: AuditOptions): Promise<ExitStatus> {
  const { out, durationMs, allowSilent, provider } = options;
  const folder = new AuditFolder(out);
  const context = hostContext();
  const { name, id } = context.host;
  const state = await Audit.open({
    folder,
    host: id === undefined ? { name } : { name, id },
    durationMs,
    allowSilent,
    providers: provider,
    traces: traced(options),
  });
  const view = options.quiet ? undefined : new ProgressView(process.stderr);
  // From now on, for without a handler it would end the process, and the result would be missing.
  const hangup = new Hangup();
  process.on('SIGHUP', hangup.heed);
  if (state.resumedAfterMs !== undefined) {
    view?.line(`goes on with the audit in ${escapeText(out)}, of which ${duration(state.remainingMs)} are left`);
  }
  try {
    // Killed between its last save and its result, an audit has nothing left to trace.
    if (state.remainingMs > 0) await traceFor(options, state, view, context, hangup);
    const early = state.endedEarly;
    // A kill while the inventory is taken loses nothing. On a full disk, what a day has found is at least shown.
    let trouble: unknown;
    const noteTrouble = (error: unknown): void => {
      trouble ??= error;
    };
    await state.save().catch(noteTrouble);
    const { items, complete } =
      early || options.skipInventory ? NO_INVENTORY : await inventoryOf(options, view, hangup);
    const result = state.result(items, complete);
    const write = async (): Promise<void> => {
      await folder.write('audit.json', auditJson(result));
      await folder.write(AUDIT_FINDINGS, auditFindings(result, context));
      await folder.write('audit.html', renderHtml(result, { version }));
      if (!early) await state.forget();
    };
    await write().catch(noteTrouble);
    view?.close();
    if (!options.quiet) {
      process.stdout.write(auditText(result, { colour: inColour(process.stdout) }));
      if (trouble === undefined) process.stdout.write(`\nReport: ${escapeText(out)}/audit.html and audit.json\n`);
      if (early) process.stdout.write('Start it again with the same --out to go on with the time that is left.\n');
    }
    if (trouble !== undefined) throw trouble;
    return STATUSES[result.verdict];
  } finally {
    process.off('SIGHUP', hangup.heed);
    view?.close();
  }
}

/** "Open the logs anew", as for `trace`; in a terminal, that the terminal is gone. What these are goes by what is under way. */
class Hangup {
  reopen: () => void = () => undefined;
  stop: () => void = () => undefined;

  readonly heed = (): void => {
    if (isTerminalGone()) this.stop();
    else this.reopen();
  };
}

/** Traces for the time that is left, or until it is stopped. */
async function traceFor(
  options: AuditOptions,
  state: Audit,
  view: ProgressView | undefined,
  context: EventContext,
  hangup: Hangup,
): Promise<void> {
  const learned = new LearnedSecrets();
  const say = (text: string): void => {
    view?.close();
    process.stderr.write(`imds-tracer: ${escapeText(text)}\n`);
  };
  const logs = new LogFiles(options.logDir, context, options.logRotation, options.format, say);
  const evidence = await openEvidence(options.evidence, learned, say);
  const sinks: EventSink[] = [
    logs,
    state.sink((client, path) => view?.finding(client, path)),
    progressSink(state, view, say),
  ];
  if (evidence !== undefined) sinks.push(evidence);
  const session = new LiveSession({ ...options, sinks, evidence, learned });
  const stop = stopOnSignal(() => session.stop());
  hangup.stop = () => session.stop();
  hangup.reopen = () => {
    logs.reopen();
    evidence?.reopen();
  };
  let lab: Lab | undefined;
  try {
    let labError: unknown;
    const outcome = await session.run({
      prepare: async () => {
        if (options.lab) lab = await startLab({ mode: 'normal', providers: options.provider });
      },
      onCapture: (source) => {
        state.captureStarted();
        stop.after(state.remainingMs);
        if (lab !== undefined && source === 'pcap') view?.line(LAB_UNSEEN);
        lab?.runClientsRepeatedly(LAB_PAUSE_MS).catch((error: unknown) => {
          labError = error;
          session.stop();
        });
      },
    });
    state.sessionEnded(outcome, logs.errors + (evidence?.errors ?? 0));
    if (labError !== undefined) throw labError;
  } catch (error) {
    // For going on once the reason is gone.
    if (state.hasBegun) await state.save();
    throw error;
  } finally {
    hangup.reopen = () => undefined;
    stop.release();
    await lab?.stop();
  }
  if (evidence !== undefined && !options.quiet) view?.line(escapeText(evidence.summary()));
}

/** Shows how far it is, and says when the source can't capture or the state can't be saved. */
function progressSink(state: Audit, view: ProgressView | undefined, say: (text: string) => void): EventSink {
  let said: string | undefined;
  return {
    status: ({ problem }) => {
      const trouble = problem ?? state.saveError?.message;
      if (trouble !== said) say(trouble ?? 'all is well again');
      said = trouble;
      view?.update(state.progress);
    },
  };
}

interface Found {
  items: readonly InventoryEntry[];
  complete: boolean | undefined;
}

const NO_INVENTORY: Found = { items: [], complete: undefined };

/** The clients that are installed here. Whatever happens to it, the audit has its result; a signal cuts it short. */
async function inventoryOf({ provider }: AuditOptions, view: ProgressView | undefined, hangup: Hangup): Promise<Found> {
  view?.line('looking for installed clients (Ctrl-C or --skip-inventory leaves it out)');
  const cancel = new AbortController();
  const stop = stopOnSignal(() => cancel.abort());
  hangup.stop = () => cancel.abort();
  try {
    return await takeInventory({ providers: provider, limits: { time: INVENTORY_MS }, signal: cancel.signal });
  } catch (error) {
    const why = messageOf(error);
    process.stderr.write(`imds-tracer: no inventory: ${escapeText(why)}\n`);
    return NO_INVENTORY;
  } finally {
    stop.release();
  }
}

/** What an audit traces, in one text. The source is not part of it: another may be chosen after a reboot. */
const traced = ({ provider, endpoint }: AuditOptions): string =>
  [...[...provider].sort(), ...endpoint.map(({ address, port }) => `${bracketed(address)}:${port}`).sort()].join(' ');
