import process from 'node:process';
import { Command } from 'commander';
import { nativeModule } from '../capture/native.js';
import { ExitCode, type ExitStatus } from '../errors.js';
import type { Lab } from '../lab/lab.js';
import { isComplete, LiveSession } from '../live.js';
import { MetricsServer } from '../metrics/server.js';
import { TracerMetrics } from '../metrics/tracer-metrics.js';
import { escapeText } from '../output/escape.js';
import { LearnedSecrets } from '../output/learned.js';
import { LogFiles } from '../output/logs.js';
import type { ShownEvent } from '../output/redact.js';
import type { EventSink, TracerHealth } from '../output/sink.js';
import { inColour, TerminalView } from '../output/terminal.js';
import type { TextLine } from '../output/text.js';
import { type Patience, waitWithPatience } from '../patience.js';
import { ServiceManager } from '../service/notify.js';
import { Shipper } from '../ship/shipper.js';
import { openEvidence } from './evidence.js';
import { hostContext } from './host.js';
import { LAB_PAUSE_MS, LAB_UNSEEN, startLab } from './lab.js';
import { addTraceOptions, resolveTraceOptions, type TraceOptions } from './options.js';
import { explain, reload, type Step } from './reload.js';
import { stopOnSignal } from './signals.js';
import { isTerminalGone } from './streams.js';

/** What is still to be shown has so much time at the end while nobody reads it, and in all; the logs are written by then. */
const LAST_OUTPUT: Omit<Patience, 'progress'> = { stillMs: 500, inAllMs: 5000 };

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
    process.exitCode = await trace(resolveTraceOptions(given), () => resolveTraceOptions(given));
    // A reader that stands still (`| less`) would keep the process alive by what it has not read of the view.
    const left = (): number => process.stdout.writableLength + process.stderr.writableLength;
    void waitWithPatience(new Promise(() => {}), { ...LAST_OUTPUT, progress: left }).then(() => process.exit());
  });
}

/** `again` reads the options once more, and throws as at the start. */
async function trace(options: TraceOptions, again: () => TraceOptions): Promise<ExitStatus> {
  const manager = ServiceManager.fromEnvironment((address, state) => nativeModule().notify(address, state));
  const learned = new LearnedSecrets();
  const context = hostContext();
  const logs = new LogFiles(options.logDir, context, options.logRotation, options.format, say);
  const evidence = await openEvidence(options.evidence, learned, say);
  const terminal = new TerminalSink(options.quiet);
  const shipper = new Shipper({ ...options, targets: options.ship, context, say });
  const metrics = new TracerMetrics();
  const sinks: EventSink[] = [logs, terminal, shipper, metrics];
  if (evidence !== undefined) sinks.push(evidence);
  const managed = new ManagerSink(manager);
  sinks.push(problemSink(), managed);
  const server = new MetricsServer({
    metrics: () => sinks.flatMap((sink) => sink.metrics ?? []),
    problem: () => metrics.problem(),
  });

  const session = new LiveSession({ ...options, sinks, evidence, learned });
  const stop = stopOnSignal(() => {
    manager.tell('stopping');
    session.stop();
  });
  const steps: readonly Step[] = [
    { options: ['metrics'], apply: ({ metrics: address }) => server.listen(address) },
    { options: ['log-dir'], apply: ({ logDir }) => logs.moveTo(logDir) },
    { options: ['ship'], apply: ({ ship }) => shipper.retarget(ship) },
    { options: ['provider', 'endpoint'], apply: (traced) => session.trace(traced) },
    { options: ['log-max-size', 'log-max-files'], apply: ({ logRotation }) => logs.rotateBy(logRotation) },
    {
      options: ['format'],
      apply: ({ format }) => {
        logs.format = format;
      },
    },
    { options: ['quiet'], apply: ({ quiet }) => terminal.show(!quiet) },
  ];
  let now = options;
  const readAgain = async (): Promise<void> => {
    if (stop.requested) return;
    manager.tell('reloading');
    // Whatever the configuration says: it is what an outside logrotate asks for.
    logs.reopen();
    evidence?.reopen();
    try {
      const next = again();
      const { changed, kept } = await reload(options, now, next, steps);
      now = next;
      session.tellReloaded(changed, kept);
      managed.refused = undefined;
      if (changed.length > 0) say(`the configuration was read again; changed: ${changed.join(', ')}`);
      if (kept.length > 0) say(`the configuration has another value for ${kept.join(', ')}, which takes a restart`);
    } catch (error) {
      managed.refused = explain(error);
      say(`the configuration was read again and not taken, all stays as it was: ${managed.refused}`);
    }
    manager.tell('ready');
  };
  // One after the other.
  let reading = Promise.resolve();
  let capturing = false;
  let hungUp = false;
  const onHangup = (): void => {
    // To a service it says "read the configuration and open the logs anew"; in a terminal, that the terminal is gone.
    if (isTerminalGone()) session.stop();
    else if (capturing) reading = reading.then(readAgain);
    else hungUp = true;
  };
  // From now on, for without a handler it would end the process; heeded once there is something to change.
  process.on('SIGHUP', onHangup);
  let lab: Lab | undefined;
  let complete = true;
  try {
    let labError: unknown;
    const outcome = await session.run({
      prepare: async () => {
        await server.listen(options.metrics);
        if (options.lab) lab = await startLab({ mode: 'normal', providers: options.provider });
      },
      onCapture: (source) => {
        capturing = true;
        if (hungUp) onHangup();
        if (options.durationMs !== undefined) stop.after(options.durationMs);
        if (lab !== undefined && source === 'pcap') say(LAB_UNSEEN);
        lab?.runClientsRepeatedly(LAB_PAUSE_MS).catch((error: unknown) => {
          labError = error;
          session.stop();
        });
      },
    });
    if (labError !== undefined) throw labError;
    complete = outcome === undefined || isComplete(outcome);
  } finally {
    process.off('SIGHUP', onHangup);
    server.close();
    stop.release();
    await lab?.stop();
  }
  // Only now is it known whether the last lines could be written.
  if (logs.errors > 0) say(`${logs.errors} lines could not be written to ${logs.path}`);
  if (evidence !== undefined && (!options.quiet || evidence.errors > 0)) {
    process.stderr.write(`imds-tracer: ${escapeText(evidence.summary())}\n`);
  }
  return complete && logs.errors === 0 && (evidence?.errors ?? 0) === 0 ? ExitCode.done : ExitCode.incomplete;
}

/** Says something to people, which may hold names from outside. */
const say = (message: string): void => {
  process.stderr.write(`imds-tracer: ${escapeText(message)}\n`);
};

/** The view in the terminal, which may be turned on and off. */
class TerminalSink implements EventSink {
  #view: TerminalView | undefined;

  constructor(quiet: boolean) {
    this.show(!quiet);
  }

  show(on: boolean): void {
    if (on) this.#view ??= new TerminalView(process.stdout, inColour(process.stdout));
    else this.close();
  }

  write(_event: ShownEvent, text: TextLine): void {
    this.#view?.line(text);
  }

  get full(): boolean {
    return this.#view?.full === true;
  }

  async room(): Promise<void> {
    await this.#view?.room();
  }

  status({ stats }: TracerHealth): void {
    this.#view?.status(stats);
  }

  close(): void {
    this.#view?.close();
    this.#view = undefined;
  }
}

/** Says on standard error when a source can't capture any more, and when it can again. */
function problemSink(): EventSink {
  let said: string | undefined;
  return {
    status: ({ problem }) => {
      if (problem === said) return;
      said = problem;
      process.stderr.write(`imds-tracer: ${escapeText(problem ?? 'capturing goes on')}\n`);
    },
  };
}

/** Feeds the service manager's watchdog: only after work was done, so that a pipeline that stands still is restarted. */
class ManagerSink implements EventSink {
  /** Why the configuration was not taken when it was read last. */
  refused: string | undefined;
  #ready = false;

  constructor(private readonly manager: ServiceManager) {}

  status(health: TracerHealth): void {
    const refused = this.refused === undefined ? '' : `configuration not taken: ${this.refused}; `;
    this.manager.tell(this.#ready ? 'watchdog' : 'ready', refused + (health.problem ?? statusLine(health)));
    this.#ready = true;
  }
}

/** What `systemctl status` shows. */
const statusLine = ({ source, stats }: TracerHealth): string =>
  `tracing (${source}): ${stats.requests} requests, ${stats.by_verdict['normal_mode'] ?? 0} without a token, ` +
  `${stats.ring_dropped} packets lost`;
