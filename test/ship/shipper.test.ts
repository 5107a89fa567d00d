import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Shipper } from '../../src/ship/shipper.js';
import { parseShipUrl } from '../../src/ship/url.js';
import { context, numberOf, sender } from './events.js';
import { freePort } from './receivers.js';
import { until } from './support.js';

let directory = '';
const cleanUp: (() => unknown)[] = [];
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'imds-shipper-'));
});
afterEach(async () => {
  for (const step of cleanUp.splice(0).reverse()) await step();
  rmSync(directory, { recursive: true, force: true });
});

const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i);

/** A receiver of octet-counted messages that says which numbers came. */
async function receiver(port = 0): Promise<{ url: string; got: number[]; sockets: Set<Socket> }> {
  const got: number[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    let text = '';
    socket.setEncoding('latin1');
    socket.on('error', () => undefined);
    socket.on('data', (piece: string) => {
      text += piece;
      for (let head = /^(\d+) /.exec(text); head !== null; head = /^(\d+) /.exec(text)) {
        const end = head[0].length + Number(head[1]);
        if (text.length < end) break;
        got.push(numberOf(text.slice(head[0].length, end))!);
        text = text.slice(end);
      }
    });
  }).listen(port, '127.0.0.1');
  await once(server, 'listening');
  cleanUp.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const url = `syslog+tcp://127.0.0.1:${(server.address() as { port: number }).port}`;
  return { url, got, sockets };
}

function ship(urls: string[], endpoint: { address: string; port: number }[] = []) {
  const said: string[] = [];
  const shipper = new Shipper({
    targets: urls.map((url) => parseShipUrl(url)),
    spoolDir: join(directory, 'spool'),
    spoolBytes: 16 * 1024 * 1024,
    context,
    endpoint,
    say: (message) => said.push(message),
  });
  cleanUp.push(() => shipper.close());
  return { shipper, said, send: sender(shipper) };
}

const metric = (shipper: Shipper, name: string): unknown => shipper.metrics.find((one) => one.name === name)!.read();

describe('a shipper', () => {
  it('brings each event to every receiver, whatever becomes of the others', async () => {
    const [one, two] = [await receiver(), await receiver()];
    const away = `syslog+tcp://127.0.0.1:${await freePort()}`;
    const { send, shipper, said } = ship([one.url, away, two.url]);
    for (const i of range(0, 100)) send(i);
    await until(() => one.got.length >= 100 && two.got.length >= 100);
    expect([one.got, two.got]).toEqual([range(0, 100), range(0, 100)]);
    await until(() => said.length > 0);
    expect(said[0]).toMatch(/^--ship syslog\+tcp:\/\/127\.0\.0\.1:\d+: .*ECONNREFUSED.*; events wait in the spool$/);
    expect(metric(shipper, 'ship_up')).toEqual([
      { labels: { target: one.url }, value: 1 },
      { labels: { target: away }, value: 0 },
      { labels: { target: two.url }, value: 1 },
    ]);
    expect(shipper.undelivered).toBe(0);
  });

  it('says nothing of a receiver that closes a connection on which nothing is under way', async () => {
    const { url, got, sockets } = await receiver();
    const { send, shipper, said } = ship([url]);
    send(0);
    await until(() => (metric(shipper, 'ship_sent_total') as { value: number }[])[0]!.value === 1);
    for (const socket of sockets) socket.end();
    await until(() => [...sockets].every((socket) => socket.destroyed));
    send(1);
    await until(() => got.length >= 2);
    expect(new Set(got)).toEqual(new Set([0, 1]));
    expect(said).toEqual([]);
  });

  it('ends within its time though the receiver reads nothing, and leaves what is not confirmed to the next', async () => {
    const sockets: Socket[] = [];
    const deaf = createServer({ pauseOnConnect: true }, (socket) => sockets.push(socket)).listen(0, '127.0.0.1');
    await once(deaf, 'listening');
    const url = `syslog+tcp://127.0.0.1:${(deaf.address() as { port: number }).port}`;
    const first = ship([url]);
    for (const i of range(0, 100)) first.send(i);
    await until(() => sockets.length > 0);
    await first.shipper.close();
    expect(first.said.at(-1)).toMatch(/bytes of events wait in/);
    for (const socket of sockets) socket.destroy();
    deaf.close();
    await once(deaf, 'close');
    const again = await receiver(Number(url.split(':').at(-1)));
    ship([url]);
    await until(() => again.got.length >= 100);
    expect(again.got).toEqual(range(0, 100));
  });

  it('goes on with other targets', async () => {
    const [one, two, three] = [await receiver(), await receiver(), await receiver()];
    const { send, shipper } = ship([one.url, two.url]);
    send(0);
    await until(() => one.got.length === 1 && two.got.length === 1);
    await shipper.retarget([`${one.url}?facility=daemon`, three.url].map((url) => parseShipUrl(url)));
    send(1);
    await until(() => new Set(one.got).size === 2 && three.got.length === 1);
    expect([two.got, three.got]).toEqual([[0], [1]]);
    // A file in the way: nothing changes.
    const bad = parseShipUrl('syslog+tcp://127.0.0.1:1?format=ecs');
    writeFileSync(join(directory, 'spool', bad.id), '');
    await expect(shipper.retarget([bad])).rejects.toMatchObject({ code: 'IMDS_SHIP_SPOOL' });
    send(2);
    await until(() => new Set(one.got).size === 3 && three.got.length === 2);
  });

  it('sends nothing to what is traced, by address or by name', async () => {
    const { url, got } = await receiver();
    const port = Number(url.split(':').at(-1));
    const endpoint = [{ address: '127.0.0.1', port }];
    for (const to of [
      url,
      'syslog+udp://100.100.100.200:80',
      'otlp+http://169.254.169.254:80',
      'syslog+tcp://[fd00:ec2::254]:80',
    ]) {
      expect(() => ship([to], endpoint), to).toThrow(expect.objectContaining({ code: 'IMDS_SHIP_ENDPOINT' }));
    }
    const { send, said } = ship(
      [`syslog+tcp://localhost:${port}`, `otlp+http://localhost:${port}`],
      [...endpoint, { address: '::1', port }],
    );
    send(0);
    await until(() => said.length === 2);
    expect(said.join()).toMatch(/localhost port \d+ is a metadata endpoint/);
    expect(got).toEqual([]);
  });

  it('makes nothing where one of its targets is wrong', () => {
    expect(() => ship(['syslog+tcp://127.0.0.1:1', 'syslog+tls://127.0.0.1:1?ca=/nonexistent.pem'])).toThrow(
      expect.objectContaining({ code: 'IMDS_SHIP_TLS', exitStatus: 2 }),
    );
    expect(() => ship(['syslog+tcp://h', 'syslog+tcp://H:514'])).toThrow(/given twice/);
    expect(readdirSync(directory)).toEqual([]);
  });

  it('counts nothing where there is no target', () => {
    expect(ship([]).shipper.undelivered).toBeUndefined();
  });
});
