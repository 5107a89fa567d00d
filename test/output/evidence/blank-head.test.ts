import { describe, expect, it } from 'vitest';
import { blankRequestHead, blankResponseHead } from '../../../src/output/evidence/blank-head.js';
import { LearnedSecrets } from '../../../src/output/learned.js';
import { parseHeaders } from '../../../src/wire/http-head.js';

const TOKEN = 'AQAAAM5kSoZ1bRYd3fKz';

const request = (head: string, learned = new LearnedSecrets()): string =>
  blankRequestHead(head, parseHeaders(head, '1.1')!.headers, learned).toString('latin1');
const response = (head: string): string => blankResponseHead(head, new LearnedSecrets()).toString('latin1');
const stars = (text: string): string => '*'.repeat(text.length);

describe('the request line', () => {
  const targets: [what: string, target: string, shown: string][] = [
    ['a path', '/latest/meta-data/instance-id', '/latest/meta-data/instance-id'],
    ['the token path', '/latest/api/token', '/latest/api/token'],
    ['a harmless query', '/x?a=b&c=d', '/x?a=b&c=d'],
    ['a token in the query', `/x?a=b&token=${TOKEN}&c=d`, `/x?a=b&token=${stars(TOKEN)}&c=d`],
    [
      'two of them, with all between',
      `/x?token=${TOKEN}&b=c&secret=zz&d=e`,
      `/x?token=${'*'.repeat(TOKEN.length + 14)}&d=e`,
    ],
    ['a password in the origin', 'http://me:pass@100.100.100.200/x', 'http://me:****@100.100.100.200/x'],
    ["a secret's name behind percent-encoding", '/x?%74oken=abcdef', '/x***************'],
    ['spaces', '/a b', '/a b'],
  ];
  it.each(targets)('%s', (_, target, shown) => {
    expect(request(`GET ${target} HTTP/1.1\r\n\r\n`)).toBe(`GET ${shown} HTTP/1.1\r\n\r\n`);
  });

  it('has no token that a header names, whatever it is called in the query', () => {
    expect(request(`GET /x?q=${TOKEN} HTTP/1.1\r\nX-aliyun-ecs-metadata-token: ${TOKEN}\r\n\r\n`)).toBe(
      `GET /x?q=${stars(TOKEN)} HTTP/1.1\r\nX-aliyun-ecs-metadata-token: ${stars(TOKEN)}\r\n\r\n`,
    );
  });

  it('keeps a method, and blanks what is too long for one', () => {
    expect(request('PUT /x HTTP/1.0\n\n')).toBe('PUT /x HTTP/1.0\n\n');
    const method = 'A'.repeat(33);
    expect(request(`${method} /x HTTP/1.1\r\n\r\n`)).toBe(`${stars(method)} /x HTTP/1.1\r\n\r\n`);
  });
});

describe('headers', () => {
  const lines: [what: string, line: string, shown: string][] = [
    ['what frames and names', 'Host: 100.100.100.200', 'Host: 100.100.100.200'],
    ['a client', 'user-agent:curl/7.88.1', 'user-agent:curl/7.88.1'],
    ['a token', `X-aliyun-ecs-metadata-token: ${TOKEN}`, `X-aliyun-ecs-metadata-token: ${stars(TOKEN)}`],
    [
      'a token without a space before it',
      `x-aws-ec2-metadata-token:${TOKEN}`,
      `x-aws-ec2-metadata-token:${stars(TOKEN)}`,
    ],
    ['an empty token, which is none', 'X-aliyun-ecs-metadata-token: ', 'X-aliyun-ecs-metadata-token: '],
    ['a TTL', 'X-aliyun-ecs-metadata-token-ttl-seconds: 21600', 'X-aliyun-ecs-metadata-token-ttl-seconds: 21600'],
    ['a token given as TTL', `X-Metadata-Token-Ttl-Seconds: ${TOKEN}`, `X-Metadata-Token-Ttl-Seconds: ${stars(TOKEN)}`],
    ['Authorization', 'Authorization: Basic bWU6cHc=', 'Authorization: **************'],
    ['Cookie', 'cookie: a=b; c=d', 'cookie: ********'],
    ['a header that nobody knows', 'X-Trace: abc', 'X-Trace: ***'],
    ['a secret in a value that is shown otherwise', 'User-Agent: x token=abc', 'User-Agent: ***********'],
    ['control characters in such a value', 'Host: a\x01b', 'Host: ***'],
    ['white space around', 'Host:\t a b \t', 'Host:\t a b \t'],
    ['a folded line', 'Host: a\r\n secret', 'Host: a\r\n ******'],
    ['a line without a colon', 'secret words', '************'],
    ['a name with spaces', 'my secret: x', '************'],
    ['a name that is too long for one', `${'n'.repeat(129)}: x`, '*'.repeat(132)],
    [
      'a bare CR, which some take for a line end',
      `Host: a\rX-Metadata-Token: ${TOKEN}`,
      `Host: ${stars(`a\rX-Metadata-Token: ${TOKEN}`)}`,
    ],
  ];
  it.each(lines)('%s', (_, line, shown) => {
    expect(request(`GET / HTTP/1.1\r\n${line}\r\n\r\n`)).toBe(`GET / HTTP/1.1\r\n${shown}\r\n\r\n`);
    expect(request(`GET / HTTP/1.1\n${line}\n\n`)).toBe(`GET / HTTP/1.1\n${shown}\n\n`);
  });
});

describe('responses', () => {
  it('keep status, reason of the standard and framing', () => {
    const head =
      'HTTP/1.1 404 Not Found\r\nServer: nginx\r\nContent-Length: 12\r\nETag: "abc"\r\nSet-Cookie: a=b\r\n\r\n';
    const shown =
      'HTTP/1.1 404 Not Found\r\nServer: nginx\r\nContent-Length: 12\r\nETag: *****\r\nSet-Cookie: ***\r\n\r\n';
    expect(response(head)).toBe(shown);
  });
  it('have no other reason phrase', () => {
    expect(response('HTTP/1.1 200 token abc\r\n\r\n')).toBe('HTTP/1.1 200 ***** ***\r\n\r\n');
    expect(response('HTTP/1.1 200\r\n\r\n')).toBe('HTTP/1.1 200\r\n\r\n');
  });
});
