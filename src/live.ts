import { describeLive, openLive, type SourceChoice } from './capture/choose.js';
import { readProcFile } from './capture/proc-file.js';
import { openNamespaceSockets, takeEarlyOwner } from './capture/socket-diag.js';
import type { CaptureSource, EndpointAddress } from './capture/types.js';
import { Judge } from './imds/judge.js';
import { endpointsFor } from './imds/providers.js';
import type { ProviderName } from './imds/types.js';
import type { Evidence } from './output/evidence/types.js';
import type { LearnedSecrets } from './output/learned.js';
import { lostInAll } from './output/losses.js';
import { redactEvent } from './output/redact.js';
import type { EventSink, TracerHealth } from './output/sink.js';
import { formatText } from './output/text.js';
import type { TracerEvent, TracerStats } from './output/types.js';
import { Pipeline } from './pipeline.js';
import { Attributor } from './process/attribution.js';
import { type LiveTracer, runTracer } from './tracer.js';
import { version } from './version.js';

/** Whose requests are traced. */
export interface Traced {
  /** The first is the one that judges `endpoint`. */
  provider: readonly ProviderName[];
  /** Further addresses to trace. */
  endpoint: readonly EndpointAddress[];
}

/** What a live run is made of. */
export interface LiveOptions extends Traced {
  source: SourceChoice;
  networkInterface?: string;
  ringSize?: number;
  /** In this order they get each event; closed at the end, also after an error. */
  sinks: readonly EventSink[];
  /** Where the packets behind findings go; it is among `sinks` as well. */
  evidence?: Evidence | undefined;
  learned: LearnedSecrets;
}

export interface LiveOutcome {
  stats: TracerStats;
  source: CaptureSource['kind'];
  /** Why this source, where it was not the first choice. */
  sourceDetail: string;
  /** For some of the time the source could not capture. */
  interrupted: boolean;
}

/** From a live source to the sinks, until it is stopped: what `trace` and `audit` have in common. */
export class LiveSession {
  readonly #options: LiveOptions;
  readonly #processes = new Attributor({
    openNamespace: openNamespaceSockets,
    readPatiently: readProcFile,
    takeEarlyOwner,
  });
  #tracer: LiveTracer | undefined;
  #running: { source: CaptureSource; pipeline: Pipeline } | undefined;
  #traced: Traced;
  #stopping = false;

  constructor(options: LiveOptions) {
    this.#options = options;
    this.#traced = options;
  }

  /** What is traced at present. */
  get traced(): Traced {
    return this.#traced;
  }

  /**
   * Traces these from now on, without a pause for what was traced before as well. Throws a TracerError, with all as it was,
   * where the source can't; to be called between `onCapture` and the end of `run`.
   */
  trace(traced: Traced): void {
    const before = endpointsFor(this.#traced.provider, this.#traced.endpoint);
    const endpoints = endpointsFor(traced.provider, traced.endpoint);
    const running = this.#running!;
    // What was captured before and is not read yet is judged as ever.
    running.pipeline.setEndpoints([...before, ...endpoints]);
    try {
      running.source.setEndpoints?.(endpoints);
    } catch (error) {
      running.pipeline.setEndpoints(before);
      throw error;
    }
    this.#traced = traced;
  }

  /** Writes that the configuration was read again: which options are other now, and which are not until a restart. */
  tellReloaded(changed: readonly string[], kept: readonly string[]): void {
    const { provider, endpoint } = this.#traced;
    this.#write({
      kind: 'tracer-reloaded',
      time: Date.now(),
      source: this.#running!.source.kind,
      providers: provider,
      endpoints: endpointsFor(provider, endpoint).map(({ address, port }) => ({ address, port })),
      changed,
      kept,
    });
  }

  /** Ends `run`, once what was captured until now is written. May be called at any time, also before `run`. */
  stop(): void {
    this.#stopping = true;
    this.#tracer?.stop();
  }

  /**
   * Calls `prepare`, opens the source, calls `onCapture` once that has proven itself, and traces until `stop`. Undefined
   * where it was stopped before. Rejects with a TracerError where this host can't capture, or no more. Called once.
   */
  async run({
    prepare,
    onCapture,
  }: {
    prepare?: () => Promise<void>;
    onCapture?: (source: CaptureSource['kind']) => void;
  } = {}): Promise<LiveOutcome | undefined> {
    let source: CaptureSource | undefined;
    try {
      await prepare?.();
      if (this.#stopping) return undefined;
      const { provider, ringSize, networkInterface, sinks } = this.#options;
      const endpoints = endpointsFor(provider, this.#options.endpoint);
      const opened = openLive(this.#options.source, {
        endpoints,
        ...(ringSize !== undefined && { ringBytes: ringSize }),
        ...(networkInterface !== undefined && { networkInterface }),
      });
      source = opened.source;
      const { kind } = source;
      const sourceDetail = describeLive(opened);
      const watch = new SourceWatch(source);
      const pipeline = new Pipeline({
        endpoints,
        judge: new Judge(),
        processes: this.#processes,
        emit: this.#write,
        evidence: this.#options.evidence,
      });
      this.#write({
        kind: 'tracer-started',
        time: Date.now(),
        version,
        source: kind,
        sourceDetail,
        providers: provider,
        endpoints: endpoints.map(({ address, port }) => ({ address, port })),
      });
      const status = (stats: TracerStats): void => {
        const health: TracerHealth = { source: kind, stats, problem: watch.look() };
        for (const sink of sinks) sink.status?.(health);
      };
      const tracer = runTracer({
        source,
        pipeline,
        write: this.#write,
        logErrors: () => sinks.reduce((sum, { errors = 0 }) => sum + errors, 0),
        logFailing: () => sinks.some(({ failing }) => failing),
        undelivered: () => {
          const counts = sinks.flatMap(({ undelivered }) => undelivered ?? []);
          return counts.length === 0 ? undefined : counts.reduce((sum, count) => sum + count, 0);
        },
        room: async () => {
          for (const sink of sinks) await sink.room?.();
        },
        full: () => sinks.some(({ full }) => full),
        onTick: status,
      });
      this.#tracer = tracer;
      this.#running = { source, pipeline };
      status(tracer.stats());
      onCapture?.(kind);
      // A sink or the caller may have asked for it meanwhile.
      if (this.#stopping) tracer.stop();
      const stats = await tracer.done;
      return { stats, source: kind, sourceDetail, interrupted: watch.interrupted };
    } finally {
      source?.close();
      this.#processes.close();
      for (const sink of this.#options.sinks) await sink.close?.();
    }
  }

  readonly #write = (event: TracerEvent): void => {
    const shown = redactEvent(event, this.#options.learned);
    const text = formatText(shown);
    for (const sink of this.#options.sinks) sink.write?.(shown, text);
  };
}

/** Whether every request of the run was seen whole, with its process. What could not be written is in `log_errors`. */
export function isComplete({ stats, interrupted }: LiveOutcome): boolean {
  return lostInAll(stats) === 0 && stats.unattributed === 0 && !interrupted;
}

/** Keeps an eye on whether a source can still capture. */
class SourceWatch {
  interrupted = false;

  constructor(private readonly source: CaptureSource) {}

  /** The problem at present. */
  look(): string | undefined {
    const problem = this.source.problem?.();
    if (problem !== undefined) this.interrupted = true;
    return problem;
  }
}
