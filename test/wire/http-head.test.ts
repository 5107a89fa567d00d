import { describe, expect, it } from 'vitest';
import { type BodyFraming, parseHeaders, parseRequestLine, parseStatusLine } from '../../src/wire/http-head.js';
import { MAX_HEAD_BYTES, MAX_HEADERS } from '../../src/wire/limits.js';

describe('a request line', () => {
  it.each([
    ['GET / HTTP/1.1', 'GET', '/', '1.1'],
    ['GET / HTTP/1.0', 'GET', '/', '1.0'],
    ['GET / HTTP/1.3', 'GET', '/', '1.1'],
    ['get / http/1.1', 'get', '/', '1.1'],
    ["!#$%&'*+-.^_`|~09azAZ / HTTP/1.1", "!#$%&'*+-.^_`|~09azAZ", '/', '1.1'],
    ['GET http://100.100.100.200/latest/ HTTP/1.1', 'GET', 'http://100.100.100.200/latest/', '1.1'],
    ['CONNECT 100.100.100.200:80 HTTP/1.1', 'CONNECT', '100.100.100.200:80', '1.1'],
    ['OPTIONS * HTTP/1.1', 'OPTIONS', '*', '1.1'],
    ['GET /a b c HTTP/1.1', 'GET', '/a b c', '1.1'],
    ['GET   /a   HTTP/1.1  ', 'GET', '/a', '1.1'],
    ['GET /\xff\x00\x1b[31m HTTP/1.1', 'GET', '/\xff\x00\x1b[31m', '1.1'],
    ['GET /a HTTP/1.1 HTTP/1.1', 'GET', '/a HTTP/1.1', '1.1'],
  ])('%j is read', (line, method, target, version) => {
    expect(parseRequestLine(line)).toEqual({ method, target, version });
  });

  it.each([
    '',
    ' ',
    'GET',
    'GET /',
    'GET  HTTP/1.1',
    'GET HTTP/1.1',
    ' GET / HTTP/1.1',
    'GET / HTTP/2.0',
    'PRI * HTTP/2.0',
    'GET / HTTP/1.',
    'GET / HTTP/1.10',
    'GET / XHTTP/1.1',
    'GET /HTTP/1.1',
    'G@T / HTTP/1.1',
    'GET\t/\tHTTP/1.1',
    '\x16\x03\x01 / HTTP/1.1',
    'HTTP/1.1 200 OK',
  ])('%j is none', (line) => {
    expect(parseRequestLine(line)).toBeUndefined();
  });
});

describe('a status line', () => {
  it.each([
    ['HTTP/1.1 200 OK', 200],
    ['HTTP/1.0 404', 404],
    ['HTTP/1.1 401 ', 401],
    ['HTTP/1.1  200 OK', 200],
  ])('%j is read', (line, status) => {
    expect(parseStatusLine(line)?.status).toBe(status);
  });
  it.each(['', 'HTTP/1.1', 'HTTP/1.1 20', 'HTTP/1.1 2000', 'HTTP/1.1 099 X', 'HTTP/2 200', 'GET / HTTP/1.1'])(
    '%j is none',
    (line) => {
      expect(parseStatusLine(line)).toBeUndefined();
    },
  );
});

const headersOf = (lines: string): string[][] | undefined =>
  parseHeaders(`GET / HTTP/1.1\r\n${lines}\r\n`, '1.1')?.headers.map(({ name, value }) => [name, value]);

describe('headers', () => {
  it.each<[string, string[][]]>([
    ['Host: a\r\n', [['Host', 'a']]],
    ['host:a\r\n', [['host', 'a']]],
    ['HOST: \t a b \t\r\n', [['HOST', 'a b']]],
    [
      'A: 1\nB: 2\n',
      [
        ['A', '1'],
        ['B', '2'],
      ],
    ],
    [
      'A:\r\nB: x:y\r\n',
      [
        ['A', ''],
        ['B', 'x:y'],
      ],
    ],
    [
      'A: 1\r\n  2\r\n\t3\r\nB: 4\r\n',
      [
        ['A', '1 2 3'],
        ['B', '4'],
      ],
    ],
    [' folded onto nothing\r\nA: 1\r\n', [['A', '1']]],
    ['no colon\r\n: no name\r\nA: 1\r\n', [['A', '1']]],
    ['A : 1\r\n', [['A ', '1']]],
    ['A: \xff\xc3\xa9\x00\r\n', [['A', '\xff\xc3\xa9\x00']]],
    ['A: b\rC: d\r\n', [['A', 'b\rC: d']]],
    ['', []],
  ])('%j', (lines, expected) => {
    expect(headersOf(lines)).toEqual(expected);
  });

  it('are bounded in number', () => {
    expect(headersOf('a:\r\n'.repeat(MAX_HEADERS))).toHaveLength(MAX_HEADERS);
    expect(headersOf('a:\r\n'.repeat(MAX_HEADERS + 1))).toBeUndefined();
  });

  it.each(['x\n', 'x:\ry\n', ' x\n', 'x\r\n', '\r\r\n'])('cost no quadratic time, in lines %j', (line) => {
    const lines = `a: b\r\n${line.repeat(Math.floor((MAX_HEAD_BYTES * 2) / line.length))}`;
    // Linear: some 10 ms each; a search to the end of the head per line took over 1 s, and so runs into the test's own limit.
    for (let i = 0; i < 100; i++) headersOf(lines);
    expect(headersOf('a: b\r\n')).toHaveLength(1);
  });
});

describe('the framing of a body', () => {
  it.each<[BodyFraming, string, string?]>([
    ['none', 'Host: a\r\n'],
    [0, 'Content-Length: 0\r\n'],
    [12, 'content-length:12\r\n'],
    [12, 'Content-Length: 12\r\nContent-Length: 12\r\n'],
    [12, 'Content-Length: 12, 12\r\n'],
    ['unsure', 'Content-Length: 12\r\nContent-Length: 13\r\n'],
    ['unsure', 'Content-Length: 12, 13\r\n'],
    ['unsure', 'Content-Length: 012, 12\r\n'],
    ['unsure', 'Content-Length: +12\r\n'],
    ['unsure', 'Content-Length: -1\r\n'],
    ['unsure', 'Content-Length: 0x10\r\n'],
    ['unsure', 'Content-Length: 1 2\r\n'],
    ['unsure', 'Content-Length:\r\n'],
    ['unsure', 'Content-Length: 9999999999999999\r\n'],
    ['unsure', 'Content-Length : 12\r\n'],
    ['unsure', 'Content-Length: 1\r\n 2\r\n'],
    ['unsure', 'A: b\r\n Content-Length: 12\r\n'],
    ['unsure', 'A: b\rContent-Length: 12\r\n'],
    ['unsure', 'Content-Length\r\n'],
    ['none', 'A: Content-Length: 12\r\n'],
    ['none', 'Content-Lengths: 12\r\n'],
    ['chunked', 'Transfer-Encoding: chunked\r\n'],
    ['chunked', 'transfer-encoding:Chunked\r\n'],
    ['chunked', 'Transfer-Encoding: gzip, chunked\r\n'],
    ['chunked', 'Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n'],
    ['unsure', 'Transfer-Encoding: chunked, gzip\r\n'],
    ['unsure', 'Transfer-Encoding: chunked, chunked\r\n'],
    ['unsure', 'Transfer-Encoding: identity\r\n'],
    ['unsure', 'Transfer-Encoding: xchunked\r\n'],
    ['unsure', 'Transfer-Encoding: \x0bchunked\r\n'],
    ['unsure', 'Transfer-Encoding:\r\n'],
    ['unsure', 'Transfer-Encoding : chunked\r\n'],
    ['unsure', 'Transfer-Encoding: chunked\r\n', '1.0'],
    ['unsure', 'Transfer-Encoding: chunked\r\nContent-Length: 5\r\n'],
  ])('is %j for %j', (framing, lines, version = '1.1') => {
    expect(parseHeaders(`GET / HTTP/1.1\r\n${lines}\r\n`, version)?.framing).toBe(framing);
  });
});
