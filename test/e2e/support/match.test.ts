import { describe, expect, test } from 'vitest';
import type { JournalEntry } from '../../../src/lab/journal.js';
import { expectExactlyTheJournal } from './match.js';
import type { EcsEvent } from './tracer.js';

const entry = (port: number, target: string, seq = 0): JournalEntry => ({
  kind: 'request',
  time: 0,
  connection: port,
  seq,
  client: { address: '198.18.0.1', port },
  server: { address: '100.100.100.200', port: 80 },
  provider: 'alibaba',
  method: 'GET',
  target,
  version: '1.1',
  headers: [],
  status: 200,
});

const event = (port: number, target: string, more: Partial<EcsEvent> = {}): EcsEvent => ({
  '@timestamp': '2026-01-01T00:00:00.000Z',
  message: target,
  log: { level: 'WARNING' },
  event: { action: 'imds-request' },
  source: { ip: '198.18.0.1', port },
  destination: { ip: '100.100.100.200', port: 80 },
  http: { request: { method: 'GET' }, response: { status_code: 200 } },
  url: { original: target },
  process: { pid: 7, name: 'curl', args: ['curl', target] },
  imds: { verdict: 'normal_mode' },
  ...more,
});

const wanted = () => ({ verdict: 'normal_mode', pid: 7 });

describe('the comparison of events with the journal', () => {
  test('accepts the same, in whatever order connections come', () => {
    const events = [event(2, '/c'), event(1, '/a'), event(1, '/b')];
    const journal = [entry(1, '/a'), entry(1, '/b', 1), entry(2, '/c')];
    expect(() => expectExactlyTheJournal(events, journal, wanted)).not.toThrow();
  });

  test.each<[string, EcsEvent[], RegExp]>([
    ['a missing event', [event(1, '/a')], /missing: GET \/b/],
    ['an invented event', [event(1, '/a'), event(1, '/b'), event(1, '/b')], /invented: .*\/b/],
    ['another connection', [event(1, '/a'), event(2, '/b')], /missing: GET \/b[\s\S]*invented: .*\/b/],
    ['the order on a connection', [event(1, '/b'), event(1, '/a')], /target is "\/b", not "\/a"/],
    ['a verdict', [event(1, '/a'), event(1, '/b', { imds: { verdict: 'hardened' } })], /verdict is "hardened"/],
    ['a process', [event(1, '/a'), event(1, '/b', { process: { pid: 8, name: 'curl' } })], /pid is 8, not 7/],
    ['an unknown process', [event(1, '/a'), omitProcess(event(1, '/b'))], /pid is undefined, not 7/],
    [
      'a status',
      [event(1, '/a'), event(1, '/b', { http: { request: { method: 'GET' } } })],
      /status is undefined, not 200/,
    ],
  ])('finds %s', (_, events, problem) => {
    expect(() => expectExactlyTheJournal(events, [entry(1, '/a'), entry(1, '/b', 1)], wanted)).toThrow(problem);
  });
});

function omitProcess({ process: _, ...rest }: EcsEvent): EcsEvent {
  return rest;
}
