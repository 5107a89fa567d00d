import { readFileSync, statSync } from 'node:fs';
import { isIPv4 } from 'node:net';
import { WorkBudget } from './budget.js';
import { parseCgroupFile } from './cgroup.js';
import { Namespaces, type OpenNamespace } from './namespaces.js';
import { type ProcReader, unescapeMountPath } from './proc.js';
import { unmapped } from './socket-tables.js';
import type { SocketAddresses } from './types.js';

/** Why a connection has no owner that could be named. */
export type NotFound =
  /** The socket was here and is gone, or nobody holds it any more. */
  | 'exited'
  /** The local address is none of this host's, which passes on packets for others (a router, a host of virtual machines). */
  | 'forwarded'
  /** The local address is none of this host's. */
  | 'other_host'
  /** Several network namespaces have such a socket, and nothing tells which it is. */
  | 'ambiguous'
  /** Looking for longer would have held up the packets. */
  | 'lookup_limit'
  /** Some processes may not be looked into: CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH are missing. */
  | 'not_permitted';

/** A process that has the socket open. */
export interface Holder {
  pid: number;
  startTicks: number;
}

/** `limits`: others hold the socket too, or there was no time to see whether others do. */
export type SocketOwner = { holder: Holder; limits?: 'shared' | 'lookup_limit' } | { holder?: never; reason: NotFound };

/** How long a search may take, in milliseconds. */
export interface SearchTimes {
  /** The whole search; while it lasts, the packets of all others wait. */
  wholeMs: number;
  /** After a holder of the socket was found: to look whether there are others. */
  sharedMs: number;
}

/** A whole search is then behind by a small part of what the ring buffer holds. */
export const SEARCH_TIMES: SearchTimes = { wholeMs: 100, sharedMs: 10 };
/**
 * Share of wall time for seeing whether a socket has more holders than one, which means a look at every process: half of
 * what the caller allows for searches, so that at many connections each still gets a name.
 */
const SHARING = { share: 0.1, burstMs: 100 };
/** Who connected a moment ago was mostly started a moment ago: of so many of the newest processes the namespace is seen first. */
const NEWEST = 32;
/** Of a process with more open files than this only so many are looked at. */
const MAX_OPEN_FILES = 4096;
/**
 * Processes with more open files than this come last: looking at thousands of links takes as long as looking at hundreds of
 * other processes, and any local user can have some with thousands.
 */
const FEW_OPEN_FILES = 128;

/**
 * Finds the process that holds a connection's socket: from the addresses to the socket's inode by asking each network
 * namespace, from the inode to the process by /proc/PID/fd. It costs from a fraction of a millisecond to
 * SearchTimes.wholeMs, so the caller remembers the result and limits how often it is asked.
 */
export class SocketOwners {
  readonly #namespaces: Namespaces;
  readonly #sharing = new WorkBudget(SHARING.share, SHARING.burstMs);
  #cgroupMount: string | undefined | null = null;

  /** `openNamespace`: how namespaces are asked; without it their tables in /proc are read. */
  constructor(
    private readonly proc: ProcReader,
    private readonly times = SEARCH_TIMES,
    openNamespace?: OpenNamespace,
  ) {
    this.#namespaces = new Namespaces(proc, openNamespace);
  }

  /**
   * `cgroupId`: the socket's cgroup v2, 0n if unknown. `cookie`: the socket's, where the packet came from a hook on a
   * socket of this host, so that there was one whatever is found now; else 0n. `onHolder` is told each first holder at
   * once, before it is known whether there are others: it may be gone a moment later.
   */
  find(
    addresses: SocketAddresses,
    cgroupId: bigint,
    cookie: bigint,
    onHolder: (holder: Holder) => void = () => {},
  ): SocketOwner {
    const deadline = performance.now() + this.times.wholeMs;
    const namespaces = this.#namespaces;
    const pids = this.proc.pids();
    const search = new Search(this.proc, namespaces, addresses, cookie, deadline);
    namespaces.meet(pids.slice(0, NEWEST));
    search.askAll();
    if (!search.isOver) {
      // It may be in a namespace that is not known yet: only such are asked now.
      namespaces.list(deadline);
      search.askAll();
    }
    const owners: Holders[] = [];
    const lookAround = (among: readonly number[]): void => {
      for (const socket of search.sockets.slice(owners.length)) {
        const owner = new Holders(this.proc, namespaces, among, socket);
        owners.push(owner);
        const first = owner.next(deadline);
        if (first !== undefined) onHolder(first);
      }
    };
    lookAround(pids);
    if (!namespaces.isFresh) {
      // One that is not known yet may have such a socket too.
      namespaces.list(deadline);
      search.askAll();
      lookAround(this.proc.pids());
    }
    search.late ||= !namespaces.complete || owners.some(({ late }) => late);
    if (owners.length === 0) return { reason: this.#whyNoSocket(search, cookie !== 0n) };

    const held = owners.filter(({ found }) => found.length > 0);
    if (held.length === 0) return { reason: this.#whyNoHolder(search, owners) };
    const named = owners.length === 1 ? held : held.filter(({ found }) => this.#anyInCgroup(found, cgroupId));
    if (named.length !== 1) return { reason: 'ambiguous' };
    return this.#eldest(named[0]!, search, deadline);
  }

  /** Of all who hold a socket the one to name. */
  #eldest(owner: Holders, search: Search, deadline: number): SocketOwner {
    const whole = this.#sharing.run(() => owner.rest(Math.min(deadline, performance.now() + this.times.sharedMs)));
    // Who inherited the socket is younger than who opened it: of several the oldest, and of these the lowest pid.
    const holders = owner.found.sort((a, b) => a.startTicks - b.startTicks || a.pid - b.pid);
    const holder = holders[0]!;
    if (holders.length > 1) return { holder, limits: 'shared' };
    return whole && !search.late && !owner.late ? { holder } : { holder, limits: 'lookup_limit' };
  }

  /**
   * The same where a holder was found before, when the connection was opened: whether others hold that socket too, and
   * whether another namespace has such a socket.
   */
  confirm(addresses: SocketAddresses, holder: Holder, { netns, inode }: Omit<Socket, 'cookie'>): SocketOwner {
    const deadline = performance.now() + this.times.wholeMs;
    const namespaces = this.#namespaces;
    const pids = this.proc.pids();
    const search = new Search(this.proc, namespaces, addresses, 0n, deadline);
    namespaces.meet(pids.slice(0, NEWEST));
    if (!namespaces.isFresh) namespaces.list(deadline);
    search.askAll();
    const isThis = (socket: Socket): boolean => socket.netns === netns && socket.inode === inode;
    if (search.sockets.some((socket) => !isThis(socket))) return { reason: 'ambiguous' };
    const socket = search.sockets.find(isThis);
    // Who has closed it shares it with nobody.
    if (socket === undefined) return { holder };
    return this.#eldest(new Holders(this.proc, namespaces, pids, socket, holder), search, deadline);
  }

  /** Lets go of the namespaces. */
  close(): void {
    this.#namespaces.close();
  }

  #whyNoSocket(search: Search, sawSocket: boolean): NotFound {
    if (search.late) return 'lookup_limit';
    // A namespace that has the address was asked, and has no such socket.
    if (search.addressIsLocal) return 'exited';
    if (search.denied || this.#namespaces.denied) return 'not_permitted';
    if (sawSocket) return 'exited';
    const setting = isIPv4(unmapped(search.addresses.localAddress)) ? 'ipv4/ip_forward' : 'ipv6/conf/all/forwarding';
    return this.proc.read(`sys/net/${setting}`, 16)?.trim() === '1' ? 'forwarded' : 'other_host';
  }

  #whyNoHolder(search: Search, owners: readonly Holders[]): NotFound {
    if (search.late) return 'lookup_limit';
    // Whoever it is that may not be looked into has it only if it is still open.
    return owners.some(({ denied, socket }) => denied && search.isOpen(socket)) ? 'not_permitted' : 'exited';
  }

  #anyInCgroup(holders: readonly Holder[], cgroupId: bigint): boolean {
    return cgroupId !== 0n && holders.some(({ pid }) => this.#cgroupId(pid) === cgroupId);
  }

  /** A cgroup's id is its directory's inode number (kernfs_node.id), as `bpf_skb_cgroup_id` gives it. */
  #cgroupId(pid: number): bigint | undefined {
    if (this.#cgroupMount === null) this.#cgroupMount = findCgroup2Mount(this.proc.root);
    const { v2 } = parseCgroupFile(this.proc.cgroupFile(pid) ?? '');
    if (this.#cgroupMount === undefined || v2 === '') return undefined;
    return this.proc.attempt(() => statSync(`${this.#cgroupMount}${v2}`, { bigint: true }).ino);
  }
}

interface Socket {
  netns: number;
  inode: number;
  /** 0n where it is not told. */
  cookie: bigint;
}

/** The search for the sockets with a connection's addresses, and what it met on the way. */
class Search {
  readonly sockets: Socket[] = [];
  /** The local address belongs to some network namespace of this host. */
  addressIsLocal = false;
  /** The time was up before everything was looked at. */
  late = false;
  /** There is a namespace that may not be asked. */
  denied = false;
  readonly #asked = new Set<number>();
  #closed = false;

  constructor(
    private readonly proc: ProcReader,
    private readonly namespaces: Namespaces,
    readonly addresses: SocketAddresses,
    private readonly cookie: bigint,
    private readonly deadline: number,
  ) {}

  /** There is no need to look in further namespaces, or no time. */
  get isOver(): boolean {
    return this.late || this.#closed || this.sockets.length > 0;
  }

  /** Asks the namespaces that are known and have not answered this search yet. */
  askAll(): void {
    for (const netns of this.namespaces.ids) {
      if (this.late || this.#isCertain || this.#asked.has(netns)) continue;
      const deniedBefore = this.proc.denied;
      const answer = this.namespaces.ask(netns, this.addresses, this.cookie, this.deadline);
      this.late ||= answer === 'late' || performance.now() > this.deadline;
      this.denied ||= answer === undefined && this.proc.denied > deniedBefore;
      if (answer === undefined || answer === 'late') continue; // asked again when others of its processes are known
      this.#asked.add(netns);
      if (answer.state === 'open') this.sockets.push({ netns, inode: answer.inode, cookie: answer.cookie });
      this.#closed ||= answer.state === 'closed';
      this.addressIsLocal ||= answer.state !== 'elsewhere';
    }
  }

  isOpen({ netns, inode, cookie }: Socket): boolean {
    const answer = this.namespaces.ask(netns, this.addresses, cookie, this.deadline);
    return answer !== undefined && answer !== 'late' && answer.state === 'open' && answer.inode === inode;
  }

  /** A cookie is that of one socket of the host. */
  get #isCertain(): boolean {
    return this.cookie !== 0n && this.sockets.some(({ cookie }) => cookie === this.cookie);
  }
}

/**
 * The processes that hold a socket, one after the other. First those of its namespace and those whose namespace is not
 * known, newest first; the rest only if it is none of these, as sockets are rarely passed or taken along to another
 * namespace (slirp4netns and its like).
 */
class Holders {
  readonly found: Holder[] = [];
  late = false;
  /** Some process may not be looked into. */
  denied = false;
  readonly #link: string;
  readonly #near: number[] = [];
  readonly #far: number[] = [];
  /** Those of them that were passed over, for they have many open files. */
  readonly #large: number[] = [];
  #next = 0;
  #nextLarge = 0;

  constructor(
    private readonly proc: ProcReader,
    namespaces: Namespaces,
    pids: readonly number[],
    readonly socket: Socket,
    known?: Holder,
  ) {
    if (known !== undefined) this.found.push(known);
    this.#link = `socket:[${socket.inode}]`;
    for (const pid of pids) {
      if (pid === known?.pid) continue;
      const netns = namespaces.of(pid);
      (netns === undefined || netns === socket.netns ? this.#near : this.#far).push(pid);
    }
  }

  /** The next holder; undefined when there is none or the time is up (`late`). */
  next(deadline: number): Holder | undefined {
    for (;;) {
      const pid = this.#nextPid();
      const large = pid === undefined ? this.#large[this.#nextLarge] : undefined;
      if (pid === undefined && large === undefined) return undefined;
      if (performance.now() > deadline) {
        this.late = true;
        return undefined;
      }
      if (large !== undefined) this.#nextLarge++;
      const holder = pid === undefined ? this.#holds(large!, MAX_OPEN_FILES) : this.#holds(pid, FEW_OPEN_FILES);
      if (holder === undefined) continue;
      this.found.push(holder);
      return holder;
    }
  }

  /** Looks for all others. False where the time did not suffice. */
  rest(deadline: number): boolean {
    while (this.next(deadline) !== undefined);
    return !this.late;
  }

  #nextPid(): number | undefined {
    const at = this.#next++;
    if (at < this.#near.length) return this.#near[at];
    return this.found.length > 0 ? undefined : this.#far[at - this.#near.length];
  }

  #holds(pid: number, most: number): Holder | undefined {
    const deniedBefore = this.proc.denied;
    const { names, more } = this.proc.openFiles(pid, most);
    if (more && most < MAX_OPEN_FILES) {
      this.#large.push(pid);
      return undefined;
    }
    if (more) this.late = true;
    // The newest file is mostly the last.
    for (let i = names.length - 1; i >= 0 && this.proc.denied === deniedBefore; i--) {
      const path = `${pid}/fd/${names[i]}`;
      if (this.proc.link(path) !== this.#link) continue;
      const stat = this.proc.stat(pid);
      // Once more, now that the start time is known: it was the same process then.
      if (stat === undefined || this.proc.link(path) !== this.#link) return undefined;
      return { pid, startTicks: stat.startTicks };
    }
    this.denied ||= this.proc.denied !== deniedBefore;
    return undefined;
  }
}

/** Where the root of the cgroup v2 tree is mounted (mountinfo: proc(5)); undefined if it is not. */
function findCgroup2Mount(procRoot: string): string | undefined {
  try {
    // ID PARENT MAJOR:MINOR ROOT MOUNTPOINT OPTIONS … - FSTYPE SOURCE OPTIONS
    const match = /^\d+ \d+ \S+ \/ (\S+) .* - cgroup2 /m.exec(readFileSync(`${procRoot}/self/mountinfo`, 'latin1'));
    return match === null ? undefined : unescapeMountPath(match[1]!);
  } catch {
    return undefined;
  }
}
