import { parseAddress } from '../addresses.js';
import type { EarlyOwner, NamespaceSockets, SocketAddresses, SocketAnswer } from '../process/types.js';
import { Constants, Layout } from './layout.js';
import { type NativeModule, nativeModule } from './native.js';

const GONE: SocketAnswer = { state: 'gone' };
const ELSEWHERE: SocketAnswer = { state: 'elsewhere' };
const CLOSED: SocketAnswer = { state: 'closed' };

/**
 * Opens the network namespace at `path` (/proc/PID/ns/net) for questions about its sockets, which the kernel answers in
 * microseconds (sock_diag(7)); undefined where that is refused or there is none.
 */
export function openNamespaceSockets(path: string): NamespaceSockets | undefined {
  const native = nativeModule();
  const netns = Buffer.alloc(Layout.netns.size);
  return native.netnsOpen(path, netns) === 0 ? new SocketDiag(native, netns) : undefined;
}

class SocketDiag implements NamespaceSockets {
  readonly inode: number;
  readonly #query = Buffer.alloc(Layout.socketQuery.size);
  readonly #socket = Buffer.alloc(Layout.socket.size);

  constructor(
    private readonly native: NativeModule,
    private readonly netns: Buffer,
  ) {
    this.inode = netns.readUInt32LE(Layout.netns.inode);
  }

  find(addresses: SocketAddresses, cookie: bigint): SocketAnswer | undefined {
    const { socket } = Layout;
    if (!encodeQuery(this.#query, addresses, cookie)) return ELSEWHERE;
    switch (this.native.netnsFindSocket(this.netns, this.#query, this.#socket)) {
      case Constants.socketNone:
        return ELSEWHERE;
      case Constants.socketGone:
        return GONE;
      case Constants.socketFound: {
        const inode = this.#socket.readUInt32LE(socket.inode);
        return inode === 0 ? CLOSED : { state: 'open', inode, cookie: this.#socket.readBigUInt64LE(socket.cookie) };
      }
      default:
        return undefined;
    }
  }

  close(): void {
    this.native.netnsClose(this.netns);
  }
}

const ownerQuery = Buffer.alloc(Layout.socketQuery.size);
const ownerBytes = Buffer.alloc(Layout.owner.size);

/** What the libpcap source found of a connection when it captured its SYN; a second time it is gone. */
export function takeEarlyOwner(addresses: SocketAddresses): EarlyOwner | undefined {
  const at = Layout.owner;
  if (!encodeQuery(ownerQuery, addresses, 0n) || nativeModule().ownerTake(ownerQuery, ownerBytes) === 0)
    return undefined;
  const text = (from: number, length: number): string =>
    ownerBytes.toString('latin1', from, from + ownerBytes.readInt32LE(length));
  return {
    pid: ownerBytes.readUInt32LE(at.pid),
    netns: ownerBytes.readUInt32LE(at.netns),
    inode: ownerBytes.readUInt32LE(at.inode),
    stat: text(at.stat, at.statLength),
    status: text(at.status, at.statusLength),
    cgroup: text(at.cgroup, at.cgroupLength),
    argv: text(at.argv, at.argvLength),
    executable: text(at.executable, at.executableLength),
  };
}

/** Fills in a struct imds_socket_query; false for what is no TCP connection. */
function encodeQuery(
  query: Buffer,
  { localAddress, localPort, remoteAddress, remotePort }: SocketAddresses,
  cookie: bigint,
): boolean {
  const at = Layout.socketQuery;
  const local = parseAddress(withoutZone(localAddress));
  const remote = parseAddress(withoutZone(remoteAddress));
  if (local === undefined || remote === undefined || !isPort(localPort) || !isPort(remotePort)) return false;
  query.set(local, at.localAddress);
  query.set(remote, at.remoteAddress);
  query.writeUInt16LE(localPort, at.localPort);
  query.writeUInt16LE(remotePort, at.remotePort);
  query.writeBigUInt64LE(cookie, at.cookie);
  return true;
}

const withoutZone = (address: string): string => address.split('%', 1)[0]!;

const isPort = (port: number): boolean => Number.isInteger(port) && port >= 0 && port <= 0xffff;
