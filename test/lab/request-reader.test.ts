import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type ReadRequest, RequestReader, type Unreadable } from '../../src/lab/request-reader.js';

const bytes = (text: string) => Buffer.from(text, 'latin1');

function read(pieces: readonly Buffer[]): (ReadRequest | Unreadable)[] {
  const received: (ReadRequest | Unreadable)[] = [];
  const reader = new RequestReader((what) => received.push(what));
  for (const piece of pieces) reader.push(piece);
  reader.end();
  return received;
}

const outline = (text: string) =>
  read([bytes(text)]).map((what) => (what.kind === 'request' ? `${what.method} ${what.target}` : what.code));

describe('the service reads', () => {
  test.each([
    ['one request after the other', 'GET /1 HTTP/1.1\r\n\r\nPUT /2 HTTP/1.0\r\na: b\r\n\r\n', ['GET /1', 'PUT /2']],
    ['bare line feeds', 'GET /1 HTTP/1.1\na: b\n\n', ['GET /1']],
    [
      'empty lines before a request',
      '\r\n\r\nGET /1 HTTP/1.1\r\n\r\n\r\nGET /2 HTTP/1.1\r\n\r\n',
      ['GET /1', 'GET /2'],
    ],
    ['bytes that are white space to JavaScript', 'GET /\xa0 HTTP/1.1\r\n\r\n', ['GET /\xa0']],
    [
      'a body by length',
      'POST /1 HTTP/1.1\r\nContent-Length: 5\r\n\r\n\x00\xff\r\n\nGET /2 HTTP/1.1\r\n\r\n',
      ['POST /1', 'GET /2'],
    ],
    [
      'a chunked body with extension and trailers',
      'POST /1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\n\x00\xff\n\r\n0\r\nGET: /no\r\n\r\nGET /2 HTTP/1.1\r\n\r\n',
      ['POST /1', 'GET /2'],
    ],
    ['a body that breaks off', 'POST /1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2', ['POST /1']],
  ])('%s', (_, text, wanted) => {
    expect(outline(text)).toEqual(wanted);
  });

  test('names and values without the white space around them, folded lines joined', () => {
    const [request] = read([bytes('GET / HTTP/1.1\r\nA:b\r\nC \t:\t \xa0d\xa0 \r\nE: f\r\n  g\r\n\r\n')]);
    expect(request).toMatchObject({
      headers: [
        ['A', 'b'],
        ['C', '\xa0d\xa0'],
        ['E', 'f g'],
      ],
    });
  });
});

describe('the service calls unreadable', () => {
  test.each([
    ['a control byte', '\x16\x03\x01', ['no_http']],
    ['another protocol', 'SSH-2.0-x\r\n', ['no_http']],
    ['HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', ['no_http']],
    ['a space in the target', 'GET /a b HTTP/1.1\r\n\r\n', ['no_http']],
    ['a header without colon', 'GET / HTTP/1.1\r\nabc\r\n\r\n', ['no_http']],
    ['garbage after a request, once', 'GET /1 HTTP/1.1\r\n\r\n\0\0\0\0GET /2 HTTP/1.1\r\n\r\n', ['GET /1', 'no_http']],
    ['half a head', 'GET /1 HTTP/1.1\r\nHost', ['incomplete']],
    [
      'a length that is none',
      'GET /1 HTTP/1.1\r\nContent-Length: -1\r\n\r\nGET /2 HTTP/1.1\r\n\r\n',
      ['GET /1', 'bad_body'],
    ],
    [
      'a chunk size that is none',
      'GET /1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n',
      ['GET /1', 'bad_body'],
    ],
    ['a head without end', `GET / HTTP/1.1\r\n${`a: ${'b'.repeat(1000)}\r\n`.repeat(70)}`, ['head_too_large']],
    ['a line without end', 'GET /'.padEnd(70_000, 'a'), ['head_too_large']],
  ])('%s', (_, text, wanted) => {
    expect(outline(text)).toEqual(wanted);
  });
});

test('after it was closed it passes over what comes', () => {
  const received: unknown[] = [];
  const reader: RequestReader = new RequestReader((what) => {
    received.push(what);
    reader.close();
  });
  reader.push(bytes('POST /1 HTTP/1.1\r\nContent-Length: x\r\n\r\nGET /2 HTTP/1.1\r\n\r\n'));
  reader.end();
  expect(received).toMatchObject([{ target: '/1' }]);
});

test('how the bytes are cut makes no difference', () => {
  const parts = fc.constantFrom(
    'GET /1 HTTP/1.1\r\n\r\n',
    'POST /2 HTTP/1.1\r\nContent-Length: 4\r\n\r\nGET ',
    'POST /3 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n\r\n\r\n0\r\n\r\n',
    '\r\n',
    '\x16\x03',
    'GET /half',
  );
  fc.assert(
    fc.property(fc.array(parts, { maxLength: 6 }), fc.array(fc.nat(), { maxLength: 20 }), (texts, cuts) => {
      const all = bytes(texts.join(''));
      const at = [0, ...cuts.map((cut) => cut % (all.length + 1)).sort((a, b) => a - b), all.length];
      const pieces = at.slice(1).map((end, i) => all.subarray(at[i], end));
      expect(read(pieces)).toEqual(read([all]));
    }),
  );
});

test('any bytes are read without an exception, in no more entries than lines', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 2000 }), (any) => {
      const received = read([Buffer.concat([bytes('GET / HTTP/1.1\r\n'), any])]);
      expect(received.length).toBeLessThanOrEqual(2 + any.filter((byte) => byte === 0x0a).length);
    }),
  );
});
