import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Constants } from '../src/capture/layout.js';
import { openPcapFile } from '../src/capture/pcap.js';
import type { CaptureRecord } from '../src/capture/types.js';
import { Judge } from '../src/imds/judge.js';
import { endpointsFor } from '../src/imds/providers.js';
import { AlikeLines } from '../src/output/alike-lines.js';
import { LearnedSecrets } from '../src/output/learned.js';
import { redactEvent } from '../src/output/redact.js';
import { formatText } from '../src/output/text.js';
import type { RequestEvent, TracerStats } from '../src/output/types.js';
import { Pipeline } from '../src/pipeline.js';
import { NO_PROCESSES, replay } from '../src/replay.js';
import { ACK, CLIENT, connection, FIN, GET, ipPacket, OK, PSH, pcap, RST, SERVER, SYN } from './support/packets.js';
import { oneOf, type Random, randomFrom } from './support/random.js';

const ENDPOINTS = endpointsFor(['alibaba', 'aws'], []);
const V6 = { address: 'fd00:ec2::254', port: 80 };
const RAW_IP = 101;

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'imds-exchanges-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

interface Packet {
  time: number;
  ip: Buffer;
  cut?: number;
}

interface Told {
  /** Without what nothing is made of: a response's headers, and whether a head was met before. */
  events: unknown[];
  lines: string[];
  stats: TracerStats;
  kinds: Map<CaptureRecord['type'], number>;
}

async function tell(packets: readonly Packet[], options: { exchanges: boolean; alike?: boolean }): Promise<Told> {
  const file = join(folder, 'capture');
  const frames = packets.map(({ time, ip, cut }) => ({ time, bytes: ip, ...(cut !== undefined && { cut }) }));
  writeFileSync(file, pcap(RAW_IP, frames, { nanoseconds: true }));
  const source = await openPcapFile({ file, endpoints: ENDPOINTS, exchanges: options.exchanges });
  const told: Pick<Told, 'events' | 'lines' | 'kinds'> = { events: [], lines: [], kinds: new Map() };
  const learned = new LearnedSecrets();
  const alikeLines = new AlikeLines(learned);
  const pipeline = new Pipeline({
    endpoints: ENDPOINTS,
    judge: new Judge(),
    processes: NO_PROCESSES,
    emit: (event) => {
      told.events.push(comparable(event));
      told.lines.push(formatText(redactEvent(event, learned)).line);
    },
    emitAlike: options.alike
      ? (alike, exchange) => {
          told.lines.push(alikeLines.line(alike, exchange));
        }
      : undefined,
  });
  const accept = pipeline.accept.bind(pipeline);
  pipeline.accept = (record) => {
    told.kinds.set(record.type, (told.kinds.get(record.type) ?? 0) + 1);
    accept(record);
  };
  try {
    await replay({ source, pipeline, beforeFirst: () => {}, afterBatch: async () => true, full: () => false });
    return { ...told, stats: pipeline.stats(source.stats(), 0) };
  } finally {
    source.close();
  }
}

function comparable({ request, response, ...event }: RequestEvent): unknown {
  const { recurring: _recurring, ...head } = request ?? {};
  const { headers: _headers, ...answer } = response ?? {};
  return { ...event, request: head, response: answer };
}

/** The packets of a file lead to the same events, lines and counters, whether connections come as a whole or not. */
async function expectTheSame(packets: readonly Packet[]): Promise<Told> {
  const one = await tell(packets, { exchanges: false });
  const whole = await tell(packets, { exchanges: true });
  const alike = await tell(packets, { exchanges: true, alike: true });
  expect(one.kinds.get('exchange')).toBeUndefined();
  expect(whole.events).toEqual(one.events);
  expect(whole.lines).toEqual(one.lines);
  expect(alike.lines).toEqual(one.lines);
  expect(whole.stats).toEqual(one.stats);
  expect(alike.stats).toEqual(one.stats);
  return whole;
}

/** Of neighbours, seeds that have nothing in common. */
const scattered = (seed: number): number => (seed * 2_654_435_761) | 1;

const TOKEN = 'X-aliyun-ecs-metadata-token: dG9rZW4tb2YtYS10ZXN0LTEyMzQ1Ng\r\n';
const REQUESTS: readonly ((random: Random) => string)[] = [
  () => GET('/latest/meta-data/instance-id'),
  (random) => GET(`/latest/meta-data/ram/security-credentials/role?n=${random(1e6)}`),
  (random) => GET(`/latest/user-data?token=${random(1e9)}&x=${'y'.repeat(random(40))}`, TOKEN),
  (random) => GET(`/latest/meta-data/${random(300)}`, `User-Agent: agent-${random(100)}\r\n`),
  () => GET('/latest/meta-data/WARNING/%0a/called by ->', 'User-Agent: x\r\n'),
  () => GET('/latest/meta-data/a b', 'X-Forwarded-For: 1.2.3.4\r\n'),
  () =>
    `PUT /latest/api/token HTTP/1.1\r\nHost: 100.100.100.200\r\nX-aliyun-ecs-metadata-token-ttl-seconds: 60\r\nContent-Length: 0\r\n\r\n`,
  () => `POST /latest/x HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc`,
  () => `HEAD /latest/meta-data/ HTTP/1.1\r\nHost: x\r\n\r\n`,
  () => `CONNECT 1.2.3.4:80 HTTP/1.1\r\nHost: x\r\n\r\n`,
  () => `GET http://100.100.100.200/latest/meta-data/ HTTP/1.1\r\nHost: x\r\n\r\n`,
  () => `GET /latest/ HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n`,
  () => `GET /latest/ HTTP/1.1\nHost: x\n\n`,
  () => `GET /latest/ HTTP/1.1\r\nHost : x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
  () => `GET /latest/ HTTP/1.1\r\nHost: x\r\n folded: y\r\nno colon\r\n\r\n`,
  () => 'SSH-2.0-OpenSSH\r\n\r\n',
  () => `${GET('/latest/one')}${GET('/latest/two')}`,
  () => `\r\n${GET('/latest/meta-data/')}`,
];
const CREDENTIALS = '{"Code":"Success","AccessKeyId" : "STS.NUabcdefgh12345678","AccessKeySecret":"verysecret"}';
const RESPONSES: readonly ((random: Random) => string)[] = [
  () => OK,
  (random) => {
    const body = 'b'.repeat(random(600));
    return `HTTP/1.1 200 OK\r\nDate: ${random(50)}\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
  },
  () => `HTTP/1.1 200 OK\r\nContent-Length: ${CREDENTIALS.length}\r\n\r\n${CREDENTIALS}`,
  (random) => `HTTP/1.${random(2)} ${oneOf(random, [401, 403, 404, 500])} No\r\nContent-Length:0\r\n\r\n`,
  () => 'HTTP/1.1 200\r\nContent-Length: 3\r\n\r\nab',
  () => 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nabc',
  () => 'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n',
  () => 'HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n',
  () => 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n',
  () => 'HTTP/1.0 200 OK\r\n\r\nuntil the end',
  () => 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok',
  () => 'HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n',
];

interface Mix {
  connections: number;
  /** Of so many connections one is in some way unusual. */
  unusual: number;
  /** How far apart they begin, in milliseconds. */
  apart: number;
}

/** Connections as they are found in captures, and as they are not, their packets by turns. */
function generate(random: Random, { connections, unusual, apart }: Mix): Packet[] {
  const packets: Packet[] = [];
  let start = 1_790_000_000_000;
  // The clock is set, in the midst of it.
  const clock = random(4) === 0 ? oneOf(random, [-20, -900, -5_000, 3_000]) : 0;
  // Who comes when a connection that is over is just about to be forgotten finds it, or not, by the order in which others
  // ended, and that is not kept of those that come as a whole. So does who comes ten seconds after the clock was set back.
  const late = clock === 0 ? [20, 500, 5_000, 9_000, 11_000, 30_000] : [20, 500, 2_000];
  for (let i = 0; i < connections; i++) {
    start += random(2 * apart * 1000) / 1000;
    const odd = (chance: number): boolean => random(unusual) === 0 && random(chance) === 0;
    // Ports are used again, now and then with the sequence numbers of before.
    const port = 30_000 + random(odd(3) ? 4 : 2 * connections);
    const [client, server] =
      random(5) === 0
        ? [{ address: 'fd00::5', port }, V6]
        : [
            { address: `10.0.0.${1 + random(3)}`, port },
            oneOf(random, [SERVER, { address: '169.254.169.254', port: 80 }]),
          ];
    const up = { from: client, to: server };
    const down = { from: server, to: client };
    const clientStart = odd(2) ? 1000 : (random(2 ** 31) * 2) | random(2);
    const serverStart = odd(2) ? 5000 : (random(2 ** 31) * 2) | random(2);
    const request = (unusual === 1 || odd(1) ? oneOf(random, REQUESTS) : REQUESTS[random(4)]!)(random);
    const response = (unusual === 1 || odd(1) ? oneOf(random, RESPONSES) : RESPONSES[random(4)]!)(random);
    const seq = (clientStart + 1 + request.length) | 0;
    const ack = (serverStart + 1 + response.length) | 0;
    const asked = odd(2) ? cutUp(request, random) : [request];
    const answered = odd(2) ? cutUp(response, random) : [response];
    const steps: Packet['ip'][] = [
      ipPacket({ ...up, seq: clientStart, flags: SYN }),
      ipPacket({ ...down, seq: serverStart, ack: clientStart + 1, flags: SYN | ACK }),
      ipPacket({ ...up, seq: clientStart + 1, ack: serverStart + 1 }),
    ];
    let at = clientStart + 1;
    for (const payload of asked) {
      steps.push(ipPacket({ ...up, seq: at, ack: serverStart + 1, flags: PSH | ACK, payload }));
      at += payload.length;
    }
    const finTogether = random(6) === 0;
    at = serverStart + 1;
    for (const [piece, payload] of answered.entries()) {
      const last = finTogether && piece === answered.length - 1 ? FIN : 0;
      steps.push(ipPacket({ ...down, seq: at, ack: seq, flags: PSH | ACK | last, payload }));
      at += payload.length;
    }
    if (odd(3)) {
      steps.push(ipPacket({ ...up, seq, ack, flags: PSH | ACK, payload: GET('/latest/second') }));
      steps.push(
        ipPacket({ ...down, seq: ack, ack: seq + GET('/latest/second').length, flags: PSH | ACK, payload: OK }),
      );
    }
    const ends: Buffer[][] = [
      [
        ipPacket({ ...down, seq: ack, ack: seq, flags: FIN | ACK }),
        ipPacket({ ...up, seq, ack: ack + 1, flags: FIN | ACK }),
      ],
      [
        ipPacket({ ...up, seq, ack, flags: FIN | ACK }),
        ipPacket({ ...down, seq: ack, ack: seq + 1, flags: FIN | ACK }),
      ],
      [ipPacket({ ...up, seq, ack, flags: RST | ACK })],
      [ipPacket({ ...up, seq, ack, flags: RST })],
      [ipPacket({ ...down, seq: ack, ack: seq, flags: RST | ACK })],
      [ipPacket({ ...down, seq: ack, ack: seq, flags: FIN | ACK }), ipPacket({ ...up, seq, flags: RST })],
      [],
    ];
    if (finTogether) steps.push(ipPacket({ ...up, seq, ack: ack + 1, flags: FIN | ACK }));
    else steps.push(...ends[odd(1) ? random(ends.length) : random(4)]!);
    steps.push(ipPacket({ ...down, seq: ack + 1, ack: seq + 1 }));

    let time = start;
    const put = (ip: Buffer): void => {
      time += random(2000) / 1000;
      if (odd(4)) time += oneOf(random, [60, 99.9, 100, 100.1, 250, 400, 1000, 1500, 11_000]);
      if (odd(10)) return; // lost
      const packet: Packet = { time: odd(6) ? time - random(30) : time, ip };
      if (odd(12)) packet.cut = 20 + random(ip.length - 20);
      packets.push(packet);
      if (odd(5)) packets.push({ time: time + random(3), ip }); // twice
      // Long after the end of the connection.
      if (odd(8)) packets.push({ time: time + oneOf(random, late), ip });
    };
    steps.forEach(put);
  }
  packets.sort((a, b) => a.time - b.time);
  // Captured by several processors: a little out of order, which is not how they were sent.
  for (let i = 1; i < packets.length; i++) {
    if (unusual > 1 ? random(unusual * 4) === 0 : random(20) === 0) {
      [packets[i - 1], packets[i]] = [packets[i]!, packets[i - 1]!];
    }
  }
  const from = random(packets.length);
  packets.forEach((packet, i) => {
    if (i >= from) packet.time += clock;
  });
  return packets;
}

function cutUp(text: string, random: Random): string[] {
  const pieces: string[] = [];
  for (let at = 0; at < text.length; ) {
    const size = 1 + random(text.length - at);
    pieces.push(text.slice(at, at + size));
    at += size;
  }
  return pieces;
}

describe('connections that come as a whole', () => {
  it('are the plain ones: each packet where it has to be', async () => {
    const { kinds, stats } = await expectTheSame(connection({ request: GET('/latest/meta-data/') }));
    expect(Object.fromEntries(kinds)).toEqual({ time: 2, head: 1, exchange: 1 });
    expect(stats).toMatchObject({
      packets_seen: 8,
      packets_captured: 6,
      packets_passed_over: 2,
      connections: 1,
      requests: 1,
    });
  });

  it('whose packets come by turns, hundreds open at once, are told of in the order of the responses', async () => {
    const packets = Array.from({ length: 400 }, (_, i) =>
      connection({
        request: GET(`/latest/${i}`),
        client: { address: '10.0.0.1', port: 1000 + i },
        time: 1.79e12 + i / 100,
      }),
    )
      .flat()
      .sort((a, b) => a.time - b.time);
    const { kinds, events } = await expectTheSame(packets);
    expect(events).toHaveLength(400);
    expect(kinds.get('exchange')).toBeGreaterThan(350);
  });

  it('leave nothing of a packet that comes late but what it was', async () => {
    const packets = connection({ request: GET('/latest/meta-data/') });
    for (const after of [1, 9_000, 10_500, 30_000]) {
      for (const again of [0, 1, 3, 4, 5, 6]) {
        const late = { time: packets.at(-1)!.time + after, ip: packets[again]!.ip };
        const { kinds } = await expectTheSame([...packets, late]);
        expect(kinds.get('exchange')).toBe(1);
      }
    }
  });

  it('are not those with a gap, a cut packet, a second request or an answer that is late', async () => {
    const packets: Packet[] = connection({ request: GET('/latest/meta-data/') });
    const second = connection({ request: GET('/latest/a'), response: OK }).slice(3, 5);
    const others: Packet[][] = [
      ...[0, 1, 3, 4, 5, 6].map((lost) => packets.filter((_, i) => i !== lost)),
      packets.map((packet, i) => (i === 3 ? { ...packet, cut: 60 } : packet)),
      packets.map((packet, i) => (i === 4 ? { ...packet, cut: 60 } : packet)),
      packets.map((packet, i) => (i > 3 ? { ...packet, time: packet.time + 1_200 } : packet)),
      [...packets.slice(0, 5), ...second, ...packets.slice(5)],
      [...packets.slice(0, 3), packets[4]!, packets[3]!, ...packets.slice(5)],
    ];
    for (const other of others) expect((await expectTheSame(other)).kinds.get('exchange')).toBeUndefined();
  });

  it('do not come as a whole where the packets are asked for', async () => {
    const { kinds } = await tell(connection({ request: GET('/latest/') }), { exchanges: false });
    expect(Object.fromEntries(kinds)).toEqual({ packet: 6 });
  });

  it('end one that is open for long at the same addresses, however many have come since', async () => {
    const start = 1.79e12;
    const half = connection({ request: 'GET /latest/half HTTP/1.1\r\nX', time: start }).slice(0, 4);
    const others = Array.from({ length: 2.2 * Constants.tableFlows }, (_, i): Packet[] => {
      const up = { from: { address: `10.1.${i >> 15}.7`, port: 1000 + (i & 0x7fff) }, to: SERVER };
      return [
        { time: start + 100 + i, ip: ipPacket({ ...up, seq: 5, flags: SYN }) },
        { time: start + 100.5 + i, ip: ipPacket({ ...up, seq: 6, flags: RST }) },
      ];
    }).flat();
    const again = connection({ request: GET('/latest/again'), time: start + 50_000 }).map(({ time, ip }) => {
      // With other numbers: from the same ones it would be taken for a part of the first.
      for (const at of [24, 28]) ip.writeUInt32BE(ip.readUInt32BE(at) + 1_000_000, at);
      return { time, ip };
    });
    const last = connection({ request: GET('/latest/last'), client: { ...CLIENT, port: 1 }, time: start + 51_000 });
    const { kinds, events } = await expectTheSame([...half, ...others, ...again, ...last]);
    expect(kinds.get('exchange')).toBe(2);
    expect(events).toHaveLength(3);
  });

  it('have heads of their own by the hundred', async () => {
    const packets = Array.from({ length: 300 }, (_, i) =>
      connection({
        request: GET(`/latest/meta-data/${i % 150}`, `X-Request-Id: ${i % 150}\r\n`),
        client: { ...CLIENT, port: 1000 + i },
        time: 1.79e12 + i * 10,
      }),
    ).flat();
    const { kinds } = await expectTheSame(packets);
    expect(kinds.get('exchange')).toBe(300);
  });
});

describe('a file leads to the same, packet by packet or connection by connection', () => {
  it.each([1, 2, 3, 4])('of many connections, most of them plain (seed %d)', async (seed) => {
    const random = randomFrom(scattered(seed));
    const { kinds } = await expectTheSame(generate(random, { connections: 1_200, unusual: 30, apart: 0.5 }));
    expect(kinds.get('exchange')).toBeGreaterThan(400);
    expect(kinds.get('packet')).toBeGreaterThan(100);
  });

  it('of few connections, in all ways unusual', async () => {
    let exchanges = 0;
    for (let seed = 1; seed <= 150; seed++) {
      const random = randomFrom(scattered(seed + 1_000));
      const mix = { connections: 1 + random(30), unusual: 1 + random(6), apart: oneOf(random, [1, 10, 100, 1_000]) };
      exchanges += (await expectTheSame(generate(random, mix))).kinds.get('exchange') ?? 0;
    }
    expect(exchanges).toBeGreaterThan(200);
  });
});
