import type { Field } from './field.js';
import { type ProgramRuns, packetProgramRuns } from './proc.js';
import { atMost, median, type Row } from './rows.js';
import { startTraced } from './traced.js';

const ROUND_TRIPS = 20_000;

/** How many addresses are traced: up to 8 of a family are constants of the program, more are looked up. */
const ENDPOINT_COUNTS = [1, 8, 10, 100, 1_000] as const;

/** What a packet of no interest costs in our packet programs, against programs that do nothing at the same hooks. */
export async function missPath(field: Field, rounds: number): Promise<Row[]> {
  const tracer: number[] = [];
  const empty: number[] = [];
  const stats = await field.hold('stats');
  try {
    for (let round = 0; round < rounds; round++) {
      const holder = await field.hold('empty');
      empty.push(await nanosecondsAPacket(field, holder.pid));
      await holder.end();
      const traced = await startTraced({ endpoints: [] });
      tracer.push(await nanosecondsAPacket(field, traced.pid));
      await traced.stop();
    }
  } finally {
    await stats.end();
  }
  const ratio = median(tracer.map((value, round) => value / empty[round]!));
  const more = median(tracer.map((value, round) => value - empty[round]!));
  return [
    {
      name: 'packet of others, in the kernel',
      unit: 'ns',
      tracer,
      yardstick: 'empty program',
      against: empty,
      goal: atMost(1.1, ratio),
      note: `${more.toFixed(1)} ns more than an empty program; both include what measuring takes`,
    },
  ];
}

/** The same as the addresses that are traced become more. */
export async function missPathByEndpoints(field: Field, rounds: number): Promise<Row[]> {
  const empty: number[] = [];
  const tracer = ENDPOINT_COUNTS.map((): number[] => []);
  const stats = await field.hold('stats');
  try {
    for (let round = 0; round < rounds; round++) {
      const holder = await field.hold('empty');
      empty.push(await nanosecondsAPacket(field, holder.pid));
      await holder.end();
      for (const [i, count] of ENDPOINT_COUNTS.entries()) {
        // One is the provider's own.
        const endpoints = Array.from({ length: count - 1 }, (_, n) => `198.19.${n >> 8}.${n & 255}`);
        const traced = await startTraced({ endpoints });
        tracer[i]!.push(await nanosecondsAPacket(field, traced.pid));
        await traced.stop();
      }
    }
  } finally {
    await stats.end();
  }
  return ENDPOINT_COUNTS.map((count, i) => ({
    name: `packet of others, ${count.toLocaleString('en-US')} ${count === 1 ? 'address' : 'addresses'} traced`,
    unit: 'ns',
    tracer: tracer[i]!,
    yardstick: 'empty program',
    against: empty,
  }));
}

async function nanosecondsAPacket(field: Field, pid: number): Promise<number> {
  const before = packetProgramRuns(pid);
  await field.unrelated('round-trips', ROUND_TRIPS);
  const after = packetProgramRuns(pid);
  return each(before, after);
}

function each(before: ProgramRuns, after: ProgramRuns): number {
  const count = after.count - before.count;
  if (count < 4 * ROUND_TRIPS) throw new Error(`the programs ran ${count} times: they did not see the traffic`);
  return (after.nanoseconds - before.nanoseconds) / count;
}
