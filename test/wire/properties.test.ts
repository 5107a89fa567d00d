import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Connection, type Direction } from '../../src/wire/connection.js';
import { WireCounters } from '../../src/wire/counters.js';
import { MAX_HEAD_BYTES, MAX_STREAM_BYTES } from '../../src/wire/limits.js';
import { Conversation, GET, latin1, type Packet, Record, segment } from './support.js';

const requestText = fc
  .record({
    method: fc.constantFrom('GET', 'PUT', 'POST', 'DELETE'),
    target: fc.webPath({ size: 'small' }).map((path) => `/${path}`),
    headers: fc.array(fc.constantFrom('Host: a', 'x-b:c', 'User-Agent: a/b (c)', 'X-Long: '.padEnd(200, 'y')), {
      maxLength: 4,
    }),
    body: fc.constantFrom('', GET('/not-a-request'), 'HTTP/1.1 200 OK\r\n\r\n', '\r\n\r\n', 'abc'),
    chunked: fc.boolean(),
  })
  .map(({ method, target, headers, body, chunked }) => {
    const framing = chunked ? 'Transfer-Encoding: chunked' : `Content-Length: ${body.length}`;
    const chunk = body === '' ? '' : `${body.length.toString(16)};x=y\r\n${body}\r\n`;
    const content = chunked ? `${chunk}0\r\n\r\n` : body;
    return `${method} ${target} HTTP/1.1\r\n${[...headers, framing].join('\r\n')}\r\n\r\n${content}`;
  });

const responseText = fc
  .record({
    status: fc.constantFrom(200, 201, 400, 401, 403, 404),
    body: fc.constantFrom('', 'ok', 'HTTP/1.1 401 No\r\n\r\n', GET('/x')),
    chunked: fc.boolean(),
    continued: fc.boolean(),
  })
  .map(({ status, body, chunked, continued }) => {
    const framing = chunked ? 'Transfer-Encoding: chunked' : `Content-Length: ${body.length}`;
    const chunk = body === '' ? '' : `${body.length.toString(16)}\r\n${body}\r\n`;
    return `${continued ? 'HTTP/1.1 100 Continue\r\n\r\n' : ''}HTTP/1.1 ${status} X\r\n${framing}\r\n\r\n${chunked ? `${chunk}0\r\n\r\n` : body}`;
  });

/** A stream of random numbers for tests that take as many as they need. */
const random = fc.infiniteStream(fc.nat(1_000_000));
const upTo = (numbers: Iterator<number>, bound: number): number => (numbers.next().value as number) % bound;

/** The packets of one message: cut anywhere, some overlapping, some twice, in any order. */
function packetsOf(
  conversation: Conversation,
  direction: Direction,
  text: string,
  numbers: Iterator<number>,
): Packet[] {
  const whole = conversation.make(direction, text).segment;
  const packets: { packet: Packet; rank: number }[] = [];
  for (let from = 0; from < text.length; ) {
    const to = Math.min(text.length, from + 1 + upTo(numbers, 120));
    const start = Math.max(0, from - (upTo(numbers, 3) === 0 ? upTo(numbers, 30) : 0));
    const made = segment({ seq: whole.seq + start, ack: whole.ack, payload: text.slice(start, to) });
    const packet: Packet = { direction, segment: made };
    for (let copies = upTo(numbers, 5) === 0 ? 2 : 1; copies > 0; copies--) {
      packets.push({ packet, rank: packets.length + upTo(numbers, 12) });
    }
    from = to;
  }
  return packets.sort((a, b) => a.rank - b.rank).map(({ packet }) => packet);
}

const isns = fc.record({ clientIsn: fc.integer(), serverIsn: fc.integer() });

describe('any valid conversation', () => {
  it('gives the same requests and responses however it is cut, reordered, repeated and overlapped', () => {
    const exchanges = fc.array(fc.tuple(requestText, responseText), { minLength: 1, maxLength: 5 });
    fc.assert(
      fc.property(exchanges, isns, random, (pairs, isn, numbers) => {
        const plain = new Conversation();
        const torn = new Conversation(isn);
        for (const [request, response] of pairs) {
          plain.client(request).server(response);
          torn.deliver(...packetsOf(torn, 'egress', request, numbers));
          torn.deliver(...packetsOf(torn, 'ingress', response, numbers));
        }
        expect(plain.record.requests).toHaveLength(pairs.length);
        expect(plain.record.responses).toHaveLength(pairs.length);
        expect(torn.record.told).toEqual(plain.record.told);
        expect(torn.counters.bufferedBytes).toBe(0);
      }),
      { numRuns: 300 },
    );
  });

  it('gives the same when it is pipelined', () => {
    const exchanges = fc.array(fc.tuple(requestText, responseText), { minLength: 1, maxLength: 5 });
    fc.assert(
      fc.property(exchanges, isns, random, (pairs, isn, numbers) => {
        const torn = new Conversation(isn);
        torn.deliver(...packetsOf(torn, 'egress', pairs.map(([request]) => request).join(''), numbers));
        torn.deliver(...packetsOf(torn, 'ingress', pairs.map(([, response]) => response).join(''), numbers));
        const lines = pairs.map(([request], id) => `${id} ${request.split(' ').slice(0, 2).join(' ')}`);
        const statuses = pairs.map(([, response], id) => `${id} ${/1.1 ([2-9]\d\d)/.exec(response)?.[1]}`);
        expect(torn.lines).toEqual([...lines, ...statuses]);
      }),
      { numRuns: 200 },
    );
  });

  it('tells of each byte of a head that is another when it is sent again, however both are cut', () => {
    fc.assert(
      fc.property(requestText, isns, random, (text, isn, numbers) => {
        const head = text.slice(0, text.indexOf('\r\n\r\n') + 4);
        const at = upTo(numbers, head.length);
        const other =
          text.slice(0, at) + String.fromCharCode(text.charCodeAt(at) ^ (1 + upTo(numbers, 255))) + text.slice(at + 1);
        const conversation = new Conversation(isn);
        const seq = conversation.clientNext;
        for (let from = 0; from < text.length; ) {
          const to = Math.min(text.length, from + 1 + upTo(numbers, 120));
          conversation.client(text.slice(from, to));
          from = to;
        }
        expect(conversation.lines).toHaveLength(1);
        const first = at - upTo(numbers, at + 1);
        const payload = latin1(other.slice(first, at + 1 + upTo(numbers, other.length - at)));
        conversation.push('egress', segment({ seq: seq + first, ack: conversation.serverNext, payload }));
        expect(conversation.lines[1]).toBe(`1 unparsed changed_on_resend ${payload.length}`);
      }),
      { numRuns: 500 },
    );
  });

  it('with lost packets invents no request and attributes no wrong response', () => {
    // Each exchange's status is told by its target, so a wrong pair shows.
    const statuses = fc.array(fc.constantFrom(200, 401, 403, 404), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(statuses, isns, random, (codes, isn, numbers) => {
        const conversation = new Conversation(isn);
        codes.forEach((status, i) => {
          const body = GET('/invented');
          for (const packet of packetsOf(conversation, 'egress', GET(`/${i}/${status}`), numbers)) {
            if (upTo(numbers, 15) !== 0) conversation.deliver(packet);
          }
          const response = `HTTP/1.1 ${status} X\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
          for (const packet of packetsOf(conversation, 'ingress', response, numbers)) {
            if (upTo(numbers, 15) !== 0) conversation.deliver(packet);
          }
          if (upTo(numbers, 2) === 0) conversation.time += 2_000;
        });
        conversation.finish().connection.end(conversation.time);
        const targets = new Map<number, string>();
        let unparsed = 0;
        for (const told of conversation.record.told) {
          if (told.kind === 'request') targets.set(told.id, told.head.target);
          if (told.kind === 'unparsed') unparsed++;
          if (told.kind === 'response') expect(targets.get(told.id)).toMatch(new RegExp(`/${told.head.status}$`));
        }
        for (const target of targets.values()) expect(target).toMatch(/^\/\d\/\d{3}$/);
        // Nothing is missed in silence.
        expect(targets.size === codes.length || unparsed > 0).toBe(true);
        expect(conversation.counters.bufferedBytes).toBe(0);
      }),
      { numRuns: 500 },
    );
  });
});

describe('any bytes', () => {
  const junk = fc.oneof(
    fc.uint8Array({ maxLength: 80 }).map((bytes) => Buffer.from(bytes)),
    requestText.map(latin1),
    responseText.map(latin1),
    fc
      .constantFrom('GET', ' ', '\r\n', '\n', ':', 'HTTP/1.1', '0\r\n\r\n', 'Content-Length: 5\r\n', '\x00', '\t')
      .map(latin1),
  );
  const packet = fc.record({
    direction: fc.constantFrom<Direction>('egress', 'ingress'),
    payload: junk,
    jump: fc.oneof(
      { weight: 6, arbitrary: fc.constant(0) },
      { weight: 3, arbitrary: fc.integer({ min: -200, max: 200 }) },
      fc.integer(),
    ),
    flags: fc.oneof({ weight: 9, arbitrary: fc.constant(0x10) }, fc.nat(0x3f)),
    cut: fc.oneof({ weight: 5, arbitrary: fc.constant(0) }, fc.nat(70_000)),
    wait: fc.oneof({ weight: 9, arbitrary: fc.constant(1) }, fc.integer({ min: -5_000, max: 5_000 })),
  });

  it('throw nothing, keep no more than the bounds, and leave nothing behind', () => {
    const bound = 2 * (MAX_STREAM_BYTES + 2 * MAX_HEAD_BYTES) + 4_096;
    fc.assert(
      fc.property(fc.array(packet, { maxLength: 120 }), (packets) => {
        const record = new Record();
        const counters = new WireCounters();
        const connection = new Connection(record, counters);
        const next = { egress: 0, ingress: 0 };
        let time = 0;
        for (const { direction, payload, jump, flags, cut, wait } of packets) {
          time += wait;
          const seq = next[direction] + jump;
          connection.push(direction, segment({ seq, ack: next.ingress, flags, payload, cut }), time);
          next[direction] = (seq + payload.length + cut) | 0;
          expect(counters.bufferedBytes).toBe(connection.bufferedBytes);
          expect(counters.bufferedBytes).toBeLessThanOrEqual(bound);
        }
        connection.end(time);
        expect(counters.bufferedBytes).toBe(0);
        // Ids count up from 0, a response has a request, and the end comes last, once.
        let nextId = 0;
        const open = new Set<number>();
        for (const told of record.told) {
          if (told.kind === 'ended') expect(told).toBe(record.told.at(-1));
          else if (told.kind === 'response') expect(open.delete(told.id)).toBe(true);
          else {
            expect(told.id).toBe(nextId++);
            if (told.kind === 'request') open.add(told.id);
          }
        }
        expect(record.told.at(-1)?.kind).toBe('ended');
      }),
      { numRuns: 1_500 },
    );
  });
});
