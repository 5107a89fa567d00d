import { execFileSync } from 'node:child_process';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { exampleRequest, HEADERS, withToken } from '../../src/advice/curl.js';
import { isPlain, shellWord } from '../../src/advice/shell.js';
import { switchAdvice } from '../../src/advice/switch.js';
import { PROVIDERS } from '../../src/imds/providers.js';

const ALIBABA = ['100.100.100.200'];

describe('a curl line', () => {
  it('is written anew with a token', () => {
    expect(withToken(['curl', '-s', 'http://100.100.100.200/latest/meta-data/'], 'alibaba', ALIBABA)).toEqual([
      'TOKEN=$(curl -fsS -m 5 -X PUT -H "X-aliyun-ecs-metadata-token-ttl-seconds: 300" http://100.100.100.200/latest/api/token) && test -n "$TOKEN" &&',
      '  curl -fsS -m 5 -H "X-aliyun-ecs-metadata-token: $TOKEN" http://100.100.100.200/latest/meta-data/',
    ]);
  });

  it.each([
    [['curl', '100.100.100.200/latest/meta-data/'], ' 100.100.100.200/latest/meta-data/'],
    [['/usr/bin/wget', '-qO-', 'http://100.100.100.200/x?a=$(id)'], " 'http://100.100.100.200/x?a=$(id)'"],
    [['curl', "http://100.100.100.200/'; rm -rf / #"], ` 'http://100.100.100.200/'\\''; rm -rf / #'`],
    [['curl', '-o', '100.txt', 'http://example.com/', 'http://100.100.100.200:80/a'], ' http://100.100.100.200:80/a'],
  ])('%j keeps its URL', (args, end) => {
    expect(withToken(args, 'alibaba', ALIBABA)!.at(-1)!.endsWith(end)).toBe(true);
  });

  it.each([
    [['curl', 'http://example.com/']],
    [['curl', '-H', 'Host: 100.100.100.200', 'http://10.0.0.1/']],
    [['curl', 'http://100.100.100.200/\u001b[2J']],
    [['python3', 'http://100.100.100.200/']],
    [['curl']],
    [[]],
  ])('is none in %j', (args) => {
    expect(withToken(args, 'alibaba', ALIBABA)).toBeUndefined();
  });

  // Whoever runs such a line has it in a report that an administrator copies from.
  it.each([
    ['http://100.100.100.200\\@evil.example/x', 'http://100.100.100.200/@evil.example/x'],
    ['http://100.100.100.200#@evil.example/x', 'http://100.100.100.200/'],
    ['http://100.100.100.200?@evil.example/x', 'http://100.100.100.200/?@evil.example/x'],
    ['http://evil.example:x@100.100.100.200/x', 'http://100.100.100.200/x'],
    ['http://user:hunter2@100.100.100.200:80/x', 'http://100.100.100.200/x'],
  ])('sends no token elsewhere, whichever parser reads %s', (url, safe) => {
    const lines = withToken(['curl', url], 'alibaba', ALIBABA)!;
    expect(lines.at(-1)!.replaceAll("'", '').endsWith(` ${safe}`)).toBe(true);
    expect(lines.join('\n')).not.toContain('hunter2');
  });

  it.each([
    ['ftp://100.100.100.200/x'],
    ['other://100.100.100.200/x'],
    ['https://100.100.100.200/x'],
    ['http://100.100.100.200/x?token=[redacted]'],
    ['http://100.100.100.200/long...[+120]'],
  ])('is none of %s, which is not http or not whole', (url) => {
    expect(withToken(['curl', url], 'alibaba', ALIBABA)).toBeUndefined();
  });

  it('for a path alone is one of the first address; a path that is not safe to copy is left out', () => {
    expect(exampleRequest('aws', '/latest/user-data').at(-1)).toMatch(
      / http:\/\/169\.254\.169\.254\/latest\/user-data$/,
    );
    expect(exampleRequest('aws', '/\u0007').at(-1)).toMatch(/\/latest\/meta-data\/$/);
  });

  it("has the providers' own header names", () => {
    for (const { name, tokenHeader, ttlHeader } of PROVIDERS) {
      expect(HEADERS[name].token.toLowerCase()).toBe(tokenHeader);
      expect(HEADERS[name].ttl.toLowerCase()).toBe(ttlHeader);
    }
  });
});

describe('a word for a shell', () => {
  it('is that text and nothing else, whatever printable text it is', () => {
    const words = fc.sample(
      fc.string({ unit: fc.integer({ min: 0x20, max: 0x7e }).map((code) => String.fromCharCode(code)), minLength: 1 }),
      200,
    );
    const out = execFileSync('sh', ['-c', `printf '%s\\n' ${words.map(shellWord).join(' ')}`], { encoding: 'utf8' });
    expect(out.split('\n').slice(0, -1)).toEqual(words);
  });

  it('is only made of what is safe to show', () => {
    expect(['a b', "it's", '\u001b', '\n', 'é'].map(isPlain)).toEqual([true, true, false, false, false]);
  });
});

describe('the switch', () => {
  it('has each provider, with a source, and a way back for each command', () => {
    const all = switchAdvice(PROVIDERS.map(({ name }) => name));
    expect(all).toHaveLength(PROVIDERS.length);
    for (const { commands, way_back, source } of all) {
      expect(way_back).toHaveLength(commands.length);
      expect(way_back.map((line) => line.replace('optional', 'required'))).toEqual(commands);
      expect(source).toMatch(/^https:\/\//);
    }
    expect(switchAdvice(['constructor', 'aws', 'aws']).map(({ provider }) => provider)).toEqual(['aws']);
  });
});
