import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { SourceMap } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Field } from './field.js';
import { type ThreadTime, threadTimes } from './proc.js';
import { atMost, median, type Row } from './rows.js';
import { losses, startTraced } from './traced.js';

const WORKERS = 2;
const GOAL_US = 60;
const SAMPLE_US = 200;

/**
 * Whose time a function's is, by the file that it is in; the first that fits. What V8 does itself has no file, and a name in
 * parentheses.
 */
const PLACES: ReadonlyArray<readonly [part: string, file: RegExp]> = [
  ['capture, FFI', /\/src\/capture\/|\/koffi\//],
  ['wire', /\/src\/wire\//],
  ['imds', /\/src\/imds\//],
  ['process', /\/src\/process\//],
  ['output', /\/src\/output\/|\/(?:pino|fast-redact|sonic-boom|quick-format-unescaped)\//],
  ['Node', /^node:/],
  ['other of ours', /\/src\/|\/dist\//],
];
const GARBAGE = 'garbage collection';
const NATIVE = 'native, V8';

/** Which threads of Node there are at the start, in order: its own, then V8's helpers (node/src/node_platform.cc). */
const V8_THREADS = 4;

/**
 * What a request costs, a connection each at full speed: in all, by thread, and by part of the program on the main thread. The last
 * comes from a run of its own under V8's profiler, as shares of the main thread's time.
 */
export async function cpuParts(field: Field, rounds: number, requests: number): Promise<Row[]> {
  const whole: number[] = [];
  const threads = new Map<string, number[]>();
  const parts = new Map<string, number[]>();
  const lost = new Set<string>();
  for (let round = 0; round < rounds; round++) {
    const time = await traceLoad(field, requests, undefined, lost);
    const sum = [...time.values()].reduce((total, us) => total + us, 0);
    whole.push(sum);
    for (const [thread, us] of time) push(threads, thread, us);
    const main = time.get(MAIN)!;
    const folder = mkdtempSync(join(tmpdir(), 'imds-profile-'));
    try {
      await traceLoad(field, requests, folder, lost);
      const shares = sharesOf(folder);
      for (const part of [...PLACES.map(([name]) => name), GARBAGE, NATIVE])
        push(parts, part, main * (shares.get(part) ?? 0));
    } finally {
      rmSync(folder, { recursive: true });
    }
  }
  const row = (name: string, tracer: number[]): Row => ({
    name: `CPU a request: ${name}`,
    unit: 'us',
    tracer,
    yardstick: 'of all',
    against: whole,
  });
  const note = [...lost].join(', ');
  return [
    { ...row('all', whole), goal: atMost(GOAL_US, median(whole), `<= ${GOAL_US} us`), ...(note !== '' && { note }) },
    ...[...threads].map(([name, values]) => row(name, values)),
    ...[...parts].map(([name, values]) => row(`${MAIN}: ${name}`, values)),
  ];
}

const MAIN = 'main thread';

/** Microseconds a request, by kind of thread. */
async function traceLoad(
  field: Field,
  requests: number,
  profileFolder: string | undefined,
  lost: Set<string>,
): Promise<Map<string, number>> {
  const profiled = ['--cpu-prof', `--cpu-prof-interval=${SAMPLE_US}`, `--cpu-prof-dir=${profileFolder}`];
  const traced = await startTraced({
    ...(profileFolder !== undefined && { wrap: ([node, ...rest]) => [node!, ...profiled, ...rest] }),
  });
  const before = threadTimes(traced.pid);
  await field.request({ workers: WORKERS, count: requests / WORKERS, perConnection: 1, rate: 0 });
  await traced.settled();
  const after = threadTimes(traced.pid);
  for (const loss of losses(await traced.stop(), requests)) lost.add(loss);
  const of = new Map<string, number>();
  for (const [i, thread] of after.entries()) {
    const had = before.find(({ id }) => id === thread.id)?.nanoseconds ?? 0;
    const kind = kindOf(thread, i);
    of.set(kind, (of.get(kind) ?? 0) + (thread.nanoseconds - had) / 1000 / requests);
  }
  return of;
}

/** `at`: its place among the threads of the process in the order in which they were made. */
function kindOf({ name }: ThreadTime, at: number): string {
  if (at === 0) return MAIN;
  if (name === 'imds-ring') return 'thread that reads the ring';
  return at < V8_THREADS ? "V8's helpers (compiler, garbage)" : 'worker threads (FFI, files)';
}

/** Lines and columns from 0. */
interface CallFrame {
  functionName: string;
  url: string;
  lineNumber: number;
  columnNumber: number;
}

interface Profile {
  nodes: { id: number; callFrame: CallFrame }[];
  samples: number[];
  timeDeltas: number[];
}

/** Of the time that the main thread was busy. */
function sharesOf(folder: string): Map<string, number> {
  const [file] = readdirSync(folder);
  if (file === undefined) throw new Error('Node wrote no profile');
  const profile = JSON.parse(readFileSync(join(folder, file), 'utf8')) as Profile;
  const parts = new Map(profile.nodes.map(({ id, callFrame }) => [id, partOf(callFrame)]));
  const times = new Map<string, number>();
  let busy = 0;
  for (const [i, id] of profile.samples.entries()) {
    const part = parts.get(id);
    if (part === undefined) continue;
    const us = Math.max(profile.timeDeltas[i]!, 0);
    busy += us;
    times.set(part, (times.get(part) ?? 0) + us);
  }
  return new Map([...times].map(([part, us]) => [part, us / busy]));
}

/** Undefined: it waits. */
function partOf(frame: CallFrame): string | undefined {
  if (frame.functionName === '(idle)') return undefined;
  if (frame.functionName === '(garbage collector)') return GARBAGE;
  const file = sourceOf(frame);
  return PLACES.find(([, name]) => name.test(file))?.[0] ?? NATIVE;
}

const maps = new Map<string, SourceMap | undefined>();

/** The module that a function was written in: what runs is joined of many. */
function sourceOf({ url, lineNumber, columnNumber }: CallFrame): string {
  if (!maps.has(url)) {
    const file = `${url.replace(/^file:\/\//, '')}.map`;
    maps.set(url, existsSync(file) ? new SourceMap(JSON.parse(readFileSync(file, 'utf8'))) : undefined);
  }
  const entry = maps.get(url)?.findEntry(lineNumber, columnNumber);
  return entry !== undefined && 'originalSource' in entry ? entry.originalSource : url;
}

function push(into: Map<string, number[]>, name: string, value: number): void {
  const values = into.get(name) ?? [];
  values.push(value);
  into.set(name, values);
}
