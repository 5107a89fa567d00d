import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createEventContext } from '../../src/output/context.js';
import { formatEcs } from '../../src/output/ecs.js';
import { LearnedSecrets } from '../../src/output/learned.js';
import { redactEvent, type ShownRequest } from '../../src/output/redact.js';
import { redactArgs } from '../../src/output/secret-args.js';
import { redactText } from '../../src/output/secret-text.js';
import { formatText } from '../../src/output/text.js';
import type { HttpHeader } from '../../src/wire/types.js';
import { eventOf, requestEvent, requestHead } from './events.js';

const TOKEN = 'AQAAAFd3c+oO7m/Zk1vX9rT5sQ0dE==';
const HEADERS = [
  'X-aliyun-ecs-metadata-token',
  'X-aws-ec2-metadata-token',
  'X-NCP-METADATA-TOKEN',
  'X-Metadata-Token',
  'X-volc-ecs-metadata-token',
  'Metadata-Token',
  'X-Auth-Token',
];
const none = new LearnedSecrets();
const args = (...words: string[]): string[] => redactArgs(words, none, false);

/** Everything that an event becomes. */
function outputs(event: Parameters<typeof redactEvent>[0], learned = new LearnedSecrets()): string {
  const shown = redactEvent(event, learned);
  const text = formatText(shown);
  return `${text.line}\n${JSON.stringify(formatEcs(shown, createEventContext({ hostName: 'h', version: '1' }), text))}`;
}

describe('arguments', () => {
  const rows: [what: string, before: string[], after: string[]][] = [
    [
      'a header option',
      ['curl', '-H', `X-aws-ec2-metadata-token: ${TOKEN}`],
      ['curl', '-H', 'X-aws-ec2-metadata-token: [redacted]'],
    ],
    [
      'no space after the colon',
      ['curl', '-H', `X-Metadata-Token:${TOKEN}`],
      ['curl', '-H', 'X-Metadata-Token:[redacted]'],
    ],
    [
      'glued to its option',
      ['curl', `-HX-aliyun-ecs-metadata-token:${TOKEN}`],
      ['curl', '-HX-aliyun-ecs-metadata-token:[redacted]'],
    ],
    [
      'glued to a cluster',
      ['curl', `-sHX-aliyun-ecs-metadata-token: ${TOKEN}`],
      ['curl', '-sHX-aliyun-ecs-metadata-token: [redacted]'],
    ],
    [
      'a long option',
      ['wget', `--header=x-aliyun-ecs-metadata-token: ${TOKEN}`],
      ['wget', '--header=x-aliyun-ecs-metadata-token: [redacted]'],
    ],
    [
      'a token with spaces and quotes',
      ['curl', '-H', `X-Auth-Token: a "b' c`],
      ['curl', '-H', 'X-Auth-Token: [redacted]'],
    ],
    [
      'header and value apart',
      ['get', '--header', 'X-Auth-Token', TOKEN, '/x'],
      ['get', '--header', 'X-Auth-Token', '[redacted]', '/x'],
    ],
    ['header with colon and value apart', ['get', 'X-Auth-Token:', 'abc'], ['get', 'X-Auth-Token:', '[redacted]']],
    [
      'a token that begins with a slash, apart',
      ['get', 'X-Auth-Token', `/${TOKEN}`],
      ['get', 'X-Auth-Token', '[redacted]'],
    ],
    ['authorization', ['curl', '-H', 'Authorization: Basic dXNlcjpwYXNz'], ['curl', '-H', 'Authorization: [redacted]']],
    [
      'proxy authorization',
      ['curl', '-H', 'proxy-authorization:Digest a="b", c="d"'],
      ['curl', '-H', 'proxy-authorization:[redacted]'],
    ],
    ['a cookie', ['curl', '-HCookie: a=b; c=d'], ['curl', '-HCookie: [redacted]']],
    [
      'the cookie option',
      ['curl', '-b', 'a=b', '--cookie', 'c=d', '-b', 'jar.txt'],
      ['curl', '-b', '[redacted]', '--cookie', '[redacted]', '-b', 'jar.txt'],
    ],
    [
      'curl user',
      ['/usr/bin/curl', '-u', 'me:pass word', 'http://h/'],
      ['/usr/bin/curl', '-u', 'me:[redacted]', 'http://h/'],
    ],
    ['curl user in a cluster', ['sudo', 'curl', '-sSume:pass'], ['sudo', 'curl', '-sSume:[redacted]']],
    [
      'curl user, long',
      ['curl', '--user', 'me:p', '--proxy-user=you:q'],
      ['curl', '--user', 'me:[redacted]', '--proxy-user=you:[redacted]'],
    ],
    [
      'curl bodies',
      ['curl', '-d', 'a=1', '--data-raw', '{"x":1}', '--json={}', '-sd@file', '--data-binary', '@f'],
      ['curl', '-d', '[redacted]', '--data-raw', '[redacted]', '--json=[redacted]', '-sd@file', '--data-binary', '@f'],
    ],
    ['bearer', ['tool', `--auth=Bearer ${TOKEN}`], ['tool', '--auth=Bearer [redacted]']],
    ['bearer apart', ['tool', 'Bearer', TOKEN], ['tool', 'Bearer', '[redacted]']],
    [
      'an option that says it',
      ['x', '--password', 'p w', '--db-password=p,w&x', '--client-secret', 's', '-secret-key', 'k'],
      [
        'x',
        '--password',
        '[redacted]',
        '--db-password=[redacted]',
        '--client-secret',
        '[redacted]',
        '-secret-key',
        '[redacted]',
      ],
    ],
    ['two options that say it', ['x', '--password', '--token', 'abc'], ['x', '--password', '--token', '[redacted]']],
    [
      'environment',
      [
        'env',
        'AWS_SECRET_ACCESS_KEY=abc/d+e',
        'AWS_SESSION_TOKEN=t==',
        'ALIBABA_CLOUD_ACCESS_KEY_SECRET=s',
        'AWS_ACCESS_KEY_ID=AKIA',
      ],
      [
        'env',
        'AWS_SECRET_ACCESS_KEY=[redacted]',
        'AWS_SESSION_TOKEN=[redacted]',
        'ALIBABA_CLOUD_ACCESS_KEY_SECRET=[redacted]',
        'AWS_ACCESS_KEY_ID=AKIA',
      ],
    ],
    [
      'a query',
      ['curl', 'https://h/?Action=A&SecurityToken=ab%2Bc&x=1'],
      ['curl', 'https://h/?Action=A&SecurityToken=[redacted]&x=1'],
    ],
    [
      'user-info',
      ['git', 'clone', 'https://me:p@ss@h.example:8443/r@v.git'],
      ['git', 'clone', 'https://me:[redacted]@h.example:8443/r@v.git'],
    ],
    ['passwords of other tools', ['sshpass', '-p', 'abc', 'ssh', 'h'], ['sshpass', '-p', '[redacted]', 'ssh', 'h']],
    ['mysql, glued only', ['mysql', '-uroot', '-pabc', '-p', 'db'], ['mysql', '-uroot', '-p[redacted]', '-p', 'db']],
  ];
  it.each(rows)('%s', (_what, before, after) => {
    expect(args(...before)).toEqual(after);
  });

  const scripts: [what: string, before: string, after: string][] = [
    [
      'shell, quoted',
      `curl -H "X-aws-ec2-metadata-token: ${TOKEN}" http://h/`,
      'curl -H "X-aws-ec2-metadata-token: [redacted]" http://h/',
    ],
    [
      'shell, not quoted',
      `curl -H X-aws-ec2-metadata-token:${TOKEN} http://h/`,
      'curl -H X-aws-ec2-metadata-token:[redacted] http://h/',
    ],
    ['shell, two words', `get X-Auth-Token ${TOKEN} now`, 'get X-Auth-Token [redacted] now'],
    [
      'shell, options',
      `true; curl -su 'me:p w' -d "a=1" h | cat -u me:x`,
      `true; curl -su 'me:[redacted]' -d "[redacted]" h | cat -u me:x`,
    ],
    ['shell, assignment', `AWS_SESSION_TOKEN=abc aws s3 ls`, 'AWS_SESSION_TOKEN=[redacted] aws s3 ls'],
    [
      'python dictionary',
      `h = {'X-aws-ec2-metadata-token': 'abc', 'Accept': 'b'}`,
      `h = {'X-aws-ec2-metadata-token': '[redacted]', 'Accept': 'b'}`,
    ],
    [
      'python over lines',
      `h = {\n  "X-Metadata-Token":\n    "abc",\n}`,
      `h = {\n  "X-Metadata-Token":\n    "[redacted]",\n}`,
    ],
    [
      'python bytes and f-strings',
      `{'X-Auth-Token': b'abc', "x-auth-token": f"abc"}`,
      `{'X-Auth-Token': b'[redacted]', "x-auth-token": f"[redacted]"}`,
    ],
    ['python item', `h["X-Auth-Token"] = "abc"; go()`, `h["X-Auth-Token"] = "[redacted]"; go()`],
    ['a call', `c.putheader("X-Auth-Token", "abc")`, `c.putheader("X-Auth-Token", "[redacted]")`],
    ['ruby', `{'X-Auth-Token' => 'abc'}`, `{'X-Auth-Token' => '[redacted]'}`],
    ['a concatenation', `"X-Auth-Token: " + "abc"`, `"X-Auth-Token: " + "[redacted]"`],
    [
      'a head in a string',
      String.raw`printf 'GET / HTTP/1.1\r\nX-Auth-Token: abc\r\nCookie: d=e; f\r\nHost: h\r\n\r\n'`,
      String.raw`printf 'GET / HTTP/1.1\r\nX-Auth-Token: [redacted]\r\nCookie: [redacted]\r\nHost: h\r\n\r\n'`,
    ],
    [
      'escaped JSON',
      String.raw`x -j "{\"token\":\"abc\",\"a\":1}"`,
      String.raw`x -j "{\"token\":\"[redacted]\",\"a\":1}"`,
    ],
    [
      'authorization in a script',
      `curl -H 'Authorization: Bearer abc' http://h/`,
      `curl -H 'Authorization: [redacted]' http://h/`,
    ],
  ];
  it.each(scripts)('in a script: %s', (_what, before, after) => {
    expect(args('sh', '-c', before)).toEqual(['sh', '-c', after]);
  });

  const ordinary: string[][] = [
    [
      'curl',
      '-s',
      '-X',
      'PUT',
      'http://100.100.100.200/latest/api/token',
      '-H',
      'X-aliyun-ecs-metadata-token-ttl-seconds: 21600',
    ],
    [
      'curl',
      '-H',
      'X-aws-ec2-metadata-token-ttl-seconds:60',
      '-H',
      'X-aws-ec2-metadata-tokens: a',
      '-o',
      'f',
      'http://h/',
    ],
    [
      'sh',
      '-c',
      'TOKEN=$(curl -sX PUT "http://h/latest/api/token" -H "X-aws-ec2-metadata-token-ttl-seconds: 60"); curl -H "X-aws-ec2-metadata-token: $TOKEN" http://h/',
    ],
    // biome-ignore lint/suspicious/noTemplateCurlyInString: a shell's
    ['sh', '-c', 'curl -u "$USER_AND_PASS" -H "Authorization: Bearer ${T}" http://h/ | jq ".a | (.b)"'],
    ['python3', '-c', 'token = get_token(); r = requests.get(url, headers={"X-Auth-Token": token()})'],
    ['grep', '-rn', 'X-aliyun-ecs-metadata-token', '/etc', './src', '--color'],
    ['find', '/', '-name', 'token', '-o', '-name', '*.key', '!', '-user', 'root:root'],
    ['ssh', '-i', '/root/.ssh/id_rsa', 'user@host', 'tail -n 5 /var/log/a.log'],
    ['docker', 'run', '-u', '1000:1000', '--secret-file=/x', '--use-token=true', '-p', '80:80', 'image'],
    ['mysqldump', '-h', 'db', '-u', 'root', '-p', 'shop'],
    ['java', '-Dsocket-cookie-size=3', '-cp', '/opt/a:/opt/b', 'com.example.TokenServer', '--monkey=1'],
    ['ls', 'my:file', 'a=b', '(x)', '"quoted" | pipe', ''],
  ];
  it.each(ordinary.map((words) => [words] as const))('leaves %j as it is', (words) => {
    expect(redactArgs(words, none, false)).toEqual(words);
  });

  it('knows a value that was cut at the end', () => {
    expect(redactArgs(['curl', '-H', 'X-Auth-Token: AQAAAF'], none, true).at(-1)).toBe('X-Auth-Token: [redacted]');
    expect(redactArgs(['python3', '-c', `h = {'X-Auth-Token': 'AQAA`], none, true).at(-1)).toBe(
      `h = {'X-Auth-Token': '[redacted]`,
    );
  });

  it('leaves the host and port of a URL that was cut', () => {
    for (const url of ['http://100.100.100.200:80', 'http://h:', 'http://[fd00:ec2::254', 'http://h:80/a']) {
      expect(redactArgs(['curl', url], none, true)).toEqual(['curl', url]);
    }
  });

  it('is done twice with the result of once', () => {
    for (const [, before] of rows) {
      const once = args(...before);
      expect(args(...once)).toEqual(once);
    }
  });
});

describe('learned secrets', () => {
  const learned = new LearnedSecrets();
  learned.learn(TOKEN);

  it('finds a token from the wire in any delimited word, padded or not, percent-encoded or not', () => {
    expect(redactText(`a '${TOKEN}' b`, learned).text).toBe(`a '[redacted]==' b`);
    expect(redactArgs(['x', `--t=${TOKEN.replace(/=/g, '')}`], learned, false)).toEqual(['x', '--t=[redacted]']);
    expect(redactText(`/?q=${encodeURIComponent(TOKEN)}&r=1`, learned).text).not.toContain('AQAA');
  });

  it('finds it by its beginning where the text was cut', () => {
    const beginning = TOKEN.slice(0, 20);
    expect(redactText(`x ${beginning}`, learned, true).text).toBe('x [redacted]');
    expect(redactText(`x ${beginning}`, learned, false).text).toBe(`x ${beginning}`);
  });

  it('blanks a word that was shown before it was learned in the same process, and in its ancestor, from then on', () => {
    const fresh = new LearnedSecrets();
    const process = {
      ...requestEvent().attribution.process!,
      args: ['client', TOKEN],
      ancestors: [{ pid: 1, name: 'sh', args: ['sh', TOKEN] }],
    };
    const shown = (headers: readonly HttpHeader[]) => {
      const event = requestEvent({ request: requestHead({ headers }), attribution: { how: 'connect', process } });
      const redacted = redactEvent(event, fresh) as ShownRequest;
      return [redacted.attribution.process!.args![1], redacted.attribution.process!.ancestors[0]!.args![1]];
    };
    expect(shown([])).toEqual([TOKEN, TOKEN]);
    const blanked = ['[redacted]==', '[redacted]=='];
    expect(shown([{ name: 'X-aliyun-ecs-metadata-token', value: TOKEN }])).toEqual(blanked);
    expect(shown([])).toEqual(blanked);
  });

  it('does not let a sender of requests blank commands and addresses of others', () => {
    const hostile = new LearnedSecrets();
    for (const word of [
      'curl',
      '/usr/bin/python3',
      '//100.100.100.200/latest/meta-data/',
      'http://h/a1b2c3d4e5f6a7b8',
      '-a1b2c3d4e5f6a7b8c',
    ]) {
      hostile.learn(word);
    }
    const words = [
      '/usr/bin/python3',
      'http://100.100.100.200/latest/meta-data/',
      'http://h/a1b2c3d4e5f6a7b8',
      '-a1b2c3d4e5f6a7b8c',
    ];
    expect(redactArgs(words, hostile, false)).toEqual(words);
  });

  it('does not blank the path of a finding', () => {
    const path = '/latest/Meta-Data/ram/security-credentials/Role-1';
    const event = requestEvent({
      request: requestHead({ target: path, headers: [{ name: 'X-Auth-Token', value: path }] }),
    });
    expect(outputs(event)).toContain(`GET ${path} HTTP/1.1`);
  });

  it('keeps hashes only, and a bounded number of them', () => {
    const many = new LearnedSecrets();
    for (let i = 0; i < 5000; i++) many.learn(`token-number-${String(i).padStart(8, '0')}`);
    expect(many.size).toBe(4096);
    expect(many.has('token-number-00000000')).toBe(false);
    expect(many.has('token-number-00004999')).toBe(true);
    expect(Object.keys(many)).toEqual([]);
  });

  it('learns from the request itself, before its process is shown', () => {
    const event = eventOf(['client', TOKEN], {
      request: requestHead({ headers: [{ name: 'x-ALIYUN-ecs-metadata-token', value: TOKEN }] }),
    });
    expect(outputs(event)).not.toContain(TOKEN.slice(0, 16));
    expect(outputs(event)).toContain('argv:client [redacted]==');
  });
});

describe('a random token in any supported place is in no output', () => {
  const base64 = fc.uint8Array({ minLength: 15, maxLength: 60 }).map((bytes) => Buffer.from(bytes).toString('base64'));
  const header = fc.constantFrom(...HEADERS);
  const places: ((name: string, token: string) => string[])[] = [
    (name, token) => ['curl', '-H', `${name}: ${token}`, 'http://100.100.100.200/'],
    (name, token) => ['curl', `-H${name}:${token}`],
    (name, token) => ['wget', `--header=${name}: ${token}`],
    (name, token) => ['wget', '--header', `${name.toLowerCase()}:  ${token}`],
    (name, token) => ['sh', '-c', `a=1; curl -s -H "${name}: ${token}" "http://h/" | cat`],
    (name, token) => ['sh', '-c', `a=1; curl -s -H ${name}:${token} http://h/`],
    (name, token) => ['python3', '-c', `import x\nh = {'A': 'b', '${name}': '${token}'}\n`],
    (name, token) => ['python3', '-c', `x["${name}"] = "${token}"`],
    (name, token) => ['node', '-e', `fetch(u, {headers: {"${name}": \`${token}\`}})`],
    (_name, token) => ['x', `AWS_SESSION_TOKEN=${token}`],
    (_name, token) => ['x', '--password', token],
    (_name, token) => ['curl', `http://me:${token.replaceAll('/', '_')}@h/`],
    (_name, token) => ['curl', '-u', `me:${token}`],
    (_name, token) => ['curl', '--data-raw', `{"t":"${token}"}`],
    (_name, token) => ['x', `Authorization: Bearer ${token}`],
    (_name, token) => ['x', `"Bearer ${token}"`],
  ];
  const place = fc.integer({ min: 0, max: places.length - 1 });

  it('in arguments of the process and of its ancestors, whole and cut', () => {
    fc.assert(
      fc.property(header, base64, place, fc.boolean(), fc.nat({ max: 7 }), (name, token, at, truncated, depth) => {
        const words = places[at]!(name, token);
        const own = eventOf(words, {}, truncated);
        const process = own.attribution.process!;
        const ancestors = Array.from({ length: depth + 1 }, (_, i) => ({
          pid: i + 2,
          name: 'sh',
          args: i === depth ? words : ['sh'],
        }));
        const event = { ...own, attribution: { ...own.attribution, process: { ...process, ancestors } } };
        const secret = token.replace(/=+$/, '').replaceAll('/', '_');
        expect(outputs(event).replaceAll('/', '_')).not.toContain(secret);
      }),
      { numRuns: 400 },
    );
  });

  it('in arguments that end within the token', () => {
    fc.assert(
      fc.property(header, base64, place, fc.nat({ max: 80 }), (name, token, at, less) => {
        const words = places[at]!(name, token);
        const last = words.findLastIndex((word) => word.includes(token.slice(0, 8)));
        fc.pre(last >= 0);
        const tokenStart = words[last]!.indexOf(token.slice(0, 8));
        const end = Math.max(tokenStart + 8, words[last]!.length - less);
        const cut = [...words.slice(0, last), words[last]!.slice(0, end)];
        expect(outputs(eventOf(cut, {}, true))).not.toContain(token.slice(0, 8));
      }),
      { numRuns: 400 },
    );
  });

  it('in headers, the target and, once seen on the wire, anywhere', () => {
    fc.assert(
      fc.property(header, base64, fc.constantFrom('?token=', '?a=1&SecurityToken=', '?q='), (name, token, query) => {
        // Learned words have a letter and a digit and are no paths.
        fc.pre(/^[A-Za-z0-9+]/.test(token) && /[0-9]/.test(token));
        const event = eventOf(['client', token, `x=${token}`, `"${token}"`], {
          request: requestHead({
            target: `/latest/${query}${token}&z=1`,
            headers: [
              { name, value: token },
              { name: 'User-Agent', value: `me (${token})` },
              { name: 'Host', value: token },
            ],
          }),
        });
        expect(outputs(event)).not.toContain(token.replace(/=+$/, ''));
      }),
      { numRuns: 200 },
    );
  });

  it('in any header that the outputs do not show', () => {
    const event = requestEvent({
      request: requestHead({ headers: [{ name: 'X-Whatever', value: 'hidden' }] }),
      response: { time: 0, status: 200, version: '1.1', headers: [{ name: 'Set-Cookie', value: 'hidden' }] },
    });
    expect(
      JSON.stringify(redactEvent(event, none), (_, value) => (typeof value === 'bigint' ? 0 : value)),
    ).not.toContain('hidden');
  });
});

describe('hostile sizes', () => {
  const fill = (piece: string, size: number): string => piece.repeat(Math.ceil(size / piece.length)).slice(0, size);
  const pieces = [
    ...[
      'token',
      'token=',
      'token: $(',
      '"token: $( ',
      'authorization: $( ',
      'token=(',
      'token=a.token(',
      'x-auth-token ',
    ],
    ...[
      'token"]]])',
      '://a:',
      '://a@',
      'bearer ',
      ' -',
      ' --token',
      " 'a",
      '" ',
      'a1',
      `${'A'.repeat(15)} `,
      '\\',
      '%41',
      '-',
      '%3d',
    ],
  ];

  // A mebibyte: read once it takes milliseconds, read again from each name on it takes minutes.
  it.each(pieces)('reads a mebibyte of %j once', { timeout: 20_000 }, (piece) => {
    const text = fill(piece, 1024 * 1024);
    for (const before of ['', '"token: ', "curl -H 'a"]) {
      redactText(before + text, none, true);
      redactArgs(['sh', '-c', `curl ${before}${text}`], none, true);
    }
    // Where neither a program nor a secret option is named, and where words are compared with one that was learned.
    const learned = new LearnedSecrets();
    learned.learn(`${fill('a1', 1024)}`);
    redactArgs([` ${text}`, `${text}f`], learned, true);
  });

  it('bounds what is shown and says what was cut', () => {
    const shown = redactEvent(eventOf(['x', fill('ab', 131_072), 'y']), none);
    expect(shown.kind === 'request' && shown.attribution.process?.args?.join(' ').length).toBeLessThan(8300);
    const script = { pid: 2, name: 'sh', args: ['sh', '-c', fill('ab', 8_000)] };
    const parent = redactEvent(
      requestEvent({
        attribution: {
          how: 'connect',
          process: { ...requestEvent().attribution.process!, ancestors: [script, { ...script, pid: 3 }] },
        },
      }),
      none,
    );
    const ancestors = parent.kind === 'request' ? parent.attribution.process!.ancestors : [];
    expect(ancestors.map(({ args }) => args!.join(' ').length)).toEqual([
      expect.closeTo(1_033, -2),
      expect.closeTo(1_033, -2),
    ]);
    expect(ancestors[0]!.args!.at(-1)).toMatch(/^(ab)+\.\.\.\[\+\d+\]$/);
    const line = outputs(eventOf(Array.from({ length: 20_000 }, () => 'bbbbbbbbbb')));
    expect(line).toMatch(/\[\+19\d\d\d arguments\]/);
    expect(outputs(requestEvent({ request: requestHead({ target: `/${fill('c', 65_536)}` }) })).length).toBeLessThan(
      48_000,
    );
  });
});
