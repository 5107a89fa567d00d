import { decodeLatin1 } from '../text.js';
import type { Finding, Limits, Problem, ProblemReason, Scanned } from './types.js';

/** How long the event loop is held at most, in milliseconds: an audit traces meanwhile. */
const SLICE_MS = 10;
/** The clock is looked at once in so many entries. */
const CLOCK_EVERY = 128;

/** What a scan has seen so far, and whether it may go on. One for a whole inventory. */
export class Scan {
  readonly scanned: Scanned = { roots: 0, directories: 0, files: 0, opened: 0, bytes_read: 0, processes: 0 };
  /** By root, in the order of finding. */
  readonly findings: { root: string; finding: Finding }[] = [];
  /** Versions of cloud-init by root and directory of its package: it is in another file than the data sources. */
  readonly cloudInit = new Map<string, string>();
  /** The directory that is looked through. */
  root = '/';
  readonly #problems = new Map<ProblemReason, Problem>();
  readonly #deadline: number;
  #sliceEnd: number;
  #untilClock = CLOCK_EVERY;
  #over = false;

  constructor(
    private readonly limits: Limits,
    private readonly signal: AbortSignal | undefined,
    private readonly onProgress: ((scanned: Readonly<Scanned>, path: string) => void) | undefined,
  ) {
    const now = performance.now();
    this.#deadline = now + limits.time;
    this.#sliceEnd = now + SLICE_MS;
  }

  /** A limit was reached or somebody asked for the end: nothing more is to be looked at. */
  get over(): boolean {
    return this.#over;
  }

  problems(): Problem[] {
    return [...this.#problems.values()];
  }

  /** Notes what could not be seen. `path` is a latin1 string below the root. */
  problem(reason: ProblemReason, path: string): void {
    const known = this.#problems.get(reason);
    if (known !== undefined) {
      known.count += 1;
      return;
    }
    const place = decodeLatin1(path);
    const example = this.root === '/' ? place : `${this.root}${place}`;
    this.#problems.set(reason, { reason, count: 1, example });
  }

  /** Notes that a file or directory could not be opened or read; that it is gone is none of it. */
  failed(error: unknown, path: string): void {
    const code = (error as NodeJS.ErrnoException).code ?? '';
    if (['ENOENT', 'ESRCH', 'ENOTDIR', 'ELOOP', 'ENXIO'].includes(code)) return;
    this.problem(code === 'EACCES' || code === 'EPERM' ? 'not_permitted' : 'unreadable', path);
  }

  add(finding: Finding): void {
    if (this.findings.length >= this.limits.items) {
      this.#end('limit_reached', finding.path);
      return;
    }
    this.findings.push({ root: this.root, finding });
  }

  /** Counts bytes before they are read; false where no more may be read. */
  spend(bytes: number, path: string): boolean {
    this.scanned.bytes_read += bytes;
    if (this.scanned.bytes_read <= this.limits.bytes) return true;
    this.#end('limit_reached', path);
    return false;
  }

  /** To be called for each entry. True when it is time to `pause`. */
  entry(path: string): boolean {
    if (--this.#untilClock > 0) return false;
    this.#untilClock = CLOCK_EVERY;
    return this.#clock(path);
  }

  /** The same after work that takes its time. */
  worked(path: string): boolean {
    return this.#clock(path);
  }

  /** Lets others run. */
  async pause(path: string): Promise<void> {
    this.onProgress?.(this.scanned, decodeLatin1(path));
    await new Promise<void>((resolve) => setImmediate(resolve));
    this.#sliceEnd = performance.now() + SLICE_MS;
  }

  #clock(path: string): boolean {
    const now = performance.now();
    if (this.signal?.aborted) this.#end('stopped', path);
    else if (now > this.#deadline || this.scanned.files + this.scanned.directories > this.limits.entries) {
      this.#end('limit_reached', path);
    }
    return now > this.#sliceEnd;
  }

  #end(reason: ProblemReason, path: string): void {
    if (this.#over) return;
    this.#over = true;
    this.problem(reason, path);
  }
}
