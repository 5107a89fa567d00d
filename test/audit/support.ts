import type { RequestObservation } from '../../src/audit/observation.js';
import type { Verdict } from '../../src/imds/types.js';

export const HOST = { name: 'vm', id: 'a1' };

/** The request of curl that a script of a service runs, with whatever a test changes. */
export function observation(changes: Partial<RequestObservation> = {}): RequestObservation {
  return {
    kind: 'request',
    host: HOST,
    time: Date.parse('2026-11-22T04:00:00.000Z'),
    latencyMs: 1,
    provider: 'alibaba',
    verdict: 'normal_mode',
    severity: 'low',
    reasons: [],
    endpoint: { address: '100.100.100.200', port: 80 },
    method: 'GET',
    path: '/latest/meta-data/',
    userAgent: 'curl/7.88.1',
    status: 200,
    attribution: 'connect',
    process: process(),
    ...changes,
  };
}

export function process(changes: Partial<NonNullable<RequestObservation['process']>> = {}) {
  return {
    pid: 1016,
    name: 'curl',
    executable: '/usr/bin/curl',
    args: ['curl', '-s', 'http://100.100.100.200/latest/meta-data/'],
    entityId: 'host-1016-1',
    user: { id: 0, name: 'root' },
    unit: 'sync.service',
    ancestors: [{ pid: 1015, name: 'sync.sh', executable: '/usr/bin/bash', args: ['/bin/bash', '/opt/sync.sh'] }],
    ...changes,
  };
}

/** A process of its own for each number, otherwise the same program. */
export const nth = (i: number) => process({ pid: 2000 + i, entityId: `host-${2000 + i}-1` });

/** Requests of one process, by verdict. */
export const sequence = (...verdicts: (Verdict | Partial<RequestObservation>)[]): RequestObservation[] =>
  verdicts.map((step, i) => {
    const time = Date.parse('2026-11-22T04:00:00.000Z') + i * 10;
    return observation(typeof step === 'string' ? { time, verdict: step } : { time, ...step });
  });
