import process from 'node:process';
import { Command } from 'commander';
import { describeLive, openLive } from '../capture/choose.js';
import { nativeModule } from '../capture/native.js';
import { openNamespaceSockets, takeEarlyOwner } from '../capture/socket-diag.js';
import type { CaptureSource } from '../capture/types.js';
import { ExitCode, type ExitStatus } from '../errors.js';
import { Judge } from '../imds/judge.js';
import { endpointsFor } from '../imds/providers.js';
import { type Lab, startLab } from '../lab/lab.js';
import { escapeText } from '../output/escape.js';
import { EvidenceDump } from '../output/evidence/dump.js';
import { LearnedSecrets } from '../output/learned.js';
import { LogFiles } from '../output/logs.js';
import { redactEvent } from '../output/redact.js';
import { TerminalView } from '../output/terminal.js';
import { formatText } from '../output/text.js';
import type { TracerEvent, TracerStats } from '../output/types.js';
import { Pipeline } from '../pipeline.js';
import { Attributor } from '../process/attribution.js';
import { ServiceManager } from '../service/notify.js';
import { type LiveTracer, runTracer } from '../tracer.js';
import { version } from '../version.js';
import { hostContext } from './host.js';
import { LAB_PAUSE_MS } from './lab.js';
import { addTraceOptions, resolveTraceOptions, type TraceOptions } from './options.js';
import { stopOnSignal } from './signals.js';

/** What is still to be shown has so much time at the end; the logs are written by then. */
const LAST_OUTPUT_MS = 500;

export function traceCommand(): Command {
  const command = new Command('trace')
    .description("traces this host's requests to the metadata service until Ctrl-C, SIGTERM or --duration")
    .addHelpText(
      'after',
      `
Examples:
  imds-tracer trace                                 Alibaba Cloud, logs in /var/log/imds
  imds-tracer trace --provider aws --duration 24h   AWS, for a day
  imds-tracer trace --endpoint 10.0.0.9:8080        also a metadata proxy at another address
  imds-tracer trace --source pcap --interface any   through libpcap, on every interface
  imds-tracer trace --evidence /root/imds.pcapng    also the packets of requests without a token, for Wireshark
  imds-tracer trace --lab --log-dir /tmp/imds       with sample clients in a private network namespace

Exit status: 0 done, 2 wrong usage, 3 this host can't capture, 4 done but something was lost or not attributable.`,
    );
  return addTraceOptions(command).action(async (given: Record<string, unknown>) => {
    process.exitCode = await trace(resolveTraceOptions(given));
    // A reader that stands still (`| less`) would keep the process alive by what it has not read of the view.
    setTimeout(() => process.exit(), LAST_OUTPUT_MS).unref();
  });
}

async function trace(options: TraceOptions): Promise<ExitStatus> {
  const endpoints = endpointsFor(options.provider, options.endpoint);
  const logs = new LogFiles(options.logDir, hostContext());
  const view = options.quiet ? undefined : new TerminalView(process.stdout, process.env['NO_COLOR'] === undefined);
  const learned = new LearnedSecrets();
  const processes = new Attributor({ openNamespace: openNamespaceSockets, takeEarlyOwner });
  const write = (event: TracerEvent): void => {
    const shown = redactEvent(event, learned);
    const text = formatText(shown);
    logs.write(shown, text);
    view?.line(text);
  };

  let evidence: EvidenceDump | undefined;
  let source: CaptureSource | undefined;
  let lab: Lab | undefined;
  let tracer: LiveTracer | undefined;
  let complete = false;
  const manager = ServiceManager.fromEnvironment((address, state) => nativeModule().notify(address, state));
  const stop = stopOnSignal(() => {
    manager.tell('stopping');
    tracer?.stop();
  });
  try {
    if (options.evidence !== undefined) evidence = new EvidenceDump(options.evidence, learned);
    if (options.lab) lab = await startLab({ mode: 'normal', providers: options.provider });
    if (stop.requested) return ExitCode.done;
    const opened = openLive(options.source, {
      endpoints,
      ...(options.ringSize !== undefined && { ringBytes: options.ringSize }),
      ...(options.networkInterface !== undefined && { networkInterface: options.networkInterface }),
    });
    source = opened.source;
    const watch = new SourceWatch(source);
    const pipeline = new Pipeline({
      endpoints,
      judge: new Judge(),
      processes,
      emit: write,
      evidence,
    });
    write({
      kind: 'tracer-started',
      time: Date.now(),
      version,
      source: source.kind,
      sourceDetail: describeLive(opened),
      providers: options.provider,
      endpoints: endpoints.map(({ address, port }) => ({ address, port })),
    });
    tracer = runTracer({
      source,
      pipeline,
      write,
      logErrors: () => logs.errors + (evidence?.errors ?? 0),
      room: async () => {
        await logs.room();
        await evidence?.room();
      },
      onTick: (stats) => {
        view?.status(stats);
        watch.look();
        // After records were worked off or waited for, not by a timer of its own: a loop that stands still is not fed.
        manager.tell('watchdog', watch.problem ?? statusLine(opened.source.kind, stats));
      },
    });
    manager.tell('ready', statusLine(source.kind, tracer.stats()));
    if (stop.requested) tracer.stop();
    if (options.durationMs !== undefined) stop.after(options.durationMs);
    // To a service it says "open the logs anew" (logrotate); in a terminal, that the terminal is gone.
    const onHangup = process.stdout.isTTY
      ? tracer.stop
      : (): void => {
          manager.tell('reloading');
          logs.reopen();
          manager.tell('ready');
        };
    process.on('SIGHUP', onHangup);
    let labError: unknown;
    lab?.runClientsRepeatedly(LAB_PAUSE_MS).catch((error: unknown) => {
      labError = error;
      tracer?.stop();
    });
    if (lab !== undefined && source.kind === 'pcap') process.stderr.write(LAB_UNSEEN);
    const stats = await tracer.done;
    process.off('SIGHUP', onHangup);
    if (labError !== undefined) throw labError;
    complete = isComplete(stats) && !watch.interrupted;
  } finally {
    stop.release();
    source?.close();
    processes.close();
    view?.close();
    await logs.close();
    await evidence?.close();
    await lab?.stop();
  }
  // Only now is it known whether the last lines could be written.
  if (logs.errors > 0) process.stderr.write(`imds-tracer: not all could be written to ${escapeText(options.logDir)}\n`);
  if (evidence !== undefined && (!options.quiet || evidence.errors > 0)) {
    process.stderr.write(`imds-tracer: ${escapeText(evidence.summary())}\n`);
  }
  return complete && logs.errors === 0 && (evidence?.errors ?? 0) === 0 ? ExitCode.done : ExitCode.incomplete;
}

const LAB_UNSEEN =
  "imds-tracer: libpcap sees the tracer's own network namespace only, so the lab's requests will not appear\n";

/** Says on standard error when a source can't capture any more, and when it can again. */
class SourceWatch {
  interrupted = false;
  /** Why nothing is captured at present. */
  problem: string | undefined;

  constructor(private readonly source: CaptureSource) {}

  look(): void {
    const problem = this.source.problem?.();
    if (problem === this.problem) return;
    this.problem = problem;
    if (problem !== undefined) this.interrupted = true;
    process.stderr.write(`imds-tracer: ${escapeText(problem ?? 'capturing goes on')}\n`);
  }
}

/** What `systemctl status` shows. */
const statusLine = (
  kind: CaptureSource['kind'],
  { requests, by_verdict: verdicts, ring_dropped }: TracerStats,
): string =>
  `tracing (${kind}): ${requests} requests, ${verdicts['normal_mode'] ?? 0} without a token, ${ring_dropped} packets lost`;

/** Whether every request of the run is in the log, with its process. */
function isComplete(stats: TracerStats): boolean {
  const lost =
    stats.ring_dropped +
    stats.connects_dropped +
    stats.truncated +
    stats.packets_refused +
    stats.packets_abandoned +
    stats.gaps +
    stats.flows_evicted +
    stats.log_errors;
  return lost === 0 && stats.unattributed === 0;
}
