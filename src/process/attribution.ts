import { hash } from 'node:crypto';
import { hostname } from 'node:os';
import type { ConnectRecord, ProcessRecord } from '../capture/types.js';
import { LruMap, OWN_BYTES, type Weight } from '../lru.js';
import { decodeLatin1 } from '../text.js';
import { FlowIndex, type FlowKey } from '../wire/flow-index.js';
import { BootClock } from './boot-clock.js';
import { WorkBudget } from './budget.js';
import { type CgroupInfo, type CgroupPaths, describeCgroups, parseCgroupFile } from './cgroup.js';
import type { OpenNamespace } from './namespaces.js';
import {
  MAX_ARGV_BYTES,
  ProcReader,
  parseStat,
  parseUid,
  type RawArguments,
  type RawText,
  type ReadPatiently,
} from './proc.js';
import {
  describeProgram,
  FRESH_MS,
  type KnownProcess,
  keyOf,
  type ProcessKey,
  ProcessTable,
  sameStart,
  summaryBytes,
} from './process-table.js';
import { type Holder, SEARCH_TIMES, type SearchTimes, type SocketOwner, SocketOwners } from './sockets.js';
import type { Attribution, EarlyOwner, ProcessInfo, SocketAddresses } from './types.js';
import { UserNames } from './users.js';

/** A connection as the packets of it know it; a `PacketRecord` is one. */
export interface FlowIdentity extends SocketAddresses {
  /** Socket cookie; 0n where the source has none: then the addresses are the identity. */
  cookie: bigint;
  /** Cgroup v2 of the socket; 0n if unknown. */
  cgroupId: bigint;
}

export interface AttributorOptions {
  /** Where the proc file system of the host is mounted. */
  procRoot?: string;
  passwdFile?: string;
  searchTimes?: SearchTimes;
  /** How network namespaces are asked for sockets; without it their tables in /proc are read. */
  openNamespace?: OpenNamespace;
  /** How arguments are read in /proc; see ProcReader. */
  readPatiently?: ReadPatiently;
  /** What the source found of a connection's process as it captured the SYN. */
  takeEarlyOwner?: (addresses: SocketAddresses) => EarlyOwner | undefined;
}

/** Bounds, for whatever local users do; bytes are those of the texts and objects remembered. */
export const LIMITS = {
  connections: { entries: 16_384, bytes: 10 * 1024 * 1024 },
  /** Processes whose description is kept for their next connection. */
  clients: { entries: 1024, bytes: 2 * 1024 * 1024 },
  cgroups: { entries: 1024, bytes: 512 * 1024 },
  /** Longest path that is taken from a record, in bytes (PATH_MAX). */
  path: 4096,
  ancestors: 8,
} as const;

/**
 * Shares of wall time for reading about processes, and for searching sockets: apart, so that who makes one necessary
 * can't make the other fail.
 */
const READ_SHARE = { share: 0.2, burstMs: 500 };
const SEARCH_SHARE = { share: 0.2, burstSearches: 3 };

/** What the kernel said of the connecting process, in a form that can be kept and compared. */
interface Client extends ProcessKey, RawArguments, CgroupPaths {
  uid: number;
  netns: number;
  executable: RawText;
}

/** A process that was found by its socket. */
interface FoundClient {
  client: Client;
  ancestors: readonly KnownProcess[];
}

interface Place {
  info: CgroupInfo;
  readonly bytes: number;
}

/** An attribution with all that it was made from, shared by the connections of one process. */
interface Described {
  attribution: Attribution;
  /** Estimate of the size in memory of all that it refers to, on the high side: relatives may share their ancestors. */
  readonly bytes: number;
  /** By how many remembered connections. */
  connections: number;
  client: Client;
  ancestors: readonly KnownProcess[];
  /** /proc had to add to what the kernel said, and this was at (ms of the monotonic clock). */
  completedAt?: number;
  /** Of a process that has connected twice: the last record, where that says all that the kernel can say. */
  who?: { bytes: Buffer; argvTruncated: boolean };
}

/**
 * Says which process is behind a connection. What the kernel recorded at connect(2) is the truth; /proc only adds what is
 * missing in it, and only where it is certain to speak of the same process. Holds no view of a record after a call
 * returns, never throws, and keeps a bounded memory.
 */
export class Attributor {
  readonly #proc: ProcReader;
  readonly #clock: BootClock;
  readonly #users: UserNames;
  readonly #reads = new WorkBudget(READ_SHARE.share, READ_SHARE.burstMs);
  readonly #searches: WorkBudget;
  readonly #processes: ProcessTable;
  readonly #sockets: SocketOwners;
  readonly #connections = new LruMap<FlowKey, Described>(
    LIMITS.connections.entries,
    LIMITS.connections.bytes,
    SHARED_BYTES,
    new FlowIndex(),
  );
  readonly #clients = new LruMap<number, Described>(LIMITS.clients.entries, LIMITS.clients.bytes, OWN_BYTES);
  readonly #cgroups = new LruMap<string, Place>(LIMITS.cgroups.entries, LIMITS.cgroups.bytes, OWN_BYTES);
  readonly #hostId: string;
  readonly #takeEarlyOwner: AttributorOptions['takeEarlyOwner'];

  constructor({
    procRoot = '/proc',
    passwdFile = '/etc/passwd',
    searchTimes = SEARCH_TIMES,
    openNamespace,
    readPatiently,
    takeEarlyOwner,
  }: AttributorOptions = {}) {
    this.#searches = new WorkBudget(SEARCH_SHARE.share, SEARCH_SHARE.burstSearches * searchTimes.wholeMs);
    this.#proc = new ProcReader(procRoot, readPatiently);
    this.#clock = new BootClock(procRoot);
    this.#users = new UserNames(passwdFile);
    this.#processes = new ProcessTable(this.#proc, this.#clock, this.#reads);
    this.#sockets = new SocketOwners(this.#proc, searchTimes, openNamespace);
    this.#takeEarlyOwner = takeEarlyOwner;
    // A boot id is random and says which host it is as well; pids and start times are anew with each boot.
    this.#hostId = this.#proc.read('sys/kernel/random/boot_id', 64)?.trim() || hostname();
  }

  /** Estimate of the bytes remembered. */
  get memoryBytes(): number {
    return this.#connections.bytes + this.#clients.bytes + this.#cgroups.bytes + this.#processes.bytes;
  }

  /** Remembers who connected. Reads what is missing from /proc at once: a short-lived process is gone a moment later. */
  onConnect(record: ConnectRecord): void {
    this.#connections.set(keyOfCookie(record.cookie), this.#describedBefore(record) ?? this.#describeConnect(record));
  }

  /** Remembers the arguments of a program that may turn out to be an ancestor. */
  onProcess(record: ProcessRecord): void {
    this.#processes.onExec(record.process, record.argv, record.argvTruncated);
  }

  /** Who is behind a connection: as recorded at its connect, else the holder of its socket now. */
  forFlow(flow: FlowIdentity): Attribution {
    const key = keyOfFlow(flow);
    const known = this.#connections.get(key);
    if (known !== undefined && !isUnfinished(known)) return known.attribution;
    const early = flow.cookie === 0n ? this.#takeEarlyOwner?.(flow) : undefined;
    const described =
      (early && this.#describeEarly(flow, early)) ?? this.#searches.run(() => this.#describeOwner(flow));
    // What was not found for want of time is looked for again, when there is time; until then what was found stands.
    if (described === undefined || (described.attribution.how === 'none' && known !== undefined)) {
      return known?.attribution ?? NO_TIME;
    }
    if (described.attribution.how !== 'none' || described.attribution.detail !== 'lookup_limit') {
      this.#connections.set(key, described);
    }
    return described.attribution;
  }

  /** The connection is over; its addresses may be another's next. */
  forget(flow: Pick<FlowIdentity, 'cookie'> & SocketAddresses): void {
    this.#connections.delete(keyOfFlow(flow));
  }

  /** Lets go of what is held open. */
  close(): void {
    this.#sockets.close();
  }

  /** The description of a record that says the same of its process as the last one: nearly every one does. */
  #describedBefore({ process, who, argvTruncated }: ConnectRecord): Described | undefined {
    const before = this.#clients.get(process.pid);
    if (who === undefined || before?.who === undefined || !isFresh(before)) return undefined;
    if (argvTruncated !== before.who.argvTruncated || !who.equals(before.who.bytes)) return undefined;
    return before.ancestors.every((ancestor) => this.#processes.isStill(ancestor)) ? before : undefined;
  }

  #describeConnect(record: ConnectRecord): Described {
    const started = this.#startOf(record);
    const client: Client = {
      pid: record.process.pid,
      comm: record.process.comm.toString('latin1'),
      startTicks: started.startTicks,
      uid: record.uid,
      netns: record.netns,
      argv: record.argv.toString('latin1', 0, MAX_ARGV_BYTES),
      truncated: record.argvTruncated || record.argv.length > MAX_ARGV_BYTES,
      executable: record.executable.toString('latin1', 0, LIMITS.path),
      v2: record.cgroupPath.toString('latin1', 0, LIMITS.path),
      v1: record.cgroupV1Path.toString('latin1', 0, LIMITS.path),
    };
    const ancestors: KnownProcess[] = [];
    for (const ancestor of record.ancestors) {
      // Above init there is the idle task, pid 0.
      if (ancestor.pid <= 0 || ancestors.length === LIMITS.ancestors) break;
      ancestors.push(this.#processes.ancestor(keyOf(ancestor)));
    }
    if (record.process.startBootNs === 0n && started.parentPid > 0) {
      ancestors.push(...this.#processes.ancestorsFromProc(started.parentPid, client.startTicks, LIMITS.ancestors));
    }
    const before = this.#clients.get(client.pid);
    if (before !== undefined && isSame(before, client, ancestors)) {
      if (record.process.startBootNs !== 0n) keepWho(before, record);
      return before;
    }

    const complete =
      client.argv !== '' && !client.truncated && client.executable !== '' && `${client.v2}${client.v1}` !== '';
    const completed = complete ? client : this.#reads.run(() => this.#complete(client, record));
    const full = completed ?? client;
    let detail: string | undefined;
    if (full.truncated) detail = 'arguments_truncated';
    else if (full.argv === '' && full.executable === '') detail = completed === undefined ? 'lookup_limit' : 'exited';
    const described = this.#describe({ how: 'connect', detail }, full, client, ancestors);
    if (!complete) described.completedAt = performance.now();
    this.#clients.set(client.pid, described);
    return described;
  }

  /**
   * Start time and parent of the connecting process. Where the kernel could not tell (no BTF), /proc does, unless
   * its process is younger than the connect: then the pid is another's already. -1 is unknown.
   */
  #startOf(record: ConnectRecord): { startTicks: number; parentPid: number } {
    const { pid, startBootNs } = record.process;
    if (startBootNs !== 0n) return { startTicks: keyOf(record.process).startTicks, parentPid: 0 };
    const stat = this.#reads.run(() => this.#proc.stat(pid));
    const known = stat !== undefined && this.#clock.epochMs(stat.startTicks) <= record.time + START_TOLERANCE_MS;
    return known ? stat : UNKNOWN_START;
  }

  /** Adds what /proc knows and the kernel didn't say, if it is the same process that runs the same program. */
  #complete(client: Client, record: ConnectRecord): Client {
    if (client.startTicks < 0) return client;
    const cgroups = parseCgroupFile(this.#proc.cgroupFile(client.pid) ?? '');
    const netns = client.netns || (this.#proc.netns(client.pid) ?? 0);
    const read = this.#proc.snapshot(client.pid);
    if (read === undefined || !sameStart(read.stat.startTicks, client.startTicks)) return client;
    const placed = `${client.v2}${client.v1}` === '' ? { ...client, ...cgroups, netns } : { ...client, netns };
    // Another name means another program since the connect. Without BTF the name is a thread's own, and says nothing.
    if (record.process.startBootNs !== 0n && read.stat.comm !== client.comm) return placed;
    const executable = client.executable || read.executable;
    const longer = client.argv === '' || (client.truncated && read.argv.startsWith(client.argv));
    return longer ? { ...placed, executable, argv: read.argv, truncated: read.truncated } : { ...placed, executable };
  }

  #describeOwner(flow: FlowIdentity): Described {
    const clients = new Map<number, FoundClient | undefined>();
    const owner: SocketOwner = this.#sockets.find(flow, flow.cgroupId, flow.cookie, (holder) =>
      clients.set(holder.pid, this.#readClient(holder)),
    );
    return this.#describeHolder(owner, (holder) =>
      clients.has(holder.pid) ? clients.get(holder.pid) : this.#readClient(holder),
    );
  }

  /** Undefined where what was found makes no sense. */
  #describeEarly(flow: FlowIdentity, early: EarlyOwner): Described | undefined {
    const stat = parseStat(early.stat);
    const uid = parseUid(early.status);
    if (stat === undefined || uid === undefined) return undefined;
    const { pid, netns, executable } = early;
    const { startTicks, comm, parentPid } = stat;
    const argv = early.argv.slice(0, MAX_ARGV_BYTES);
    const truncated = early.argv.length > MAX_ARGV_BYTES;
    const places = parseCgroupFile(early.cgroup);
    const client: Client = { pid, startTicks, comm, uid, netns, argv, truncated, executable, ...places };
    // The parents first: they may be gone a moment later, too.
    const ancestors = this.#processes.ancestorsFromProc(parentPid, startTicks, LIMITS.ancestors);
    const holder: Holder = { pid, startTicks };
    const owner = this.#searches.run(() => this.#sockets.confirm(flow, holder, early));
    return this.#describeHolder(owner ?? { holder, limits: 'lookup_limit' }, (eldest) =>
      eldest.pid === pid ? { client, ancestors } : this.#readClient(eldest),
    );
  }

  #describeHolder(owner: SocketOwner, clientOf: (holder: Holder) => FoundClient | undefined): Described {
    if (owner.holder === undefined) return this.#describeNone(owner.reason);
    const { holder, limits } = owner;
    const found = clientOf(holder);
    if (found === undefined) return this.#describeNone('exited');
    const { client, ancestors } = found;
    const detail = limits ?? (client.truncated ? 'arguments_truncated' : undefined);
    return this.#describe({ how: 'procfs', detail }, client, client, ancestors);
  }

  /** All of a process, as /proc has it now; undefined when it is gone. */
  #readClient({ pid, startTicks }: Holder): FoundClient | undefined {
    const proc = this.#proc;
    const cgroups = parseCgroupFile(proc.cgroupFile(pid) ?? '');
    const uid = proc.uid(pid);
    const netns = proc.netns(pid) ?? 0;
    const read = proc.snapshot(pid);
    // Without a uid it is gone as well: /proc/PID/status is for everyone.
    if (read === undefined || uid === undefined || !sameStart(read.stat.startTicks, startTicks)) return undefined;
    const { argv, truncated, executable, stat } = read;
    const client: Client = { pid, startTicks, comm: stat.comm, uid, netns, argv, truncated, executable, ...cgroups };
    const ancestors = this.#processes.ancestorsFromProc(stat.parentPid, startTicks, LIMITS.ancestors);
    return { client, ancestors };
  }

  #describeNone(detail: string): Described {
    return { attribution: { how: 'none', detail }, client: NOBODY, ancestors: [], bytes: 300, connections: 0 };
  }

  #describe(
    { how, detail }: { how: 'connect' | 'procfs'; detail: string | undefined },
    full: Client,
    client: Client,
    ancestors: readonly KnownProcess[],
  ): Described {
    const { pid, startTicks, comm, uid, netns } = full;
    const name = this.#users.nameOf(uid);
    const process: ProcessInfo = {
      pid,
      name: decodeLatin1(comm),
      entityId: this.#entityId(pid, startTicks),
      user: name === undefined ? { id: uid } : { id: uid, name },
      ancestors: ancestors.map((ancestor) => ancestor.summary),
      ...this.#cgroupInfo(full),
    };
    if (startTicks >= 0) process.startTime = this.#clock.epochMs(startTicks);
    if (netns !== 0) process.netns = netns;
    describeProgram(process, full, full.executable);
    const paths = client.executable.length + client.v2.length + client.v1.length;
    const attribution = detail === undefined ? { how, process } : { how, detail, process };
    // Client's texts twice: as they are compared, and as they were in the record.
    const own = 1300 + 2 * client.argv.length + 4 * paths + summaryBytes(process);
    const bytes = ancestors.reduce((sum, ancestor) => sum + ancestor.bytes, own);
    return { attribution, client, ancestors, bytes, connections: 0 };
  }

  /** The same for a process whichever way and by whichever run of the tracer it was found. */
  #entityId(pid: number, startTicks: number): string {
    return hash('sha256', `${this.#hostId} ${pid} ${startTicks}`, 'hex').slice(0, 32);
  }

  #cgroupInfo(paths: CgroupPaths): CgroupInfo {
    const key = `${paths.v2}\0${paths.v1}`;
    const known = this.#cgroups.get(key);
    if (known !== undefined) return known.info;
    const { unit, container, podUid } = describeCgroups(paths);
    const info: CgroupInfo = {};
    if (unit !== undefined) info.unit = decodeLatin1(unit);
    if (container !== undefined) info.container = { ...container, id: decodeLatin1(container.id) };
    if (podUid !== undefined) info.podUid = podUid;
    this.#cgroups.set(key, { info, bytes: 400 + 4 * key.length });
    return info;
  }
}

/** However many connections a process has, its description is there once. */
const SHARED_BYTES: Weight<Described> = {
  take: (described) => (described.connections++ === 0 ? described.bytes : 0),
  giveBack: (described) => (--described.connections === 0 ? described.bytes : 0),
};

/** The holder of the socket was found, and there was no time to see who else holds it. */
const isUnfinished = ({ attribution: { how, detail } }: Described): boolean =>
  how === 'procfs' && detail === 'lookup_limit';

const NO_TIME: Attribution = { how: 'none', detail: 'lookup_limit' };
const UNKNOWN_START = { startTicks: -1, parentPid: 0 };
/** The wall clock of a start is known to a clock tick (10 ms) on either side. */
const START_TOLERANCE_MS = 20;

const NOBODY: Client = {
  pid: 0,
  startTicks: -1,
  comm: '',
  uid: 0,
  netns: 0,
  argv: '',
  truncated: false,
  executable: '',
  v2: '',
  v1: '',
};

const CLIENT_FIELDS = Object.keys(NOBODY) as (keyof Client)[];

const keyOfFlow = (flow: Pick<FlowIdentity, 'cookie'> & SocketAddresses): FlowKey =>
  flow.cookie !== 0n
    ? keyOfCookie(flow.cookie)
    : `${flow.localAddress} ${flow.localPort} ${flow.remoteAddress} ${flow.remotePort}`;

/** Cookies are counted from 1, so that nearly all are exact as a number. */
const keyOfCookie = (cookie: bigint): FlowKey => (cookie <= MAX_EXACT ? Number(cookie) : cookie);
const MAX_EXACT = BigInt(Number.MAX_SAFE_INTEGER);

/** Only of a process that connects again: most do once. */
function keepWho(described: Described, { who, argvTruncated }: ConnectRecord): void {
  if (who === undefined) return;
  // Not a piece of Node's pool: that would stay as a whole.
  const bytes = Buffer.allocUnsafeSlow(who.length);
  who.copy(bytes);
  described.who = { bytes, argvTruncated };
}

/** What /proc added, if anything, was added just now. */
const isFresh = ({ completedAt }: Described): boolean =>
  completedAt === undefined || performance.now() - completedAt < FRESH_MS;

/** Whether a description still holds: the kernel says the same, and what /proc added was added just now. */
function isSame(before: Described, client: Client, ancestors: readonly KnownProcess[]): boolean {
  if (!isFresh(before)) return false;
  if (before.ancestors.length !== ancestors.length) return false;
  return (
    ancestors.every((ancestor, i) => ancestor === before.ancestors[i]) &&
    CLIENT_FIELDS.every((field) => client[field] === before.client[field])
  );
}
