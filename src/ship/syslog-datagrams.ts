import { createSocket, type Socket } from 'node:dgram';
import { isIPv6 } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { type IsTraced, lookupUntraced } from './connect.js';
import type { Sender } from './sender.js';
import type { SyslogTarget } from './target.js';

/** After each batch: so fast that no receiver's buffer overflows by us alone, and time for "port unreachable" to come back. */
const PAUSE_MS = 5;

/**
 * Syslog over UDP (RFC 5426): one message a datagram. Nobody says whether one arrived; only that nobody listens does a
 * host say sometimes, and what was sent since the last that was well is sent again then.
 */
export async function openSyslogDatagrams({ host, port }: SyslogTarget, isTraced: IsTraced): Promise<Sender> {
  const address = await new Promise<string>((resolve, reject) => {
    lookupUntraced(port, isTraced)(host, {}, (error, found) => (error ? reject(error) : resolve(found as string)));
  });
  const socket = createSocket(isIPv6(address) ? 'udp6' : 'udp4');
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject);
      // Only a connected socket hears of "port unreachable" (udp(7)).
      socket.connect(port, address, resolve);
    });
    return new SyslogDatagrams(socket);
  } catch (error) {
    socket.close();
    throw error;
  }
}

class SyslogDatagrams implements Sender {
  readonly holdMs = 0;
  readonly maxRecords = 64;
  readonly maxBytes = 64 * 1024;
  broken: Error | undefined;
  onBroken: () => void = () => undefined;

  constructor(private readonly socket: Socket) {
    socket.removeAllListeners('error');
    socket.on('error', (error) => this.#break(error));
  }

  async send(records: readonly Buffer[]): Promise<number> {
    for (const record of records) {
      if (this.broken !== undefined) throw this.broken;
      await new Promise<void>((resolve, reject) => {
        this.socket.send(record, (error) => (error === null ? resolve() : reject(error)));
      });
    }
    await sleep(PAUSE_MS);
    if (this.broken !== undefined) throw this.broken;
    return 0;
  }

  async finish(): Promise<boolean> {
    return this.broken === undefined;
  }

  destroy(): void {
    this.broken ??= new Error('closed');
    try {
      this.socket.close();
    } catch {
      // It is closed already.
    }
  }

  #break(error: Error): void {
    if (this.broken !== undefined) return;
    this.broken = error;
    this.onBroken();
  }
}
