import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { inNamespace } from '../../src/lab/netns.js';
import { run, runOk } from '../e2e/support/run.js';
import { openScene } from '../e2e/support/scene.js';
import type { EcsEvent } from '../e2e/support/tracer.js';
import { until } from '../e2e/support/wait.js';
import { ACK, FIN, type Frame, ipPacket, LINKS, PSH, pcap, pcapng, SERVER, SYN } from '../support/packets.js';
import { randomFrom } from '../support/random.js';

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const onPath = (command: string) => spawnSync(command, ['--version']).status === 0;

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'imds-tshark-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

const FIELDS = [
  'tcp.srcport',
  'http.request.method',
  'http.request.uri',
  'http.request.version',
  'http.host',
  'http.user_agent',
];

/** The requests as tshark reads them, sorted. */
async function byTshark(file: string): Promise<string[]> {
  const { stdout } = await runOk(
    [
      'tshark',
      ...['-r', file, '-Y', 'http.request and tcp.dstport == 80 and ip.dst == 100.100.100.200'],
      ...['-o', 'tcp.reassemble_out_of_order:TRUE', '-o', 'http.desegment_headers:TRUE'],
      ...['-T', 'fields', '-E', 'occurrence=a', '-E', 'aggregator=/s', ...FIELDS.flatMap((field) => ['-e', field])],
    ],
    { timeoutMs: 60_000 },
  );
  // A frame in which several requests end has the values of all of them in each field.
  return stdout
    .split('\n')
    .slice(0, -1)
    .flatMap((line) => {
      const [port, ...fields] = line.split('\t').map((value) => value.split(' '));
      const count = fields[0]!.length;
      return Array.from({ length: count }, (_, i) => [port![0], ...fields.map((values) => values[i] ?? '')].join('\t'));
    })
    .sort();
}

async function byReplay(file: string, status: number): Promise<string[]> {
  const finished = await run([process.execPath, MAIN, 'replay', '--json', file]);
  expect(finished.status, finished.stderr).toBe(status);
  return finished.stdout
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as EcsEvent & { user_agent?: { original: string }; url?: { domain?: string } })
    .filter(({ imds }) => imds?.verdict !== 'unparsed')
    .map((event) =>
      [
        event.source!.port,
        event.http!.request!.method,
        event.url!.original,
        `HTTP/${event.http!.version}`,
        event.url!.domain ?? '',
        event.user_agent?.original ?? '',
      ].join('\t'),
    )
    .sort();
}

/**
 * Connections of one to four requests each, as clients send them: heads cut into pieces or several in one, bodies, answers;
 * packets sent twice and out of order.
 */
function generated(connections: number, random: (below: number) => number): Frame[] {
  const frames: Frame[] = [];
  for (let i = 0; i < connections; i++) {
    const from = { address: `10.0.${random(4)}.${1 + random(200)}`, port: 20_000 + i };
    const start = 1_700_000_000_000 + i * 37;
    let time = start;
    const put = (fields: Parameters<typeof ipPacket>[0]) => {
      time += 1;
      frames.push({ time, bytes: LINKS.ethernet.wrap(ipPacket(fields)) });
    };
    const up = { from, to: SERVER };
    const down = { from: SERVER, to: from };
    put({ ...up, seq: 99, flags: SYN });
    put({ ...down, seq: 499, ack: 100, flags: SYN | ACK });
    put({ ...up, seq: 100, ack: 500 });
    let seq = 100;
    let ack = 500;
    for (let requests = 1 + random(4); requests > 0; requests--) {
      const body = random(4) === 0 ? 'GET /not/a/request HTTP/1.1\r\n\r\n' : '';
      const length = body ? `Content-Length: ${body.length}\r\n` : '';
      const text = `${random(3) ? 'GET' : 'PUT'} /latest/${i}/${requests} HTTP/1.${random(8) ? 1 : 0}\r\nHost: h${random(9)}.example\r\nUser-Agent: agent-${random(99)}\r\n${length}\r\n${body}`;
      const pieces: Parameters<typeof ipPacket>[0][] = [];
      for (let at = 0; at < text.length; ) {
        const size = random(3) ? text.length - at : 1 + random(text.length - at);
        pieces.push({ ...up, seq: seq + at, ack, flags: PSH | ACK, payload: text.slice(at, at + size) });
        at += size;
      }
      if (random(4) === 0 && pieces.length > 1) pieces.push(pieces.shift()!);
      if (random(4) === 0) pieces.splice(random(pieces.length), 0, pieces[random(pieces.length)]!);
      for (const piece of pieces) put(piece);
      seq += text.length;
      const answer = `HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok`;
      put({ ...down, seq: ack, ack: seq, flags: PSH | ACK, payload: answer });
      ack += answer.length;
      put({ ...up, seq, ack });
    }
    put({ ...up, seq, ack, flags: FIN | ACK });
    put({ ...down, seq: ack, ack: seq + 1, flags: FIN | ACK });
  }
  return frames.sort((a, b) => a.time - b.time);
}

describe.skipIf(!onPath('tshark'))('replay and tshark find the same requests', () => {
  it.each([1, 2, 3])('in generated captures: cut, repeated, reordered (seed %d)', async (seed) => {
    const frames = generated(120, randomFrom(seed * 7919));
    const file = join(folder, `generated-${seed}`);
    writeFileSync(file, seed % 2 ? pcap(1, frames) : pcapng([{ linkType: 1 }], frames));
    const expected = await byTshark(file);
    expect(expected.length).toBeGreaterThan(200);
    expect(await byReplay(file, 0)).toEqual(expected);
  });

  it.skipIf(process.getuid?.() !== 0 || !onPath('tcpdump'))('in what tcpdump recorded of real clients', async () => {
    const scene = await openScene();
    try {
      const file = join(folder, 'recorded');
      const [command, ...args] = inNamespace(scene.lab.clientNamespace, [
        'tcpdump',
        '-i',
        'any',
        '-U',
        '-Z',
        'root',
        '-w',
        file,
        'tcp',
      ]);
      const recorder = spawn(command, args, { stdio: ['ignore', 'ignore', 'pipe'] });
      let said = '';
      recorder.stderr.setEncoding('utf8').on('data', (text: string) => {
        said += text;
      });
      await until(
        () => `tcpdump; it said: ${said}`,
        () => said.includes('listening'),
      );
      await scene.lab.runClientsOnce();
      // tcpdump hands packets on within a second (its time-out of libpcap), then they are in the file (-U).
      await new Promise((resolve) => setTimeout(resolve, 1_500));
      recorder.kill('SIGINT');
      await once(recorder, 'close');
      const expected = await byTshark(file);
      expect(await byReplay(file, 0)).toEqual(expected);
      expect(expected).toHaveLength(scene.journal().length);
    } finally {
      await scene.close();
    }
  });
});
