/** A process for people and SIEMs. Text is decoded by text.ts `decodeBytes`: may hold control characters, never lone bytes. */
export interface ProcessSummary {
  pid: number;
  /** Task name (comm). */
  name: string;
  /** Epoch milliseconds. */
  startTime?: number;
  args?: readonly string[];
  /** The arguments were longer than what was kept. */
  argsTruncated?: boolean;
  executable?: string;
}

export interface ProcessInfo extends ProcessSummary {
  /** Stable across restarts of the tracer: of host, pid and start time. */
  entityId: string;
  user?: { id: number; name?: string };
  /** Parent first, at most 8. */
  ancestors: readonly ProcessSummary[];
  /** systemd unit: service, scope, or the user slice where there is no closer one. */
  unit?: string;
  container?: { id: string; runtime: string };
  podUid?: string;
  netns?: number;
}

/** How the process behind a connection is known. */
export interface Attribution {
  how: 'connect' | 'procfs' | 'none';
  /** Why not, or with what limits: `exited`, `other_host`, `forwarded`, `ambiguous`, `arguments_truncated`, … */
  detail?: string;
  process?: ProcessInfo;
}

/** The two ends of a connection as its socket has them, in canonical text. */
export interface SocketAddresses {
  localAddress: string;
  localPort: number;
  remoteAddress: string;
  remotePort: number;
}

/** What a network namespace says of a connection. */
export type SocketAnswer =
  /** A process holds its socket. `cookie` is 0n where it is not told. */
  | { state: 'open'; inode: number; cookie: bigint }
  /** Its process has closed it; TCP still knows it. */
  | { state: 'closed' }
  /** The namespace has the local address, not the socket. */
  | { state: 'gone' }
  /** It has neither. */
  | { state: 'elsewhere' };

/** A process that held a connection's socket when its SYN was captured: files of /proc as they were then, as latin1 strings. */
export interface EarlyOwner {
  pid: number;
  /** Of the socket. */
  netns: number;
  inode: number;
  stat: string;
  status: string;
  cgroup: string;
  /** NUL-separated arguments, at most 8,200 bytes. */
  argv: string;
  executable: string;
}

/** A network namespace that is open for questions; it lives on until `close`. */
export interface NamespaceSockets {
  readonly inode: number;
  /** `cookie`: of the socket, 0n for whichever has the addresses. Undefined where the kernel gives no answer. */
  find(addresses: SocketAddresses, cookie: bigint): SocketAnswer | undefined;
  close(): void;
}
