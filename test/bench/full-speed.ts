import type { Field, RequestPlan, TrafficResult } from './field.js';
import { cpuSeconds } from './proc.js';
import type { Row } from './rows.js';
import { type FinalCounters, losses, startTraced } from './traced.js';

/** Two ways to ask as fast as one is answered: a connection for each request, and as many on one as there are. */
const LOADS = [
  { name: 'a connection each', perConnection: 1, share: 1 },
  { name: 'kept alive', perConnection: 1_000_000, share: 3 },
] as const;
const WORKERS = 2;
/** Where something was lost at the full speed, the next try is paced at this share of it, and then of the last try's. */
const SLOWER = 0.7;
/** Where nothing was, the next round tries so much more. */
const FASTER = 1.15;
const LEAST_RATE = 50;

/** Requests a second that are all written, and what one costs the tracer, with the machine busy. */
export async function fullSpeed(field: Field, rounds: number, requests: number): Promise<Row[]> {
  const rows: Row[] = [];
  for (const { name, perConnection, share } of LOADS) {
    const plan = { workers: WORKERS, count: (requests * share) / WORKERS, perConnection, rate: 0 };
    const kept: Attempt[] = [];
    const free: number[] = [];
    let rate = 0;
    let fullSpeedLost = '';
    for (let round = 0; round < rounds; round++) {
      free.push(total(plan) / (await field.request(plan)).seconds);
      for (;;) {
        const attempt = await traceLoad(field, { ...plan, rate });
        if (attempt.lost.length === 0) {
          kept.push(attempt);
          break;
        }
        if (rate === 0) fullSpeedLost = attempt.lost.join(', ');
        rate = Math.floor(SLOWER * (rate || free.at(-1)!));
        if (rate < LEAST_RATE) throw new Error(`${name}: even so slow something is lost: ${attempt.lost.join(', ')}`);
      }
      rate = Math.floor(rate * FASTER);
    }
    rows.push(
      {
        name: `all written, ${name}`,
        unit: '/s',
        tracer: kept.map(({ perSecond }) => perSecond),
        yardstick: 'without tracer',
        against: free,
        goal: { text: 'unpaced, none lost', met: fullSpeedLost === '' },
        ...(fullSpeedLost === ''
          ? {}
          : { note: `unpaced the tracer said it lost ${fullSpeedLost}; slower until nothing was lost` }),
      },
      {
        name: `CPU a request, ${name}`,
        unit: 'us',
        tracer: kept.map(({ tracerCpu }) => (tracerCpu * 1e6) / total(plan)),
        yardstick: 'client and server',
        against: kept.map(({ trafficCpu }) => (trafficCpu * 1e6) / total(plan)),
      },
    );
  }
  return rows;
}

interface Attempt {
  /** Requests by the time from the first request to the last line. */
  perSecond: number;
  lost: string[];
  /** Seconds. */
  tracerCpu: number;
  trafficCpu: number;
}

const total = ({ workers, count }: RequestPlan): number => workers * count;

async function traceLoad(field: Field, plan: RequestPlan): Promise<Attempt> {
  const traced = await startTraced();
  const before = { tracer: cpuSeconds(traced.pid), service: cpuSeconds(field.servicePid) };
  const begun = Date.now();
  const traffic: TrafficResult = await field.request(plan);
  const trafficCpu = traffic.cpu_seconds + cpuSeconds(field.servicePid) - before.service;
  const lastLine = await traced.settled();
  const tracerCpu = cpuSeconds(traced.pid) - before.tracer;
  const counters: FinalCounters = await traced.stop();
  return {
    perSecond: (counters['requests']! * 1000) / (lastLine - begun),
    lost: losses(counters, total(plan)),
    tracerCpu,
    trafficCpu,
  };
}
