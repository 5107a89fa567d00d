import { closeSync, openSync, readSync, watch } from 'node:fs';
import type { Field } from './field.js';
import type { Row } from './rows.js';
import { startTraced, type Traced } from './traced.js';

const RATE = 100;
const STAMP = /sent=(\d+)/g;

/** From the sending of a request until its line stands in the log, against the request's own time until it was answered. */
export async function delay(field: Field, rounds: number, requests: number): Promise<Row[]> {
  const p50: number[] = [];
  const p99: number[] = [];
  const answered: { p50: number; p99: number }[] = [];
  for (let round = 0; round < rounds; round++) {
    const traced = await startTraced();
    const reader = followDelays(traced);
    const result = await field.request({ workers: 1, count: requests, perConnection: 1, rate: RATE });
    await traced.settled();
    const delays = reader.end();
    await traced.stop();
    if (delays.length !== requests) throw new Error(`${delays.length} lines for ${requests} requests`);
    p50.push(delays[delays.length >> 1]!);
    p99.push(delays[delays.length - 1 - Math.floor(delays.length / 100)]!);
    answered.push(result.round_trip_us);
  }
  const row = (name: string, tracer: number[], percentile: 'p50' | 'p99'): Row => ({
    name,
    unit: 'ms',
    tracer,
    yardstick: 'until its answer',
    against: answered.map((us) => us[percentile] / 1000),
  });
  return [row('request until its line, p50', p50, 'p50'), row('request until its line, p99', p99, 'p99')];
}

/** Reads lines as the kernel tells of them. The stamps are of the clock that is Node's as well (CLOCK_MONOTONIC). */
function followDelays({ log }: Traced): { end(): number[] } {
  const fd = openSync(log, 'r');
  const bytes = Buffer.alloc(1 << 20);
  const delays: number[] = [];
  const read = (): void => {
    for (let length = readSync(fd, bytes); length > 0; length = readSync(fd, bytes)) {
      const now = process.hrtime.bigint();
      for (const [, sent] of bytes.toString('latin1', 0, length).matchAll(STAMP))
        delays.push(Number(now - BigInt(sent!)) / 1e6);
    }
  };
  const watcher = watch(log, read);
  return {
    end: () => {
      watcher.close();
      read();
      closeSync(fd);
      return delays.sort((a, b) => a - b);
    },
  };
}
