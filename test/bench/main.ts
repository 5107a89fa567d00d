import { parseArgs } from 'node:util';
import { attribution } from './attribution.js';
import { burst } from './burst.js';
import { cpuParts } from './cpu-parts.js';
import { delay } from './delay.js';
import { type Field, openField } from './field.js';
import { fullSpeed } from './full-speed.js';
import { growth } from './growth.js';
import { inventorySpeed } from './inventory.js';
import { memory } from './memory.js';
import { missPath, missPathByEndpoints } from './miss-path.js';
import { moderatePace } from './moderate-pace.js';
import { ramp } from './ramp.js';
import { replayMemory, replaySpeed } from './replay.js';
import { report } from './report.js';
import type { Row } from './rows.js';
import { startTime } from './start-time.js';
import { formatJson, formatTable } from './table.js';
import { unrelated } from './unrelated.js';

/*
 * What tracing costs, each figure beside a yardstick of the same run: npm run bench [-- --quick] [--json] [--only NAME]
 *
 * Times are told, not judged: the exit status is 0 whatever they are, for a busy machine is no fault of the tracer's. It is 1
 * where something could not be measured; what could be is in the table.
 */

/** In --quick, and otherwise. */
type Amount = readonly [quick: number, full: number];

interface Measurement {
  rounds: Amount;
  /** Or whatever else it is that there is more of in a full run: seconds for a ramp, packets, files. */
  requests?: Amount;
  run: (field: Field, rounds: number, requests: number) => Promise<Row[]>;
}

const MEASUREMENTS: Readonly<Record<string, Measurement>> = {
  'miss-path': { rounds: [3, 9], run: missPath },
  endpoints: { rounds: [1, 3], run: missPathByEndpoints },
  unrelated: { rounds: [3, 11], run: unrelated },
  start: { rounds: [3, 9], run: (_field, rounds) => startTime(rounds) },
  'moderate-pace': { rounds: [1, 3], requests: [150, 500], run: moderatePace },
  'full-speed': { rounds: [1, 3], requests: [5_000, 20_000], run: fullSpeed },
  'cpu-parts': { rounds: [1, 3], requests: [20_000, 100_000], run: cpuParts },
  ramp: { rounds: [1, 3], requests: [2, 5], run: ramp },
  burst: { rounds: [1, 3], requests: [40_000, 320_000], run: burst },
  growth: { rounds: [1, 3], requests: [4_000, 10_000], run: growth },
  memory: { rounds: [1, 1], requests: [20_000, 1_000_000], run: memory },
  attribution: { rounds: [1, 3], requests: [30, 100], run: attribution },
  delay: { rounds: [1, 3], requests: [200, 500], run: delay },
  replay: { rounds: [3, 7], requests: [50_000, 50_000], run: (_field, ...amounts) => replaySpeed(...amounts) },
  'replay-memory': {
    rounds: [1, 1],
    requests: [400_000, 10_000_000],
    run: (_field, _rounds, packets) => replayMemory(packets),
  },
  inventory: {
    rounds: [1, 3],
    requests: [100_000, 1_000_000],
    run: (_field, ...amounts) => inventorySpeed(...amounts),
  },
  report: {
    rounds: [1, 1],
    requests: [200_000, 10_000_000],
    run: (_field, ...amounts) => report(...amounts),
  },
};

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    only: { type: 'string', multiple: true, default: Object.keys(MEASUREMENTS) },
  },
});

const amount = ([quick, full]: Amount): number => (values.quick ? quick : full);

const field = await openField();
const rows: Row[] = [];
try {
  for (const name of values.only) {
    const measurement = MEASUREMENTS[name];
    if (measurement === undefined)
      throw new Error(`--only ${name}: it is one of ${Object.keys(MEASUREMENTS).join(', ')}`);
    const begun = performance.now();
    try {
      rows.push(...(await measurement.run(field, amount(measurement.rounds), amount(measurement.requests ?? [0, 0]))));
    } catch (error) {
      process.stderr.write(`${name} could not be measured: ${(error as Error).message}\n`);
      process.exitCode = 1;
    }
    process.stderr.write(`${name}: ${((performance.now() - begun) / 1000).toFixed(1)} s\n`);
  }
} finally {
  await field.close();
}
process.stdout.write(`${values.json ? formatJson(rows) : formatTable(rows)}\n`);
