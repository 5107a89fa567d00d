import { expect, it } from 'vitest';
import type { Observation } from '../../src/audit/observation.js';
import { Hosts } from '../../src/report/hosts.js';

const HOST = { name: 'h', id: 'h' };
const stats = (counters: Record<string, number>, host = HOST): Observation => ({
  kind: 'stats',
  host,
  time: 1,
  final: false,
  counters,
});

it('keeps the counters that it asks for, whatever others a log names', () => {
  const hosts = new Hosts();
  for (const name of ['aa', 'ab', 'ac', '__proto__', 'constructor']) {
    hosts.add(stats({ ring_dropped: 3, [name]: 1 }), { run: 'r', number: 1 });
    hosts.add({ kind: 'loss', host: HOST, time: 1, lost: { [name]: 1, ring: 2 } }, { run: 'r', number: 1 });
  }
  const [run] = hosts.toJSON()[0]!.runs;
  expect(run!.counters).toEqual({ ring_dropped: 3 });
  expect(Object.keys(run!.losses)).toEqual(['ring_dropped']);
});

it('tells a bounded number of runs apart, and each host by itself', () => {
  const hosts = new Hosts();
  const named = Array.from({ length: 1_000 }, (_, i) => ({ name: `h${i}`, id: `h${i}` }));
  for (const host of named) {
    for (let run = 0; run < 600; run++) hosts.add(stats({ ring_dropped: 0 }, host), { run: `r${run}`, number: 1 });
  }
  const sums = hosts.toJSON();
  expect(sums).toHaveLength(1_000);
  expect(sums.at(-1)!.runs).toHaveLength(1);
  expect(sums.reduce((sum, { runs }) => sum + runs.length, 0)).toBeLessThanOrEqual(500_000 + 1_000);
});
