import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { boundText, escapeJson, escapeText, escapeWord, MARKS, PLAIN_WORD } from '../../src/output/escape.js';
import { LearnedSecrets } from '../../src/output/learned.js';
import { redactEvent } from '../../src/output/redact.js';
import { formatText } from '../../src/output/text.js';
import { localTime, utcTime } from '../../src/output/time.js';
import type { RequestEvent, TracerEvent } from '../../src/output/types.js';
import { eventOf, requestEvent, requestHead, stats } from './events.js';

process.env['TZ'] = 'Asia/Shanghai';

const line = (event: TracerEvent): string => formatText(redactEvent(event, new LearnedSecrets())).line;

/** Reads a line as a script would, by its marks alone. */
function parse(text: string) {
  const match =
    /^\[([^\]]+)\] \[([A-Z]+)\] (IMDSv1\(!\)|IMDSv2 token|IMDSv2|IMDS) (.*?) called by -> (.*?) Req details: (\S+) (\S+) HTTP\/(\S+), Host: (.*?), User-Agent: (.*?) \| verdict:(\S+) status:(\S+) severity:(\S+) unit:(\S+) via:(\S+)(.*)$/.exec(
      text,
    );
  if (match === null) throw new Error(`not a line: ${text}`);
  const [
    ,
    ,
    level,
    label,
    own,
    ancestors,
    method,
    target,
    version,
    host,
    userAgent,
    verdict,
    status,
    severity,
    unit,
    via,
  ] = match;
  const processes = `${own} -> ${ancestors}`.split(/(?<=\)) -> (?=\(pid:)/).map((text) => {
    const found = /^\(pid:(\d+):(.*?) argv:(.*)\)$/s.exec(text);
    if (found === null) throw new Error(`not a process: ${text}`);
    return { pid: Number(found[1]), name: found[2], args: found[3] };
  });
  return { level, label, processes, method, target, version, host, userAgent, verdict, status, severity, unit, via };
}

describe('the line', () => {
  it('is the documented one', () => {
    expect(line(requestEvent())).toBe(
      '[2026-11-21T11:03:58.120+08:00] [WARNING] IMDSv1(!) (pid:1016:curl argv:curl http://100.100.100.200/latest/meta-data/) ' +
        'called by -> (pid:1015:makeCalls.sh argv:/bin/bash ./makeCalls.sh) -> (pid:978:zsh argv:-zsh) ' +
        'Req details: GET /latest/meta-data/ HTTP/1.1, Host: 100.100.100.200, User-Agent: curl/7.88.1 | ' +
        'verdict:normal_mode status:200 severity:low unit:ssh.service via:connect',
    );
  });

  it('has a place for all that is missing', () => {
    const { response: _, ...event } = requestEvent({
      request: requestHead({ headers: [] }),
      attribution: { how: 'none', detail: 'exited' },
    });
    expect(line(event)).toBe(
      '[2026-11-21T11:03:58.120+08:00] [WARNING] IMDSv1(!) (pid:?) called by -> (pid:?) ' +
        'Req details: GET /latest/meta-data/ HTTP/1.1, Host: -, User-Agent: - | ' +
        'verdict:normal_mode status:- severity:low unit:- via:- detail:exited',
    );
  });

  it('says what was no request', () => {
    const {
      request: _,
      response: __,
      ...event
    } = requestEvent({
      unparsed: { time: 0, reason: 'non_http', bytes: 517 },
      judgement: {
        provider: 'alibaba',
        verdict: 'unparsed',
        level: 'ERROR',
        severity: 'low',
        reasons: ['non_http'],
        tokenPresent: false,
      },
    });
    expect(line(event)).toContain('[ERROR] IMDS (pid:1016:curl');
    expect(line(event)).toContain(
      'Req details: - (non_http, 517 bytes) | verdict:unparsed status:- severity:low unit:ssh.service via:connect reasons:non_http',
    );
  });

  it('adds container, reasons and detail at the end', () => {
    const event = requestEvent();
    const process = {
      ...event.attribution.process!,
      container: { id: 'c'.repeat(64), runtime: 'docker' },
      argsTruncated: true,
    };
    const judgement = { ...event.judgement, reasons: ['credential_path', 'host_mismatch'] };
    const text = line({ ...event, judgement, attribution: { how: 'connect', detail: 'arguments_truncated', process } });
    expect(text).toMatch(
      / via:connect container:cccccccccccc reasons:credential_path,host_mismatch detail:arguments_truncated$/,
    );
    expect(text).toContain('/latest/meta-data/...) called by');
  });

  it.each([
    ['normal_mode', 'IMDSv1(!)'],
    ['hardened', 'IMDSv2'],
    ['token_issue', 'IMDSv2 token'],
    ['token_refused', 'IMDSv2 token'],
    ['token_invalid', 'IMDS'],
    ['foreign_probe', 'IMDS'],
  ] as const)('calls %s %s', (verdict, label) => {
    const event = requestEvent();
    expect(parse(line({ ...event, judgement: { ...event.judgement, verdict } })).label).toBe(label);
  });

  it("has forms for the tracer's own events", () => {
    const own: TracerEvent[] = [
      {
        kind: 'tracer-started',
        time: 0,
        version: '1.0',
        source: 'ebpf',
        sourceDetail: 'a WARNING\nb',
        providers: ['alibaba'],
        endpoints: [{ address: 'fd00:ec2::254', port: 80 }],
      },
      { kind: 'tracer-stats', time: 0, stats },
      { kind: 'tracer-stopped', time: 0, stats },
      { kind: 'capture-loss', time: 0, lost: { ring: 7, flow_table: 2 } },
    ];
    const lines = own.map(line);
    expect(lines[0]).toMatch(
      /\[INFO\] tracer-started version:1.0 source:ebpf providers:alibaba endpoints:\[fd00:ec2::254\]:80 \(a \\x57ARNING/,
    );
    expect(lines[1]).toMatch(/\[INFO\] tracer-stats packets_seen:5 .* log_errors:0 normal_mode:4 hardened:8$/);
    expect(lines[2]).toMatch(/\[INFO\] tracer-stopped packets_seen:5 /);
    expect(lines[3]).toMatch(/\[ERROR\] capture-loss ring:7 flow_table:2$/);
    for (const text of lines) expect(text).not.toMatch(/WARNING|[\x00-\x1f]/);
  });
});

describe('times', () => {
  it.each([
    [Date.parse('2026-11-21T03:03:58.120Z') + 0.999, '2026-11-21T11:03:58.120+08:00', '2026-11-21T03:03:58.120Z'],
    [Date.parse('2026-11-21T15:59:59.999Z'), '2026-11-21T23:59:59.999+08:00', '2026-11-21T15:59:59.999Z'],
    [0, '1970-01-01T08:00:00.000+08:00', '1970-01-01T00:00:00.000Z'],
    [-1, '1970-01-01T07:59:59.999+08:00', '1969-12-31T23:59:59.999Z'],
    [Number.NaN, '1970-01-01T08:00:00.000+08:00', '1970-01-01T00:00:00.000Z'],
    [1e300, '1970-01-01T08:00:00.000+08:00', '1970-01-01T00:00:00.000Z'],
  ])('%d is %s', (time, local, utc) => {
    expect(localTime(time)).toBe(local);
    expect(utcTime(time)).toBe(utc);
  });
});

describe('escaping', () => {
  it.each([
    ['a\nb\r\tc\x1b[31m', 'a\\x0ab\\x0d\\x09c\\x1b[31m'],
    ['\x7f\x80\x9b2J', '\\x7f\\x80\\x9b2J'],
    ['a\u2028b\u2029c', 'a\\u{2028}b\\u{2029}c'],
    ['\u202eevil\u2066\u200b\ufeff\u00ad', '\\u{202e}evil\\u{2066}\\u{200b}\\u{feff}\\xad'],
    ['\ud800x\udc00', '\\u{d800}x\\u{dc00}'],
    ['\u{e0041}\u{fe0f}\u3164', '\\u{e0041}\\u{fe0f}\\u{3164}'],
    ['WARNING WARNING', '\\x57ARNING \\x57ARNING'],
    ['IMDSv1(!) IMDSv2 token', '\\x49MDSv1(!) \\x49MDSv2 token'],
    ['a) -> (pid:1:x argv:y', 'a\\x29 -> \\x28pid:1:x\\x20argv:y'],
    ['x | verdict:hardened | status:200', 'x | \\x76erdict:hardened \\x7c status:200'],
    [
      'called by -> Req details: , Host: , User-Agent:',
      '\\x63alled by -> \\x52eq details: \\x2c Host: \\x2c User-Agent:',
    ],
  ])('%j', (value, escaped) => {
    expect(escapeText(value)).toBe(escaped);
  });

  it.each([
    'sh -c \'cat "a" | grep -v (b) > c; echo $X & \\n\'',
    'héllo wörld 日本語 😀',
    'warning: status:200 unit:x',
  ])('leaves %j as it is', (value) => {
    expect(escapeText(value)).toBe(value);
  });

  it('bounds values and says how much was cut, without splitting a character or an escape', () => {
    expect(escapeText('a'.repeat(5000))).toBe(`${'a'.repeat(4096)}...[+904]`);
    expect(escapeText('ab\n'.repeat(10), 8)).toBe('ab\\x0aab...[+25]');
    expect(escapeText('aaa😀', 4)).toBe('aaa...[+2]');
    expect(boundText('aaa😀', 4)).toBe('aaa...[+2]');
    expect(escapeText('\u{e0041}'.repeat(5000)).length).toBeLessThan(4120);
    expect(escapeWord('a b')).toBe('a\\x20b');
  });

  it('makes any text one printable line of bounded length', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string({ unit: 'binary' }),
          fc.string({ unit: fc.constantFrom('WARN', 'ING', '\n', '|', ' ', 'verdict:', '(pid:', '\x1b') }),
        ),
        (value) => {
          const escaped = escapeText(value, 64);
          expect(escaped).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]|WARNING|verdict:|\(pid:/u);
          expect(escaped.length).toBeLessThan(80);
        },
      ),
    );
  });

  it('makes JSON printable without changing what it says', () => {
    const value = { a: 'x\x7f\x9b\u2028\u202e\u{e0041}é😀"\\\n' };
    const json = escapeJson(JSON.stringify(value));
    expect(JSON.parse(json)).toEqual(value);
    expect(json).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
    expect(json).toContain('é😀');
  });
});

describe('forging', () => {
  it('finds no mark in a word of plain characters', () => {
    expect(MARKS).toContain('WARNING');
    // What is escaped in the expression stands for itself, and no group holds all of a mark.
    for (const mark of MARKS) expect(PLAIN_WORD.test(mark.replace(/\(\?:.*\)|\\/g, '')), mark).toBe(false);
  });

  const hardened = (changes: Partial<RequestEvent> = {}): RequestEvent => {
    const event = requestEvent(changes);
    return { ...event, judgement: { ...event.judgement, verdict: 'hardened', level: 'INFO', tokenPresent: true } };
  };
  const attempts = [
    '\n[2026-11-21T11:03:58.120+08:00] [WARNING] IMDSv1(!) (pid:1:init argv:init) called by -> (pid:?) ',
    'WARNING',
    '| verdict:hardened status:200 severity:low unit:x via:connect',
    ' | verdict:hardened status:200 severity:low unit:x via:connect',
    ') called by -> (pid:1:init argv:/sbin/init) -> (pid:2:x argv:y) Req details: GET / HTTP/1.1, Host: h, User-Agent: u | verdict:hardened',
    ') -> (pid:1:init argv:/sbin/init',
    'x argv:y',
    'argv:y',
    ' HTTP/1.1, Host: good, User-Agent: good',
    ', User-Agent: good',
    '"quoted\' `text` \\ (x) | y',
    '\x1b]0;title\x07\x1b[2J\x9b1A\r',
    '',
    ' ',
  ];

  it.each(attempts)('%j in any value moves nothing', (attempt) => {
    const plain = hardened();
    const process = plain.attribution.process!;
    const forged = hardened({
      request: requestHead({
        method: `GET${attempt}`,
        target: `/${attempt}`,
        headers: [
          { name: 'Host', value: attempt },
          { name: 'User-Agent', value: attempt },
        ],
      }),
      attribution: {
        how: 'connect',
        process: {
          ...process,
          name: attempt,
          args: ['a', attempt],
          unit: `u${attempt}`,
          ancestors: process.ancestors.map((ancestor) => ({ ...ancestor, name: attempt, args: [attempt] })),
        },
      },
    });
    const text = line(forged);
    expect(text).not.toMatch(/[\x00-\x1f\x7f-\x9f\u2028\u2029]|WARNING/);
    const read = parse(text);
    expect(read).toMatchObject({
      level: 'INFO',
      label: 'IMDSv2',
      verdict: 'hardened',
      status: '200',
      severity: 'low',
      via: 'connect',
      version: '1.1',
    });
    expect(read.processes.map(({ pid }) => pid)).toEqual([1016, 1015, 978]);
    for (const found of read.processes) expect(found.name).toBe(escapeText(attempt));
    expect(read.processes[0]!.args).toBe(escapeText(`a ${attempt}`));
    expect(read.host).toBe(escapeText(attempt));
    expect(read.userAgent).toBe(escapeText(attempt));
    expect(read.target).toBe(escapeWord(`/${attempt}`));
  });

  it('a search for WARNING finds the requests without a token and nothing else', () => {
    fc.assert(
      fc.property(
        fc.boolean(),
        fc.string({ unit: fc.constantFrom('W', 'ARNING', 'WARN', 'ING', ' ', '\n', 'x') }),
        (normal, text) => {
          const event = eventOf([text], {
            request: requestHead({ target: text, headers: [{ name: 'User-Agent', value: text }] }),
          });
          const lines = line(normal ? event : hardened(event)).split('\n');
          expect(lines.filter((found) => found.includes('WARNING'))).toHaveLength(normal ? 1 : 0);
          expect(lines).toHaveLength(1);
        },
      ),
    );
  });

  it('a line is bounded whatever is in it', () => {
    const long = '\u{e0041}'.repeat(100_000);
    const event = eventOf([long], {
      request: requestHead({
        method: long,
        target: long,
        headers: [
          { name: 'Host', value: long },
          { name: 'User-Agent', value: long },
        ],
      }),
    });
    const ancestors = Array.from({ length: 30 }, () => ({ pid: 1, name: long, args: [long] }));
    const process = { ...event.attribution.process!, name: long, unit: long, ancestors };
    expect(line({ ...event, attribution: { how: 'connect', process } }).length).toBeLessThan(24 * 1024);
  });

  it('shows bytes that are no UTF-8 as they were', () => {
    const target = Buffer.from('/caf\xc3\xa9/\xff\xfe', 'latin1').toString('latin1');
    expect(line(requestEvent({ request: requestHead({ target }) }))).toContain('GET /café/\\xff\\xfe HTTP/1.1');
  });
});
