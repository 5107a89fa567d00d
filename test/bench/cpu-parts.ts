import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { SourceMap } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Field } from './field.js';
import { programNanoseconds, type ThreadTime, threadTimes } from './proc.js';
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

/** V8 compiles for so long, give or take. */
const FIRST = 5_000;

/**
 * What a request costs, a connection each at full speed: the first, while V8 still compiles, and then in all, by thread, by part of
 * the program on the main thread, and in the kernel, where the programs at the hooks run for the client. The last two come from a run
 * of its own: the parts, under V8's profiler, as shares of the main thread's time.
 */
export async function cpuParts(field: Field, rounds: number, requests: number): Promise<Row[]> {
  const first: number[] = [];
  const whole: number[] = [];
  const kernel: number[] = [];
  const threads = new Map<string, number[]>();
  const parts = new Map<string, number[]>();
  const lost = new Set<string>();
  for (let round = 0; round < rounds; round++) {
    const time = await traceLoad(field, requests, lost);
    const folder = mkdtempSync(join(tmpdir(), 'imds-profile-'));
    try {
      const profiled = await traceLoad(field, requests, lost, folder);
      kernel.push(profiled.kernel);
      first.push(sum(time.first) + profiled.kernel);
      whole.push(sum(time.later) + profiled.kernel);
      for (const [thread, us] of time.later) push(threads, thread, us);
      const shares = sharesOf(folder, profiled.laterFrom);
      for (const part of [...PLACES.map(([name]) => name), GARBAGE, NATIVE])
        push(parts, part, time.later.get(MAIN)! * (shares.get(part) ?? 0));
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
    { ...row(`the first ${FIRST.toLocaleString('en-US')}`, first), yardstick: 'all, from then on' },
    {
      ...row(`all, from then on (${requests.toLocaleString('en-US')})`, whole),
      goal: atMost(GOAL_US, median(whole), `<= ${GOAL_US} us`),
      ...(note !== '' && { note }),
    },
    row('programs in the kernel', kernel),
    ...[...threads].map(([name, values]) => row(name, values)),
    ...[...parts].map(([name, values]) => row(`${MAIN}: ${name}`, values)),
  ];
}

const MAIN = 'main thread';

const sum = (times: ReadonlyMap<string, number>): number => [...times.values()].reduce((total, us) => total + us, 0);

/** Microseconds a request. */
interface Load {
  /** By kind of thread. */
  first: Map<string, number>;
  later: Map<string, number>;
  /** When those began, in microseconds of the monotonic clock. */
  laterFrom: number;
  /** In the programs at the hooks; 0 where it was not measured. */
  kernel: number;
}

/** With a folder for V8's profile the kernel measures its programs as well, which takes time. */
async function traceLoad(field: Field, requests: number, lost: Set<string>, profileFolder?: string): Promise<Load> {
  const profiled = ['--cpu-prof', `--cpu-prof-interval=${SAMPLE_US}`, `--cpu-prof-dir=${profileFolder}`];
  const measured = profileFolder === undefined ? undefined : await field.hold('stats');
  try {
    const traced = await startTraced({
      ...(profileFolder !== undefined && { wrap: ([node, ...rest]) => [node!, ...profiled, ...rest] }),
    });
    const ask = async (count: number): Promise<Map<string, number>> => {
      const before = threadTimes(traced.pid);
      await field.request({ workers: WORKERS, count: count / WORKERS, perConnection: 1, rate: 0 });
      await traced.settled();
      return perRequest(before, threadTimes(traced.pid), count);
    };
    const first = await ask(FIRST);
    const laterFrom = Number(process.hrtime.bigint() / 1000n);
    const before = programNanoseconds(traced.pid);
    const later = await ask(requests);
    const kernel = (programNanoseconds(traced.pid) - before) / 1000 / requests;
    for (const loss of losses(await traced.stop(), FIRST + requests)) lost.add(loss);
    return { first, later, laterFrom, kernel };
  } finally {
    await measured?.end();
  }
}

function perRequest(
  before: readonly ThreadTime[],
  after: readonly ThreadTime[],
  requests: number,
): Map<string, number> {
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
  /** Microseconds of the monotonic clock. */
  startTime: number;
  nodes: { id: number; callFrame: CallFrame }[];
  samples: number[];
  timeDeltas: number[];
}

/** Of the time that the main thread was busy, from then on. */
function sharesOf(folder: string, from: number): Map<string, number> {
  const [file] = readdirSync(folder);
  if (file === undefined) throw new Error('Node wrote no profile');
  const profile = JSON.parse(readFileSync(join(folder, file), 'utf8')) as Profile;
  const parts = new Map(profile.nodes.map(({ id, callFrame }) => [id, partOf(callFrame)]));
  const times = new Map<string, number>();
  let busy = 0;
  let now = profile.startTime;
  for (const [i, id] of profile.samples.entries()) {
    const part = parts.get(id);
    const us = Math.max(profile.timeDeltas[i]!, 0);
    now += us;
    if (part === undefined || now < from) continue;
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
