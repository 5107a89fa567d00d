import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import process from 'node:process';
import { Command } from 'commander';
import { openEbpf } from '../capture/ebpf.js';
import type { CaptureSource } from '../capture/types.js';
import { ExitCode, type ExitStatus } from '../errors.js';
import { Judge } from '../imds/judge.js';
import { endpointsFor } from '../imds/providers.js';
import { type Lab, startLab } from '../lab/lab.js';
import { createEcsContext } from '../output/ecs.js';
import { LearnedSecrets } from '../output/learned.js';
import { LogFiles } from '../output/logs.js';
import { redactEvent } from '../output/redact.js';
import { TerminalView } from '../output/terminal.js';
import { formatText } from '../output/text.js';
import type { TracerEvent, TracerStats } from '../output/types.js';
import { Pipeline } from '../pipeline.js';
import { Attributor } from '../process/attribution.js';
import { runTracer } from '../tracer.js';
import { version } from '../version.js';
import { LAB_PAUSE_MS } from './lab.js';
import { addTraceOptions, resolveTraceOptions, type TraceOptions } from './options.js';
import { stopOnSignal } from './signals.js';

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
  imds-tracer trace --lab --log-dir /tmp/imds       with sample clients in a private network namespace

Exit status: 0 done, 2 wrong usage, 3 this host can't capture, 4 done but something was lost or not attributable.`,
    );
  return addTraceOptions(command).action(async (given: Record<string, unknown>) => {
    process.exitCode = await trace(resolveTraceOptions(given));
  });
}

async function trace(options: TraceOptions): Promise<ExitStatus> {
  const endpoints = endpointsFor(options.provider, options.endpoint);
  const logs = new LogFiles(options.logDir, createEcsContext({ hostName: hostname(), ...machineId(), version }));
  const view = options.quiet ? undefined : new TerminalView(process.stdout, process.env['NO_COLOR'] === undefined);
  const learned = new LearnedSecrets();
  const write = (event: TracerEvent): void => {
    const shown = redactEvent(event, learned);
    const text = formatText(shown);
    logs.write(shown, text);
    view?.line(text);
  };

  let source: CaptureSource | undefined;
  let lab: Lab | undefined;
  let releaseSignals = (): void => {};
  try {
    if (options.lab) lab = await startLab({ mode: 'normal', providers: options.provider });
    source = openEbpf({ endpoints, ...(options.ringSize !== undefined && { ringBytes: options.ringSize }) });
    const pipeline = new Pipeline({ endpoints, judge: new Judge(), processes: new Attributor(), emit: write });
    write({
      kind: 'tracer-started',
      time: Date.now(),
      version,
      source: source.kind,
      sourceDetail: source.description,
      providers: options.provider,
      endpoints: endpoints.map(({ address, port }) => ({ address, port })),
    });
    const tracer = runTracer({
      source,
      pipeline,
      write,
      logErrors: () => logs.errors,
      onTick: (stats) => view?.status(stats),
    });
    releaseSignals = stopOnSignal(tracer.stop, options.durationMs);
    const reopen = (): void => logs.reopen();
    process.on('SIGHUP', reopen);
    lab?.runClientsRepeatedly(LAB_PAUSE_MS).catch(tracer.stop);
    const stats = await tracer.done;
    process.off('SIGHUP', reopen);
    return isComplete(stats) ? ExitCode.done : ExitCode.incomplete;
  } finally {
    releaseSignals();
    source?.close();
    view?.close();
    await logs.close();
    await lab?.stop();
  }
}

/** Whether every request of the run is in the log, with its process. */
function isComplete(stats: TracerStats): boolean {
  const lost =
    stats.ring_dropped +
    stats.connects_dropped +
    stats.truncated +
    stats.packets_refused +
    stats.gaps +
    stats.flows_evicted +
    stats.log_errors;
  return lost === 0 && stats.unattributed === 0;
}

/** The host's id as systemd keeps it; containers and old systems may have none. */
function machineId(): { hostId?: string } {
  try {
    const id = readFileSync('/etc/machine-id', 'utf8').trim();
    return id === '' ? {} : { hostId: id };
  } catch {
    return {};
  }
}
