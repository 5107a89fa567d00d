import process from 'node:process';
import { setFlagsFromString } from 'node:v8';
import { Command } from 'commander';
import { type FileProgress, openPcapFile, STANDARD_INPUT } from '../capture/pcap.js';
import type { ExchangeRecord } from '../capture/types.js';
import { ExitCode, type ExitStatus, usageError } from '../errors.js';
import type { Alike } from '../exchanges.js';
import { Judge } from '../imds/judge.js';
import { endpointsFor } from '../imds/providers.js';
import { AlikeLines } from '../output/alike-lines.js';
import type { EventContext } from '../output/context.js';
import { escapeText } from '../output/escape.js';
import type { EvidenceDump } from '../output/evidence/dump.js';
import { count, sizeText } from '../output/figures.js';
import { FORMATTERS, type JsonFormat } from '../output/formats.js';
import { LearnedSecrets } from '../output/learned.js';
import { LineStream } from '../output/line-stream.js';
import type { LogFiles } from '../output/logs.js';
import { ProgressLine } from '../output/progress-line.js';
import { redactEvent } from '../output/redact.js';
import { formatText } from '../output/text.js';
import { localTime } from '../output/time.js';
import type { TracerEvent, TracerStats } from '../output/types.js';
import { Pipeline } from '../pipeline.js';
import { NO_PROCESSES, replay } from '../replay.js';
import { version } from '../version.js';
import { openEvidence } from './evidence.js';
import { hostContext } from './host.js';
import { addReplayOptions, type ReplayOptions, resolveReplayOptions } from './options.js';
import { stopOnSignal } from './signals.js';

/** How long a pipe is read on after a signal, in milliseconds. */
const PIPE_PATIENCE_MS = 1_000;

export function replayCommand(): Command {
  const command = new Command('replay')
    .description('the same analysis over a packet file: pcap or pcapng, also compressed with gzip or zstd')
    .argument('<FILE>', 'packet file, or - for standard input')
    .addHelpText(
      'after',
      `
Text lines go to standard output, or events with --json, or both kinds to the files in --log-dir DIR; a summary
goes to standard error. The events' times are those of the packets. No process is known behind the packets of a file.

Examples:
  imds-tracer replay capture.pcapng
  imds-tracer replay --provider all --json capture.pcap.gz | jq -r .imds.verdict
  tcpdump -i any -U -w - tcp port 80 | imds-tracer replay -
  imds-tracer replay --json --format ocsf capture.pcap | jq .http_request.url.path
  imds-tracer replay --log-dir /tmp/imds capture.pcap
  imds-tracer replay --evidence findings.pcapng capture.pcap

Exit status: 0 done, 2 wrong usage or no packet file, 4 done but something is missing in the file.`,
    );
  return addReplayOptions(command).action(async (file: string, given: Record<string, unknown>) => {
    process.exitCode = await replayFile(file, resolveReplayOptions(given));
  });
}

async function replayFile(file: string, options: ReplayOptions): Promise<ExitStatus> {
  // A file is read as fast as it goes: what cli/main.ts starts Node with for a tracer that runs for weeks takes half as
  // long again here.
  setFlagsFromString('--no-optimize-for-size');
  // What outlives a scavenge is mostly garbage soon after: it is looked for once the heap has grown by a tenth. At 10 million packets
  // that is 73 MiB at the peak, not 82.
  setFlagsFromString('--heap-growing-percent=10');
  if (file === STANDARD_INPUT && process.stdin.isTTY) {
    throw usageError('IMDS_FILE_TERMINAL', 'standard input is a terminal', 'pipe a capture into it, or name a file');
  }
  const endpoints = endpointsFor(options.provider, options.endpoint);
  // Evidence is made of packets.
  const source = await openPcapFile({ file, endpoints, exchanges: options.evidence === undefined });
  let output: Output | undefined;
  let stopped = false;
  const endNow = (): void => {
    stopped = true;
    source.wake();
  };
  // ^C in a terminal ends the program that writes into the pipe as well: what it still has to say is awaited.
  const patience = file === STANDARD_INPUT ? PIPE_PATIENCE_MS : 0;
  let timer: NodeJS.Timeout | undefined;
  const stop = stopOnSignal(() => {
    timer = setTimeout(endNow, patience);
  });
  try {
    output = await openOutput(options);
    const { write } = output;
    const pipeline = new Pipeline({
      endpoints,
      judge: new Judge(),
      processes: NO_PROCESSES,
      emit: write,
      emitAlike: output.writeAlike,
      evidence: output.evidence,
    });
    const stats = (): TracerStats => pipeline.stats(source.stats(), output?.logErrors ?? 0);
    const view = new ProgressLine(process.stderr, 200, 500);
    const position = (): string => {
      const { packets, bytesRead, bytesTotal } = source.progress();
      const share = bytesTotal === undefined ? sizeText(bytesRead) : `${Math.floor((bytesRead / bytesTotal) * 100)} %`;
      return `replay: ${count(packets)} packets, ${share} of the file, ${count(stats().requests)} requests`;
    };
    let started = false;
    await replay({
      source,
      pipeline,
      beforeFirst: (time) => {
        started = true;
        output?.write({
          kind: 'tracer-started',
          time,
          version,
          source: source.kind,
          sourceDetail: source.description,
          providers: options.provider,
          endpoints: endpoints.map(({ address, port }) => ({ address, port })),
        });
      },
      afterBatch: async () => {
        view.show(position);
        await output?.room();
        return !stopped && output?.gone !== true;
      },
      full: () => output?.full === true,
    });
    view.clear();
    const progress = source.progress();
    if (started) output.write({ kind: 'tracer-stopped', time: progress.lastTime ?? 0, stats: stats() });
    await output.close();
    const missing = whatIsMissing(stats(), progress, stopped, output.gone);
    process.stderr.write(summary(source.description, stats(), progress, missing, options));
    if (output.evidence !== undefined) process.stderr.write(`replay: ${escapeText(output.evidence.summary())}\n`);
    if (missing.length === 0) return ExitCode.done;
    const nothingRead = progress.packets === progress.unreadablePackets && progress.problem !== undefined;
    return nothingRead ? ExitCode.usage : ExitCode.incomplete;
  } finally {
    stop.release();
    clearTimeout(timer);
    source.close();
    await output?.close();
  }
}

/** What is not asked for is not loaded: the logger and its like take as long as a small file. */
async function openOutput({ logDir, json, evidence, format }: ReplayOptions): Promise<Output> {
  const context = hostContext();
  const learned = new LearnedSecrets();
  const dump = await openEvidence(evidence, learned);
  const logs =
    logDir === undefined
      ? undefined
      : new (await import('../output/logs.js')).LogFiles(logDir, context, undefined, format);
  return new Output(context, learned, json, format, dump, logs);
}

/** Where the events go. */
class Output {
  readonly #stdout: LineStream | undefined;
  readonly #context: EventContext;
  readonly #learned: LearnedSecrets;
  readonly #json: boolean;
  readonly #format: JsonFormat;
  readonly #logs: LogFiles | undefined;
  /** In place of `write`, where lines are all that is asked for. */
  readonly writeAlike: ((alike: Alike, exchange: ExchangeRecord) => void) | undefined;
  #closed = false;

  constructor(
    context: EventContext,
    learned: LearnedSecrets,
    json: boolean,
    format: JsonFormat,
    readonly evidence: EvidenceDump | undefined,
    logs: LogFiles | undefined,
  ) {
    this.#context = context;
    this.#learned = learned;
    this.#json = json;
    this.#format = format;
    this.#logs = logs;
    const stdout = logs === undefined || json ? new LineStream(process.stdout) : undefined;
    this.#stdout = stdout;
    if (stdout !== undefined && logs === undefined && !json) {
      const lines = new AlikeLines(learned);
      this.writeAlike = (alike, exchange) => stdout.line(lines.line(alike, exchange));
    }
  }

  get logErrors(): number {
    return (this.#logs?.errors ?? 0) + (this.evidence?.errors ?? 0);
  }

  /** The reader of standard output went away, or there is no room where it goes. */
  get gone(): boolean {
    return this.#stdout?.gone ?? false;
  }

  /** Standard output gets the requests alone: what the tracer says of itself is in the summary. */
  readonly write = (event: TracerEvent): void => {
    const shown = redactEvent(event, this.#learned);
    const text = formatText(shown);
    this.#logs?.write(shown, text);
    if (this.#stdout === undefined || event.kind !== 'request') return;
    this.#stdout.line(FORMATTERS[this.#json ? this.#format : 'text'](shown, this.#context, text));
  };

  /** More should wait for `room`. */
  get full(): boolean {
    return this.#logs?.full === true || this.evidence?.full === true || this.#stdout?.full === true;
  }

  /** A file can wait, for a slow disk and for a slow reader; not for a disk that hangs. */
  async room(): Promise<void> {
    while (this.#logs?.full) await this.#logs.room();
    while (this.evidence?.full) await this.evidence.room();
    await this.#stdout?.flush();
  }

  /** May be called again. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#stdout?.flush();
    await this.#logs?.close();
    await this.evidence?.close();
  }
}

/** What the requests of the file can't be complete without, by the counter that tells. */
const MISSING: ReadonlyArray<[counter: Exclude<keyof TracerStats, 'by_verdict'>, what: string]> = [
  ['truncated', 'packets were cut by the capture'],
  ['packets_refused', 'packets have no readable TCP header (fragments, cut headers)'],
  ['gaps', 'times bytes of a request are missing (lost, cut, or from before the capture)'],
  ['flows_evicted', 'connections were put out, as too many were open at once'],
  ['ring_dropped', 'packets found no memory'],
  ['log_errors', 'lines or packets could not be written'],
];

function whatIsMissing(stats: TracerStats, progress: FileProgress, stopped: boolean, gone: boolean): string[] {
  const missing = MISSING.flatMap(([counter, what]) => {
    const lost = stats[counter] ?? 0;
    return lost > 0 ? [`${count(lost)} ${what}`] : [];
  });
  if (progress.problem !== undefined) missing.unshift(escapeText(progress.problem));
  if (stopped) missing.unshift('it was stopped before the end of the file');
  if (gone) missing.unshift('nobody reads the output any more, or there is no room for it');
  return missing;
}

function summary(
  description: string,
  stats: TracerStats,
  progress: FileProgress,
  missing: readonly string[],
  options: ReplayOptions,
): string {
  const { firstTime, lastTime } = progress;
  const span = firstTime === undefined ? '' : `, ${localTime(firstTime)} to ${localTime(lastTime!)}`;
  const verdicts = Object.entries(stats.by_verdict)
    .filter(([, times]) => times > 0)
    .map(([verdict, times]) => `${verdict} ${count(times)}`);
  const lines = [
    `${escapeText(description)}: ${count(progress.packets)} packets, ${sizeText(progress.bytesRead)}${span}`,
    `with the endpoints: ${count(stats.packets_seen)} packets, ${count(stats.connections)} connections, ` +
      `${count(stats.requests)} requests${verdicts.length > 0 ? `: ${verdicts.join(', ')}` : ''}`,
  ];
  if (stats.packets_seen === 0 && progress.packets > 0) {
    lines.push(
      `no packet of ${options.provider.join(', ')}: name others with --provider (or all) or --endpoint IP[:PORT]`,
    );
  }
  if (missing.length > 0) lines.push(`not complete: ${missing.join('; ')}`);
  return lines.map((line) => `replay: ${line}\n`).join('');
}
