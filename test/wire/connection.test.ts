import { describe, expect, it } from 'vitest';
import { Connection } from '../../src/wire/connection.js';
import { WireCounters } from '../../src/wire/counters.js';
import { TCP_FIN, TCP_SYN, TCP_URG } from '../../src/wire/ip.js';
import { HOLE_TIMEOUT_MS, MAX_HEAD_BYTES, MAX_OUTSTANDING } from '../../src/wire/limits.js';
import { Conversation, GET, latin1, OK, Record, read, segment } from './support.js';

const POST = (body: string, headers = `Content-Length: ${body.length}\r\n`): string =>
  `POST /b HTTP/1.1\r\n${headers}\r\n${body}`;
const TIMED_OUT = 'HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n';
const CONTINUE = 'HTTP/1.1 100 Continue\r\n\r\n';
const CHUNKED = 'Transfer-Encoding: chunked\r\n';

describe('requests', () => {
  it('gives a head as it was sent', () => {
    const head =
      'PUT /latest/api/token HTTP/1.1\r\nhost:100.100.100.200\r\nX-Aliyun-ECS-Metadata-Token-TTL-Seconds: 60\r\n\r\n';
    expect(read(head).record.requests).toEqual([
      {
        time: 1_000,
        method: 'PUT',
        target: '/latest/api/token',
        version: '1.1',
        headers: [
          { name: 'host', value: '100.100.100.200' },
          { name: 'X-Aliyun-ECS-Metadata-Token-TTL-Seconds', value: '60' },
        ],
        headBytes: head.length,
      },
    ]);
  });

  it('gives the same for a head split at every byte, and for one byte a segment', () => {
    const head = `${GET('/a', 'X-A: 1\r\n')}${POST('GET /no HTTP/1.1\r\n\r\n')}`;
    const whole = read(head);
    expect(whole.lines).toEqual(['0 GET /a', '1 POST /b']);
    for (let at = 1; at < head.length; at++) {
      const split = read(head.slice(0, at), head.slice(at));
      expect(split.record.told).toEqual(whole.record.told);
      expect(split.counters.bufferedBytes).toBe(0);
    }
    expect(read(...head).record.told).toEqual(whole.record.told);
  });

  it.each<[string, string[], string[]]>([
    ['three in one packet', [GET('/1') + GET('/2') + GET('/3')], ['0 GET /1', '1 GET /2', '2 GET /3']],
    ['a call per line', ['GET /a HTTP/1.1\r\n', 'Host: a\r\n', '\r\n'], ['0 GET /a']],
    ['bare line feeds', ['GET /a HTTP/1.1\nHost: a\n\nGET /b HTTP/1.1\n\r\n'], ['0 GET /a', '1 GET /b']],
    ['empty lines before', ['\r\n\n\r\n', `\r\n${GET('/a')}`], ['0 GET /a']],
    ['no header', ['GET /a HTTP/1.1\r\n\r\n'], ['0 GET /a']],
    ['12 KiB of headers', [GET('/a', `X: ${'x'.repeat(12_000)}\r\n`)], ['0 GET /a']],
    ['a body that looks like a request', [POST(GET('/no')) + GET('/yes')], ['0 POST /b', '1 GET /yes']],
    [
      'such a body in a segment of its own',
      [POST('', `Content-Length: ${GET('/no').length}\r\n`), GET('/no'), GET('/yes')],
      ['0 POST /b', '1 GET /yes'],
    ],
    [
      'a chunked one',
      [POST(`${GET('/no').length.toString(16)}\r\n${GET('/no')}\r\n0\r\n\r\n`, CHUNKED) + GET('/yes')],
      ['0 POST /b', '1 GET /yes'],
    ],
    [
      'chunk extensions and trailers',
      [POST('1;a="b"\r\nx\r\n2 ;c\r\nyz\r\n000\r\nA: b\r\nC: d\r\n\r\n', CHUNKED) + GET('/yes')],
      ['0 POST /b', '1 GET /yes'],
    ],
    ['a GET with a body', [`${GET('/a', 'Content-Length: 3\r\n')}xyz${GET('/b')}`], ['0 GET /a', '1 GET /b']],
    [
      'a TLS hello',
      [`\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03${'\x00'.repeat(90)}`, GET('/no')],
      ['0 unparsed non_http 101'],
    ],
    [
      'the HTTP/2 preface',
      ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04', GET('/no')],
      ['0 unparsed non_http 28'],
    ],
    ['HTTP/0.9', ['GET /\r\n', GET('/no')], ['0 unparsed non_http 7']],
    ['random bytes', ['\x00\xff\x80abc\r\n\r\n', GET('/no')], ['0 unparsed non_http 10']],
    ['a first line with two parts, a byte at a time', [...'AB CD\r\nEF'], ['0 unparsed non_http 7']],
    ['a space first', [' GET / HTTP/1.1\r\n\r\n'], ['0 unparsed non_http 19']],
    [
      'conflicting lengths',
      [POST('', 'Content-Length: 1\r\nContent-Length: 2\r\n'), GET('/no')],
      ['0 POST /b', '1 unparsed non_http 43'],
    ],
    [
      'a length and chunks',
      [POST('', `Content-Length: 1\r\n${CHUNKED}`) + GET('/no'), GET('/no')],
      ['0 POST /b', '1 unparsed non_http 43'],
    ],
    [
      'chunks in HTTP/1.0',
      ['POST /b HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
      ['0 POST /b', '1 unparsed non_http 5'],
    ],
    ['a bad framing with nothing behind', [POST('', 'Content-Length: x\r\n')], ['0 POST /b']],
    ['a chunk size that is none', [POST('zz\r\n', CHUNKED) + GET('/no')], ['0 POST /b', '1 unparsed non_http 47']],
    [
      'a bare line feed in chunked framing',
      [POST(`1\nx\r\n0\r\n\r\n`, CHUNKED)],
      ['0 POST /b', '1 unparsed non_http 9'],
    ],
    ['a chunk longer than it says', [POST(`1\r\nxx\r\n0\r\n\r\n`, CHUNKED)], ['0 POST /b', '1 unparsed non_http 8']],
    ['a chunk size beyond 13 digits', [POST(`${'0'.repeat(14)}\r\n`, CHUNKED)], ['0 POST /b', '1 unparsed non_http 3']],
    ['non-HTTP behind a request', [`${GET('/a')}\x00\x01`], ['0 GET /a', '1 unparsed non_http 2']],
  ])('reads %s', (_, payloads, lines) => {
    expect(read(...payloads).lines).toEqual(lines);
  });

  it('does not give up on trailers and extensions before the bound, and does behind it', () => {
    const long = 'x'.repeat(MAX_HEAD_BYTES - 10);
    expect(read(POST(`0;${long}\r\n\r\n`, CHUNKED) + GET('/a')).lines).toEqual(['0 POST /b', '1 GET /a']);
    expect(read(POST('0\r\n', CHUNKED), `${long}\r\n`, `A: ${long}\r\n\r\n`, GET('/a')).lines[1]).toMatch(
      /^1 unparsed non_http/,
    );
  });

  it('bounds a head, and reads on at the next segment that begins with a request line', () => {
    const start = 'GET /long HTTP/1.1\r\n';
    const whole = `${start}X: ${'x'.repeat(MAX_HEAD_BYTES - start.length - 7)}\r\n\r\n`;
    expect(whole).toHaveLength(MAX_HEAD_BYTES);
    expect(read(whole).lines).toEqual(['0 GET /long']);
    const half = Math.floor(whole.length / 2);
    expect(read(whole.slice(0, half), `x${whole.slice(half)}`, GET('/a')).lines).toEqual([
      `0 unparsed head_too_large ${MAX_HEAD_BYTES + 1}`,
      '1 GET /a',
    ]);
    expect(read(`${whole.slice(0, -2)}A: b\r\n\r\n`, GET('/a')).lines).toEqual([
      `0 unparsed head_too_large ${MAX_HEAD_BYTES + 6}`,
      '1 GET /a',
    ]);
    expect(read('A'.repeat(MAX_HEAD_BYTES), 'A', GET('/no')).lines).toEqual([
      `0 unparsed non_http ${MAX_HEAD_BYTES + 1}`,
    ]);
  });

  it('reads an endless head a byte at a time at a constant cost, within the bound', () => {
    const conversation = read('GET / HTTP/1.1\r\nX: ');
    const start = performance.now();
    for (let i = 0; i < 4 * MAX_HEAD_BYTES; i++) {
      conversation.client(i % 3 === 0 ? '\n' : 'x');
      if (i % 10_000 === 0) expect(conversation.counters.bufferedBytes).toBeLessThanOrEqual(2 * MAX_HEAD_BYTES);
    }
    expect(performance.now() - start).toBeLessThan(3_000);
    expect(conversation.lines).toEqual([`0 unparsed head_too_large ${MAX_HEAD_BYTES + 1}`]);
    expect(conversation.counters.bufferedBytes).toBe(0);
  });

  it('skips an endless run of empty lines without keeping any', () => {
    const conversation = read();
    for (let i = 0; i < 1_000; i++) conversation.client('\r\n'.repeat(500));
    expect(conversation.counters.bufferedBytes).toBe(0);
    expect(conversation.client(GET('/a')).lines).toEqual(['0 GET /a']);
  });

  it('tells of half a head when the connection ends', () => {
    expect(read('GET / HTTP/1.1\r\nHost:').finish().lines).toEqual(['0 unparsed non_http 21', 'ended']);
    expect(read('GET / HTTP/1.1\r\nHost:').reset('ingress').lines).toEqual(['0 unparsed non_http 21', 'ended']);
    const evicted = read('GET / HTTP/1.1\r\nHost:');
    evicted.connection.end(1_001, 'evicted');
    expect(evicted.lines).toEqual(['0 unparsed evicted 21', 'ended']);
    expect(evicted.counters.bufferedBytes).toBe(0);
    expect(read(POST('abc', 'Content-Length: 9\r\n')).finish().lines).toEqual(['0 POST /b', 'ended']);
  });

  it('trusts nothing behind urgent data, which the service may read in another way', () => {
    const conversation = read(GET('/a'));
    const { segment: urgent } = conversation.make('egress', 'GET /b HTTP/1.1\r\nX: y\r\n\r\n', { flags: TCP_URG });
    conversation.push('egress', urgent);
    expect(conversation.client(GET('/c')).lines).toEqual(['0 GET /a', '1 unparsed non_http 25']);
  });
});

describe('gaps in the requests', () => {
  it.each<[string, (c: Conversation) => void, string[]]>([
    [
      'inside a body of known length',
      (c) =>
        c
          .client(POST('12', 'Content-Length: 9\r\n'))
          .lose('egress', '3456')
          .client(`789${GET('/a')}`),
      ['0 POST /b', '1 GET /a'],
    ],
    [
      'up to the end of a body',
      (c) => c.client(POST('12', 'Content-Length: 9\r\n')).lose('egress', '3456789').client(GET('/a')),
      ['0 POST /b', '1 GET /a'],
    ],
    [
      'inside a chunk',
      (c) =>
        c
          .client(POST('9\r\n12', CHUNKED))
          .lose('egress', '3456')
          .client(`789\r\n0\r\n\r\n${GET('/a')}`),
      ['0 POST /b', '1 GET /a'],
    ],
    [
      'over the end of a body',
      (c) =>
        c
          .client(POST('12', 'Content-Length: 3\r\n'))
          .lose('egress', `3${'GET '}`)
          .client('/x HTTP/1.1\r\n\r\n', GET('/a')),
      ['0 POST /b', '1 unparsed gap 4', '2 GET /a'],
    ],
    [
      'over chunk framing',
      (c) => c.client(POST('2\r\n12', CHUNKED)).lose('egress', '\r\n0\r').client(`\n\r\n`, GET('/a')),
      ['0 POST /b', '1 unparsed gap 4', '2 GET /a'],
    ],
    [
      'in a head',
      (c) => c.client('GET /x HTTP/1.1\r\n').lose('egress', 'Host: a\r\n').client('A: b\r\n\r\n', GET('/a')),
      ['0 unparsed gap 26', '1 GET /a'],
    ],
    [
      'of a whole request',
      (c) => c.lose('egress', GET('/x')).client(GET('/a')),
      [`0 unparsed gap ${GET('/x').length}`, '1 GET /a'],
    ],
    [
      'then no request line at a segment start',
      (c) => c.lose('egress', 'xx').client(`y\n${GET('/no')}`, GET('/a')),
      ['0 unparsed gap 2', '1 GET /a'],
    ],
    [
      'two, with nothing read between',
      (c) => c.lose('egress', 'xx').client('yy').lose('egress', 'zz').client(GET('/a')),
      ['0 unparsed gap 2', '1 GET /a'],
    ],
    [
      'behind a framing that is not trusted',
      (c) => c.client(POST('', 'Content-Length: x\r\n')).lose('egress', 'abc').client(GET('/no')),
      ['0 POST /b', '1 unparsed non_http 3'],
    ],
    ['behind TLS', (c) => c.client('\x16\x03').lose('egress', 'abc').client(GET('/no')), ['0 unparsed non_http 2']],
  ])('%s', (_, act, lines) => {
    const conversation = new Conversation();
    act(conversation);
    // What waits behind a hole is given up on once the time for it is over.
    conversation.connection.giveUpHoles(conversation.time + HOLE_TIMEOUT_MS + 1);
    conversation.connection.giveUpHoles(conversation.time + 2 * HOLE_TIMEOUT_MS + 2);
    expect(conversation.lines).toEqual(lines);
    expect(conversation.counters.bufferedBytes).toBe(0);
    expect(conversation.connection.waiting).toBe(false);
  });

  it('the missing rest of a cut packet is one', () => {
    const conversation = new Conversation();
    conversation.deliver(conversation.make('egress', 'GET /x HTTP/1.1\r\nA: b', { cut: 30 }));
    expect(conversation.client(GET('/a')).lines).toEqual(['0 unparsed gap 51', '1 GET /a']);
    const body = new Conversation();
    body.deliver(body.make('egress', POST('ab', 'Content-Length: 6\r\n'), { cut: 4 }));
    expect(body.client(GET('/a')).lines).toEqual(['0 POST /b', '1 GET /a']);
  });

  it('are not ended in the middle of a segment', () => {
    const conversation = new Conversation().lose('egress', 'xx').client('yy');
    conversation.connection.giveUpHoles(conversation.time + HOLE_TIMEOUT_MS + 1);
    // Sent again together with what follows: of this segment only what follows is new.
    conversation.push('egress', segment({ seq: conversation.clientNext - 2, payload: `yy${GET('/no')}` }));
    conversation.lose('egress', GET('/no')).client(GET('/a'));
    expect(conversation.lines).toEqual(['0 unparsed gap 2', '1 GET /a']);
  });

  it('waits a while for late segments before one is told', () => {
    const conversation = new Conversation();
    const late = conversation.make('egress', 'GET /a HTTP/1.1\r\n');
    conversation.client('\r\n');
    conversation.connection.giveUpHoles(conversation.time + HOLE_TIMEOUT_MS);
    expect(conversation.deliver(late).lines).toEqual(['0 GET /a']);
  });
});

describe('connections that were open before', () => {
  it.each<[string, string[], string[]]>([
    ['with a request', [GET('/a'), GET('/b')], ['0 GET /a', '1 GET /b']],
    ['with half a request line', ['GE', 'T /a HTTP/1.1\r\n', '\r\n'], ['0 GET /a']],
    ['with the end of a body', ['blah', GET('/a')], ['0 unparsed gap 4', '1 GET /a']],
    ['with what is no request line after all', ['GET', 'TING\r\nOLD', GET('/a')], ['0 unparsed gap 12', '1 GET /a']],
    ['in the middle of a line', [`xx\r\n\r\n${GET('/no')}`, GET('/a')], ['0 unparsed gap 49', '1 GET /a']],
    ['with TLS', ['\x17\x03\x03abc', '\x17\x03\x03def'], ['0 unparsed gap 6']],
  ])('begin %s', (_, payloads, lines) => {
    expect(new Conversation({ handshake: false }).client(...payloads).lines).toEqual(lines);
  });

  it('attribute the first response too', () => {
    const conversation = new Conversation({ handshake: false });
    conversation.client(GET('/a')).server(OK()).client(GET('/b')).server(OK('', '404 No'));
    expect(conversation.lines).toEqual(['0 GET /a', '0 200', '1 GET /b', '1 404']);
  });

  it('attribute a response behind an informational one', () => {
    const conversation = new Conversation({ handshake: false });
    conversation.client(GET('/a')).server('HTTP/1.1 100 Continue\r\n\r\n').server(OK());
    expect(conversation.lines).toEqual(['0 GET /a', '0 200']);
  });

  it('attribute nothing to pipelined requests', () => {
    const conversation = new Conversation({ handshake: false });
    conversation.client(GET('/1') + GET('/2')).server(OK('', '401 No'));
    expect(conversation.lines).toEqual(['0 GET /1', '1 GET /2']);
  });

  it('end in half a request line that may be none', () => {
    const conversation = new Conversation({ handshake: false }).client('GE');
    conversation.connection.end(2_000);
    expect(conversation.lines).toEqual(['0 unparsed gap 2', 'ended']);
  });

  it('attribute nothing that may answer an earlier request', () => {
    const conversation = new Conversation({ handshake: false });
    conversation.server(OK('', '401 No')).client(GET('/a')).server(OK());
    expect(conversation.lines).toEqual(['0 GET /a', '0 200']);
  });
});

describe('a response that no request explains', () => {
  const HIDDEN = GET('/hidden');
  /** What was told but for the connection's end. */
  const told = (conversation: Conversation): string[] => conversation.lines.filter((line) => line !== 'ended');
  const smuggled = GET('/seen', `Content-Length: ${HIDDEN.length}\r\n`) + HIDDEN;

  it('is told of once: a service that reads requests in what we read as a body', () => {
    const conversation = new Conversation().client(smuggled).server(OK() + OK());
    expect(told(conversation)).toEqual(['0 GET /seen', '0 200']);
    conversation.finish();
    expect(told(conversation)).toEqual(['0 GET /seen', '0 200', '1 unparsed unexplained_response 0']);
    const again = new Conversation()
      .client(smuggled)
      .server(OK() + OK())
      .server(OK())
      .server(OK())
      .finish();
    expect(told(again)).toEqual(['0 GET /seen', '0 200', '1 unparsed unexplained_response 0']);
  });

  it('is told of while the connection is open, when nothing can explain it any more', () => {
    const conversation = new Conversation().client(smuggled).server(OK() + OK());
    expect(conversation.connection.waiting).toBe(true);
    conversation.connection.giveUpHoles(conversation.time + HOLE_TIMEOUT_MS);
    expect(conversation.lines).toHaveLength(2);
    conversation.connection.giveUpHoles(conversation.time + HOLE_TIMEOUT_MS + 1);
    expect(conversation.lines.at(-1)).toBe('1 unparsed unexplained_response 0');
    expect(conversation.connection.waiting).toBe(false);
    conversation.client(GET('/next')).server(OK()).finish();
    expect(told(conversation).slice(3)).toEqual(['2 GET /next', '2 200']);
    expect(conversation.counters.bufferedBytes).toBe(0);
  });

  const UNEXPLAINED = (id: number): string => `${id} unparsed unexplained_response 0`;
  it.each<[string, (conversation: Conversation) => Conversation, string[]]>([
    [
      'goes on with the next request before that is said',
      (one) => one.client(smuggled).server(OK(), OK()).client(GET('/next')).server(OK()),
      ['0 GET /seen', '0 200', '1 GET /next', UNEXPLAINED(2), '1 200'],
    ],
    [
      'has begun the next request',
      (one) => one.client(`${smuggled}G`).server(OK(), OK()).client(GET('/next').slice(1)).server(OK()),
      ['0 GET /seen', '0 200', '1 GET /next', UNEXPLAINED(2)],
    ],
    [
      'sends the next request while the answer is on its way',
      (one) => {
        const { clientNext: ack } = one.client(smuggled).server(OK());
        const next = one.make('egress', GET('/next'));
        const { segment: hidden } = one.make('ingress', OK());
        return one.deliver(next, { direction: 'ingress', segment: { ...hidden, ack } }).server(OK());
      },
      ['0 GET /seen', '0 200', '1 GET /next', UNEXPLAINED(2)],
    ],
  ])('is told of also where the client %s', (_, talk, lines) => {
    expect(told(talk(new Conversation()).finish())).toEqual(lines);
  });

  it('is told of also where it is an error, if nothing was asked for', () => {
    const conversation = new Conversation().client(smuggled).server(OK(), OK('', '404 Not Found')).finish();
    expect(told(conversation)).toEqual(['0 GET /seen', '0 200', UNEXPLAINED(1)]);
  });

  it('is not told of where it is an error that may be for a request on its way', () => {
    const conversation = new Conversation().client(smuggled).server(OK());
    const { clientNext: ack } = conversation;
    const next = conversation.make('egress', GET('/next'));
    const { segment: error } = conversation.make('ingress', OK('', '400 Bad Request'));
    conversation.deliver(next, { direction: 'ingress', segment: { ...error, ack } });
    expect(told(conversation.finish())).toEqual(['0 GET /seen', '0 200', '1 GET /next']);
  });

  it('is no answer to a request that was sent when it had been read, though it comes again behind that', () => {
    const conversation = new Conversation().client(smuggled).server(OK());
    const { segment: hidden } = conversation.make('ingress', OK('', '403 Forbidden'));
    const next = conversation.make('egress', GET('/next'));
    conversation.deliver(next, { direction: 'ingress', segment: { ...hidden, ack: conversation.clientNext } });
    expect(conversation.record.responses).toHaveLength(1);
  });

  it.each<[string, (conversation: Conversation) => Conversation, string[]]>([
    [
      'an error that comes before the whole head does',
      (one) => one.client(GET('/a')).server(OK()).client('GET /b HT').server(OK('', '400 Bad Request')),
      ['0 GET /a', '0 200', '1 unparsed non_http 9'],
    ],
    [
      '408 to a client that is silent',
      (one) => one.client(GET('/a')).server(OK()).server(TIMED_OUT),
      ['0 GET /a', '0 200'],
    ],
    ['408 before any request', (one) => one.server(TIMED_OUT), []],
    ['an answer to half a head', (one) => one.client('GET /a HT').server(OK()), ['0 unparsed non_http 9']],
    [
      'a request that was lost',
      (one) => one.lose('egress', GET('/a')).server(OK()),
      [`0 unparsed gap ${GET('/a').length}`],
    ],
    [
      'informational ones before the answer',
      (one) => one.client(GET('/a')).server(CONTINUE + OK()),
      ['0 GET /a', '0 200'],
    ],
  ])('%s is none', (_, talk, lines) => {
    const conversation = talk(new Conversation());
    conversation.connection.end(conversation.time);
    expect(told(conversation)).toEqual(lines);
  });

  it('is none where the capture has the request later', () => {
    const conversation = new Conversation();
    const request = conversation.make('egress', GET('/a'));
    const response = conversation.make('ingress', OK());
    expect(told(conversation.deliver(response, request).finish())).toEqual(['0 GET /a', '0 200']);
  });

  it('is none of a connection whose beginning was not seen', () => {
    expect(told(new Conversation({ handshake: false }).server(OK()).finish())).toEqual([]);
  });
});

describe('responses', () => {
  it.each<[string, (c: Conversation) => void, string[]]>([
    [
      'by length',
      (c) => c.client(GET('/1')).server(OK()).client(GET('/2')).server(OK('', '404 No')),
      ['0 GET /1', '0 200', '1 GET /2', '1 404'],
    ],
    [
      'pipelined',
      (c) =>
        c
          .client(GET('/1') + GET('/2') + GET('/3'))
          .server(OK() + OK('x', '401 No'))
          .server(OK('', '403 No')),
      ['0 GET /1', '1 GET /2', '2 GET /3', '0 200', '1 401', '2 403'],
    ],
    [
      'bodies that look like responses',
      (c) =>
        c
          .client(GET('/1') + GET('/2'))
          .server(OK(OK('', '401 No')))
          .server(OK('', '403 No')),
      ['0 GET /1', '1 GET /2', '0 200', '1 403'],
    ],
    [
      'chunked',
      (c) =>
        c
          .client(GET('/1'))
          .server(`HTTP/1.1 200 OK\r\n${CHUNKED}\r\n4\r\nHTTP\r\n`)
          .server('0\r\n\r\n')
          .client(GET('/2'))
          .server(OK()),
      ['0 GET /1', '0 200', '1 GET /2', '1 200'],
    ],
    [
      'HEAD',
      (c) =>
        c
          .client(GET('/1').replace('GET', 'HEAD') + GET('/2'))
          .server('HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n')
          .server(OK('', '401 No')),
      ['0 HEAD /1', '1 GET /2', '0 200', '1 401'],
    ],
    [
      '204 and 304',
      (c) =>
        c
          .client(GET('/1') + GET('/2') + GET('/3'))
          .server('HTTP/1.1 204 X\r\nContent-Length: 9\r\n\r\nHTTP/1.1 304 X\r\nContent-Length: 9\r\n\r\n')
          .server(OK()),
      ['0 GET /1', '1 GET /2', '2 GET /3', '0 204', '1 304', '2 200'],
    ],
    [
      'after 100 Continue',
      (c) =>
        c
          .client(POST('', 'Content-Length: 2\r\nExpect: 100-continue\r\n'))
          .server('HTTP/1.1 100 Continue\r\n\r\n')
          .client('ab')
          .server(OK())
          .client(GET('/2'))
          .server(OK('', '401 No')),
      ['0 POST /b', '0 200', '1 GET /2', '1 401'],
    ],
    [
      'until the connection closes',
      (c) => c.client(GET('/1')).server('HTTP/1.0 200 OK\r\n\r\n').server(OK('', '401 No')).finish(),
      ['0 GET /1', '0 200', 'ended'],
    ],
    [
      'a byte at a time',
      (c) =>
        c
          .client(GET('/1'))
          .server(...OK())
          .client(GET('/2'))
          .server(...OK('', '401 No')),
      ['0 GET /1', '0 200', '1 GET /2', '1 401'],
    ],
    ['no HTTP', (c) => c.client(GET('/1')).server('SSH-2.0-x\r\n\r\n'), ['0 GET /1']],
    [
      '101 to an upgrade: then no requests, and that there is more is told once',
      (c) =>
        c
          .client(GET('/1', 'Upgrade: h2c\r\nConnection: upgrade\r\n'))
          .server('HTTP/1.1 101 X\r\n\r\n')
          .client('\x00\x01', GET('/no')),
      ['0 GET /1', '0 101', '1 unparsed non_http 2'],
    ],
    [
      'an upgrade that is refused',
      (c) => c.client(GET('/1', 'Upgrade: h2c\r\n')).server(OK()).client(GET('/2')),
      ['0 GET /1', '0 200', '1 GET /2'],
    ],
    [
      'CONNECT granted, and nothing behind it',
      (c) => c.client('CONNECT a:1 HTTP/1.1\r\n\r\n').server('HTTP/1.1 200 OK\r\n\r\n'),
      ['0 CONNECT a:1', '0 200'],
    ],
    [
      'CONNECT granted by a service that knows none: what follows is not hidden',
      (c) => c.client('CONNECT a:1 HTTP/1.1\r\n\r\n').server('HTTP/1.1 200 OK\r\n\r\n').client(GET('/no')),
      ['0 CONNECT a:1', '0 200', `1 unparsed non_http ${GET('/no').length}`],
    ],
    [
      'CONNECT granted while half a request is there: it is told of',
      (c) =>
        c.client('CONNECT a:1 HTTP/1.1\r\n\r\nGET /no').server('HTTP/1.1 200 OK\r\n\r\n').client(' HTTP/1.1\r\n\r\n'),
      ['0 CONNECT a:1', '0 200', '1 unparsed non_http 7'],
    ],
    [
      'CONNECT refused',
      (c) => c.client('CONNECT a:1 HTTP/1.1\r\n\r\n').server(OK('', '405 No')).client(GET('/2')).server(OK()),
      ['0 CONNECT a:1', '0 405', '1 GET /2', '1 200'],
    ],
  ])('%s', (_, act, lines) => {
    const conversation = new Conversation();
    act(conversation);
    expect(conversation.lines).toEqual(lines);
  });

  it('captured before their request are attributed when the numbers prove it', () => {
    const conversation = new Conversation();
    const request = conversation.make('egress', GET('/1'));
    const response = conversation.make('ingress', OK());
    conversation.deliver(response, request).client(GET('/2')).server(OK('', '401 No'));
    expect(conversation.lines).toEqual(['0 GET /1', '0 200', '1 GET /2', '1 401']);
    expect(conversation.counters.bufferedBytes).toBe(0);
  });

  it('are not attributed to a request that had not arrived when they were sent', () => {
    const conversation = new Conversation();
    const timeout = conversation.make('ingress', OK('', '408 Request Timeout'));
    // The client sends before it sees that: its acknowledgment is still the handshake's.
    const request = segment({ seq: conversation.clientNext, ack: timeout.segment.seq, payload: GET('/1') });
    conversation.deliver(timeout);
    conversation.push('egress', request);
    expect(conversation.lines).toEqual(['0 GET /1']);
  });

  it('a lost request does not shift the rest', () => {
    const conversation = new Conversation();
    conversation.client(GET('/1')).server(OK()).lose('egress', GET('/x')).server(OK('', '401 No'));
    conversation.client(GET('/2'));
    conversation.connection.giveUpHoles(conversation.time + HOLE_TIMEOUT_MS + 1);
    conversation.server(OK('', '403 No')).client(GET('/3')).server(OK());
    expect(conversation.lines).toEqual([
      '0 GET /1',
      '0 200',
      `1 unparsed gap ${GET('/x').length}`,
      '2 GET /2',
      '2 403',
      '3 GET /3',
      '3 200',
    ]);
  });

  it('a lost response does not shift the rest', () => {
    const conversation = new Conversation();
    conversation.client(GET('/1')).lose('ingress', OK('', '401 No')).client(GET('/2')).server(OK());
    conversation.connection.giveUpHoles(conversation.time + HOLE_TIMEOUT_MS + 1);
    conversation.client(GET('/3')).server(OK('', '403 No'));
    expect(conversation.lines).toEqual(['0 GET /1', '1 GET /2', '1 200', '2 GET /3', '2 403']);
  });

  it('a hole in a body of known length loses none', () => {
    const conversation = new Conversation();
    conversation.client(GET('/1')).server('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n12').lose('ingress', '3456');
    conversation.server('789').client(GET('/2')).server(OK('', '401 No'));
    conversation.connection.giveUpHoles(conversation.time + HOLE_TIMEOUT_MS + 1);
    expect(conversation.lines).toEqual(['0 GET /1', '0 200', '1 GET /2', '1 401']);
  });

  it('pipelined ones behind a loss are left unattributed', () => {
    const conversation = new Conversation();
    conversation
      .client(GET('/1') + GET('/2'))
      .lose('ingress', OK('', '401 No'))
      .server(OK());
    conversation.connection.giveUpHoles(conversation.time + HOLE_TIMEOUT_MS + 1);
    expect(conversation.lines).toEqual(['0 GET /1', '1 GET /2']);
  });

  it('requests waiting for one are bounded in number, none is lost', () => {
    const conversation = new Conversation();
    const requests = 3 * MAX_OUTSTANDING;
    for (let i = 0; i < requests; i++) conversation.client(GET('/a'));
    conversation.server(OK());
    expect(conversation.record.requests).toHaveLength(requests);
    expect(conversation.record.responses).toHaveLength(0);
  });

  it.each([
    [0, MAX_OUTSTANDING],
    [1, 0],
  ])('%d more of them than the bound leave %d responses', (more, responses) => {
    const requests = MAX_OUTSTANDING + more;
    const conversation = new Conversation().client(GET('/a').repeat(requests)).server(OK().repeat(requests));
    expect(conversation.record.requests).toHaveLength(requests);
    expect(conversation.record.responses).toHaveLength(responses);
  });
});

describe('AccessKeyId', () => {
  const DOCUMENT = (id: string): string =>
    `{\n  "AccessKeyId" : "${id}",\n  "AccessKeySecret" : "verysecretsecret",\n  "Code": "Success"}`;
  const idOf = (...responses: string[]): string | undefined =>
    new Conversation().client(GET('/a')).server(...responses).record.responses[0]?.accessKeyId;

  it('is taken from the bytes that came with the head', () => {
    expect(idOf(OK(DOCUMENT('STS.NUyrP5YcUPvbRT4mWzyV1jv1v')))).toBe('STS.NUyrP5YcUPvbRT4mWzyV1jv1v');
    expect(idOf(OK('{"AccessKeyId":"ASIAQ3EGTEXAMPLE1234"}'))).toBe('ASIAQ3EGTEXAMPLE1234');
    const response = OK(DOCUMENT('LTAIabcdefgh'));
    expect(idOf(response.slice(0, 20), response.slice(20))).toBe('LTAIabcdefgh');
    const bodyStart = response.indexOf('{');
    expect(idOf(response.slice(0, bodyStart), response.slice(bodyStart))).toBeUndefined();
  });

  it.each([
    ['another status', OK(DOCUMENT('LTAIabcdefgh'), '403 No')],
    ['another name', OK('{"AccessKeyIdX":"LTAIabcdefgh","XAccessKeyId":"LTAIabcdefgh"}')],
    ['a short one', OK(DOCUMENT('LTAI'))],
    ['a long one', OK(DOCUMENT('A'.repeat(65)))],
    ['other characters', OK(DOCUMENT('LTAI/abcdefgh=='))],
    ['escapes', OK(DOCUMENT('LTAI\\u0041bcdefgh'))],
    ['line breaks', OK(DOCUMENT('LTAIabcd\nefgh'))],
    ['no end', 'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"AccessKeyId":"LTAIabcdefgh'],
    ['a number', OK('{"AccessKeyId":12345678}')],
    ['far behind', OK(' '.repeat(5_000) + DOCUMENT('LTAIabcdefgh'))],
    ['in a header', 'HTTP/1.1 200 OK\r\nX: "AccessKeyId":"LTAIabcdefgh"\r\nContent-Length: 0\r\n\r\n'],
  ])('is not: %s', (_, response) => {
    const conversation = new Conversation().client(GET('/a')).server(response);
    expect(conversation.record.responses).toHaveLength(1);
    expect(conversation.record.responses[0]).not.toHaveProperty('accessKeyId');
  });
});

describe('the end of a connection', () => {
  it('is told once', () => {
    const conversation = read(GET('/a')).finish();
    conversation.connection.end(2_000);
    conversation.connection.end(3_000, 'evicted');
    expect(conversation.lines).toEqual(['0 GET /a', 'ended']);
    expect(conversation.connection.over).toBe(true);
  });

  it('comes with a reset, unless its number is far off', () => {
    const conversation = read(GET('/a'));
    conversation.push('ingress', segment({ seq: conversation.serverNext + 0x4000_0000, flags: 4 }));
    expect(conversation.connection.over).toBe(false);
    expect(conversation.reset('ingress').lines).toEqual(['0 GET /a', 'ended']);
    // Refused connection: the reset comes with number 0, before anything else.
    const refused = new Conversation({ handshake: false });
    refused.push('egress', segment({ seq: 7, flags: TCP_SYN }));
    refused.push('ingress', segment({ seq: 0, ack: 8, flags: 4 }));
    expect(refused.lines).toEqual(['ended']);
  });

  it('does not come when only one side is done', () => {
    const conversation = read(GET('/a'));
    conversation.deliver(conversation.make('egress', '', { flags: TCP_FIN }));
    expect(conversation.server(OK()).lines).toEqual(['0 GET /a', '0 200']);
  });

  it('tells of a lost request that only the acknowledgment of it shows', () => {
    const lost = read(GET('/a')).lose('egress', GET('/x')).server(OK()).reset('egress');
    expect(lost.lines).toEqual(['0 GET /a', '0 200', `1 unparsed gap ${GET('/x').length}`, 'ended']);
    // Acknowledging a FIN that was lost is no sign of lost bytes.
    const fin = read(GET('/a'));
    fin.make('egress', '', { flags: TCP_FIN });
    expect(fin.server(OK()).reset('ingress').lines).toEqual(['0 GET /a', '0 200', 'ended']);
  });

  it('gives up what is missing', () => {
    const conversation = read('GET /a HTTP/1.1\r\n').lose('egress', 'A: b\r\n').client('\r\n', GET('/b'));
    conversation.connection.end(1_001);
    expect(conversation.lines).toEqual(['0 unparsed gap 23', '1 GET /b', 'ended']);
    expect(conversation.counters.bufferedBytes).toBe(0);
  });
});

it('keeps no view of the bytes it was given', () => {
  const conversation = new Conversation();
  const text = GET('/a', 'A: b\r\n');
  const first = conversation.make('egress', text.slice(0, 10));
  const third = latin1(text.slice(20));
  const pieces = [first.segment.data, latin1(text.slice(10, 20)), third];
  const second = conversation.make('egress', pieces[1]!);
  conversation.deliver(first);
  pieces[0]!.fill(0);
  conversation.client(third);
  third.fill(0);
  conversation.deliver(second);
  pieces[1]!.fill(0);
  expect(conversation.record.requests[0]?.headers).toEqual([
    { name: 'Host', value: '100.100.100.200' },
    { name: 'A', value: 'b' },
  ]);
});

describe('a head that is sent again before it was acknowledged', () => {
  const [token, other] = [GET('/a', 'X-Token: 1\r\n'), GET('/a', 'X-Other: 1\r\n')];
  const chunk = (text: string): string => `${text.length.toString(16)}\r\n${text}\r\n0\r\n\r\n`;
  const told = ({ lines }: Conversation): string[] => lines.filter((line) => line !== 'ended');
  /** Sends the first texts, a segment each; then the second, as one that begins where the first of these began. */
  function again(first: string[], then: string, between: (conversation: Conversation) => void = () => {}): string[] {
    const conversation = new Conversation();
    const { clientNext } = conversation;
    conversation.client(...first);
    between(conversation);
    conversation.push('egress', segment({ seq: clientNext, ack: conversation.serverNext, payload: then }));
    conversation.connection.end(conversation.time);
    return told(conversation);
  }

  it('with the same bytes is nothing new, however it is cut', () => {
    expect(again([token], token)).toEqual(['0 GET /a']);
    expect(again([...token], token)).toEqual(['0 GET /a']);
    expect(again([token.slice(0, 20), token.slice(20)], token)).toEqual(['0 GET /a']);
    expect(again([token], token.slice(0, 30))).toEqual(['0 GET /a']);
    expect(again([token], token + GET('/b'))).toEqual(['0 GET /a', '1 GET /b']);
  });

  it.each<[string, string[], string]>([
    ['in one piece', [token], other],
    ['in several that were one', [token], other.slice(0, 70)],
    ['in one that was many', [...token], other],
    ['of which only the last byte is another', [token], `${token.slice(0, -1)}x`],
    ['where line ends become a request', ['\r\n'.repeat(other.length / 2), token], other],
    ['with more behind it', [token], other + GET('/b')],
  ])('with other bytes is told of, %s', (_, first, then) => {
    const lines = again(first, then);
    expect(lines.at(-1)).toBe(`${lines.length - 1} unparsed changed_on_resend ${then.length}`);
  });

  it('is told of also where the framing of a chunked body changes, not where a body does', () => {
    const head = POST('', CHUNKED);
    expect(again([head + chunk('abc')], head + chunk('abd')).at(-1)).toMatch(/changed_on_resend/);
    expect(again([POST('abc')], POST('abd'))).toEqual(['0 POST /b']);
  });

  it('is told of behind a FIN and half of the answer, not once the service has acknowledged it', () => {
    const finish = (one: Conversation): unknown => one.deliver(one.make('egress', '', { flags: TCP_FIN }));
    expect(again([token], other, finish)).toEqual(['0 GET /a', `1 unparsed changed_on_resend ${other.length}`]);
    expect(again([token], other, (one) => one.server(OK()))).toEqual(['0 GET /a', '0 200']);
    expect(again([token], other, (one) => one.server(OK().slice(0, 20)))).toEqual(['0 GET /a']);
  });

  it('ends the reading of the connection: what follows may be read otherwise, too', () => {
    const conversation = new Conversation();
    const { clientNext } = conversation;
    conversation.client(token);
    conversation.push('egress', segment({ seq: clientNext, ack: conversation.serverNext, payload: other }));
    expect(told(conversation.client(GET('/b')).server(OK(), OK()).finish())).toEqual([
      '0 GET /a',
      `1 unparsed changed_on_resend ${other.length}`,
      '0 200',
    ]);
  });

  it('is told of where it can not be compared any more: too many pieces, or too many connections', () => {
    const counters = new WireCounters();
    const open = (): { push: (text: string, seq: number) => void; record: Record } => {
      const record = new Record();
      const connection = new Connection(record, counters);
      connection.push('egress', segment({ seq: 0, flags: TCP_SYN }), 0);
      return { record, push: (payload, seq) => connection.push('egress', segment({ seq, ack: 1, payload }), 0) };
    };
    const long = GET('/long', `X: ${'x'.repeat(60_000)}\r\n`);
    const [first, ...rest] = Array.from({ length: 20 }, open);
    first!.push(token, 1);
    first!.push(token, 1);
    expect(first!.record.lines).toEqual(['0 GET /a']);
    for (const one of rest) one.push(long, 1);
    for (const one of rest.slice(-2)) one.push(long, 1);
    first!.push(token, 1);
    expect(first!.record.lines).toEqual(['0 GET /a', `1 unparsed changed_on_resend ${token.length}`]);
    for (const one of rest) expect(one.record.lines).toEqual(['0 GET /long']);

    // Bytes of two in turn do not lie one behind another.
    const [one, two] = [open(), open()];
    for (const [i, byte] of [...long.slice(0, 100)].entries()) for (const each of [one, two]) each.push(byte, 1 + i);
    two.push(long.slice(90, 100), 91);
    one.push(long.slice(0, 10), 1);
    expect(one.record.lines).toEqual(['0 unparsed changed_on_resend 110']);
    expect(two.record.lines).toEqual([]);
  });
});
