import type { RequestEvent, TracerStats } from '../../src/output/types.js';
import type { HttpHeader } from '../../src/wire/types.js';

/** The request of the documented example line, with whatever a test changes. */
export function requestEvent(changes: Partial<RequestEvent> = {}): RequestEvent {
  return {
    kind: 'request',
    time: Date.parse('2026-11-21T03:03:58.120Z') + 0.4,
    client: { address: '172.16.0.10', port: 41234 },
    endpoint: { address: '100.100.100.200', port: 80 },
    family: 4,
    cookie: 20491n,
    request: requestHead(),
    response: { time: Date.parse('2026-11-21T03:03:58.121Z') + 0.9, status: 200, version: '1.1', headers: [] },
    judgement: {
      provider: 'alibaba',
      verdict: 'normal_mode',
      level: 'WARNING',
      severity: 'low',
      reasons: [],
      tokenPresent: false,
    },
    attribution: {
      how: 'connect',
      process: {
        pid: 1016,
        name: 'curl',
        startTime: Date.parse('2026-11-21T03:03:58.100Z'),
        args: ['curl', 'http://100.100.100.200/latest/meta-data/'],
        executable: '/usr/bin/curl',
        entityId: 'host-1016-1',
        user: { id: 0, name: 'root' },
        ancestors: [
          { pid: 1015, name: 'makeCalls.sh', args: ['/bin/bash', './makeCalls.sh'], executable: '/usr/bin/bash' },
          { pid: 978, name: 'zsh', args: ['-zsh'] },
        ],
        unit: 'ssh.service',
        netns: 4026531840,
      },
    },
    ...changes,
  };
}

export function requestHead(
  changes: { method?: string; target?: string; headers?: readonly HttpHeader[] } = {},
): NonNullable<RequestEvent['request']> {
  return {
    time: Date.parse('2026-11-21T03:03:58.120Z') + 0.4,
    method: 'GET',
    target: '/latest/meta-data/',
    version: '1.1',
    headers: [
      { name: 'Host', value: '100.100.100.200' },
      { name: 'User-Agent', value: 'curl/7.88.1' },
      { name: 'Accept', value: '*/*' },
    ],
    headBytes: 97,
    ...changes,
  };
}

/** The same event, made by a process with these arguments. */
export function eventOf(
  args: readonly string[],
  changes: Partial<RequestEvent> = {},
  argsTruncated = false,
): RequestEvent {
  const event = requestEvent(changes);
  const process = event.attribution.process!;
  return { ...event, attribution: { ...event.attribution, process: { ...process, args, argsTruncated } } };
}

export const stats: TracerStats = {
  packets_seen: 5,
  packets_captured: 3,
  ring_dropped: 1,
  packets_passed_over: 1,
  packets_refused: 0,
  packets_abandoned: 0,
  truncated: 0,
  connects_dropped: 0,
  connections: 1,
  requests: 12,
  by_verdict: { normal_mode: 4, hardened: 8 },
  unparsed: 0,
  gaps: 0,
  flows_evicted: 0,
  attributed: 1,
  unattributed: 0,
  log_errors: 0,
};
