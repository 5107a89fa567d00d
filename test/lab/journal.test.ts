import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { JournalEntry } from '../../src/lab/journal.js';
import { clientScript, compileClient, openScene, pythonPath, type Scene } from '../e2e/support/scene.js';
import { until } from '../e2e/support/wait.js';

const ADDRESS = '100.100.100.200';
const GET = `GET /latest/meta-data/instance-id HTTP/1.1\r\nHost: ${ADDRESS}\r\n`;

let scene: Scene;
let python: string;

beforeAll(async () => {
  scene = await openScene();
  python = await pythonPath();
});
afterAll(() => scene.close());

/** What the service journaled while `act` ran, once there are `count` entries. */
async function journaled<T>(count: number, act: () => Promise<T>): Promise<[JournalEntry[], T]> {
  const before = scene.journal().length;
  const result = await act();
  const entries = () => scene.journal().slice(before);
  await until(
    () => `${count} journal entries; there are ${entries().length}`,
    () => entries().length >= count,
  );
  return [entries(), result];
}

type Action = [string, ...unknown[]];

async function raw(connections: Action[][], more: object = {}): Promise<{ pid: number; ports: number[] }> {
  const plan = { address: ADDRESS, connections, ...more };
  const { stdout } = await scene.runOk([python, clientScript('raw.py')], { input: JSON.stringify(plan) });
  return JSON.parse(stdout);
}

const targets = (entries: readonly JournalEntry[]) =>
  entries.map((entry) => (entry.kind === 'request' ? entry.target : entry.code));

describe('what the service received is in the journal', () => {
  test('with the client, and header names and values as they were sent', async () => {
    const [[entry], { ports }] = await journaled(1, () =>
      raw([
        [
          ['send', `${GET}x-ODD:no space\r\nX-Twice: 1\r\nX-Twice: 2\r\n\r\n`],
          ['answers', 1],
        ],
      ]),
    );
    expect(entry).toMatchObject({
      kind: 'request',
      seq: 0,
      client: { address: '198.18.0.1', port: ports[0] },
      server: { address: ADDRESS, port: 80 },
      provider: 'alibaba',
      method: 'GET',
      target: '/latest/meta-data/instance-id',
      version: '1.1',
      status: 200,
      headers: [
        ['Host', ADDRESS],
        ['x-ODD', 'no space'],
        ['X-Twice', '1'],
        ['X-Twice', '2'],
      ],
    });
  });

  test('byte for byte where it is no UTF-8', async () => {
    const [[entry]] = await journaled(1, () =>
      raw([
        [
          ['send', 'GET /latest/\xff\xfe HTTP/1.1\r\nX-Bytes: \xe9\r\n\r\n'],
          ['answers', 1],
        ],
      ]),
    );
    expect(entry).toMatchObject({ target: '/latest/\xff\xfe', headers: [['X-Bytes', '\xe9']], status: 404 });
  });

  test('with 12 KiB of headers', async () => {
    const header = `X-Long: ${'a'.repeat(12 * 1024)}\r\n`;
    const [[entry]] = await journaled(1, () =>
      raw([
        [
          ['send', `${GET}${header}\r\n`],
          ['answers', 1],
        ],
      ]),
    );
    expect(entry).toMatchObject({ kind: 'request', status: 200 });
  });

  test('three requests in one packet, in order', async () => {
    const requests = [1, 2, 3].map((n) => `GET /latest/${n} HTTP/1.1\r\n\r\n`).join('');
    const [entries] = await journaled(3, () =>
      raw([
        [
          ['send', requests],
          ['answers', 3],
        ],
      ]),
    );
    expect(entries.map(({ seq }) => seq)).toEqual([0, 1, 2]);
    expect(targets(entries)).toEqual(['/latest/1', '/latest/2', '/latest/3']);
    expect(new Set(entries.map(({ connection }) => connection)).size).toBe(1);
  });

  test('a head split at every byte', async () => {
    const head = `${GET}\r\n`;
    const connections = [...head].slice(1).map((_, i): Action[] => [
      ['send', head.slice(0, i + 1)],
      ['send', head.slice(i + 1)],
      ['answers', 1],
    ]);
    const [entries, { ports }] = await journaled(connections.length, () => raw(connections));
    expect(entries.map(({ client }) => client?.port)).toEqual(ports);
    expect(new Set(targets(entries))).toEqual(new Set(['/latest/meta-data/instance-id']));
  });

  test('two buffers in one sendmsg, from an IPv6 socket with an IPv4-mapped address', async () => {
    const [entries] = await journaled(1, () =>
      raw(
        [
          [
            ['sendmsg', [GET, 'X-Second: buffer\r\n\r\n']],
            ['answers', 1],
          ],
        ],
        { mapped: true },
      ),
    );
    expect(entries).toMatchObject([
      {
        client: { address: '198.18.0.1' },
        headers: [
          ['Host', ADDRESS],
          ['X-Second', 'buffer'],
        ],
      },
    ]);
  });

  test('bodies that look like requests are bodies', async () => {
    const body = 'GET /in-the-body HTTP/1.1\r\n\r\n';
    const chunked = `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`;
    const [entries] = await journaled(3, () =>
      raw([
        [
          ['send', `POST /1 HTTP/1.1\r\nContent-Length: ${body.length}\r\n\r\n${body}`],
          ['send', `POST /2 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n${chunked}GET /3 HTTP/1.1\r\n\r\n`],
          ['answers', 3],
        ],
      ]),
    );
    expect(targets(entries)).toEqual(['/1', '/2', '/3']);
  });

  test('the same local port used again at once', async () => {
    const once: Action[] = [['send', `${GET}Connection: close\r\n\r\n`], ['end']];
    const [entries] = await journaled(3, () => raw([once, once, once], { local_port: 40001 }));
    expect(entries.map(({ client }) => client?.port)).toEqual([40001, 40001, 40001]);
    expect(new Set(entries.map(({ connection }) => connection)).size).toBe(3);
  });

  test.each([
    ['a TLS hello', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'],
    ['SSH', 'SSH-2.0-OpenSSH_9.2\r\n'],
    ['zeros', '\0'.repeat(100)],
  ])('%s, as something that is no request', async (_, bytes) => {
    const [entries] = await journaled(1, () => raw([[['send', bytes], ['end']]]));
    expect(entries).toMatchObject([{ kind: 'unparsed', seq: 0, code: 'no_http' }]);
  });

  test('a head that never came to its end', async () => {
    const [entries] = await journaled(1, () => raw([[['send', GET]]]));
    expect(entries).toMatchObject([{ kind: 'unparsed', code: 'incomplete' }]);
  });

  test('a request whose client reset the connection', async () => {
    const [entries] = await journaled(2, () =>
      raw([[['send', `${GET}\r\n`], ['answers', 1], ['send', `${GET}\r\n`], ['pause', 0.05], ['reset']]]),
    );
    expect(targets(entries)).toEqual(Array(2).fill('/latest/meta-data/instance-id'));
  });
});

test('each of 500 processes that send once and exit has its entry', async () => {
  const mass = await compileClient(scene, 'mass.c');
  const [entries, { stdout }] = await journaled(500, () => scene.runOk([mass, 'run', ADDRESS, '80', '20', '25']));
  const children = stdout
    .trim()
    .split('\n')
    .map((line) => line.split(' '));
  expect(children).toHaveLength(500);
  expect(new Set(children.map(([, pid]) => pid)).size).toBe(500);
  expect(new Set(children.map(([, , parent]) => parent)).size).toBe(20);
  expect(targets(entries).sort()).toEqual(children.map(([tag]) => `/latest/meta-data/mass-${tag}`).sort());
});

test('a burst of several processes is received whole, and each request tells who sent it', async () => {
  const [entries, { stdout }] = await journaled(2000, () =>
    scene.runOk([python, clientScript('burst.py'), ADDRESS, '80', '4', '500', '50', 'X-Burst: yes']),
  );
  const { workers } = JSON.parse(stdout) as { workers: Record<string, { sent: number; answered: number }> };
  expect(Object.values(workers)).toEqual(Array(4).fill({ sent: 500, answered: 500 }));
  const wanted = Object.keys(workers).flatMap((pid) =>
    Array.from({ length: 500 }, (_, n) => `/latest/meta-data/instance-id?worker=${pid}&n=${n}`),
  );
  expect(targets(entries).sort()).toEqual(wanted.sort());
});
