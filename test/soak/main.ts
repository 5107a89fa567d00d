import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { cleanStale, createNetwork, inNamespace } from '../../src/lab/netns.js';
import { hold } from '../bench/held-process.js';
import { C_PROGRAMS, C_SOURCES, ROOT, TRACER } from '../bench/paths.js';
import { cpuSeconds, memoryMiB } from '../bench/proc.js';
import { nodeOptions } from '../bench/traced.js';
import { CleanupStack } from '../e2e/support/cleanup.js';
import { runOk } from '../e2e/support/run.js';
import { Account } from './account.js';
import { FollowedLog } from './follow.js';
import { slope } from './slope.js';

/*
 * An accelerated day: npm run soak [-- --requests N] [--rate PER_SECOND]
 *
 * Processes that come and go send requests at a steady rate. Every one must be one event with its verdict and its process, the
 * counters must add up, and memory and descriptors must not grow with the requests. Exit status 1 where that is not so.
 */

/** Of RFC 2544, and only in the network namespaces of this run. The port tells runs apart that see each other. */
const ADDRESS = '198.19.0.80';
const PORT = String(20_000 + (process.pid % 20_000));
const LANES = 8;
const PER_PROCESS = 50;
const PER_CONNECTION = 10;
/** Some 10,000 events a file: they are read as they are rotated. */
const ROTATION = ['--log-max-size', '20M', '--log-max-files', '10'];
/** Caches and V8's heap reach their size in this part of the run, which is not counted. */
const WARM_UP = 0.2;
const POLL_MS = 100;
const SETTLED_MS = 3_000;

/** Over fewer requests than these, the allocator's coming and going is more than what could be told from it. */
const LEAST_TO_JUDGE = 1_000_000;

/** How much may be added by a million requests. */
const SERIES = {
  rss: { name: 'resident memory', unit: 'MiB', limit: 1 },
  heap: { name: 'JavaScript heap in use', unit: 'MiB', limit: 1 },
  outside: { name: 'buffers outside of the heap', unit: 'MiB', limit: 1 },
  descriptors: { name: 'descriptors', unit: '', limit: 0.1 },
} as const;

type Sample = Record<keyof typeof SERIES, number> & { requests: number };

const { values } = parseArgs({
  options: {
    requests: { type: 'string', default: '10000000' },
    rate: { type: 'string', default: '3000' },
  },
});
const requests = Number(values.requests);
const rate = Number(values.rate);
if (!Number.isInteger(requests) || requests < 1000 || !Number.isInteger(rate) || rate < 1)
  throw new Error('--requests takes a number of at least 1000, --rate one of at least 1');

async function compile(source: string): Promise<string> {
  mkdirSync(C_PROGRAMS, { recursive: true });
  const program = join(C_PROGRAMS, source.split('/').at(-1)!.replace('.c', '-soak'));
  await runOk(['gcc', '-O2', '-Wall', '-Wextra', '-Werror', '-o', program, source]);
  return program;
}

const cleanup = new CleanupStack();
try {
  process.exitCode = (await soak()) ? 0 : 1;
} finally {
  await cleanup.run();
}

async function soak(): Promise<boolean> {
  const traffic = await compile(join(C_SOURCES, 'traffic.c'));
  const clients = await compile(join(ROOT, 'test/soak/clients.c'));
  await cleanStale();
  const network = await createNetwork([ADDRESS]);
  cleanup.defer('remove the network namespaces', () => network.remove());
  const service = await hold(inNamespace(network.server, [traffic, 'serve', ADDRESS, PORT]));
  cleanup.defer('stop the service', () => service.end());

  // In memory: what is written is 2.5 KB a request in each of two logs.
  const folder = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'imds-soak-'));
  cleanup.defer('remove the logs', () => rmSync(folder, { recursive: true, force: true }));
  const heapFile = join(folder, 'heap.json');
  const account = new Account(requests);
  const own: string[] = [];
  const log = new FollowedLog(folder, 'imds-events', 'ndjson', (line) => {
    if (line.includes('"action":"imds-request"')) account.add(line, ADDRESS, PORT);
    else own.push(line);
  });
  cleanup.defer('close the log', () => log.close());
  const tracer = spawn(
    process.execPath,
    [
      ...[...nodeOptions(), '--require', join(ROOT, 'test/soak/heap.cjs'), TRACER, 'trace', '--quiet'],
      ...['--provider', 'volcengine', '--endpoint', `${ADDRESS}:${PORT}`, '--log-dir', folder, ...ROTATION],
    ],
    { stdio: ['ignore', 'ignore', 'inherit'], env: { ...process.env, SOAK_HEAP_FILE: heapFile } },
  );
  const pid = tracer.pid!;
  let ended = false;
  const end = new Promise<number | null>((resolve) => {
    tracer.once('close', (status) => {
      ended = true;
      resolve(status);
    });
  });
  cleanup.defer('end the tracer', async () => {
    tracer.kill('SIGKILL');
    await end;
  });
  // The clients and the service end with this process; the namespaces are removed by the next one that makes some.
  process.once('exit', () => {
    tracer.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  });
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));
  while (!existsSync(heapFile) || own.length === 0) {
    if (ended) throw new Error('the tracer ended');
    await sleep(POLL_MS);
    log.poll();
  }

  const samples: Sample[] = [];
  const sample = (): void => {
    const heap = JSON.parse(readFileSync(heapFile, 'utf8')) as NodeJS.MemoryUsage;
    samples.push({
      requests: account.events,
      rss: memoryMiB(pid).now,
      heap: heap.heapUsed / 2 ** 20,
      outside: (heap.external + heap.arrayBuffers) / 2 ** 20,
      descriptors: readdirSync(`/proc/${pid}/fd`).length,
    });
  };
  const say = (): void => {
    const { rss, heap, descriptors } = samples.at(-1)!;
    process.stderr.write(
      `${account.events} of ${requests} requests, ${rss.toFixed(1)} MiB resident, ${heap.toFixed(1)} MiB heap, ` +
        `${descriptors} descriptors\n`,
    );
  };
  sample();
  say();
  const begun = performance.now();
  const cpuBefore = cpuSeconds(pid);
  const numbers = [LANES, requests, PER_PROCESS, PER_CONNECTION, rate].map(String);
  let sent: number | undefined;
  let failure: unknown;
  const sending = runOk(inNamespace(network.client, [clients, 'run', ADDRESS, PORT, ...numbers]), {
    timeoutMs: Math.max(60_000, (requests / rate) * 10_000),
  }).then(
    ({ stdout }) => {
      sent = (JSON.parse(stdout) as { processes: number }).processes;
    },
    (error: unknown) => {
      failure = error;
    },
  );
  const every = Math.max(1, Math.floor(requests / 400));
  for (let quietSince = performance.now(); ; ) {
    await sleep(POLL_MS);
    const before = account.events;
    log.poll();
    if (ended) throw new Error('the tracer ended');
    if (account.events > before || (sent === undefined && failure === undefined)) quietSince = performance.now();
    if (account.events - samples.at(-1)!.requests >= every) {
      sample();
      if (samples.length % 20 === 0) say();
    }
    if (account.missing === 0 || performance.now() - quietSince > SETTLED_MS) break;
  }
  await sending;
  if (failure !== undefined) throw failure;
  const seconds = (performance.now() - begun) / 1000;
  const cpu = cpuSeconds(pid) - cpuBefore;
  tracer.kill('SIGTERM');
  const status = await end;
  log.poll();
  const stopped = own.find((line) => line.includes('"action":"tracer-stopped"')) ?? '{}';
  const counters = (JSON.parse(stopped) as { imds?: { stats?: Record<string, number> } }).imds?.stats;
  if (counters === undefined) throw new Error('the tracer did not say that it stopped');

  const flat = printSlopes(samples);
  const identity =
    counters['packets_seen'] ===
    counters['packets_captured']! + counters['ring_dropped']! + counters['packets_passed_over']!;
  const counted = counters['requests'] === account.events + account.duplicates + account.foreign;
  const lost = ['ring_dropped', 'connects_dropped', 'truncated', 'gaps', 'flows_evicted', 'log_errors', 'unattributed'];
  const losses = lost.filter((name) => counters[name] !== 0).map((name) => `${name} ${counters[name]}`);
  process.stdout.write(
    [
      '',
      `${requests} requests of ${sent} processes in ${seconds.toFixed(0)} s (${(requests / seconds).toFixed(0)}/s), ` +
        `${((cpu * 1e6) / requests).toFixed(0)} us of the tracer's CPU each`,
      `events: ${account.events}; missing ${account.missing}, twice ${account.duplicates}, ` +
        `of another process ${account.wrongProcess}, with another verdict ${account.wrongVerdict}; ` +
        `with an answer after more than 1 s ${account.late}; ` +
        `of others on this machine ${account.foreign}`,
      `packets: ${counters['packets_seen']} seen = ${counters['packets_captured']} captured + ` +
        `${counters['ring_dropped']} dropped + ${counters['packets_passed_over']} passed over: ${identity ? 'yes' : 'NO'}`,
      `requests that the counters say: ${counters['requests']}, as many as events: ${counted ? 'yes' : 'NO'}`,
      `lost: ${losses.join(', ') || 'nothing'}; exit status ${status}`,
      '',
    ].join('\n'),
  );
  return account.isRight && identity && counted && flat && status === 0;
}

/** Prints a row a series; false where one grows by more than its limit and its own uncertainty. */
function printSlopes(samples: readonly Sample[]): boolean {
  const counted = samples.filter(({ requests: at }) => at >= requests * WARM_UP);
  if (counted.length < 3) throw new Error('too few samples');
  let flat = true;
  process.stdout.write(`| ${counted.length} samples | first | least | most | last | a million requests add |\n`);
  process.stdout.write('| --- | --- | --- | --- | --- | --- |\n');
  for (const [key, { name, unit, limit }] of Object.entries(SERIES) as [keyof typeof SERIES, Series][]) {
    const of = counted.map((sample) => sample[key]);
    const { perUnit, error } = slope(counted.map((sample) => [sample.requests / 1e6, sample[key]]));
    if (requests >= LEAST_TO_JUDGE && perUnit - 2 * error > limit) flat = false;
    const cells = [of[0]!, Math.min(...of), Math.max(...of), of.at(-1)!].map((value) => value.toFixed(unit ? 1 : 0));
    process.stdout.write(
      `| ${name} | ${cells.join(' | ')} | ${perUnit.toFixed(2)} ± ${error.toFixed(2)} ${unit} (limit ${limit}) |\n`,
    );
  }
  return flat;
}

type Series = (typeof SERIES)[keyof typeof SERIES];
