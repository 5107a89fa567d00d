import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LruMap } from '../src/lru.js';
import { FlowIndex, type FlowKey } from '../src/wire/flow-index.js';

const MAX_ENTRIES = 4;
const MAX_BYTES = 20;

/** The same by the words of its description: an array, the least recently used first. */
class Model {
  entries: { key: FlowKey; bytes: number }[] = [];

  get(key: FlowKey): number | undefined {
    const entry = this.entries.find((entry) => entry.key === key);
    if (entry === undefined) return undefined;
    this.entries = [...this.entries.filter((other) => other !== entry), entry];
    return entry.bytes;
  }
  set(key: FlowKey, bytes: number): void {
    this.entries = [...this.entries.filter((entry) => entry.key !== key), { key, bytes }];
    while (this.entries.length > MAX_ENTRIES || (this.bytes > MAX_BYTES && this.entries.length > 1)) {
      this.entries.shift();
    }
  }
  delete(key: FlowKey): void {
    this.entries = this.entries.filter((entry) => entry.key !== key);
  }
  get bytes(): number {
    return this.entries.reduce((sum, { bytes }) => sum + bytes, 0);
  }
}

const key = fc.constantFrom<FlowKey>(1, 2, 3, 2 ** 40, 2n ** 60n, 'a', 'b');

describe('an LruMap', () => {
  it.each([
    ['a Map', () => new Map()],
    ['a FlowIndex', () => new FlowIndex<never>()],
  ])('keeps what was used last, within both bounds, over %s', (_name, index) => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.constantFrom('get', 'set', 'delete'), key, fc.nat(MAX_BYTES + 5)), { maxLength: 100 }),
        (steps) => {
          let weighed = 0;
          const model = new Model();
          const lru = new LruMap<FlowKey, { bytes: number }>(
            MAX_ENTRIES,
            MAX_BYTES,
            {
              take: ({ bytes }) => {
                weighed += bytes;
                return bytes;
              },
              giveBack: ({ bytes }) => {
                weighed -= bytes;
                return bytes;
              },
            },
            index(),
          );
          for (const [what, key, bytes] of steps) {
            if (what === 'get') expect(lru.get(key)?.bytes).toBe(model.get(key));
            else if (what === 'delete') {
              lru.delete(key);
              model.delete(key);
            } else {
              lru.set(key, { bytes });
              model.set(key, bytes);
            }
            expect([lru.size, lru.bytes, weighed]).toEqual([model.entries.length, model.bytes, model.bytes]);
            expect(lru.has(key)).toBe(model.entries.some((entry) => entry.key === key));
          }
          for (const { key, bytes } of [...model.entries]) expect(lru.get(key)?.bytes).toBe(bytes);
        },
      ),
    );
  });

  it('slows down neither at its limit nor for a key that is used all the time', () => {
    const map = new LruMap<number, number>(16_384);
    // A look through all that it holds, each time, would take minutes, and so run into the test's own limit.
    for (let i = 0; i < 1_000_000; i++) {
      map.set(i, i);
      map.get(7);
      map.set(7, i);
    }
    expect(map.size).toBe(16_384);
  });
});
