import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { request, started, stopped } from '../report/logs.js';
import { TRACER } from './paths.js';
import { memoryMiB } from './proc.js';
import type { Row } from './rows.js';
import { nodeOptions } from './traced.js';

const EVENTS_PER_HOST = 10_000;
const HOST = 'host-in-the-log';
const SAMPLE_MS = 50;

/** `report` over compressed logs of many hosts, beside a search for one word in the same files; and its memory as hosts grow. */
export async function report(rounds: number, events: number): Promise<Row[]> {
  const folder = mkdtempSync(join(tmpdir(), 'imds-report-'));
  try {
    const hosts = Math.max(Math.round(events / EVENTS_PER_HOST), 2);
    const template = hostLog();
    const tenth = join(folder, 'tenth');
    const rest = join(folder, 'rest');
    for (let host = 0; host < hosts; host++) {
      const dir = join(host < hosts / 10 ? tenth : rest, `host-${host}`);
      mkdirSync(dir, { recursive: true });
      writeFileSync(
        join(dir, 'imds-events.ndjson.gz'),
        gzipSync(template.replaceAll(HOST, `host-${host}`), { level: 1 }),
      );
    }
    const seconds: number[] = [];
    const peaks: number[] = [];
    const search: number[] = [];
    const small: number[] = [];
    for (let round = 0; round < rounds; round++) {
      const whole = await run(folder, hosts * (EVENTS_PER_HOST + 2));
      seconds.push(whole.seconds);
      peaks.push(whole.peak);
      small.push((await run(tenth, Math.ceil(hosts / 10) * (EVENTS_PER_HOST + 2))).peak);
      const begun = performance.now();
      spawnSync('sh', ['-c', `find ${folder} -name '*.gz' -exec zcat {} + | grep -c normal_mode`]);
      search.push((performance.now() - begun) / 1000);
    }
    const thousands = `${(hosts * EVENTS_PER_HOST) / 1000}k events of ${hosts} hosts`;
    return [
      { name: `report, ${thousands}`, unit: 's', tracer: seconds, yardstick: 'zcat and grep', against: search },
      { name: `report memory, ${thousands}`, unit: 'MiB', tracer: peaks, yardstick: 'a tenth of them', against: small },
    ];
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A host's log: some programs, a fifth of whose requests go without a token; events as long as a real one of a few ancestors. */
function hostLog(): string {
  const ancestors = Array.from({ length: 5 }, (_, i) => ({
    pid: 10 + i,
    name: 'runner',
    args: [
      '/usr/lib/runner/bin/node',
      '--max-old-space-size=512',
      `/usr/lib/runner/worker-${i}.js`,
      '--queue',
      'default',
    ],
  }));
  const lines = [started({ host: HOST, run: HOST })];
  for (let i = 0; i < EVENTS_PER_HOST; i++) {
    const event = JSON.parse(
      request({
        host: HOST,
        run: HOST,
        at: i,
        verdict: i % 5 === 0 ? 'normal_mode' : 'hardened',
        command: `client-${i % 20}`,
        unit: `unit-${i % 20}.service`,
        path: `/latest/meta-data/item-${i % 30}`,
        pid: 1000 + (i % 3000),
      }),
    ) as { imds: object };
    lines.push(JSON.stringify({ ...event, imds: { ...event.imds, ancestors } }));
  }
  lines.push(stopped({ host: HOST, run: HOST, at: EVENTS_PER_HOST }));
  return `${lines.join('\n')}\n`;
}

async function run(folder: string, lines: number): Promise<{ seconds: number; peak: number }> {
  const begun = performance.now();
  const child = spawn(process.execPath, [...nodeOptions(), TRACER, 'report', '--format', 'json', folder], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (piece: string) => {
    text += piece;
  });
  let ended = false;
  const closed = once(child, 'close').then(() => {
    ended = true;
  });
  let peak = 0;
  while (!ended) {
    try {
      peak = Math.max(peak, memoryMiB(child.pid!).peak);
    } catch {
      // It has just ended.
    }
    await Promise.race([closed, sleep(SAMPLE_MS)]);
  }
  const seconds = (performance.now() - begun) / 1000;
  const read = (JSON.parse(text) as { logs: { lines: number } }).logs.lines;
  if (read !== lines) throw new Error(`report read ${read} events of ${lines}`);
  return { seconds, peak };
}
