import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fromEcs, fromShown } from '../../src/audit/observation.js';
import { createEventContext } from '../../src/output/context.js';
import { formatEcs } from '../../src/output/ecs.js';
import { LearnedSecrets } from '../../src/output/learned.js';
import { redactEvent } from '../../src/output/redact.js';
import type { TracerEvent } from '../../src/output/types.js';
import { requestEvent, requestHead, stats } from '../output/events.js';

const CONTEXT = createEventContext({ hostName: 'vm', hostId: 'a1', version: '1' });
const HOST = { name: 'vm', id: 'a1' };

const shown = (event: TracerEvent) => redactEvent(event, new LearnedSecrets());
const logged = (event: TracerEvent): unknown => JSON.parse(JSON.stringify(formatEcs(shown(event), CONTEXT)));

/** Times in a log are whole milliseconds, latencies thousandths of one. */
const rounded = (value: unknown): unknown =>
  JSON.parse(JSON.stringify(value), (key, item) =>
    key === 'time' || key === 'startTime'
      ? Math.floor(item)
      : key === 'latencyMs'
        ? Math.round(item * 1000) / 1000
        : item,
  );

const PROCESS = requestEvent().attribution.process!;

describe('an observation', () => {
  const events: [string, TracerEvent][] = [
    ['a request', requestEvent()],
    [
      'a token request',
      requestEvent({
        request: requestHead({ method: 'PUT', target: '/latest/api/token' }),
        judgement: {
          ...requestEvent().judgement,
          verdict: 'token_refused',
          reasons: ['ttl_out_of_range'],
          ttlSeconds: 0,
        },
      }),
    ],
    [
      'one without answer or process',
      {
        ...requestEvent({ attribution: { how: 'none', detail: 'exited' } }),
        response: undefined,
      } as unknown as TracerEvent,
    ],
    [
      'one of a container',
      requestEvent({
        attribution: {
          how: 'procfs',
          process: { ...PROCESS, container: { id: 'abc', runtime: 'docker' }, podUid: 'u', ancestors: [] },
        },
      }),
    ],
    [
      'bytes that are no request',
      {
        ...requestEvent({ unparsed: { time: 1, reason: 'gap', bytes: 3 } }),
        request: undefined,
        response: undefined,
      } as unknown as TracerEvent,
    ],
    ['counters', { kind: 'tracer-stopped', time: 5, stats }],
    [
      'a start',
      {
        kind: 'tracer-started',
        time: 5,
        version: '1',
        source: 'pcap',
        sourceDetail: 'x',
        providers: ['aws'],
        endpoints: [],
      },
    ],
    ['a loss', { kind: 'capture-loss', time: 5, lost: { ring: 3 } }],
  ];
  it.each(events)('is the same of the event and of its log line: %s', (_, event) => {
    const ofShown = rounded(fromShown(shown(event), HOST)) as { process?: { ancestors: Record<string, unknown>[] } };
    const ofLog = rounded(fromEcs(logged(event))) as typeof ofShown;
    // The log has executables of the process and its parent only, and of no process the marks of cut arguments.
    expect(ofLog).toEqual(ofShown);
  });

  it('of a log has nothing of a wrong type, and of no event is none', () => {
    expect(
      fromEcs({
        event: { action: 'imds-request' },
        '@timestamp': '2026-01-01T00:00:00Z',
        imds: { verdict: 'constructor' },
      }),
    ).toBeUndefined();
    expect(fromEcs({ event: { action: 'toString' }, '@timestamp': '2026-01-01T00:00:00Z' })).toBeUndefined();
    expect(
      fromEcs({
        event: { action: 'imds-request' },
        '@timestamp': '2026-01-01T00:00:00Z',
        host: { name: 7 },
        http: { request: { method: ['GET'] }, response: { status_code: '200' } },
        url: { path: 'x'.repeat(10_000) },
        process: { pid: 'one' },
        imds: { verdict: 'normal_mode', severity: 'worst', reasons: ['blocked', 'made_up', 7], attribution: 'connect' },
      }),
    ).toMatchObject({
      host: { name: '' },
      severity: 'low',
      reasons: ['blocked'],
      path: expect.stringMatching(/^x{4096}\.\.\./),
    });
  });

  it('never throws, whatever JSON it is made of', () => {
    const field = fc.oneof(
      fc.jsonValue(),
      fc.constantFrom('imds-request', 'tracer-stats', '2026-01-01T00:00:00Z', 'normal_mode', '__proto__'),
    );
    const object = fc.dictionary(
      fc.constantFrom(
        'event',
        '@timestamp',
        'imds',
        'action',
        'verdict',
        'process',
        'pid',
        'stats',
        'lost',
        'host',
        'user',
        'id',
      ),
      fc.oneof(field, fc.dictionary(fc.string(), field)),
    );
    fc.assert(fc.property(object, (json) => void fromEcs(json)));
  });
});
