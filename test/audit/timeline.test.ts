import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Timeline } from '../../src/audit/timeline.js';

const sum = (timeline: Timeline) =>
  Object.values(timeline.result().counts)
    .flat()
    .reduce((a, b) => a + b, 0);

describe('the timeline', () => {
  it('has every request in at most 240 buckets, whatever the times, and also merged through JSON', () => {
    const time = fc.oneof(
      fc.integer({ min: 0, max: 4e12 }),
      fc.integer({ min: 1.79e12, max: 1.79e12 + 1e7 }),
      fc.constantFrom(0, 253_402_300_799_999),
    );
    fc.assert(
      fc.property(fc.array(time, { minLength: 1, maxLength: 60 }), fc.array(time, { maxLength: 20 }), (times, more) => {
        const timeline = new Timeline();
        const other = new Timeline();
        for (const at of times) timeline.add(at, at % 2 === 0 ? 'normal_mode' : 'hardened');
        for (const at of more) other.add(at, 'hardened');
        timeline.merge(JSON.parse(JSON.stringify(other)));
        const { start, bucket_ms, counts } = timeline.result();
        expect(sum(timeline)).toBe(times.length + more.length);
        for (const buckets of Object.values(counts)) {
          expect(buckets.length).toBeLessThanOrEqual(240);
          const first = buckets.findIndex((count) => count > 0);
          const earliest = Math.min(...times, ...more);
          if (first === 0) expect(earliest - Date.parse(start)).toBeLessThan(bucket_ms);
        }
      }),
    );
  });

  it('takes no time that can not be one', () => {
    const timeline = new Timeline();
    for (const time of [Number.NaN, -1, 8.64e15, Number.POSITIVE_INFINITY]) timeline.add(time, 'hardened');
    expect(timeline.result()).toEqual({ start: '1970-01-01T00:00:00.000Z', bucket_ms: 1000, counts: {} });
  });

  it('puts requests where they belong', () => {
    const timeline = new Timeline();
    const start = Date.parse('2026-11-22T04:00:00Z');
    for (const second of [0, 0.2, 3, 600]) timeline.add(start + second * 1000, 'normal_mode');
    expect(timeline.result()).toMatchObject({ start: '2026-11-22T04:00:00.000Z', bucket_ms: 5000 });
    expect(
      timeline
        .result()
        .counts.normal_mode!.map((count, i) => [i, count])
        .filter(([, count]) => count! > 0),
    ).toEqual([
      [0, 3],
      [120, 1],
    ]);
  });
});
