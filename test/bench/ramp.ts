import type { Field, TrafficResult } from './field.js';
import type { Row } from './rows.js';
import { losses, startTraced } from './traced.js';

const WORKERS = 4;
/** Requests a second that are tried one after the other, a connection each. */
const RATES = [500, 1_000, 2_000, 3_000, 4_000, 6_000, 8_000, 12_000, 16_000, 24_000] as const;
/** Where the clients come no nearer to the rate than this, the machine is at its end before the tracer is. */
const REACHED = 0.6;
/** Kept up with: so long after the last request all is written; without an answer a request waits for a second. */
const LAG_MS = 1_000;

/** Faster and faster: up to where lines keep up with requests, and where the first request is lost. */
export async function ramp(field: Field, rounds: number, seconds: number): Promise<Row[]> {
  const kept: number[] = [];
  const reached: number[] = [];
  const notes: string[] = [];
  for (let round = 0; round < rounds; round++) {
    const unpaced = await load(field, 0, 1);
    reached.push(unpaced);
    let best = 0;
    let end = `nothing lost up to ${Math.round(unpaced)}/s without the tracer`;
    for (const rate of RATES) {
      const { lost, lagMs, perSecond } = await traceRate(field, rate, seconds);
      if (lost.length > 0) {
        end = `first loss at ${Math.round(perSecond)}/s (${lost.join(', ')})`;
        break;
      }
      if (lagMs <= LAG_MS) best = Math.max(best, perSecond);
      if (perSecond < rate * REACHED) {
        end = `no loss: of ${rate}/s the clients reached ${Math.round(perSecond)} beside the tracer`;
        break;
      }
    }
    kept.push(best);
    notes.push(end);
  }
  return [
    {
      name: 'kept up with, none lost',
      unit: '/s',
      tracer: kept,
      yardstick: 'unpaced without tracer',
      against: reached,
      note: notes.join('; '),
    },
  ];
}

/** Without the tracer: the requests a second that were answered. */
async function load(field: Field, rate: number, seconds: number): Promise<number> {
  const count = Math.ceil(((rate || 4_000) * seconds) / WORKERS);
  const result = await field.request({ workers: WORKERS, count, perConnection: 1, rate });
  return (count * WORKERS) / result.seconds;
}

async function traceRate(
  field: Field,
  rate: number,
  seconds: number,
): Promise<{ lost: string[]; lagMs: number; perSecond: number }> {
  const count = Math.ceil((rate * seconds) / WORKERS);
  const traced = await startTraced();
  const result: TrafficResult = await field.request({ workers: WORKERS, count, perConnection: 1, rate });
  const ended = Date.now();
  const lagMs = (await traced.settled()) - ended;
  const lost = losses(await traced.stop(), count * WORKERS);
  return { lost, lagMs, perSecond: (count * WORKERS) / result.seconds };
}
