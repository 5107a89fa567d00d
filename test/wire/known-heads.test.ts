import { expect, test } from 'vitest';
import { Connection } from '../../src/wire/connection.js';
import { WireCounters } from '../../src/wire/counters.js';
import { TCP_SYN } from '../../src/wire/ip.js';
import { Record, segment } from './support.js';

const counters = new WireCounters();

/** What a connection tells of a request that comes in these segments, and of the answer. */
function exchange(request: readonly string[], response: string): Record {
  const record = new Record();
  const connection = new Connection(record, counters);
  connection.push('egress', segment({ seq: 0, flags: TCP_SYN }), 1);
  connection.push('ingress', segment({ seq: 100, ack: 1, flags: TCP_SYN }), 1);
  let seq = 1;
  for (const payload of request) {
    connection.push('egress', segment({ seq, ack: 101, payload }), 2);
    seq += payload.length;
  }
  connection.push('ingress', segment({ seq: 101, ack: seq, payload: response }), 3);
  connection.end(4);
  return record;
}

function inBatch<T>(read: () => T): T {
  counters.requestHeads.begin();
  counters.responseHeads.begin();
  try {
    return read();
  } finally {
    counters.requestHeads.end();
    counters.responseHeads.end();
  }
}

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi';
const HEADERS = 'Host: 100.100.100.200\r\nX-aliyun-ecs-metadata-token: abc\r\n';

test('a head that came before in the batch is read as without it', () => {
  const requests = [
    [`GET /a HTTP/1.1\r\n${HEADERS}\r\n`],
    [`GET /b?c HTTP/1.1\r\n${HEADERS}\r\n`],
    [`PUT /a HTTP/1.0\r\n${HEADERS}\r\n`], // another version: the same lines may frame a body in another way
    [`GET /d HTTP/1.1\n${HEADERS}\r\n`],
    [`\r\n\r\nGET /e HTTP/1.1\r\n${HEADERS}\r\n`],
    [`GET /f HTTP/1.1\r\n${HEADERS}\r\nGET /g HTTP/1.1\r\n${HEADERS}\r\n`],
    ['GET /h HTTP/1.1\r\n', HEADERS, '\r\n'],
    [`GET /i HTTP/1.1\r\n${HEADERS}Content-Length: 2\r\n\r\n`, 'hi', `GET /j HTTP/1.1\r\n${HEADERS}\r\n`],
    [`GET /k\r\n${HEADERS}\r\n`],
    [`GET /l HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n`, '0\r\n\r\n'],
    [`GET /m HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n`, '0\r\n\r\n'],
  ];
  const read = () => [...requests, ...requests].map((request) => exchange(request, OK));
  const plain = read();
  const known = inBatch(read);
  for (const [i, record] of known.entries()) {
    expect(record.lines).toEqual(plain[i]!.lines);
    expect(record.requests.map(({ recurring, ...head }) => head)).toEqual(plain[i]!.requests);
    expect(record.responses).toEqual(plain[i]!.responses);
  }
});

test('the headers of heads that recur are one object, in one batch', () => {
  const read = () => exchange([`GET /a HTTP/1.1\r\n${HEADERS}\r\n`], OK).requests[0]!;
  const [first, second] = inBatch(() => [read(), read()]);
  expect(second).toMatchObject({ recurring: true });
  expect(second!.headers).toBe(first!.headers);
  const third = inBatch(read);
  expect(third.headers).not.toBe(first!.headers);
  expect(third.headers).toEqual(first!.headers);
  expect(read().recurring).toBeUndefined();
});

test('lines behind a request line never pass for a response', () => {
  inBatch(() => {
    const request = [`GET /a HTTP/1.1\r\n${OK.slice(0, -2)}`];
    expect(exchange(request, OK).responses).toHaveLength(1);
    expect(exchange(request, OK).responses[0]).toMatchObject({ status: 200 });
  });
});

test('no more than so many heads are kept, of any length', () => {
  inBatch(() => {
    for (let i = 0; i < 10_000; i++) exchange([`GET /a HTTP/1.1\r\nX: ${i}${'x'.repeat(i % 100)}\r\n\r\n`], OK);
    const long = `GET /a HTTP/1.1\r\nX: ${'x'.repeat(5_000)}\r\n\r\n`;
    exchange([long], OK);
    expect(exchange([long], OK).requests[0]!.recurring).toBeUndefined();
    // There is no room any more, and the ones that came first are still known.
    expect(exchange(['GET /a HTTP/1.1\r\nX: new\r\n\r\n'], OK).requests[0]!.recurring).toBeUndefined();
    expect(exchange(['GET /a HTTP/1.1\r\nX: 0\r\n\r\n'], OK).requests[0]!.recurring).toBe(true);
  });
});
