import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { Shipper } from '../../src/ship/shipper.js';
import { parseShipUrl } from '../../src/ship/url.js';
import { context, numberOf, sender } from './events.js';
import { freePort, makeCertificates, RECEIVERS, Receiver } from './receivers.js';
import { until } from './support.js';

const directory = mkdtempSync(join(tmpdir(), 'imds-syslog-'));
const certificates = makeCertificates(directory);
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i);

function shipTo(url: string, name: string): { shipper: Shipper; said: string[] } {
  const said: string[] = [];
  const shipper = new Shipper({
    targets: [parseShipUrl(url)],
    spoolDir: join(directory, name),
    spoolBytes: 16 * 1024 * 1024,
    context,
    endpoint: [],
    say: (message) => said.push(message),
  });
  return { shipper, said };
}

describe.concurrent.each(Object.entries(RECEIVERS))('%s', (name, kind) => {
  const tls = `&ca=${certificates.ca}&cert=${certificates.cert}&key=${certificates.key}`;
  const missing = kind.program === undefined;
  const run = missing ? it.skip : it.concurrent;

  run.each([
    ['tcp', 'SIGKILL', '?format=text'],
    ['tcp', 'SIGTERM', '?format=ecs'],
    ['tls', 'SIGKILL', `?format=ecs${tls}`],
    ['tls', 'SIGTERM', `?format=cef${tls}`],
  ] as const)(
    `over %s gets every event, though it is ended by %s in the middle${missing ? ` (needs ${kind.missing})` : ''}`,
    async (transport, signal, query) => {
      const port = await freePort();
      const receiver = new Receiver(kind, { transport, port, certificates });
      const id = `${name}-${transport}-${signal}`;
      const { shipper, said } = shipTo(`syslog+${transport}://127.0.0.1:${port}${query}`, id);
      try {
        await receiver.start();
        const send = sender(shipper);
        const arrived = () => new Set(receiver.received().flatMap(([, message]) => numberOf(message) ?? []));
        for (const i of range(0, 400)) send(i);
        await until(() => arrived().size > 100);
        for (const i of range(400, 800)) send(i);
        await receiver.stop(signal);
        for (const i of range(800, 1200)) send(i);
        await until(() => said.some((message) => message.includes('wait in the spool')));
        await receiver.start();
        await until(() => arrived().size === 1200, 'everything has arrived');
        expect([...arrived()].sort((a, b) => a - b)).toEqual(range(0, 1200));
        expect(new Set(receiver.received().map(([kind]) => kind))).toEqual(new Set(['imds-request']));
        expect(shipper.undelivered).toBe(0);
        await until(() => said.at(-1)?.includes('arrive again') === true);
        // The last ones, which a stop alone brings: nothing waits for a connection to have lived on.
        send(1200);
        await shipper.close();
        expect(said.at(-1)).toContain('arrive again');
        await until(() => arrived().has(1200), 'the last has arrived');
      } finally {
        await shipper.close();
        await receiver.remove();
      }
    },
    90_000,
  );

  run(
    `over UDP gets an event a datagram, and what was sent while nobody listened${missing ? ` (needs ${kind.missing})` : ''}`,
    async () => {
      const port = await freePort();
      const receiver = new Receiver(kind, { transport: 'udp', port, certificates });
      const { shipper, said } = shipTo(`syslog+udp://127.0.0.1:${port}`, `${name}-udp`);
      try {
        const send = sender(shipper);
        for (const i of range(0, 100)) send(i);
        await until(() => said.length > 0);
        expect(said[0]).toMatch(/ECONNREFUSED.*wait in the spool/);
        await receiver.start();
        const arrived = () => new Set(receiver.received().flatMap(([, message]) => numberOf(message) ?? []));
        await until(() => arrived().size === 100, 'everything has arrived');
        expect([...arrived()].sort((a, b) => a - b)).toEqual(range(0, 100));
      } finally {
        await shipper.close();
        await receiver.remove();
      }
    },
    90_000,
  );
});
