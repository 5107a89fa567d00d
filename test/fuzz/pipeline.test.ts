import process from 'node:process';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { PacketRecord } from '../../src/capture/types.js';
import { Judge } from '../../src/imds/judge.js';
import { endpointsFor } from '../../src/imds/providers.js';
import { createEventContext } from '../../src/output/context.js';
import { FORMATTERS } from '../../src/output/formats.js';
import { LearnedSecrets } from '../../src/output/learned.js';
import { redactEvent } from '../../src/output/redact.js';
import { formatText } from '../../src/output/text.js';
import type { RequestEvent } from '../../src/output/types.js';
import { Pipeline } from '../../src/pipeline.js';
import { NO_PROCESSES } from '../../src/replay.js';
import { ACK, FIN, ipPacket, PSH, SYN } from '../support/packets.js';
import { NOTHING_SEEN, packetRecord } from '../support/records.js';

/** A short run in the normal tests; `FUZZ_SECONDS=3600 npm run fuzz` for a long one. */
const long = process.env['FUZZ_SECONDS'] !== undefined;
const seconds = Number(process.env['FUZZ_SECONDS'] ?? 0);
const timeout = seconds * 1_000 + 120_000;
/** So many take a second or two on an idle machine. */
const SHORT_RUNS = 500;

/** Runs a property, for long where that is asked for; a failure tells the seed and the smallest input that fails. */
function fuzz<Input extends [unknown, ...unknown[]]>(name: string, property: fc.IProperty<Input>): void {
  const found = fc.check(property, {
    ...(long
      ? {
          numRuns: Number.MAX_SAFE_INTEGER,
          interruptAfterTimeLimit: seconds * 1_000,
          markInterruptAsFailure: false,
        }
      : { numRuns: SHORT_RUNS }),
  });
  if (found.failed) expect.fail(`${fc.defaultReportMessage(found)}\n${found.errorInstance}`);
  if (long) process.stdout.write(`fuzz ${name}: ${found.numRuns} runs in ${seconds} s\n`);
  expect(found.numRuns).toBeGreaterThan(20);
}

const SERVER = {
  4: { address: '100.100.100.200', port: 80 },
  6: { address: 'fd00:ec2::254', port: 80 },
} as const;

interface Run {
  pipeline: Pipeline;
  events: RequestEvent[];
  lines: string[];
  /** Takes a packet from one end to the other. */
  packet(direction: PacketRecord['direction'], port: number, family: 4 | 6, ip: Buffer, time: number): void;
}

/** The pipeline with every format of its events behind it, as the outputs write them, but for the files. */
function run(): Run {
  const events: RequestEvent[] = [];
  const lines: string[] = [];
  const learned = new LearnedSecrets();
  const context = createEventContext({ hostName: 'h', version: '0' });
  const pipeline = new Pipeline({
    endpoints: endpointsFor(['alibaba', 'aws'], []),
    judge: new Judge(),
    processes: NO_PROCESSES,
    emit: (event) => {
      events.push(event);
      const shown = redactEvent(event, learned);
      const text = formatText(shown);
      for (const format of Object.values(FORMATTERS)) lines.push(format(shown, context, text));
    },
  });
  const packet: Run['packet'] = (direction, port, family, ip, time) => {
    pipeline.tick(time);
    const localAddress = family === 4 ? '10.0.0.5' : 'fd00::5';
    const ends = { localAddress, localPort: port, remoteAddress: SERVER[family].address, remotePort: 80 };
    pipeline.accept(packetRecord(ip, { time, direction, cookie: 0n, ...ends }));
  };
  return { pipeline, events, lines, packet };
}

const clientOf = (family: 4 | 6, port: number) => ({ address: family === 4 ? '10.0.0.5' : 'fd00::5', port });

// Control characters, line and paragraph separators, and what turns the direction of text.
const UNPRINTABLE = /[\p{Cc}\p{Zl}\p{Zp}\u202a-\u202e\u2066-\u2069]/u;

/** What every line must be, whatever was on the wire: one line, printable, bounded. */
function checkLines(lines: readonly string[]): void {
  for (const line of lines) {
    if (UNPRINTABLE.test(line)) expect(line).toBe('printable');
    expect(line.length).toBeLessThan(300_000);
    if (line.startsWith('{')) JSON.parse(line);
  }
}

const SECRET = 'SeCrEtSeCrEtSeCrEtSeCrEt';

const anyCase = (name: string): fc.Arbitrary<string> =>
  fc
    .array(fc.boolean(), { minLength: name.length, maxLength: name.length })
    .map((upper) => [...name].map((letter, i) => (upper[i] ? letter.toUpperCase() : letter.toLowerCase())).join(''));

const HEADERS = { 4: 'x-aliyun-ecs-metadata-token', 6: 'x-aws-ec2-metadata-token' } as const;

/** A request to a family's service, with the verdict that its answer of 200 makes it. */
const exchangeOf = (family: 4 | 6) =>
  fc
    .record({
      kind: fc.constantFrom<'plain' | 'empty' | 'token' | 'issue' | 'lure'>('plain', 'empty', 'token', 'issue', 'lure'),
      header: anyCase(HEADERS[family]),
      ttl: fc.integer({ min: 1, max: 21_600 }),
      space: fc.constantFrom('', ' ', '\t', '  '),
      path: fc.webPath({ size: 'small' }).filter((path) => !/token|security|user|iam|ram/i.test(path)),
      others: fc.array(fc.constantFrom('Accept: */*', 'a:b', 'X-Fill: '.padEnd(700, 'f')), { maxLength: 3 }),
      first: fc.boolean(),
      body: fc.constantFrom('', 'ok', 'GET /x HTTP/1.1\r\n\r\n', 'HTTP/1.1 401 No\r\n\r\n'),
      chunked: fc.boolean(),
    })
    .map(({ kind, header, ttl, space, path, others, first, body, chunked }) => {
      const target = kind === 'issue' ? '/latest/api/token' : `/latest/meta-data/${path}`;
      const own = {
        plain: [],
        empty: [`${header}:${space}`],
        token: [`${header}:${space}${SECRET}`],
        issue: [`${header}-ttl-seconds:${space}${ttl}`],
        lure: [`User-Agent: ${header}`, `X-${header}: a`, `${header}s: a`],
      }[kind];
      const headers = ['Host: 100.100.100.200', ...(first ? [...own, ...others] : [...others, ...own])];
      const request = `${kind === 'issue' ? 'PUT' : 'GET'} ${target} HTTP/1.1\r\n${headers.join('\r\n')}\r\n\r\n`;
      const chunks = body === '' ? '' : `${body.length.toString(16)}\r\n${body}\r\n`;
      const response = chunked
        ? `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${chunks}0\r\n\r\n`
        : `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
      const verdict = {
        plain: 'normal_mode',
        empty: 'normal_mode',
        token: 'hardened',
        issue: 'token_issue',
        lure: 'normal_mode',
      };
      return { target, request, response, verdict: verdict[kind] };
    });

const numbers = fc.infiniteStream(fc.nat(1_000_000));
const upTo = (stream: Iterator<number>, bound: number): number => (stream.next().value as number) % bound;

describe('packets, from their bytes to the lines of the log', () => {
  it(
    'of valid streams, however cut, reordered, repeated and mixed: each request once, with its verdict, and no secret',
    () => {
      const connections = fc.array(
        fc.constantFrom<4 | 6>(4, 6).chain((family) =>
          fc.record({
            family: fc.constant(family),
            isn: fc.integer(),
            exchanges: fc.array(exchangeOf(family), { minLength: 1, maxLength: 4 }),
          }),
        ),
        { minLength: 1, maxLength: 4 },
      );
      fuzz(
        'valid streams',
        fc.property(connections, numbers, (made, stream) => {
          const { pipeline, events, lines, packet } = run();
          let time = 1_700_000_000_000;
          const queues = made.map(({ family, isn, exchanges }, i) => {
            const port = 20_000 + i;
            const ends = { from: clientOf(family, port), to: SERVER[family] };
            const back = { from: ends.to, to: ends.from };
            let up = isn;
            let down = isn + 77;
            const send: (() => void)[] = [];
            const push = (egress: boolean, fields: { seq: number; ack?: number; flags: number; payload?: string }) => {
              const { seq, ack = 0, ...rest } = fields;
              const ip = ipPacket({ ...(egress ? ends : back), seq: seq >>> 0, ack: ack >>> 0, ...rest });
              return () => {
                time += 0.01;
                packet(egress ? 'egress' : 'ingress', port, family, ip, time);
              };
            };
            send.push(push(true, { seq: up, flags: SYN }), push(false, { seq: down, ack: up + 1, flags: SYN | ACK }));
            up++;
            down++;
            const message = (egress: boolean, text: string): void => {
              const pieces: { rank: number; go: () => void }[] = [];
              const [base, ack] = egress ? [up, down] : [down, up];
              for (let from = 0; from < text.length; ) {
                const to = Math.min(text.length, from + 1 + upTo(stream, 400));
                const start = Math.max(0, from - (upTo(stream, 4) === 0 ? upTo(stream, 30) : 0));
                const go = push(egress, { seq: base + start, ack, flags: PSH | ACK, payload: text.slice(start, to) });
                for (let copies = upTo(stream, 6) === 0 ? 2 : 1; copies > 0; copies--) {
                  pieces.push({ rank: pieces.length + upTo(stream, 5), go });
                }
                from = to;
              }
              send.push(...pieces.sort((a, b) => a.rank - b.rank).map(({ go }) => go));
              if (egress) up += text.length;
              else down += text.length;
            };
            for (const { request, response } of exchanges) {
              message(true, request);
              message(false, response);
            }
            send.push(push(true, { seq: up, ack: down, flags: FIN | ACK }));
            send.push(push(false, { seq: down, ack: up + 1, flags: FIN | ACK }));
            return send;
          });
          while (queues.some((queue) => queue.length > 0)) {
            queues[upTo(stream, queues.length)]!.shift()?.();
          }
          pipeline.finish(time);
          made.forEach(({ exchanges }, i) => {
            const told = events.filter(({ client }) => client.port === 20_000 + i);
            expect(told.map(({ request, judgement }) => [request?.target, judgement.verdict])).toEqual(
              exchanges.map(({ target, verdict }) => [target, verdict]),
            );
          });
          expect(events.every(({ response }) => response?.status === 200)).toBe(true);
          expect(lines.join('\n')).not.toContain(SECRET);
          checkLines(lines);
        }),
      );
    },
    timeout,
  );

  it(
    'of any bytes: nothing is thrown, kept without bound, or written unescaped, and the counters add up',
    () => {
      const word = fc.constantFrom(
        ...[
          'GET',
          'PUT',
          ' ',
          '/latest/api/token',
          '\r\n',
          '\n',
          '\r',
          ':',
          'HTTP/1.1',
          'HTTP/1.1 200 OK\r\n',
          '\x1b[2J',
        ],
        ...[
          'Content-Length: 5\r\n',
          'Transfer-Encoding: chunked\r\n',
          'X-aliyun-ecs-metadata-token: t\r\n',
          '\r\n\r\n',
        ],
        ...[
          'User-Agent: ',
          'Host: ',
          '\0',
          '\x85',
          '\u00e2\u0080\u00ae',
          '0\r\n\r\n',
          'ffffffff\r\n',
          'Upgrade: h2c\r\n',
        ],
      );
      const payload = fc.oneof(
        fc.array(word, { maxLength: 14 }).map((words) => Buffer.from(words.join(''), 'latin1')),
        fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
        exchangeOf(4).map(({ request }) => Buffer.from(request, 'latin1')),
        exchangeOf(4).map(({ response }) => Buffer.from(response, 'latin1')),
      );
      const step = fc.record({
        egress: fc.boolean(),
        connection: fc.nat(3),
        family: fc.constantFrom<4 | 6>(4, 4, 4, 6),
        payload,
        flags: fc.oneof({ weight: 5, arbitrary: fc.constant(PSH | ACK) }, fc.nat(0x3f)),
        jump: fc.oneof({ weight: 5, arbitrary: fc.constant(0) }, fc.integer({ min: -400, max: 400 }), fc.integer()),
        wait: fc.oneof({ weight: 8, arbitrary: fc.constant(1) }, fc.integer({ min: -3_000, max: 70_000 })),
        /** Bytes of the packet that are something else, by place and value. */
        damage: fc.oneof(
          { weight: 4, arbitrary: fc.constant([]) },
          fc.array(fc.tuple(fc.nat(60), fc.nat(255)), { maxLength: 3 }),
        ),
        cut: fc.oneof({ weight: 8, arbitrary: fc.constant(0) }, fc.nat(80)),
      });
      fuzz(
        'any bytes',
        fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
          const { pipeline, events, lines, packet } = run();
          const next = new Map<string, number>();
          let time = 1_700_000_000_000;
          for (const { egress, connection, family, payload: bytes, flags, jump, wait, damage, cut } of steps) {
            const port = 30_000 + connection;
            const ends = { from: clientOf(family, port), to: SERVER[family] };
            const key = `${egress} ${port} ${family}`;
            const seq = ((next.get(key) ?? 0) + jump) >>> 0;
            const ack = (next.get(`${!egress} ${port} ${family}`) ?? 0) >>> 0;
            const whole = ipPacket({
              ...(egress ? ends : { from: ends.to, to: ends.from }),
              seq,
              ack,
              flags,
              payload: bytes,
            });
            next.set(key, seq + bytes.length);
            for (const [at, value] of damage) if (at < whole.length) whole[at] = value;
            time += wait;
            packet(
              egress ? 'egress' : 'ingress',
              port,
              family,
              whole.subarray(0, Math.max(whole.length - cut, 0)),
              time,
            );
          }
          pipeline.finish(time);
          const stats = pipeline.stats(NOTHING_SEEN, 0);
          const verdicts = Object.values(stats.by_verdict).reduce((sum, count) => sum + count, 0);
          expect(verdicts).toBe(events.length);
          expect(stats.requests + stats.unparsed).toBe(events.length);
          expect(pipeline.waiting).toBe(false);
          checkLines(lines);
        }),
      );
    },
    timeout,
  );
});
