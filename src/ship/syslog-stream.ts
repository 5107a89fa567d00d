import { connect as connectTcp, type Socket } from 'node:net';
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect as connectTls } from 'node:tls';
import { type IsTraced, lookupUntraced, secureOptions } from './connect.js';
import type { Sender } from './sender.js';
import { unacknowledgedBytes } from './socket-queue.js';
import type { SyslogTarget } from './target.js';

const CONNECT_MS = 10_000;
/** So long the receiver's TCP may acknowledge nothing before the connection counts as dead. The kernel's own limit is minutes. */
const STALLED_MS = 60_000;
/** Between looks at what is not acknowledged: at first, and at most. */
const FIRST_LOOK_MS = 1;
const LONGEST_LOOK_MS = 20;
const KEEP_ALIVE_MS = 30_000;

/**
 * Syslog over TCP (RFC 6587, octet counting) or TLS (RFC 5425, the same framing).
 *
 * The protocol has no answers. What the receiver's TCP has acknowledged may still wait there to be read, and is lost when
 * the receiver dies: so it counts as arrived only when the connection lives on for a while, or when the receiver, told
 * that no more comes, has closed its side too.
 */
export async function openSyslogStream(target: SyslogTarget, isTraced: IsTraced): Promise<Sender> {
  const socket = open(target, isTraced);
  // Whatever a receiver says, nobody listens; but without reading, its end would not be seen.
  socket.resume();
  socket.setKeepAlive(true, KEEP_ALIVE_MS);
  socket.setNoDelay(true);
  const sender = new SyslogStream(socket);
  const timer = setTimeout(() => socket.destroy(new Error('no connection within 10 s')), CONNECT_MS);
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once(target.transport === 'tls' ? 'secureConnect' : 'connect', resolve);
      socket.once('error', reject);
      socket.once('close', () => reject(new Error('the receiver closed the connection')));
    });
  } catch (error) {
    socket.destroy();
    throw error;
  } finally {
    clearTimeout(timer);
  }
  return sender;
}

function open({ host, port, tls }: SyslogTarget, isTraced: IsTraced): Socket {
  const address = { host, port, lookup: lookupUntraced(port, isTraced) };
  return tls === undefined ? connectTcp(address) : connectTls({ ...address, ...secureOptions({ host }, tls) });
}

class SyslogStream implements Sender {
  readonly holdMs = 2_000;
  readonly maxRecords = 1_000;
  readonly maxBytes = 256 * 1024;
  broken: Error | undefined;
  onBroken: () => void = () => undefined;
  #finishing = false;

  constructor(private readonly socket: Socket) {
    socket.on('error', (error) => this.#break(error));
    socket.on('end', () => this.#break(new Error('the receiver closed the connection')));
    socket.on('close', () => this.#break(new Error('the connection is closed')));
  }

  async send(records: readonly Buffer[]): Promise<number> {
    if (this.broken !== undefined) throw this.broken;
    const pieces = records.flatMap((record) => [Buffer.from(`${record.length} `), record]);
    let written = false;
    this.socket.write(Buffer.concat(pieces), (error) => {
      written = error === undefined || error === null;
    });
    let left = Number.POSITIVE_INFINITY;
    let since = performance.now();
    for (let wait = 0; ; wait = Math.min(Math.max(FIRST_LOOK_MS, wait * 2), LONGEST_LOOK_MS)) {
      await (wait === 0 ? new Promise(setImmediate) : sleep(wait));
      if (this.broken !== undefined) throw this.broken;
      // What Node itself still holds, and what the kernel does.
      const now = this.socket.writableLength + (unacknowledgedBytes(this.socket) ?? 0);
      if (written && now === 0) return 0;
      if (now !== left) [left, since] = [now, performance.now()];
      else if (performance.now() - since > STALLED_MS) {
        this.socket.destroy();
        throw new Error('the receiver takes nothing any more');
      }
    }
  }

  async finish(): Promise<boolean> {
    if (this.broken !== undefined) return false;
    this.#finishing = true;
    return new Promise((resolve) => {
      // Only who has read all closes like this: with something unread, its kernel would break the connection.
      let closedByPeer = false;
      this.socket.once('end', () => {
        closedByPeer = true;
      });
      this.socket.once('close', (hadError) => resolve(closedByPeer && !hadError));
      this.socket.end();
    });
  }

  destroy(): void {
    this.socket.destroy();
  }

  #break(error: Error): void {
    if (this.#finishing || this.broken !== undefined) return;
    this.broken = error;
    this.socket.destroy();
    this.onBroken();
  }
}
