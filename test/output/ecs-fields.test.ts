import { describe, expect, it } from 'vitest';
import { createEventContext } from '../../src/output/context.js';
import { formatEcs } from '../../src/output/ecs.js';
import type { ShownEvent } from '../../src/output/redact.js';
import { ECS_VERSION, ecsProblems } from './ecs-fields.js';
import { EVERY_EVENT, HOSTILE_EVENTS } from './every-event.js';

const context = createEventContext({ hostName: 'web-1', hostId: 'abc', version: '0.1.0' });
// biome-ignore lint/suspicious/noExplicitAny: what a reader of the JSON has
const ecs = (event: ShownEvent): any => JSON.parse(JSON.stringify(formatEcs(event, context)));

describe('an event as ECS, against the fields that Elastic publishes', () => {
  it.each([...EVERY_EVENT, ...HOSTILE_EVENTS])('has fields that there are, of their types: %s', (_, event) => {
    expect(ecsProblems(ecs(event))).toEqual([]);
    expect(JSON.stringify(ecs(event))).not.toContain('null');
  });

  it('says which version it is of', () => {
    expect(ecs(EVERY_EVENT[0]![1]).ecs.version).toBe(ECS_VERSION);
  });

  it('finds an event wrong that is', () => {
    const event = ecs(EVERY_EVENT[0]![1]);
    const wrong = {
      ...event,
      '@timestamp': '2026-11-21T03:03:58Z',
      event: { ...event.event, kind: 'request', type: ['connection'], category: ['file'] },
      source: { ip: '1.2.3', port: '80' },
      network: { ...event.network, direction: 'out' },
      process: { ...event.process, args: 'curl', pid: 1.5 },
      verdict: 'normal_mode',
    };
    expect(ecsProblems(wrong).sort()).toEqual([
      '@timestamp is no date: "2026-11-21T03:03:58Z"',
      'event.kind has no value request',
      'event.type connection is of none of file',
      'network.direction has no value out',
      'process.args is no array',
      'process.pid is no long: 1.5',
      'source.ip is no ip: "1.2.3"',
      'source.port is no long: "80"',
      'verdict is no field of ECS',
    ]);
  });
});
