import type { KernelProcess } from '../capture/types.js';
import { LruMap, OWN_BYTES } from '../lru.js';
import { decodeLatin1 } from '../text.js';
import { type BootClock, ticksOfBootNs } from './boot-clock.js';
import type { WorkBudget } from './budget.js';
import {
  MAX_ARGV_BYTES,
  type ProcReader,
  type ProcSnapshot,
  type RawArguments,
  type RawText,
  splitArguments,
} from './proc.js';
import type { ProcessSummary } from './types.js';

/** A process's identity in the units that the kernel and /proc have in common. */
export interface ProcessKey {
  pid: number;
  startTicks: number;
  comm: RawText;
}

const UNREAD = -1;

/** The program that a process runs. */
interface Program extends RawArguments {
  executable: RawText;
  /** According to /proc; UNREAD where that was not read. */
  parentPid: number;
}

/** What is known of a process: one object as long as it stays the same, so that `===` means "nothing new". */
export interface KnownProcess extends ProcessKey, Program {
  summary: ProcessSummary;
  /** Estimate of its size in memory. */
  readonly bytes: number;
  /** The arguments are what the kernel reported at exec, which reports the next exec as well. */
  fromExec: boolean;
  /** When /proc was last asked, ms of the monotonic clock; of an entry fromExec -Infinity until it was. */
  checkedAt: number;
}

/**
 * How long arguments that came from /proc are taken for current. A process may exec another program under the same pid,
 * start time and even name (one python script another), so that only a moment is allowed: long enough for a
 * burst of connections from one family of processes to cost one read, too short to show the program before.
 */
export const FRESH_MS = 100;

const MAX_PROCESSES = 8192;
const MAX_BYTES = 6 * 1024 * 1024;

/** The kernel's start time and that in /proc are rounded alike; one tick is allowed for kernels that count otherwise. */
export const sameStart = (a: number, b: number): boolean => Math.abs(a - b) <= 1;

export const keyOf = (process: KernelProcess): ProcessKey => ({
  pid: process.pid,
  startTicks: ticksOfBootNs(process.startBootNs),
  comm: process.comm.toString('latin1'),
});

/** Remembers processes that are ancestors of connecting ones, with the arguments of the program that each runs. */
export class ProcessTable {
  readonly #processes = new LruMap<number, KnownProcess>(MAX_PROCESSES, MAX_BYTES, OWN_BYTES);

  constructor(
    private readonly proc: ProcReader,
    private readonly clock: BootClock,
    private readonly budget: WorkBudget,
  ) {}

  /** Estimate of the bytes remembered. */
  get bytes(): number {
    return this.#processes.bytes;
  }

  /** An exec as the kernel reported it: replaces whatever was known of the process before. */
  onExec(process: KernelProcess, argv: Buffer, truncated: boolean): void {
    const args = {
      argv: argv.toString('latin1', 0, MAX_ARGV_BYTES),
      truncated: truncated || argv.length > MAX_ARGV_BYTES,
    };
    this.#remember(keyOf(process), { ...args, executable: '', parentPid: UNREAD }, true, Number.NEGATIVE_INFINITY);
  }

  /**
   * An ancestor that the kernel named at a moment ago. Its arguments are shown only where they are those of the program
   * that it ran then: same start time, same name, and either reported by the kernel or read from /proc just now.
   */
  ancestor(key: ProcessKey): KnownProcess {
    const known = this.#known(key);
    if (known !== undefined && this.#isCurrent(known)) return known;
    const read = this.budget.run(() => this.proc.snapshot(key.pid) ?? null);
    const fits = read != null && sameStart(read.stat.startTicks, key.startTicks) && read.stat.comm === key.comm;
    if (known?.fromExec === true) {
      if (read === undefined) return known;
      // Its arguments stand; /proc adds the executable, and what the kernel's copy had no room for.
      const longer = fits && known.truncated && read.argv.startsWith(known.argv);
      return this.#update(known, fits ? { ...programOf(read), ...(longer ? undefined : argsOf(known)) } : known);
    }
    if (fits) return known === undefined ? this.#remember(key, programOf(read)) : this.#update(known, programOf(read));
    // Gone, or another program by now. Without the time to look, nothing is concluded and the next one looks again.
    const checkedAt = read === undefined ? Number.NEGATIVE_INFINITY : performance.now();
    return this.#remember(key, NO_PROGRAM, false, checkedAt);
  }

  /** Whether `ancestor` would give this very entry again. */
  isStill(known: KnownProcess): boolean {
    return this.#processes.get(known.pid) === known && this.#isCurrent(known);
  }

  /** The processes above one, parent first, according to /proc as it is now. */
  ancestorsFromProc(parentPid: number, childStartTicks: number, limit: number): KnownProcess[] {
    const chain: KnownProcess[] = [];
    let pid = parentPid;
    let notAfter = childStartTicks;
    while (pid > 0 && chain.length < limit) {
      const parent = this.#fromProc(pid);
      // A parent is older than its child, and so is whoever adopts it: a younger process has the parent's pid by chance.
      if (parent === undefined || parent.startTicks > notAfter + 1) break;
      chain.push(parent);
      pid = parent.parentPid;
      notAfter = parent.startTicks;
    }
    return chain;
  }

  #known(key: ProcessKey): KnownProcess | undefined {
    const known = this.#processes.get(key.pid);
    return known !== undefined && known.comm === key.comm && sameStart(known.startTicks, key.startTicks)
      ? known
      : undefined;
  }

  #isCurrent(known: KnownProcess): boolean {
    return known.fromExec ? known.checkedAt > 0 : performance.now() - known.checkedAt < FRESH_MS;
  }

  #fromProc(pid: number): KnownProcess | undefined {
    const remembered = this.#processes.get(pid);
    if (
      remembered !== undefined &&
      performance.now() - remembered.checkedAt < FRESH_MS &&
      remembered.parentPid !== UNREAD
    ) {
      return remembered;
    }
    const read = this.budget.run(() => this.proc.snapshot(pid));
    if (read === undefined) return undefined;
    const key = { pid, startTicks: read.stat.startTicks, comm: read.stat.comm };
    const known = this.#known(key);
    return known === undefined ? this.#remember(key, programOf(read)) : this.#update(known, programOf(read));
  }

  /** The entry itself where nothing changed, so that what was made from it need not be made again. */
  #update(known: KnownProcess, program: Program): KnownProcess {
    const { argv, truncated, executable } = program;
    if (argv !== known.argv || truncated !== known.truncated || executable !== known.executable) {
      return this.#remember(known, program, known.fromExec);
    }
    known.checkedAt = performance.now();
    known.parentPid = program.parentPid;
    return known;
  }

  #remember(
    { pid, startTicks, comm }: ProcessKey,
    { argv, truncated, executable, parentPid }: Program,
    fromExec = false,
    checkedAt = performance.now(),
  ): KnownProcess {
    const summary: ProcessSummary = { pid, name: decodeLatin1(comm), startTime: this.clock.epochMs(startTicks) };
    describeProgram(summary, { argv, truncated }, executable);
    const known: KnownProcess = {
      pid,
      startTicks,
      comm,
      argv,
      truncated,
      executable,
      summary,
      parentPid,
      fromExec,
      checkedAt,
      bytes: 600 + argv.length + summaryBytes(summary),
    };
    this.#processes.set(pid, known);
    return known;
  }
}

const NO_PROGRAM: Program = { argv: '', truncated: false, executable: '', parentPid: UNREAD };

const programOf = ({ argv, truncated, executable, stat }: ProcSnapshot): Program => ({
  argv,
  truncated,
  executable,
  parentPid: stat.parentPid,
});

const argsOf = ({ argv, truncated }: RawArguments): RawArguments => ({ argv, truncated });

/** Fills in what is known of a program, and leaves out what is not. */
export function describeProgram(summary: ProcessSummary, { argv, truncated }: RawArguments, executable: RawText): void {
  const args = splitArguments(decodeLatin1(argv));
  if (args.length > 0) summary.args = args;
  if (truncated) summary.argsTruncated = true;
  if (executable !== '') summary.executable = decodeLatin1(executable);
}

/** About what the texts of a summary take in memory: a string has a header, and two bytes a character where it must. */
export function summaryBytes({ args = [], executable = '' }: ProcessSummary): number {
  return args.reduce((sum, arg) => sum + 40 + 2 * arg.length, 2 * executable.length);
}
