import { setTimeout as sleep } from 'node:timers/promises';
import type { Field } from './field.js';
import { hold } from './held-process.js';
import { memoryMiB } from './proc.js';
import { atMost, median, type Row } from './rows.js';
import { losses, startTraced } from './traced.js';

const REST_MS = 1_000;
const LIMIT_MIB = 80;
/** Kept up with on any machine: what memory is needed for is measured, not for how much it lasts. */
const RATE = 4_000;
const WORKERS = 4;
/** As many as are followed (MAX_FLOWS of src/wire/limits.ts). */
const FLOWS = 16_384;

/** Resident memory at rest, and at its peak once many requests have passed, against a Node process that does nothing. */
export async function memory(field: Field, rounds: number, requests: number): Promise<Row[]> {
  const bare: number[] = [];
  const rest: number[] = [];
  const peak: number[] = [];
  const full: number[] = [];
  const lost: string[] = [];
  for (let round = 0; round < rounds; round++) {
    const idle = await hold([process.execPath, '-e', 'process.stdin.resume(); console.log("ready")']);
    await sleep(REST_MS);
    bare.push(memoryMiB(idle.pid).now);
    await idle.end();
    const traced = await startTraced();
    await sleep(REST_MS);
    rest.push(memoryMiB(traced.pid).now);
    const count = requests / WORKERS;
    await field.request({ workers: WORKERS, count, perConnection: 10, rate: RATE });
    await traced.settled();
    peak.push(memoryMiB(traced.pid).peak);
    lost.push(...losses(await traced.stop(), count * WORKERS));
    const crowded = await startTraced();
    const kept = await field.keepOpen(FLOWS);
    try {
      await crowded.settled();
      full.push(memoryMiB(crowded.pid).now);
    } finally {
      await kept.end();
      await crowded.settled();
      lost.push(...losses(await crowded.stop(), FLOWS));
    }
  }
  const row = (name: string, tracer: number[]): Row => ({
    name,
    unit: 'MiB',
    tracer,
    yardstick: 'node that idles',
    against: bare,
    goal: atMost(LIMIT_MIB, median(tracer), `<= ${LIMIT_MIB} MiB`),
  });
  const after = row(`peak memory, ${requests / 1000}k requests`, peak);
  return [
    row('memory at rest', rest),
    lost.length === 0 ? after : { ...after, note: `lost: ${lost.join(', ')}` },
    withoutGoal(row(`memory, ${FLOWS.toLocaleString('en-US')} connections open`, full)),
  ];
}

/** Bounded by the table, and for attacks: no goal of a quiet host. */
const withoutGoal = ({ goal: _, ...row }: Row): Row => row;
