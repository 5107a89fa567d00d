import { readFileSync, statSync } from 'node:fs';
import { isIPv4, isIPv6 } from 'node:net';
import { endianness } from 'node:os';
import { parseCgroupFile } from './cgroup.js';
import type { ProcReader } from './proc.js';

/** The two ends of a connection as its socket has them, in canonical text. */
export interface SocketAddresses {
  localAddress: string;
  localPort: number;
  remoteAddress: string;
  remotePort: number;
}

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
const SEARCH_TIMES: SearchTimes = { wholeMs: 100, sharedMs: 10 };
/** How long a list of processes by namespace serves before /proc is gone through again (30 ms at 10,000 processes). */
const NAMESPACES_FRESH_MS = 1000;
/** Of a process with more open files than this only so many are looked at. */
const MAX_OPEN_FILES = 4096;
/** A namespace is asked through this many of its processes, as any may exit meanwhile. */
const MAX_REPRESENTATIVES = 4;

/** The processes of this host by network namespace, newest first. */
interface Namespaces {
  readonly pids: ReadonlyMap<number, readonly number[]>;
  readonly ofPid: ReadonlyMap<number, number>;
  /** Time of the monotonic clock, in ms. */
  readonly at: number;
  /** All processes were gone through within the time of a search. */
  readonly complete: boolean;
  readonly denied: boolean;
}

const NOTHING_LISTED: Namespaces = {
  pids: new Map(),
  ofPid: new Map(),
  at: Number.NEGATIVE_INFINITY,
  complete: true,
  denied: false,
};

/**
 * Finds the process that holds a connection's socket: from the addresses to the socket's inode by
 * /proc/PID/net/tcp{,6} of each network namespace, from the inode to the process by /proc/PID/fd. It costs from a
 * millisecond to SearchTimes.wholeMs, so the caller remembers the result and limits how often it is asked.
 */
export class SocketOwners {
  #namespaces: Namespaces = NOTHING_LISTED;
  #cgroupMount: string | undefined | null = null;

  constructor(
    private readonly proc: ProcReader,
    private readonly times: SearchTimes = SEARCH_TIMES,
  ) {}

  /**
   * `cgroupId`: the socket's cgroup v2, 0n if unknown. `sawSocket`: the packet came from a hook on a socket of this
   * host, so that there was one whatever /proc says now.
   */
  find(addresses: SocketAddresses, cgroupId: bigint, sawSocket: boolean): SocketOwner {
    const started = performance.now();
    const wasFresh = started - this.#namespaces.at < NAMESPACES_FRESH_MS;
    if (!wasFresh) this.#namespaces = this.#list(started);
    const search = new Search(this.proc, addresses, started + this.times.wholeMs, this.times.sharedMs);
    let sockets = search.sockets(this.#namespaces);
    if (sockets.length === 0 && wasFresh && !search.late) {
      // It may be in a namespace that is newer than the list: only such are looked at now.
      this.#namespaces = this.#list(started);
      sockets = search.sockets(this.#namespaces);
    }
    search.late ||= !this.#namespaces.complete;
    if (sockets.length === 0) return { reason: this.#whyNoSocket(search, sawSocket) };

    const owners = sockets.map((socket) => search.holders(socket, this.#namespaces)).filter(({ length }) => length > 0);
    if (owners.length === 0) return { reason: this.#whyNoHolder(search) };
    const named = sockets.length === 1 ? owners : owners.filter((holders) => this.#anyInCgroup(holders, cgroupId));
    if (named.length !== 1) return { reason: 'ambiguous' };
    // Who inherited the socket is younger than who opened it: of several the oldest, and of these the lowest pid.
    const holders = named[0]!.sort((a, b) => a.startTicks - b.startTicks || a.pid - b.pid);
    const holder = holders[0]!;
    if (holders.length > 1) return { holder, limits: 'shared' };
    return search.late ? { holder, limits: 'lookup_limit' } : { holder };
  }

  #list(now: number): Namespaces {
    const deniedBefore = this.proc.denied;
    const pids = new Map<number, number[]>();
    const ofPid = new Map<number, number>();
    let complete = true;
    for (const pid of this.proc.pids()) {
      if (performance.now() - now > this.times.wholeMs) {
        complete = false;
        break;
      }
      const netns = this.proc.netns(pid);
      // A zombie is in no namespace any more, and holds no files.
      if (netns === undefined) continue;
      ofPid.set(pid, netns);
      const others = pids.get(netns);
      if (others === undefined) pids.set(netns, [pid]);
      else others.push(pid);
    }
    return { pids, ofPid, at: now, complete, denied: this.proc.denied > deniedBefore };
  }

  #whyNoSocket(search: Search, sawSocket: boolean): NotFound {
    if (search.late) return 'lookup_limit';
    // A namespace that has the address was looked at, and has no such socket.
    if (search.addressIsLocal) return 'exited';
    if (search.denied || this.#namespaces.denied) return 'not_permitted';
    if (sawSocket) return 'exited';
    const setting = isIPv4(search.localAddress) ? 'ipv4/ip_forward' : 'ipv6/conf/all/forwarding';
    return this.proc.read(`sys/net/${setting}`, 16)?.trim() === '1' ? 'forwarded' : 'other_host';
  }

  #whyNoHolder(search: Search): NotFound {
    if (search.late) return 'lookup_limit';
    return search.denied ? 'not_permitted' : 'exited';
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
}

/** One search: what it looks for, and what it met on the way. */
class Search {
  readonly localAddress: string;
  /** The local address belongs to some network namespace of this host. */
  addressIsLocal = false;
  /** The time was up before everything was looked at. */
  late = false;
  readonly #tables: { file: string; needle: Buffer }[];
  readonly #deniedBefore: number;
  readonly #seen = new Set<number>();

  constructor(
    private readonly proc: ProcReader,
    addresses: SocketAddresses,
    private readonly deadline: number,
    private readonly sharedMs: number,
  ) {
    this.#deniedBefore = proc.denied;
    this.localAddress = unmapped(addresses.localAddress);
    this.#tables = socketTables(addresses);
  }

  get denied(): boolean {
    return this.proc.denied > this.#deniedBefore;
  }

  /** The sockets with these addresses in the namespaces whose tables this search has not read yet. */
  sockets(namespaces: Namespaces): Socket[] {
    // Writing out a namespace's table means a walk over the whole host's hash table (milliseconds on large machines):
    // the namespaces that have the address come first, and the rest only if it is in none (transparent proxies).
    const having: number[] = [];
    const others: number[] = [];
    for (const [netns, pids] of namespaces.pids) {
      if (this.#seen.has(netns)) continue;
      (this.#hasAddress(pids) ? having : others).push(netns);
    }
    if (having.length > 0) this.addressIsLocal = true;
    const found = this.#socketsIn(having, namespaces);
    return found.length > 0 ? found : this.#socketsIn(others, namespaces);
  }

  /**
   * The processes that hold a socket. First those of its namespace and those that the list doesn't know yet, newest
   * first; the rest only if it is none of these, as sockets are rarely passed or taken along to another namespace
   * (slirp4netns and its like).
   */
  holders(socket: Socket, namespaces: Namespaces): Holder[] {
    const near: number[] = [];
    const far: number[] = [];
    for (const pid of this.proc.pids()) {
      const netns = namespaces.ofPid.get(pid);
      (netns === undefined || netns === socket.netns ? near : far).push(pid);
    }
    const link = `socket:[${socket.inode}]`;
    const holders = this.#holdersAmong(near, link);
    return holders.length > 0 ? holders : this.#holdersAmong(far, link);
  }

  #holdersAmong(pids: readonly number[], link: string): Holder[] {
    const holders: Holder[] = [];
    let deadline = this.deadline;
    for (const pid of pids) {
      if (performance.now() > deadline) {
        this.late = true;
        break;
      }
      const holder = this.#holds(pid, link);
      if (holder === undefined) continue;
      if (holders.length === 0) deadline = Math.min(deadline, performance.now() + this.sharedMs);
      holders.push(holder);
    }
    return holders;
  }

  #socketsIn(list: readonly number[], namespaces: Namespaces): Socket[] {
    const found: Socket[] = [];
    for (const netns of list) {
      const pids = namespaces.pids.get(netns)!;
      for (const { file, needle } of this.#tables) {
        const { inode, read } = this.#inode(pids, file, needle);
        // If all who were to show it are gone, it is looked at again when others are known.
        if (read) this.#seen.add(netns);
        if (inode === undefined) continue;
        found.push({ netns, inode });
        break;
      }
    }
    return found;
  }

  /**
   * The inode of the socket in a namespace's table: none if there is no such socket or only a closed one (inode 0).
   * `read`: the table could be read.
   */
  #inode(pids: readonly number[], file: string, needle: Buffer): { inode: number | undefined; read: boolean } {
    let inode: number | undefined;
    let read = false;
    for (const pid of pids.slice(0, MAX_REPRESENTATIVES)) {
      read = this.proc.lines(`${pid}/net/${file}`, (piece) => {
        inode = findInode(piece, needle);
        if (performance.now() > this.deadline) this.late = true;
        return inode !== undefined || this.late;
      });
      if (read) break;
    }
    return { inode, read };
  }

  /** Whether a namespace has the local address, by its table of local routes. */
  #hasAddress(pids: readonly number[]): boolean {
    const [file, isLocal] = isIPv4(this.localAddress)
      ? (['fib_trie', isLocalRoute] as const)
      : (['if_inet6', isInterfaceAddress] as const);
    let found = false;
    for (const pid of pids.slice(0, MAX_REPRESENTATIVES)) {
      const whole = this.proc.lines(`${pid}/net/${file}`, (piece) => {
        found ||= isLocal(piece, this.localAddress);
        return found || performance.now() > this.deadline;
      });
      if (whole) break;
    }
    return found;
  }

  #holds(pid: number, link: string): Holder | undefined {
    const { names, more } = this.proc.openFiles(pid, MAX_OPEN_FILES);
    if (more) this.late = true;
    const deniedBefore = this.proc.denied;
    for (const name of names) {
      const target = this.proc.link(`${pid}/fd/${name}`);
      // Refused once, refused for all of the process's files.
      if (this.proc.denied !== deniedBefore) return undefined;
      if (target !== link) continue;
      const stat = this.proc.stat(pid);
      // Once more, now that the start time is known: it was the same process then.
      if (stat === undefined || this.proc.link(`${pid}/fd/${name}`) !== link) return undefined;
      return { pid, startTicks: stat.startTicks };
    }
    return undefined;
  }
}

/**
 * Where a connection stands in /proc/PID/net and how: `ADDRESS:PORT ADDRESS:PORT`, hexadecimal, an address as 32-bit
 * words in the host's byte order (tcp4_seq_show and tcp6_seq_show of the kernel). An IPv4 connection may belong to an
 * IPv6 socket, by its mapped address.
 */
export function socketTables(addresses: SocketAddresses): { file: string; needle: Buffer }[] {
  const local = addressBytes(addresses.localAddress);
  const remote = addressBytes(addresses.remoteAddress);
  if (local === undefined || remote === undefined) return [];
  const needle = (from: number): Buffer =>
    Buffer.from(
      ` ${hexWords(local.subarray(from))}:${hexPort(addresses.localPort)} ` +
        `${hexWords(remote.subarray(from))}:${hexPort(addresses.remotePort)} `,
      'latin1',
    );
  const v6 = { file: 'tcp6', needle: needle(0) };
  const mapped = isMapped(local) && isMapped(remote);
  return mapped ? [{ file: 'tcp', needle: needle(12) }, v6] : [v6];
}

/** The inode in the line of a socket table that holds `needle`; lines of sockets in TIME_WAIT have none (0). */
export function findInode(table: Buffer, needle: Buffer): number | undefined {
  for (let at = table.indexOf(needle); at >= 0; at = table.indexOf(needle, at + needle.length)) {
    const end = table.indexOf(0x0a, at);
    const rest = table.toString('latin1', at + needle.length, end < 0 ? table.length : end);
    // st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout inode
    const inode = Number(rest.trim().split(/ +/, 7)[6]);
    if (Number.isSafeInteger(inode) && inode > 0) return inode;
  }
  return undefined;
}

/** /proc/net/fib_trie names a local address in two lines: `|-- ADDRESS` and, indented, `/32 host LOCAL`. */
function isLocalRoute(piece: Buffer, address: string): boolean {
  if (address.startsWith('127.')) return true;
  const name = `-- ${address}\n`;
  for (let at = piece.indexOf(name); at >= 0; at = piece.indexOf(name, at + name.length)) {
    const entry = piece.toString('latin1', at + name.length, at + name.length + 256);
    if (/^(?: +\/\d+ [^\n]*\n)*? +\/32 host LOCAL/.test(entry)) return true;
  }
  return false;
}

/** /proc/net/if_inet6 begins each line with an address as 32 hexadecimal digits. */
const isInterfaceAddress = (piece: Buffer, address: string): boolean => {
  const bytes = addressBytes(address);
  return bytes !== undefined && piece.includes(`${bytes.toString('hex')} `);
};

const isMapped = (bytes: Buffer): boolean =>
  bytes.readUIntBE(10, 2) === 0xffff && bytes.subarray(0, 10).every((b) => b === 0);

/** The 16 bytes of an IPv6 address, of an IPv4 one those of its mapped form; undefined for what is no address. */
function addressBytes(text: string): Buffer | undefined {
  const bytes = Buffer.alloc(16);
  if (isIPv4(text)) {
    bytes.writeUInt16BE(0xffff, 10);
    bytes.set(text.split('.').map(Number), 12);
    return bytes;
  }
  const [address] = text.split('%') as [string];
  if (!isIPv6(address)) return undefined;
  // A dotted end stands for two groups (RFC 4291, 2.2).
  const groups = address.replace(/\d+\.\d+\.\d+\.\d+$/, (v4) => {
    const [a, b, c, d] = v4.split('.').map(Number) as [number, number, number, number];
    return `${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
  });
  const [head, tail] = groups.split('::').map((part) => (part === '' ? [] : part.split(':'))) as [string[], string[]?];
  head.forEach((group, i) => {
    bytes.writeUInt16BE(Number.parseInt(group, 16), i * 2);
  });
  tail?.forEach((group, i) => {
    bytes.writeUInt16BE(Number.parseInt(group, 16), 16 - (tail.length - i) * 2);
  });
  return bytes;
}

function unmapped(text: string): string {
  const bytes = addressBytes(text);
  return bytes !== undefined && isMapped(bytes) ? bytes.subarray(12).join('.') : text;
}

const LITTLE_ENDIAN = endianness() === 'LE';

function hexWords(bytes: Buffer): string {
  let text = '';
  for (let i = 0; i < bytes.length; i += 4) {
    const word = LITTLE_ENDIAN ? bytes.readUInt32LE(i) : bytes.readUInt32BE(i);
    text += word.toString(16).toUpperCase().padStart(8, '0');
  }
  return text;
}

const hexPort = (port: number): string => port.toString(16).toUpperCase().padStart(4, '0');

/** Where the root of the cgroup v2 tree is mounted (mountinfo: proc(5)); undefined if it is not. */
function findCgroup2Mount(procRoot: string): string | undefined {
  try {
    // ID PARENT MAJOR:MINOR ROOT MOUNTPOINT OPTIONS … - FSTYPE SOURCE OPTIONS
    const match = /^\d+ \d+ \S+ \/ (\S+) .* - cgroup2 /m.exec(readFileSync(`${procRoot}/self/mountinfo`, 'latin1'));
    return match?.[1]?.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
  } catch {
    return undefined;
  }
}
