import { readFileSync } from 'node:fs';
import type { Field } from './field.js';
import type { HeldProcess } from './held-process.js';
import { cpuSeconds } from './proc.js';
import type { Row } from './rows.js';
import { losses, startTraced } from './traced.js';

/** What there is more and more of, beside the same requests; each amount against the first. */
interface Growth {
  what: string;
  amounts: readonly number[];
  /** Before the tracer starts, so that its start is measured as well, or with it running. */
  when: 'before' | 'after';
  make: (field: Field, amount: number) => Promise<HeldProcess>;
}

const GROWTHS: readonly Growth[] = [
  {
    what: 'connections open',
    amounts: [0, 1_000, 10_000],
    when: 'after',
    make: (field, amount) => field.keepOpen(amount),
  },
  {
    what: 'processes',
    amounts: [10, 1_000, 10_000],
    when: 'before',
    make: (field, amount) => field.crowd(amount),
  },
  {
    what: 'cgroups and namespaces',
    amounts: [0, 200],
    when: 'before',
    make: (field, amount) => field.crowd(amount, cgroupRoot()),
  },
];

const WORKERS = 2;

/** What a request costs, and how long the start takes, as what surrounds it grows. */
export async function growth(field: Field, rounds: number, requests: number): Promise<Row[]> {
  const rows: Row[] = [];
  for (const { what, amounts, when, make } of GROWTHS) {
    const cost = amounts.map((): number[] => []);
    const start = amounts.map((): number[] => []);
    const lost = new Set<string>();
    for (let round = 0; round < rounds; round++) {
      for (const [i, amount] of amounts.entries()) {
        const surround = async (): Promise<HeldProcess | undefined> =>
          amount === 0 ? undefined : await make(field, amount);
        let held = when === 'before' ? await surround() : undefined;
        try {
          const traced = await startTraced();
          start[i]!.push(traced.startedAfterMs);
          if (when === 'after') {
            held = await surround();
            await traced.settled();
          }
          const before = cpuSeconds(traced.pid);
          await field.request({ workers: WORKERS, count: requests / WORKERS, perConnection: 1, rate: 0 });
          await traced.settled();
          cost[i]!.push(((cpuSeconds(traced.pid) - before) * 1e6) / requests);
          for (const loss of losses(await traced.stop(), requests)) lost.add(loss);
        } finally {
          await held?.end();
        }
      }
    }
    const row = (name: string, unit: string, i: number, of: readonly (readonly number[])[]): Row => ({
      name: `${name}, ${amounts[i]!.toLocaleString('en-US')} ${what}`,
      unit,
      tracer: of[i]!,
      yardstick: `${amounts[0]} ${what}`,
      against: of[0]!,
      ...(lost.size > 0 && { note: `lost: ${[...lost].join(', ')}` }),
    });
    for (let i = 1; i < amounts.length; i++) {
      rows.push(row('CPU a request', 'us', i, cost));
      if (when === 'before') rows.push(row('start', 'ms', i, start));
    }
  }
  return rows;
}

/** Where the cgroup v2 tree is mounted. */
function cgroupRoot(): string {
  const mount = /^\S+ (\S+) cgroup2 /m.exec(readFileSync('/proc/mounts', 'utf8'));
  if (mount === null) throw new Error('cgroup v2 is not mounted: run `mount -t cgroup2 none DIRECTORY`');
  return mount[1]!;
}
