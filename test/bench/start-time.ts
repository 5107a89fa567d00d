import { setTimeout as sleep } from 'node:timers/promises';
import { runOk } from '../e2e/support/run.js';
import { atMost, median, type Row } from './rows.js';
import { startTraced } from './traced.js';

/** It says that it started a moment before it listens to signals. */
const SIGNALS_MS = 100;

/** From the start of the process until `tracer-started` stands in the log: attached, and proven by the self-test. */
export async function startTime(rounds: number): Promise<Row[]> {
  const tracer: number[] = [];
  const bare: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const begun = performance.now();
    await runOk([process.execPath, '-e', '0']);
    bare.push(performance.now() - begun);
    const traced = await startTraced();
    tracer.push(traced.startedAfterMs);
    await sleep(SIGNALS_MS);
    await traced.stop();
  }
  return [
    {
      name: 'start until attached',
      unit: 'ms',
      tracer,
      yardstick: 'node -e 0',
      against: bare,
      goal: atMost(500, median(tracer), '<= 500 ms'),
    },
  ];
}
