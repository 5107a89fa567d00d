import fc from 'fast-check';
import { expect, test } from 'vitest';
import { FlowIndex, type FlowKey } from '../../src/wire/flow-index.js';

/** As packet-record.ts makes them: cookies, addresses with ports as negative numbers, and the rest as they are. */
const key: fc.Arbitrary<FlowKey> = fc.oneof(
  fc.integer({ min: 1, max: 40 }),
  fc.maxSafeInteger(),
  fc.integer({ min: 0, max: 40 }).map((port) => -(port * 2 ** 32 + 0x0100000a)),
  fc.constantFrom('10.0.0.1 80', 'fd00::1 80', 1n, 2n ** 63n),
);

test('holds what a Map holds, whatever comes and goes', () => {
  const step = fc.record({ key, removes: fc.boolean() });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 400 }), (steps) => {
      const index = new FlowIndex<number>();
      const map = new Map<FlowKey, number>();
      for (const [i, { key, removes }] of steps.entries()) {
        if (removes) {
          index.delete(key);
          map.delete(key);
        } else {
          index.set(key, i);
          map.set(key, i);
        }
        expect(index.size).toBe(map.size);
      }
      for (const { key } of steps) expect(index.get(key)).toBe(map.get(key));
    }),
  );
});

test('keeps all that are there when it grows, and finds them when most have gone', () => {
  const index = new FlowIndex<number>();
  const keyOf = (i: number): number => -((i % 16) * 2 ** 48 + i * 2 ** 32 + (i >>> 8));
  for (let i = 1; i <= 20_000; i++) index.set(keyOf(i), i);
  for (let i = 1; i <= 20_000; i++) if (i % 7 !== 0) index.delete(keyOf(i));
  expect(index.size).toBe(Math.floor(20_000 / 7));
  for (let i = 1; i <= 20_000; i++) expect(index.get(keyOf(i))).toBe(i % 7 === 0 ? i : undefined);
});
