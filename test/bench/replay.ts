import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { TRACER } from './paths.js';
import { endedChildrenCpuSeconds, memoryMiB } from './proc.js';
import { PACKETS_PER_CONNECTION, packetFile, uriOf } from './replay-traffic.js';
import { median, type Row } from './rows.js';
import { nodeOptions } from './traced.js';

/** What Node reads at its start is this machine's own: certificates for all that it installs, say, at 35 ms of CPU time. */
delete process.env['NODE_EXTRA_CA_CERTS'];

const GOAL = 20;
/** At most so many times as long as tcpdump, which copies packets and looks at none. */
const TCPDUMP_GOAL = 8;
/** How much larger the second file is, which shows what a connection takes once the program has warmed up. */
const LARGER = 4;
const SAMPLE_MS = 20;
/** Packets. They come through a pipe: the largest of these files would fill a small disk. */
const SIZES = [10_000, 400_000, 4_000_000, 10_000_000] as const;
/** As the command runs where it is installed. */
const tracer = (...args: string[]): string[] => [process.execPath, ...nodeOptions(), TRACER, ...args];

/** From the second size on, memory that grows by more than this share grows with the file. */
const FLAT = 1.1;

/** What `replay` takes for a file, beside tshark, which gives the same answers, and tcpdump, which only copies it. */
export async function replaySpeed(rounds: number, connections: number): Promise<Row[]> {
  const folder = mkdtempSync(join(tmpdir(), 'imds-replay-'));
  try {
    const write = (name: string, count: number): string => {
      const file = join(folder, name);
      const fd = openSync(file, 'w');
      for (const piece of packetFile(count)) writeSync(fd, piece);
      closeSync(fd);
      return file;
    };
    const file = write('traffic.pcap', connections);
    const larger = write('larger.pcap', connections * LARGER);
    const one = write('one.pcap', 1);
    const tshark = (of: string): string[] => [
      'tshark',
      '-r',
      of,
      '-Y',
      'http.request',
      '-T',
      'fields',
      '-e',
      'http.request.uri',
    ];
    const tcpdump = (of: string): string[] => ['tcpdump', '-r', of, '-w', '/dev/null'];

    const commands = {
      tracer: tracer('replay', file),
      tshark: tshark(file),
      tcpdump: tcpdump(file),
      node: [process.execPath, '-e', '0'],
      tracerLarger: tracer('replay', larger),
      tcpdumpLarger: tcpdump(larger),
      tsharkStart: tshark(one),
    } as const;
    const runs = Object.fromEntries(Object.keys(commands).map((name) => [name, [] as Run[]])) as Record<
      keyof typeof commands,
      Run[]
    >;
    for (let round = 0; round < rounds; round++) {
      for (const [name, command] of Object.entries(commands)) runs[name as keyof typeof runs].push(run(command));
    }
    const seconds = (of: readonly Run[]): number[] => of.map(({ wall }) => wall);
    const cpu = (of: readonly Run[]): number[] => of.map((one) => one.cpu);
    const nodeWall = median(seconds(runs.node));
    const nodeCpu = median(cpu(runs.node));
    const tsharkStart = median(cpu(runs.tsharkStart));
    const further = (large: readonly Run[], small: readonly Run[]): number[] =>
      cpu(large).map((time, i) => (time - cpu(small)[i]!) / (LARGER - 1));
    const packets = `${(connections * PACKETS_PER_CONNECTION) / 1000}k packets`;
    const agreement = compareAnswers(commands.tshark, commands.tracer, connections);
    const row = (name: string, tracer: number[], yardstick: string, against: number[]): Row => ({
      name: `replay, ${packets}${name}`,
      unit: 's',
      tracer,
      yardstick,
      against,
      ratios: against.map((time, i) => time / tracer[i]!),
    });
    const whole = row('', seconds(runs.tracer), 'tshark, times its speed', seconds(runs.tshark));
    const ratio = median(whole.ratios!);
    return [
      { ...whole, goal: { text: `>= ${GOAL}`, met: ratio >= GOAL && agreement.agrees }, note: agreement.text },
      row(
        " less Node's start",
        seconds(runs.tracer).map((time) => time - nodeWall),
        'tshark, times its speed',
        seconds(runs.tshark),
      ),
      row(' (CPU)', cpu(runs.tracer), 'tshark, times its speed', cpu(runs.tshark)),
      row(
        ' more (CPU)',
        further(runs.tracerLarger, runs.tracer),
        'tshark less start, times its speed',
        cpu(runs.tshark).map((time) => time - tsharkStart),
      ),
      slower(
        row(
          " less Node's start (CPU)",
          cpu(runs.tracer).map((time) => time - nodeCpu),
          'tcpdump -w, times its time',
          cpu(runs.tcpdump),
        ),
      ),
      slower(
        row(
          ' more (CPU)',
          further(runs.tracerLarger, runs.tracer),
          'tcpdump -w, times its time',
          further(runs.tcpdumpLarger, runs.tcpdump),
        ),
      ),
    ];
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Peak memory of `replay` by the size of what it reads, up to `packets`; each beside the first size. */
export async function replayMemory(packets: number): Promise<Row[]> {
  const rows: Row[] = [];
  const peaks: number[] = [];
  for (const size of SIZES) {
    if (size > packets) break;
    peaks.push(await peakOfReplay(size / PACKETS_PER_CONNECTION));
    const usual = peaks[1] ?? peaks[0]!;
    rows.push({
      name: `replay memory, ${size / 1000}k packets`,
      unit: 'MiB',
      tracer: [peaks.at(-1)!],
      yardstick: `${SIZES[0] / 1000}k packets`,
      against: [peaks[0]!],
      ...(peaks.length > 2 && {
        goal: { text: `as ${SIZES[1] / 1000}k`, met: peaks.at(-1)! <= usual * FLAT },
      }),
    });
  }
  return rows;
}

/** The row with how many times as long it takes, for what is faster by design. */
function slower(row: Row): Row {
  const ratios = row.ratios!.map((ratio) => 1 / ratio);
  return { ...row, ratios, goal: { text: `<= ${TCPDUMP_GOAL}`, met: median(ratios) <= TCPDUMP_GOAL } };
}

interface Run {
  wall: number;
  cpu: number;
}

/** Seconds of a program whose output goes nowhere. */
function run([program, ...args]: readonly string[]): Run {
  const before = endedChildrenCpuSeconds();
  const begun = performance.now();
  const { status, error } = spawnSync(program!, args, { stdio: 'ignore' });
  const wall = (performance.now() - begun) / 1000;
  if (status !== 0) throw new Error(`${program} ended with ${status ?? error?.message}`);
  return { wall, cpu: endedChildrenCpuSeconds() - before };
}

/** Whether both programs tell of the same URIs, as often, and these are the ones that were asked for. */
function compareAnswers(
  tshark: readonly string[],
  tracer: readonly string[],
  connections: number,
): { agrees: boolean; text: string } {
  const uris = outputOf(tshark);
  const lines = outputOf(tracer).map((line) => / Req details: \S+ (\S+) HTTP\//.exec(line)?.[1] ?? line);
  const asked = Array.from({ length: connections }, (_, connection) => uriOf(connection));
  const [found, told, sent] = [uris, lines, asked].map((list) => list.toSorted().join('\n'));
  const agrees = found === told && told === sent;
  const judged = `${lines.length} requests, tshark ${uris.length}, sent ${connections}`;
  return { agrees, text: `${agrees ? 'same answers' : 'THE ANSWERS DIFFER'}: ${judged}` };
}

function outputOf([program, ...args]: readonly string[]): string[] {
  const { stdout, status } = spawnSync(program!, args, {
    stdio: ['ignore', 'pipe', 'ignore'],
    encoding: 'utf8',
    maxBuffer: 2 ** 30,
  });
  if (status !== 0) throw new Error(`${program} ended with ${status}`);
  return stdout.split('\n').filter((line) => line !== '');
}

async function peakOfReplay(connections: number): Promise<number> {
  const [program, ...args] = tracer('replay', '-');
  const child = spawn(program!, args, { stdio: ['pipe', 'ignore', 'ignore'] });
  const closed = once(child, 'close');
  let over = false;
  let peak = 0;
  const watch = async (): Promise<void> => {
    while (!over) {
      peak = Math.max(peak, peakNow(child.pid!));
      await sleep(SAMPLE_MS);
    }
  };
  const watching = watch();
  await pipeline(Readable.from(packetFile(connections)), child.stdin);
  const [status] = (await closed) as [number | null];
  over = true;
  await watching;
  if (status !== 0) throw new Error(`${TRACER} ended with ${status}`);
  return peak;
}

/** NaN and errors are those of a process that has just ended. */
function peakNow(pid: number): number {
  try {
    return memoryMiB(pid).peak || 0;
  } catch {
    return 0;
  }
}
