import type { NamespaceSockets, SocketAddresses, SocketAnswer } from '../process/types.js';
import { parseAddress } from './addresses.js';
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

  find(
    { localAddress, localPort, remoteAddress, remotePort }: SocketAddresses,
    cookie: bigint,
  ): SocketAnswer | undefined {
    const { socketQuery: at, socket } = Layout;
    const local = parseAddress(withoutZone(localAddress));
    const remote = parseAddress(withoutZone(remoteAddress));
    if (local === undefined || remote === undefined || !isPort(localPort) || !isPort(remotePort)) return ELSEWHERE;
    this.#query.set(local, at.localAddress);
    this.#query.set(remote, at.remoteAddress);
    this.#query.writeUInt16LE(localPort, at.localPort);
    this.#query.writeUInt16LE(remotePort, at.remotePort);
    this.#query.writeBigUInt64LE(cookie, at.cookie);
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

const withoutZone = (address: string): string => address.split('%', 1)[0]!;

const isPort = (port: number): boolean => Number.isInteger(port) && port >= 0 && port <= 0xffff;
