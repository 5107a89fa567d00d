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
/** Where something was lost, the next try is paced at this share of what was written a second. */
const SLOWER = 0.9;
const MAX_TRIES = 6;

/** Requests a second that are all written, and what one costs the tracer, with the machine busy. */
export async function fullSpeed(field: Field, rounds: number, requests: number): Promise<Row[]> {
  const rows: Row[] = [];
  for (const { name, perConnection, share } of LOADS) {
    const plan = { workers: WORKERS, count: (requests * share) / WORKERS, perConnection, rate: 0 };
    const kept: Attempt[] = [];
    const free: number[] = [];
    let rate = 0;
    let refused = '';
    for (let round = 0; round < rounds; round++) {
      free.push(total(plan) / (await field.request(plan)).seconds);
      for (let tries = 0; ; tries++) {
        const attempt = await traceLoad(field, { ...plan, rate });
        if (attempt.lost.length === 0) {
          kept.push(attempt);
          break;
        }
        if (tries === MAX_TRIES) throw new Error(`${name}: at ${rate} a second still lost: ${attempt.lost.join(', ')}`);
        refused ||= `unpaced, ${attempt.lost.join(', ')} (said by the tracer); paced until nothing was`;
        rate = Math.floor(SLOWER * Math.min(attempt.perSecond, rate || Number.POSITIVE_INFINITY));
      }
    }
    rows.push(
      {
        name: `all written, ${name}`,
        unit: '/s',
        tracer: kept.map(({ perSecond }) => perSecond),
        yardstick: 'without tracer',
        against: free,
        goal: { text: 'nothing lost', met: refused === '' },
        ...(refused === '' ? {} : { note: refused }),
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
