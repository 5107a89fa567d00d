import { describe, expect, it } from 'vitest';
import { auditResult } from '../../src/audit/audit-json.js';
import { Clients } from '../../src/audit/clients.js';
import { COVERAGE, type CoverageCode, CoverageNotes, isCoverageJson } from '../../src/audit/coverage.js';
import type { RequestObservation } from '../../src/audit/observation.js';
import { auditText } from '../../src/audit/text.js';
import { stats } from '../output/events.js';
import { HOST, observation, process, sequence } from './support.js';

function result(
  requests: readonly RequestObservation[],
  { notes = [], allowSilent = false }: { notes?: CoverageCode[]; allowSilent?: boolean } = {},
) {
  const clients = new Clients();
  const coverage = new CoverageNotes();
  for (const request of requests) clients.add(request);
  for (const code of notes) coverage.note(code, 3);
  return auditResult({
    clients,
    coverage,
    host: HOST,
    started: 0,
    ended: 1000,
    tracedMs: 1000,
    allowSilent,
    providers: ['alibaba'],
    inventory: [],
  });
}

const GOOD = sequence('token_issue', 'hardened');
const unknown: RequestObservation = {
  ...observation({ verdict: 'hardened', attribution: 'none' }),
  process: undefined as never,
};

describe('the verdict', () => {
  it.each<[string, string, RequestObservation[], Parameters<typeof result>[1]?]>([
    ['ready', 'all use tokens', GOOD],
    ['not_ready', 'one goes without', [...GOOD, observation()]],
    [
      'not_ready',
      'one goes without and is refused already',
      [...GOOD, observation({ status: 403, reasons: ['blocked'] })],
    ],
    ['not_ready', 'one goes without for what is not there', [...GOOD, observation({ status: 404 })]],
    ['not_ready', 'one goes without, although packets were lost', [observation()], { notes: ['ring_dropped'] }],
    ['inconclusive', 'a request of an unknown process', [...GOOD, unknown]],
    ['inconclusive', 'bytes that are no request', [...GOOD, observation({ verdict: 'unparsed', reasons: ['gap'] })]],
    ['inconclusive', 'nothing', []],
    ['inconclusive', 'requests to another cloud only', [observation({ verdict: 'foreign_probe' })]],
    ['ready', 'nothing, where that is allowed', [], { allowSilent: true }],
    ['inconclusive', 'nothing, where that is allowed, with a loss', [], { allowSilent: true, notes: ['not_traced'] }],
    [
      'inconclusive',
      'a client that is refused its tokens',
      [observation({ verdict: 'token_refused', reasons: ['ttl_missing'], status: 400 })],
    ],
    [
      'inconclusive',
      'a client whose token requests nobody answers',
      [observation({ verdict: 'token_issue', reasons: ['no_response'] })],
    ],
    ['inconclusive', 'a client whose tokens are issued and then refused', sequence('token_issue', 'token_invalid')],
    [
      'ready',
      'a client that got no answer to a token request, and then tokens',
      [observation({ verdict: 'token_issue', reasons: ['no_response'] }), ...GOOD],
    ],
    ['inconclusive', 'a client whose tokens are all refused', [observation({ verdict: 'token_invalid', status: 401 })]],
    [
      'ready',
      'a client that was refused a token and then got one',
      sequence('token_refused', 'token_issue', 'hardened'),
    ],
    ['ready', 'a client that asks anew after a 401', sequence('token_invalid', 'token_issue', 'hardened')],
  ])('is %s: %s', (verdict, _, requests, options) => {
    expect(result(requests, options).verdict).toBe(verdict);
  });

  it.each(Object.keys(COVERAGE) as CoverageCode[])('is never ready with %s', (code) => {
    const { verdict, coverage } = result(GOOD, { notes: [code] });
    expect(verdict).toBe('inconclusive');
    expect(coverage).toMatchObject({ complete: false, reasons: [{ code, count: 3 }] });
  });

  it('is not ready with access without a token, also of clients that there was no room for', () => {
    const clients = new Clients({ limits: { clients: 1, characters: 10_000 } });
    for (const request of GOOD) clients.add(request);
    clients.add(observation({ process: process({ unit: 'b.service' }) }));
    const { verdict, totals, other } = auditResult({
      clients,
      coverage: new CoverageNotes(),
      host: HOST,
      started: 0,
      ended: 1,
      tracedMs: 1,
      allowSilent: false,
      providers: [],
      inventory: [],
    });
    expect({ verdict, normal: totals.normal_mode, other }).toEqual({
      verdict: 'not_ready',
      normal: 1,
      other: { requests: 1, normal_mode: 1 },
    });
  });

  it('orders clients by what the switch does to them, then by severity', () => {
    const { clients } = result([
      ...GOOD,
      observation({ process: process({ unit: 'low.service' }) }),
      observation({
        process: process({ unit: 'blocked.service' }),
        status: 403,
        reasons: ['blocked'],
        severity: 'critical',
      }),
      observation({ process: process({ unit: 'critical.service' }), severity: 'critical' }),
    ]);
    expect(clients.map(({ unit, impact }) => [unit, impact])).toEqual([
      ['critical.service', 'breaks'],
      ['low.service', 'breaks'],
      ['blocked.service', 'broken'],
      ['sync.service', 'none'],
    ]);
  });
});

describe('coverage', () => {
  it('has every counter that tells of a loss', () => {
    const lost = {
      ...stats,
      ring_dropped: 1,
      connects_dropped: 2,
      truncated: 3,
      packets_refused: 4,
      packets_abandoned: 5,
      flows_evicted: 6,
      log_errors: 7,
    };
    const notes = new CoverageNotes();
    notes.counters(lost);
    expect(notes.result().reasons.map(({ code, count }) => [code, count])).toEqual([
      ['ring_dropped', 1],
      ['connects_dropped', 2],
      ['truncated', 3],
      ['packets_refused', 4],
      ['packets_abandoned', 5],
      ['flows_evicted', 6],
      ['log_errors', 7],
    ]);
  });

  it('survives JSON, and adds up over runs', () => {
    const first = new CoverageNotes();
    first.note('not_traced', 1, ', for 3 s');
    first.note('ring_dropped', 5);
    const json = JSON.parse(JSON.stringify(first)) as unknown;
    expect(isCoverageJson(json)).toBe(true);
    const second = new CoverageNotes();
    second.note('not_traced', 1, ', for 4 s');
    second.merge(json as never);
    expect(second.result().reasons).toMatchObject([
      { code: 'ring_dropped', count: 5 },
      { code: 'not_traced', count: 2 },
    ]);
    for (const other of [null, {}, [['made_up', 1, '']], [['unparsed', 'x', '']]])
      expect(isCoverageJson(other)).toBe(false);
  });
});

describe('the text', () => {
  it('holds no character that could steer a terminal, whatever is in the requests', () => {
    const evil = '\u001b[2J\u0007\r\n\u202ex';
    const hostile = process({
      executable: `/opt/${evil}`,
      args: ['curl', `http://100.100.100.200/${evil}`],
      unit: evil,
      user: { id: 1, name: evil },
      container: { id: evil, runtime: evil },
      ancestors: [{ pid: 1, name: evil, executable: `/bin/${evil}`, args: [evil] }],
    });
    const text = auditText(
      result([
        observation({
          process: hostile,
          path: `/${evil}`,
          userAgent: `curl/7.1 ${evil}`,
          provider: evil,
          host: { name: evil },
        }),
      ]),
    );
    expect(text).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/);
    expect(text.split('\n').every((line) => !line.startsWith('x'))).toBe(true);
  });

  it('says how the switch is made, and undone, once a host is ready', () => {
    const text = auditText(result(GOOD));
    expect(text).toMatch(/^READY/);
    expect(text).toContain('--HttpTokens required');
    expect(text).toContain('--HttpTokens optional');
    expect(auditText(result([observation()]))).not.toContain('--HttpTokens');
  });
});
