import type { Field } from './field.js';
import type { Row } from './rows.js';
import { losses, startTraced } from './traced.js';

const WORKERS = 4;
const SMALLEST = 10_000;

/** A burst at full speed on connections that are kept alive, doubled until something is lost, up to `most` requests. */
export async function burst(field: Field, rounds: number, most: number): Promise<Row[]> {
  const none: number[] = [];
  const tried: number[] = [];
  const notes: string[] = [];
  for (let round = 0; round < rounds; round++) {
    let held = 0;
    let requests = SMALLEST;
    let end = `none lost of ${most}`;
    for (; requests <= most; requests *= 2) {
      const traced = await startTraced();
      const result = await field.request({ workers: WORKERS, count: requests / WORKERS, perConnection: 1e6, rate: 0 });
      await traced.settled();
      const lost = losses(await traced.stop(), requests);
      if (lost.length > 0) {
        end = `${requests} at ${Math.round(requests / result.seconds)}/s: ${lost.join(', ')}`;
        break;
      }
      held = requests;
    }
    none.push(held);
    tried.push(Math.min(requests, most));
    notes.push(end);
  }
  return [
    {
      name: 'burst that loses nothing, kept alive',
      unit: 'requests',
      tracer: none,
      yardstick: 'largest tried',
      against: tried,
      note: notes.join('; '),
    },
  ];
}
