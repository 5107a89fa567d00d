import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ENDPOINT } from './field.js';
import { TRACER } from './paths.js';

/** Nothing written for so long: what was captured is written. More than a request waits for its response. */
const SETTLED_MS = 1_200;
const LOOK_EVERY_MS = 20;

/** The counters that the tracer writes when it stops, by their names in the interface. */
export type FinalCounters = Readonly<Record<string, number>>;

/** The built tracer, as the service runs it, with a log directory of its own. */
export interface Traced {
  readonly pid: number;
  /** The text log. */
  readonly log: string;
  /** From the start of the process until `tracer-started` could be read, in milliseconds. */
  readonly startedAfterMs: number;
  /** Resolves when nothing has been written for a while, to the time of the last write (epoch milliseconds). */
  settled(): Promise<number>;
  /** Ends it, removes its logs and resolves to its counters. */
  stop(): Promise<FinalCounters>;
}

/** `endpoints`: traced beside the provider's own. `args`: further ones of `trace`. `wrap`: changes the command, and keeps its pid. */
export async function startTraced({
  endpoints = [ENDPOINT],
  args = [],
  wrap = (argv) => argv,
}: {
  endpoints?: readonly string[];
  args?: readonly string[];
  wrap?: (argv: readonly string[]) => readonly string[];
} = {}): Promise<Traced> {
  const folder = mkdtempSync(join(tmpdir(), 'imds-bench-'));
  const log = join(folder, 'imds-trace.log');
  const begun = performance.now();
  const command = [process.execPath, ...nodeOptions(), TRACER, 'trace', '--quiet', '--log-dir', folder];
  command.push(...endpoints.flatMap((endpoint) => ['--endpoint', endpoint]), ...args);
  const [program, ...rest] = wrap(command) as [string, ...string[]];
  const child = spawn(program, rest, { stdio: ['ignore', 'ignore', 'pipe'] });
  const closed = once(child, 'close');
  // A measurement that fails must not leave a tracer behind.
  const abandon = (): void => {
    child.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  };
  process.once('exit', abandon);
  let complaint = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    complaint += text;
  });
  try {
    await untilStarted(child, log, () => complaint);
  } catch (error) {
    process.off('exit', abandon);
    abandon();
    throw error;
  }
  const startedAfterMs = performance.now() - begun;
  return {
    pid: child.pid!,
    log,
    startedAfterMs,
    settled: async () => {
      let seen = lastWrite(folder);
      for (let since = performance.now(); performance.now() - since < SETTLED_MS; await sleep(LOOK_EVERY_MS)) {
        const now = lastWrite(folder);
        if (now !== seen) since = performance.now();
        seen = now;
      }
      return seen;
    },
    stop: async () => {
      child.kill('SIGTERM');
      await closed;
      const counters = readCounters(log);
      process.off('exit', abandon);
      rmSync(folder, { recursive: true, force: true });
      return counters;
    },
  };
}

/** The options of Node in the first line of the command, which the kernel passes on when it is started as a program. */
export const nodeOptions = (): string[] =>
  /^#!.* node(.*)$/m.exec(readFileSync(TRACER, 'utf8'))?.[1]?.split(' ').filter(Boolean) ?? [];

async function untilStarted(child: ChildProcess, log: string, complaint: () => string): Promise<void> {
  for (const end = performance.now() + 10_000; performance.now() < end; await sleep(1)) {
    if (child.exitCode !== null) break;
    if (existsSync(log) && statSync(log).size > 0 && readFileSync(log, 'utf8').includes('tracer-started')) return;
  }
  throw new Error(`the tracer did not start: ${complaint()}`);
}

/** Epoch milliseconds of the last write to any log. */
const lastWrite = (folder: string): number =>
  Math.max(...readdirSync(folder).map((name) => statSync(join(folder, name), { throwIfNoEntry: false })?.mtimeMs ?? 0));

function readCounters(log: string): FinalCounters {
  const line = readFileSync(log, 'utf8').trimEnd().split('\n').at(-1) ?? '';
  if (!line.includes('tracer-stopped')) throw new Error(`the tracer did not say that it stopped: ${line}`);
  const counters = Object.fromEntries(
    [...line.matchAll(/ ([a-z_]+):(\d+)/g)].map(([, name, value]) => [name, Number(value)] as const),
  );
  const {
    packets_seen: seen,
    packets_captured: captured,
    ring_dropped: dropped,
    packets_passed_over: passed,
  } = counters;
  if (seen !== captured! + dropped! + passed!) throw new Error(`packets seen and accounted for differ: ${line}`);
  return counters;
}

/**
 * What a run lost, by the counter that says so; empty where every request that was sent is in the log. Others on the host may
 * have sent some as well.
 */
export function losses(counters: FinalCounters, sent: number): string[] {
  const counted = ['ring_dropped', 'connects_dropped', 'truncated', 'gaps', 'flows_evicted', 'log_errors']
    .filter((name) => counters[name] !== 0)
    .map((name) => `${name} ${counters[name]}`);
  return counters['requests']! >= sent ? counted : [...counted, `${counters['requests']} of ${sent} requests written`];
}
