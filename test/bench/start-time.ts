import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { TRACER } from './paths.js';
import { endedChildrenCpuSeconds, threadTimes } from './proc.js';
import { packetFile } from './replay-traffic.js';
import { atMost, median, type Row } from './rows.js';
import { nodeOptions, startTraced } from './traced.js';

/** It says that it started a moment before it listens to signals. */
const SIGNALS_MS = 100;
/** Of a short command in a round, as its CPU time is told in steps of 10 ms. */
const RUNS = 5;

/**
 * From the start of the process until `tracer-started` stands in the log: attached, and proven by the self-test. And the CPU
 * time of commands that have hardly anything to do but to start.
 */
export async function startTime(rounds: number): Promise<Row[]> {
  const folder = mkdtempSync(join(tmpdir(), 'imds-start-'));
  try {
    const capture = join(folder, 'one.pcap');
    writeFileSync(capture, Buffer.concat([...packetFile(1)]));
    const node = runs([process.execPath, '-e', '0']);
    const version = runs(tracer('--version'));
    const replay = runs(tracer('replay', capture));
    const attached = { wall: [] as number[], cpu: [] as number[] };
    for (let round = 0; round < rounds; round++) {
      for (const command of [node, version, replay]) command.run();
      const traced = await startTraced();
      attached.wall.push(traced.startedAfterMs);
      attached.cpu.push(threadTimes(traced.pid).reduce((sum, { nanoseconds }) => sum + nanoseconds, 0) / 1e6);
      await sleep(SIGNALS_MS);
      await traced.stop();
    }
    const cpu = (name: string, of: { cpu: number[] }): Row => ({
      name: `${name} (CPU)`,
      unit: 'ms',
      tracer: of.cpu,
      yardstick: 'node -e 0',
      against: node.cpu,
    });
    return [
      {
        name: 'start until attached',
        unit: 'ms',
        tracer: attached.wall,
        yardstick: 'node -e 0',
        against: node.wall,
        goal: atMost(500, median(attached.wall), '<= 500 ms'),
      },
      cpu('start until attached', attached),
      cpu('replay of one request', replay),
      cpu('--version', version),
    ];
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** As the command runs where it is installed. */
const tracer = (...args: string[]): string[] => [process.execPath, ...nodeOptions(), TRACER, ...args];

/** A command, and what a run of it took in each round, in milliseconds. */
function runs([program, ...args]: readonly string[]): { wall: number[]; cpu: number[]; run: () => void } {
  const wall: number[] = [];
  const cpu: number[] = [];
  const run = (): void => {
    const before = endedChildrenCpuSeconds();
    const begun = performance.now();
    for (let times = 0; times < RUNS; times++) {
      const { status, stderr } = spawnSync(program!, args, { encoding: 'utf8' });
      if (status !== 0) throw new Error(`${args.join(' ')} ended with ${status}: ${stderr}`);
    }
    wall.push((performance.now() - begun) / RUNS);
    cpu.push(((endedChildrenCpuSeconds() - before) * 1000) / RUNS);
  };
  return { wall, cpu, run };
}
