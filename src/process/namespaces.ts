import type { ProcReader } from './proc.js';
import { findInTables } from './socket-tables.js';
import type { NamespaceSockets, SocketAddresses, SocketAnswer } from './types.js';

/** Opens the network namespace at a path; undefined where that is refused. */
export type OpenNamespace = (path: string) => NamespaceSockets | undefined;

/** How long a list of processes by namespace serves before /proc is gone through again (30 ms at 10,000 processes). */
const FRESH_MS = 1000;
/** A namespace that is kept open lives on without processes: so often it is seen whether it still has any. */
const SWEEP_MS = 1000;
/** Namespaces kept open at once, of two file descriptors each. Further ones are opened for each question. */
const MAX_OPEN = 128;
/** A namespace is opened through one of so many of its processes, as any may exit meanwhile. */
const MAX_REPRESENTATIVES = 4;
/** Init stays in the network namespace that it was started in, where others are as well: one that may not be looked at hides none. */
const INIT = 1;

/** A network namespace, by its processes, those first that were there first: they are the likeliest to stay. */
interface Namespace {
  readonly pids: number[];
  sockets?: NamespaceSockets | undefined;
  /** It may not be entered: its tables in /proc are read. */
  refused?: boolean;
}

/**
 * The network namespaces of this host and what they say of sockets. A namespace is opened at its first question and closed
 * within two seconds of the end of the processes that it was known by.
 */
export class Namespaces {
  #known = new Map<number, Namespace>();
  #ofPid = new Map<number, number>();
  #listedAt = Number.NEGATIVE_INFINITY;
  #sweeper: NodeJS.Timeout | undefined;
  #open = 0;
  /** All processes were gone through at the last `list`. */
  complete = true;
  /** At the last `list` there were processes, other than init, whose namespace may not be seen. */
  denied = false;

  constructor(
    private readonly proc: ProcReader,
    private readonly open: OpenNamespace | undefined,
  ) {}

  get ids(): Iterable<number> {
    return this.#known.keys();
  }

  get isFresh(): boolean {
    return performance.now() - this.#listedAt < FRESH_MS;
  }

  /** The namespace that a process was in when it was last seen; undefined if it never was. */
  of(pid: number): number | undefined {
    return this.#ofPid.get(pid);
  }

  /** Takes in the processes among `pids` that are not known yet. */
  meet(pids: readonly number[]): void {
    for (const pid of pids) if (!this.#ofPid.has(pid)) this.#place(pid);
  }

  /** Goes through all processes, newest first, at the latest until `deadline`. */
  list(deadline: number): void {
    this.#ofPid = new Map();
    for (const namespace of this.#known.values()) namespace.pids.length = 0;
    this.#listedAt = performance.now();
    this.complete = true;
    this.denied = false;
    for (const pid of this.proc.pids()) {
      if (performance.now() > deadline) {
        this.complete = false;
        break;
      }
      const deniedBefore = this.proc.denied;
      this.#place(pid);
      this.denied ||= pid !== INIT && this.proc.denied > deniedBefore;
    }
    for (const [id, { pids }] of this.#known) {
      pids.reverse();
      // What the time did not reach is not gone.
      if (this.complete && pids.length === 0) this.#forget(id);
    }
  }

  /**
   * What a namespace says of a connection; 'late' when `deadline` came first, undefined if it may not be asked or all its
   * processes are gone.
   */
  ask(id: number, addresses: SocketAddresses, cookie: bigint, deadline: number): SocketAnswer | 'late' | undefined {
    const namespace = this.#known.get(id);
    if (namespace === undefined) return undefined;
    const sockets = namespace.sockets ?? this.#enter(id, namespace);
    if (sockets === undefined) return findInTables(this.proc, namespace.pids, addresses, deadline);
    const answer = sockets.find(addresses, cookie);
    // It said something that is no answer: it is opened anew for the next question.
    if (answer === undefined || namespace.sockets === undefined) this.#shut(namespace, sockets);
    return answer;
  }

  close(): void {
    for (const id of this.#known.keys()) this.#forget(id);
    clearInterval(this.#sweeper);
    this.#sweeper = undefined;
  }

  #place(pid: number): void {
    const id = this.proc.netns(pid);
    // A zombie is in no namespace any more, and holds no files.
    if (id === undefined) return;
    this.#ofPid.set(pid, id);
    const namespace = this.#known.get(id);
    if (namespace === undefined) this.#known.set(id, { pids: [pid] });
    else namespace.pids.push(pid);
  }

  #enter(id: number, namespace: Namespace): NamespaceSockets | undefined {
    if (namespace.refused || this.open === undefined) return undefined;
    for (const pid of namespace.pids.slice(0, MAX_REPRESENTATIVES)) {
      const sockets = this.open(`${this.proc.root}/${pid}/ns/net`);
      if (sockets === undefined) continue;
      if (sockets.inode !== id) {
        sockets.close(); // it moved to another
        continue;
      }
      if (this.#open < MAX_OPEN) {
        namespace.sockets = sockets;
        this.#open++;
        this.#sweeper ??= setInterval(() => this.#sweep(), SWEEP_MS).unref();
      }
      return sockets;
    }
    // Its processes are gone, or it may not be entered, which will not change.
    namespace.refused = namespace.pids.some((pid) => this.proc.netns(pid) === id);
    return undefined;
  }

  #sweep(): void {
    for (const [id, { pids, sockets }] of this.#known) {
      if (sockets === undefined) continue;
      if (!pids.slice(0, MAX_REPRESENTATIVES).some((pid) => this.proc.netns(pid) === id)) this.#forget(id);
    }
    if (this.#open > 0) return;
    clearInterval(this.#sweeper);
    this.#sweeper = undefined;
  }

  #forget(id: number): void {
    const namespace = this.#known.get(id);
    this.#known.delete(id);
    if (namespace?.sockets !== undefined) this.#shut(namespace, namespace.sockets);
  }

  #shut(namespace: Namespace, sockets: NamespaceSockets): void {
    sockets.close();
    if (namespace.sockets === undefined) return;
    namespace.sockets = undefined;
    this.#open--;
  }
}
