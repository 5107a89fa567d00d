import process from 'node:process';
import { Command } from 'commander';
import { nativeModule } from '../capture/native.js';
import { ExitCode, type ExitStatus } from '../errors.js';
import { type Lab, startLab } from '../lab/lab.js';
import { isComplete, LiveSession } from '../live.js';
import { escapeText } from '../output/escape.js';
import { EvidenceDump } from '../output/evidence/dump.js';
import { LearnedSecrets } from '../output/learned.js';
import { LogFiles } from '../output/logs.js';
import type { EventSink, TracerHealth } from '../output/sink.js';
import { TerminalView } from '../output/terminal.js';
import { ServiceManager } from '../service/notify.js';
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
  const manager = ServiceManager.fromEnvironment((address, state) => nativeModule().notify(address, state));
  const learned = new LearnedSecrets();
  const logs = new LogFiles(options.logDir, hostContext(), options.logRotation, options.format);
  const evidence = options.evidence === undefined ? undefined : new EvidenceDump(options.evidence, learned);
  const sinks: EventSink[] = [logs];
  if (!options.quiet) sinks.push(terminalSink(new TerminalView(process.stdout, process.env['NO_COLOR'] === undefined)));
  if (evidence !== undefined) sinks.push(evidence);
  sinks.push(problemSink(), managerSink(manager));

  const session = new LiveSession({ ...options, sinks, evidence, learned });
  const stop = stopOnSignal(() => {
    manager.tell('stopping');
    session.stop();
  });
  // To a service it says "open the logs anew" (logrotate); in a terminal, that the terminal is gone.
  const onHangup = (): void => {
    if (process.stdout.isTTY) {
      session.stop();
      return;
    }
    manager.tell('reloading');
    logs.reopen();
    manager.tell('ready');
  };
  let lab: Lab | undefined;
  let complete = true;
  try {
    let labError: unknown;
    const outcome = await session.run({
      prepare: async () => {
        if (options.lab) lab = await startLab({ mode: 'normal', providers: options.provider });
      },
      onCapture: (source) => {
        process.on('SIGHUP', onHangup);
        if (options.durationMs !== undefined) stop.after(options.durationMs);
        if (lab !== undefined && source === 'pcap') process.stderr.write(LAB_UNSEEN);
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
    stop.release();
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

const terminalSink = (view: TerminalView): EventSink => ({
  write: (_, text) => view.line(text),
  status: ({ stats }) => view.status(stats),
  close: () => view.close(),
});

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
function managerSink(manager: ServiceManager): EventSink {
  let ready = false;
  return {
    status: (health) => {
      manager.tell(ready ? 'watchdog' : 'ready', health.problem ?? statusLine(health));
      ready = true;
    },
  };
}

/** What `systemctl status` shows. */
const statusLine = ({ source, stats }: TracerHealth): string =>
  `tracing (${source}): ${stats.requests} requests, ${stats.by_verdict['normal_mode'] ?? 0} without a token, ` +
  `${stats.ring_dropped} packets lost`;
