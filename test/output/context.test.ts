import { expect, it } from 'vitest';
import { createEventContext } from '../../src/output/context.js';
import type { ShownEvent } from '../../src/output/redact.js';
import { stats } from './events.js';

const event = (): ShownEvent => ({ kind: 'tracer-stats', time: 0, stats });

it('gives each event an id of its own, across runs', () => {
  const context = createEventContext({ hostName: 'h', version: '1' });
  const ids = [context, context, createEventContext({ hostName: 'h', version: '1' })].map((each) => each.idOf(event()));
  expect(new Set(ids).size).toBe(3);
});

it('gives one event one id, in every format', () => {
  const context = createEventContext({ hostName: 'h', version: '1' });
  const [first, second] = [event(), event()];
  const id = context.idOf(first);
  expect(context.idOf(first)).toBe(id);
  expect(context.idOf(second)).not.toBe(id);
});
