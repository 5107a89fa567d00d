/**
 * What a capture source delivers, whatever the source: plain objects decoded from the records of native/record.h.
 *
 * Times are epoch milliseconds with a fraction (a double keeps better than a microsecond until the year 2200).
 * Byte fields are views into the batch buffer: valid only until the call that received them returns. Copy what you keep.
 */
export type CaptureRecord =
  | ConnectRecord
  | PacketRecord
  | ProcessRecord
  // Of packet files:
  | HeadRecord
  | ExchangeRecord
  | PassedRecord
  | TimeRecord;

/** A process as the kernel knew it, by identity: a pid alone is reused, a pid with its start time is not. */
export interface KernelProcess {
  /** Thread group id in the initial pid namespace. */
  pid: number;
  /** Start time in nanoseconds since boot (`task_struct.start_boottime`); 0n where the kernel could not tell (no BTF). */
  startBootNs: bigint;
  /** Task name of the thread group leader, at most 15 bytes. */
  comm: Buffer;
}

/** A process called connect(2) towards an endpoint; always comes before the connection's packets. */
export interface ConnectRecord {
  type: 'connect';
  time: number;
  cookie: bigint;
  family: 4 | 6;
  /** As connect(2) was asked: for an IPv4-mapped address the IPv4 address with family 6. Textual, canonical. */
  remoteAddress: string;
  remotePort: number;
  process: KernelProcess;
  uid: number;
  gid: number;
  cgroupId: bigint;
  /** Inode number of the network namespace; 0 if unknown. */
  netns: number;
  /** NUL-separated arguments as /proc/PID/cmdline has them; empty if not read. */
  argv: Buffer;
  argvTruncated: boolean;
  /** Path of the executable as /proc/PID/exe shows it (" (deleted)" included); empty if not read. */
  executable: Buffer;
  /** Path of the process's cgroup v2 (e.g. `/system.slice/ssh.service`); empty if not read. */
  cgroupPath: Buffer;
  /** Path in a cgroup v1 hierarchy (pids or memory) where one is mounted; empty if none. */
  cgroupV1Path: Buffer;
  /** Parent first, at most 8. */
  ancestors: KernelProcess[];
  /**
   * The bytes of all that is said here of the process: where another record has the same, it has the same `process`, `uid`, `netns`,
   * `argv`, `executable`, paths and `ancestors`.
   */
  readonly who?: Buffer;
}

/** Arguments of a process that is an ancestor of a connecting one, remembered by the kernel since its exec; sent once. */
export interface ProcessRecord {
  type: 'process';
  time: number;
  process: KernelProcess;
  argv: Buffer;
  argvTruncated: boolean;
}

/** One packet (IP header onwards) of a connection with an endpoint. */
export interface PacketRecord {
  type: 'packet';
  time: number;
  /** `egress`: from the client to the service. `ingress`: from the service. */
  direction: 'egress' | 'ingress';
  /** Socket cookie: with direction the identity of a flow; 0n where the source has none (libpcap), then the addresses are. */
  cookie: bigint;
  cgroupId: bigint;
  /** The socket's addresses where the source knows them (they survive DNAT), else the packet's. Canonical text. */
  localAddress: string;
  localPort: number;
  remoteAddress: string;
  remotePort: number;
  /** The IP packet as captured. */
  readonly data: Buffer;
  /** Where that lies, for those who can do without a view of it: `batch[start..end)`. */
  readonly batch: Buffer;
  readonly start: number;
  readonly end: number;
  /** Length of the IP packet on the wire, in bytes; more than `data.length` when it was cut. */
  wireLength: number;
  /** What the cookie, or without one the addresses and ports, come to: the same for all packets of a connection, and no other's. */
  flowKey: string | number | bigint;
}

/** A request but for its query, which exchanges have in common that come behind it. */
export interface HeadRecord {
  type: 'head';
  /** Of the first exchange with it. */
  time: number;
  /** Replaces the head that had this number before. */
  number: number;
  data: Buffer;
}

/**
 * A whole connection of which each packet is as expected: SYN, SYN and ACK, a segment that is a request without a body, one
 * that is the whole response, ends. In the place of the response. native/plain_exchange.h says what that takes.
 * One object for all: valid only until the call that received it returns.
 */
export interface ExchangeRecord
  extends Readonly<
    Pick<PacketRecord, 'time' | 'cookie' | 'cgroupId' | 'localAddress' | 'localPort' | 'remoteAddress' | 'remotePort'>
  > {
  type: 'exchange';
  readonly flowKey: PacketRecord['flowKey'];
  readonly family: 4 | 6;
  readonly requestTime: number;
  /** Number of its head record. */
  readonly head: number;
  readonly batch: Buffer;
  /** The query, question mark included: `batch[queryStart..bodyStart)`; empty if there is none. */
  readonly queryStart: number;
  /** The first bytes of the response's body: `batch[bodyStart..bodyEnd)`; empty where they hold nothing of interest. */
  readonly bodyStart: number;
  readonly bodyEnd: number;
  /** Of the response. */
  readonly status: number;
  readonly version: '1.0' | '1.1';
}

/** What is left to know of a connection that was an exchange, before a packet that may be a late one of it. */
export interface PassedRecord {
  type: 'passed';
  /** Of that packet. */
  time: number;
  flowKey: PacketRecord['flowKey'];
  /** When the flow table would last have noted that it was used. */
  lastUse: number;
  /** Sequence numbers of its first bytes and behind its last, signed. */
  clientFirst: number;
  clientNext: number;
  serviceFirst: number;
  serviceNext: number;
}

/** A packet of an exchange came until here: nothing of it but its time matters by now. */
export interface TimeRecord {
  type: 'time';
  time: number;
}

/** Counters of a source since it was attached, the self-test not included. */
export interface CaptureStats {
  /** Packets of connections with an endpoint that the hooks saw. */
  packetsSeen: number;
  /** Packets handed over as records. */
  packetsCaptured: number;
  /** Packets lost because the ring (or the kernel's capture buffer) was full. */
  ringDropped: number;
  /** Packets without payload, SYN, FIN or RST, passed over by design. */
  packetsPassedOver: number;
  /** Packets handed over with fewer bytes than they had. */
  truncated: number;
  /** connect(2) calls seen and those whose record was lost because the ring was full. */
  connectsSeen: number;
  connectsDropped: number;
}

/** A source of records. */
export interface CaptureSource {
  readonly kind: 'ebpf' | 'pcap' | 'file';
  /** One line for people: which source, how attached. */
  readonly description: string;
  /**
   * Waits at most `timeoutMs` for records, off the event loop, and calls `onRecord` for each, in order, until `enough` says
   * after one that no more is wanted for now: the next call begins with what is left. Resolves to how many there were; to -1
   * at the end of a file, or when all is read since `stop`. The views in a record die when `onRecord` returns.
   */
  next(timeoutMs: number, onRecord: (record: CaptureRecord) => void, enough?: () => boolean): Promise<number>;
  /** Stops capturing: `next` has what was captured until then, and the counters stand. */
  stop(): void;
  /** Ends a pending `next` early. */
  wake(): void;
  stats(): CaptureStats;
  /**
   * Watches these from now on, in place of those before; of an endpoint that is in both nothing is missed. Of a live source.
   * Throws a TracerError, with all as before.
   */
  setEndpoints?(endpoints: readonly EndpointAddress[]): void;
  /** Why a live source captures nothing at present; undefined if all is well. */
  problem?(): string | undefined;
  close(): void;
}

/** An address whose connections are captured. */
export interface EndpointAddress {
  /** Canonical IPv4 or IPv6 text. */
  address: string;
  port: number;
}
