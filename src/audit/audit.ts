import { performance } from 'node:perf_hooks';
import { seesNamespaceOnly } from '../capture/description.js';
import { usageError } from '../errors.js';
import type { LiveOutcome } from '../live.js';
import { duration } from '../output/figures.js';
import type { EventSink, TracerHealth } from '../output/sink.js';
import type { TracerStats } from '../output/types.js';
import { startOfLiving } from '../process/living.js';
import { auditResult } from './audit-json.js';
import { type Client, Clients } from './clients.js';
import { CoverageNotes } from './coverage.js';
import { fromShown, type ObservedHost } from './observation.js';
import { Inspector } from './running.js';
import { type AuditFolder, type AuditState, isAlive, STATE_FILE } from './state.js';
import type { AuditResult, InventoryEntry } from './types.js';

export interface AuditOptions {
  folder: AuditFolder;
  host: ObservedHost;
  durationMs: number;
  allowSilent: boolean;
  providers: readonly string[];
  /** What is traced, in one text: an audit that was interrupted goes on only with the same. */
  traces: string;
}

export interface AuditProgress {
  remainingMs: number;
  requests: number;
  clients: number;
  normalMode: number;
}

/** A timer may fire a little before its time. */
const TIMER_TOLERANCE_MS = 20;
/** So much of a state may be lost by a crash: it is then part of the time that was not traced. */
const SAVE_INTERVAL_MS = 2_000;
/** Saving takes at most this share of the time, however much there is to save. */
const SAVE_SHARE = 0.02;

/**
 * An audit under way: it takes the events of a live session, keeps its state on disk, and comes to a result. Begins anew, or
 * goes on with what an interrupted one has left in the folder.
 */
export class Audit {
  readonly #options: AuditOptions;
  readonly #clients = new Clients();
  /** Of earlier runs, and of this one what the counters do not tell. */
  readonly #notes = new CoverageNotes();
  readonly #inspector = new Inspector();
  readonly #started: number;
  readonly #tracedBefore: number;
  /** Monotonic, of the beginning and the end of capture. */
  #captureStart: number | undefined;
  #captureEnd: number | undefined;
  /** Of the end of capture, epoch milliseconds. */
  #ended: number;
  #counters: TracerStats | undefined;
  #problem: string | undefined;
  #normalMode = 0;
  #requests = 0;
  /** All that was captured was taken. */
  #settled: boolean;
  #saving: Promise<void> | undefined;
  #nextSave = 0;
  /** Why the last state could not be saved. */
  saveError: Error | undefined;
  /** The gap since the run before, if this one goes on with it; in milliseconds. */
  readonly resumedAfterMs: number | undefined;

  private constructor(options: AuditOptions, state: AuditState | undefined) {
    this.#options = options;
    this.#started = state?.started ?? Date.now();
    this.#ended = state?.saved ?? Date.now();
    this.#tracedBefore = state?.traced_ms ?? 0;
    this.#settled = state?.settled ?? true;
    if (state === undefined) return;
    this.#clients.merge(state.clients);
    this.#notes.merge(state.coverage);
    for (const client of this.#clients.values()) {
      this.#requests += client.requests;
      this.#normalMode += client.count('normal_mode');
    }
    if (this.remainingMs <= 0) {
      if (!this.#settled)
        this.#notes.note('not_traced', 1, `: it was killed after ${new Date(state.saved).toISOString()}`);
      return;
    }
    this.resumedAfterMs = Math.max(Date.now() - state.saved, 0);
    const seconds = Math.max(Math.round(this.resumedAfterMs / 1000), 1);
    this.#notes.note('not_traced', 1, `, the last time for ${seconds} s from ${new Date(state.saved).toISOString()}`);
  }

  /** Throws a TracerError where the folder can't be used, holds the state of another audit, or is in use. */
  static async open(options: AuditOptions): Promise<Audit> {
    await options.folder.prepare();
    const state = await options.folder.readState();
    if (state !== undefined) {
      if (state.host !== hostOf(options)) {
        throw usageError(
          'IMDS_AUDIT_OTHER',
          'the directory has an unfinished audit of another host',
          `take another --out, or remove its ${STATE_FILE}`,
        );
      }
      if (isAlive(state)) {
        throw usageError(
          'IMDS_AUDIT_RUNNING',
          `process ${state.pid} is auditing into the same directory`,
          'take another --out',
        );
      }
      if (state.traces !== options.traces) {
        throw usageError(
          'IMDS_AUDIT_OTHER',
          `the directory has an unfinished audit of something else (${state.traces}; now: ${options.traces})`,
          `start with the same options to go on with it, take another --out, or remove its ${STATE_FILE}`,
        );
      }
    }
    return new Audit(options, state);
  }

  /** Time that is still to be traced, in milliseconds; 0 or less when it is over. */
  get remainingMs(): number {
    return this.#options.durationMs - this.#tracedMs;
  }

  /** Something was captured in this run. */
  get hasBegun(): boolean {
    return this.#captureStart !== undefined;
  }

  /** It was stopped before its time was over. */
  get endedEarly(): boolean {
    return this.remainingMs > TIMER_TOLERANCE_MS;
  }

  get progress(): AuditProgress {
    return {
      remainingMs: Math.max(this.remainingMs, 0),
      requests: this.#requests,
      clients: this.#clients.size,
      normalMode: this.#normalMode,
    };
  }

  /** Capture has begun: from now on time counts. */
  captureStarted(): void {
    this.#captureStart = performance.now();
    this.#settled = false;
    this.#saveSoon();
  }

  /** What gathers a session's events. `onFinding` is told of each client once, at its first request without a token. */
  sink(onFinding?: (client: Pick<Client, 'command' | 'unit'>, path: string) => void): EventSink {
    return {
      write: (event) => {
        const observed = fromShown(event, this.#options.host);
        if (observed.kind === 'started' && seesNamespaceOnly(observed.sourceDetail))
          this.#notes.note('cgroup_namespace');
        if (observed.kind !== 'request') return;
        const counted = this.#clients.add(observed);
        const normal = observed.verdict === 'normal_mode';
        this.#requests++;
        if (normal) this.#normalMode++;
        if (counted === undefined) return;
        const { client, newProcess } = counted;
        if (newProcess !== undefined) {
          this.#inspector.look(newProcess, (sdks) => {
            for (const sdk of sdks) client.addSdk(sdk);
          });
        }
        if (normal && client.count('normal_mode') === 1) onFinding?.(client, observed.path ?? '-');
      },
      status: (health) => this.#status(health),
      close: () => {
        this.#captureEnd ??= performance.now();
        this.#ended = Date.now();
      },
    };
  }

  /** The run is over; `logErrors` as they are now that all is closed. Undefined where it ended before capture began. */
  sessionEnded(outcome: LiveOutcome | undefined, logErrors: number): void {
    if (outcome === undefined) return;
    this.#settled = true;
    this.#counters = { ...outcome.stats, log_errors: logErrors };
    if (outcome.interrupted && this.#problem === undefined) this.#notes.note('source_interrupted');
  }

  /** Resolves when the state is on disk, or can't be put there: `saveError` says why. */
  async save(): Promise<void> {
    await this.#saving;
    await this.#save();
  }

  /** The result is on disk: the next audit begins anew. */
  async forget(): Promise<void> {
    await this.#saving;
    await this.#options.folder.removeState();
  }

  /** The result as it is now. `inventoryComplete` is undefined where no inventory was taken. */
  result(inventory: readonly InventoryEntry[], inventoryComplete?: boolean): AuditResult {
    const coverage = this.#coverage();
    if (this.endedEarly) coverage.note('ended_early', 1, `: ${duration(this.remainingMs)} of it are missing`);
    return auditResult({
      clients: this.#clients,
      coverage,
      host: this.#options.host,
      started: this.#started,
      ended: this.#ended,
      tracedMs: this.#tracedMs,
      allowSilent: this.#options.allowSilent,
      providers: this.#options.providers,
      inventory,
      inventoryComplete,
    });
  }

  get #tracedMs(): number {
    if (this.#captureStart === undefined) return this.#tracedBefore;
    return this.#tracedBefore + (this.#captureEnd ?? performance.now()) - this.#captureStart;
  }

  #coverage(): CoverageNotes {
    const notes = new CoverageNotes();
    notes.merge(this.#notes.toJSON());
    if (this.#counters !== undefined) notes.counters({ ...this.#counters });
    return notes;
  }

  #status({ source, stats, problem }: TracerHealth): void {
    this.#counters = stats;
    if (this.#captureStart === undefined && source === 'pcap') this.#notes.note('pcap_source');
    if (problem !== undefined && problem !== this.#problem) this.#notes.note('source_interrupted', 1, `: ${problem}`);
    this.#problem = problem ?? this.#problem;
    this.#saveSoon();
  }

  #saveSoon(): void {
    if (this.#saving !== undefined || performance.now() < this.#nextSave || this.#captureStart === undefined) return;
    this.#saving = this.#save().finally(() => {
      this.#saving = undefined;
    });
  }

  async #save(): Promise<void> {
    const began = performance.now();
    const state: AuditState = {
      schema_version: 1,
      traces: this.#options.traces,
      host: hostOf(this.#options),
      settled: this.#settled,
      started: this.#started,
      saved: Date.now(),
      traced_ms: Math.round(this.#tracedMs),
      pid: process.pid,
      pid_start: startOfLiving(process.pid) ?? -1,
      clients: this.#clients.toJSON(),
      coverage: this.#coverage().toJSON(),
    };
    try {
      await this.#options.folder.write(STATE_FILE, JSON.stringify(state));
      this.saveError = undefined;
    } catch (error) {
      this.saveError = error as Error;
    }
    const took = performance.now() - began;
    this.#nextSave = performance.now() + Math.max(SAVE_INTERVAL_MS, took / SAVE_SHARE);
  }
}

const hostOf = ({ host }: AuditOptions): string => host.id ?? host.name;
