import type { Field } from './field.js';
import { median, middleHalf, type Row } from './rows.js';
import { startTraced } from './traced.js';

/** What unrelated connections notice, over loopback: the worst case, for nothing else takes time there. Times, but for bulk a rate. */
const KINDS = [
  { what: 'round-trips', name: 'unrelated round trip', count: 20_000, unit: 'us' },
  { what: 'connects', name: 'unrelated connect and close', count: 8_000, unit: 'us' },
  { what: 'bulk', name: 'unrelated throughput', count: 1_000, unit: 'MiB/s' },
] as const;

/** With the tracer against without; the noise is without against without, before and after (middle half). */
export async function unrelated(field: Field, rounds: number): Promise<Row[]> {
  const found = KINDS.map((kind) => ({
    ...kind,
    before: [] as number[],
    tracer: [] as number[],
    after: [] as number[],
  }));
  const measure = async (when: 'before' | 'tracer' | 'after'): Promise<void> => {
    for (const kind of found) {
      const { seconds, round_trip_us: time } = await field.unrelated(kind.what, kind.count);
      kind[when].push(kind.what === 'bulk' ? kind.count / seconds : time.p50);
    }
  };
  for (let round = 0; round < rounds; round++) {
    await measure('before');
    const traced = await startTraced();
    await measure('tracer');
    await traced.stop();
    await measure('after');
  }
  return found.map(({ what, name, unit, before, tracer, after }): Row => {
    const against = before.map((value, round) => (value + after[round]!) / 2);
    const [low, high] = middleHalf(before.map((value, round) => after[round]! / value));
    // Which of the two came first is chance: the noise is as wide to either side.
    const noise = Math.max(high, 1 / low);
    const ratio = median(tracer.map((value, round) => value / against[round]!));
    return {
      name,
      unit,
      tracer,
      yardstick: 'without tracer',
      against,
      goal: { text: `in noise, ${noise.toFixed(2)}`, met: (what === 'bulk' ? 1 / ratio : ratio) <= noise },
    };
  });
}
