/**
 * Node's own HTTP parser (llhttp, strict) reads the same bytes. It may refuse what is lenient here, for other services do
 * not; but what it takes must be read alike, or told of as unparsed.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { RequestHead } from '../../src/wire/types.js';
import { describeHead, type NodeReading, readWithNode } from './node-parser.js';
import { Conversation, GET, latin1 } from './support.js';

interface OurReading {
  requests: string[];
  heads: RequestHead[];
  unparsed: boolean;
}

function readWithOurs(bytes: Buffer, pieceLength: number): OurReading {
  const conversation = new Conversation();
  for (let at = 0; at < bytes.length; at += pieceLength) conversation.client(bytes.subarray(at, at + pieceLength));
  const heads = conversation.record.requests;
  return {
    heads,
    requests: heads.map((head) =>
      describeHead(
        head.method,
        head.target,
        head.version,
        head.headers.map(({ name, value }) => [name, value] as const),
      ),
    ),
    unparsed: conversation.record.told.some((told) => told.kind === 'unparsed'),
  };
}

const has = (head: RequestHead | undefined, name: string): boolean =>
  head?.headers.some((header) => header.name.toLowerCase() === name) ?? false;

/** What may differ, and why; anything else is a bug in one of the two. */
const UNDERSTOOD: readonly { why: string; holds: (ours: OurReading, node: NodeReading) => boolean }[] = [
  { why: 'they agree', holds: (ours, node) => same(ours, node) && !ours.unparsed && node.error === undefined },
  {
    why: 'Node refuses the rest: what it took before is read alike',
    holds: (ours, node) => node.error !== undefined && begins(ours.requests, node.requests),
  },
  {
    why: 'Node takes a request line without a version for HTTP/0.9, even with headers; here it is unparsed',
    holds: (ours, node) =>
      ours.unparsed &&
      begins(node.requests, ours.requests) &&
      / 0\.9(\n|$)/.test(node.requests[ours.requests.length] ?? ''),
  },
  {
    why: 'Node takes chunks in HTTP/1.0, which RFC 9112 section 6.1 calls faulty framing; here what follows is unparsed',
    holds: (ours, node) =>
      same(ours, node) &&
      ours.unparsed &&
      ours.heads.at(-1)?.version === '1.0' &&
      has(ours.heads.at(-1), 'transfer-encoding'),
  },
  {
    why: 'Node reads nothing behind a request for an upgrade or a CONNECT; here only a response that grants it ends the requests',
    holds: (ours, node) => {
      const last = ours.heads[node.requests.length - 1];
      return begins(ours.requests, node.requests) && (has(last, 'upgrade') || last?.method === 'CONNECT');
    },
  },
];

const same = (ours: OurReading, node: NodeReading): boolean =>
  ours.requests.length === node.requests.length && begins(ours.requests, node.requests);
const begins = (all: readonly string[], first: readonly string[]): boolean =>
  first.every((request, i) => all[i] === request);

async function compare(text: string, pieceLength = 1_460): Promise<string> {
  // A head that is not whole is no HTTP/1.x already here, and nothing yet to Node: what it says once it is whole decides.
  for (const whole of [text, `${text}\r\n\r\n`]) {
    const bytes = latin1(whole);
    const ours = readWithOurs(bytes, pieceLength);
    const node = await readWithNode(bytes);
    const rule = UNDERSTOOD.find(({ holds }) => holds(ours, node));
    if (rule !== undefined) return rule.why;
  }
  return `not understood: ${JSON.stringify(text)}`;
}

const message = (targets: fc.Arbitrary<string>, versions: fc.Arbitrary<string>): fc.Arbitrary<string> =>
  fc
    .record({
      method: fc.constantFrom('GET', 'PUT', 'POST', 'HEAD', 'OPTIONS', 'DELETE', 'M-SEARCH'),
      target: targets,
      version: versions,
      headers: fc.array(fc.constantFrom('Host: a', 'host:b', 'A: \t b c \t', 'E:', 'F: \xe9\xff', 'G-_!: "x;y"'), {
        maxLength: 4,
      }),
      body: fc.constantFrom('', 'abc', '\r\n\r\n', GET('/no')),
      framing: fc.constantFrom('length', 'chunked', 'none'),
    })
    .map(({ method, target, version, headers, body, framing }) => {
      const chunks = `${body === '' ? '' : `${body.length.toString(16).toUpperCase()};a=b\r\n${body}\r\n`}0\r\nT: x\r\n\r\n`;
      const [line, content] = {
        length: [`Content-Length: ${body.length}`, body],
        chunked: ['Transfer-Encoding: chunked', chunks],
        none: [undefined, ''],
      }[framing] as [string | undefined, string];
      const lines = [`${method} ${target} HTTP/${version}`, ...headers, ...(line === undefined ? [] : [line])];
      return `${lines.join('\r\n')}\r\n\r\n${content}`;
    });

const TARGETS = [
  '/',
  '/latest/meta-data/',
  '//latest/?',
  '*',
  'http://100.100.100.200/a?b=c',
  '/a%20b',
  "/!$&'()*+,;=:@",
];
const valid = fc.array(message(fc.constantFrom(...TARGETS), fc.constant('1.1')), { minLength: 1, maxLength: 5 });
const odd = fc.array(
  message(fc.constantFrom(...TARGETS, '/\xe9', '/a b', '/"<>\\^`{|}'), fc.constantFrom('1.1', '1.1', '1.0')),
  {
    minLength: 1,
    maxLength: 3,
  },
);
const pieces = fc.constantFrom(
  ...['\r', '\n', '\r\n', '\x00', ' ', '\t', ':', '\x80', 'a', 'Z', '0', '9', '/', '?', ';', ',', '\x0b', '"', '('],
  ...[
    'HTTP/1.1',
    'GET ',
    'Content-Length: 3\r\n',
    'Transfer-Encoding: chunked\r\n',
    'Connection: close\r\n',
    ' folded\r\n',
  ],
  ...['Connection: upgrade\r\nUpgrade: x\r\n', 'Expect: 100-continue\r\n', 'CONNECT a:1 HTTP/1.1\r\n\r\n'],
);
const mutated = fc
  .tuple(odd, fc.array(fc.tuple(fc.nat(600), fc.nat(3), pieces), { maxLength: 3 }))
  .map(([messages, changes]) => {
    let text = messages.join('');
    for (const [where, removed, piece] of changes) {
      const at = where % (text.length + 1);
      text = text.slice(0, at) + piece + text.slice(at + removed);
    }
    return text;
  });

describe("beside Node's own parser", () => {
  it('valid requests are read alike', async () => {
    await fc.assert(
      fc.asyncProperty(valid, fc.integer({ min: 1, max: 1_460 }), async (messages, pieceLength) => {
        expect(await compare(messages.join(''), pieceLength)).toBe('they agree');
      }),
      { numRuns: 500 },
    );
  });

  it('damaged requests differ only where it is understood', async () => {
    const reasons = UNDERSTOOD.map(({ why }) => why);
    await fc.assert(
      fc.asyncProperty(mutated, fc.integer({ min: 1, max: 200 }), async (text, pieceLength) => {
        expect(reasons).toContain(await compare(text, pieceLength));
      }),
      { numRuns: 3_000 },
    );
  });

  it.each<[string, string, string, string[]]>([
    ['HTTP/0.9 with headers', 'GET /x\r\nHost: a\r\n\r\n', 'HTTP/0.9', []],
    ['HTTP/0.9, not whole yet', 'GET /x\r\nHost: a\r\n', 'HTTP/0.9', []],
    ['chunks in HTTP/1.0', 'PUT / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', 'faulty framing', ['PUT']],
    [
      'an upgrade',
      `GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n${GET('/b')}`,
      'an upgrade',
      ['GET', 'GET'],
    ],
    ['CONNECT', `CONNECT a:1 HTTP/1.1\r\n\r\n${GET('/b')}`, 'an upgrade', ['CONNECT', 'GET']],
    [
      'a request behind Connection: close',
      `GET / HTTP/1.1\r\nConnection: close\r\n\r\n${GET('/b')}`,
      'Node refuses',
      ['GET', 'GET'],
    ],
    ['bare line feeds', 'GET / HTTP/1.1\nHost: a\n\n', 'Node refuses', ['GET']],
    ['a bare carriage return', 'GET / HTTP/1.1\r\nA: b\rc\r\n\r\n', 'Node refuses', ['GET']],
    ['a non-ASCII target', 'GET /\xe9 HTTP/1.1\r\n\r\n', 'Node refuses', ['GET']],
    ['a space in the target', 'GET /a b HTTP/1.1\r\n\r\n', 'Node refuses', ['GET']],
    ['an unknown method', 'FOO / HTTP/1.1\r\n\r\n', 'Node refuses', ['FOO']],
    ['a header without a colon', 'GET / HTTP/1.1\r\nabc\r\n\r\n', 'Node refuses', ['GET']],
    ['a space before the colon', 'GET / HTTP/1.1\r\nA : b\r\n\r\n', 'Node refuses', ['GET']],
    ['a length sent twice', `POST / HTTP/1.1\r\n${'Content-Length: 1\r\n'.repeat(2)}\r\nx`, 'Node refuses', ['POST']],
    ['an empty length', 'GET / HTTP/1.1\r\nContent-Length:\r\n\r\n', 'Node refuses', ['GET']],
  ])('%s', async (_, text, why, methods) => {
    expect(await compare(text)).toContain(why);
    expect(readWithOurs(latin1(text), 1_460).heads.map(({ method }) => method)).toEqual(methods);
  });
});
