import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Block, BlockQueue, lengthOf } from '../../src/output/block-queue.js';

/** What a queue is asked to do, in any order. */
type Step = { append: Block } | { take: number; keep: number };

const MEGABYTE = 1024 * 1024;
const block: fc.Arbitrary<Block> = fc.oneof(
  fc.string({ unit: 'binary', minLength: 1, maxLength: 20 }),
  fc.string({ unit: 'grapheme-ascii', minLength: 1, maxLength: 20 }),
  fc.uint8Array({ minLength: 1, maxLength: 20 }).map((bytes) => Buffer.from(bytes)),
  // Several of them make more than a piece of memory, and some are longer than one.
  fc.integer({ min: 50_000, max: 400_000 }).map((length) => 'é~'.repeat(length / 2)),
);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ append: block }) },
  {
    weight: 2,
    arbitrary: fc.record({ take: fc.oneof(fc.nat(60), fc.nat(MEGABYTE)), keep: fc.nat(3) }),
  },
);

describe('blocks that wait', () => {
  it('come out as they came in, also those that were put back', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const queue = new BlockQueue();
        let waiting: Buffer[] = [];
        for (const step of steps) {
          if ('append' in step) {
            queue.append(step.append, lengthOf(step.append));
            waiting.push(Buffer.from(step.append as string));
          } else {
            expect(queue.firstLength).toBe(waiting[0]?.length);
            const taken = queue.take(step.take);
            expect(taken === undefined).toBe(waiting.length === 0);
            if (taken === undefined) continue;
            const { bytes, lengths } = taken;
            // The first in any case, and no more than there is room for.
            expect(bytes.length <= step.take || lengths.length === 1).toBe(true);
            const expected = waiting.slice(0, lengths.length);
            expect(lengths).toEqual(expected.map(({ length }) => length));
            expect(bytes.equals(Buffer.concat(expected))).toBe(true);
            // What comes while they are written must not touch them.
            queue.append('later', 5);
            waiting.push(Buffer.from('later'));
            expect(bytes.equals(Buffer.concat(expected))).toBe(true);
            const written = Math.max(lengths.length - step.keep, 0);
            const at = lengths.slice(0, written).reduce((sum, length) => sum + length, 0);
            if (step.keep === 0) queue.taken();
            else queue.putBack({ bytes: bytes.subarray(at), lengths: lengths.slice(written) });
            waiting = waiting.slice(written);
          }
          expect(queue.count).toBe(waiting.length);
        }
        expect(queue.takeAll().equals(Buffer.concat(waiting))).toBe(true);
        expect(queue.count).toBe(0);
        expect(queue.take(1)).toBeUndefined();
      }),
      { numRuns: 300 },
    );
  });

  it('take up no more memory than one time of waiting did', () => {
    const queue = new BlockQueue();
    const before = process.memoryUsage().arrayBuffers;
    const line = 'x'.repeat(1000);
    for (let i = 0; i < 100_000; i++) {
      queue.append(line, 1000);
      if (i % 300 !== 299) continue;
      while (queue.take(100_000) !== undefined) queue.taken();
    }
    // 100 MB went through.
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(4 * MEGABYTE);
  });
});
