import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { AuditDocument } from '../../src/audit/document.js';
import { lostBy } from './support/accounting.js';
import { CleanupStack } from './support/cleanup.js';
import { describeOnKernel, testWith } from './support/kernel.js';
import { freePort } from './support/port.js';
import { runOk } from './support/run.js';
import { askForToken, clientScript, openScene, pythonPath, type Scene } from './support/scene.js';
import { MAIN, startTracer, statsOf } from './support/tracer.js';
import { until } from './support/wait.js';

/** Of this test alone (RFC 2544), so that what it counts and how it ends is about nobody else's requests. */
const ADDRESS = '198.18.5.80';
const ENDPOINT = { provider: 'volcengine', address: ADDRESS, port: 80 } as const;
const PROVIDER = ['--provider', 'volcengine', '--endpoint', ADDRESS];
const SMALLEST_RING = ['--ring-size', '4096'];

describeOnKernel('a loss that was made on purpose', () => {
  let scene: Scene;
  let python: string;
  const cleanup = new CleanupStack();

  const burst = (...args: (number | string)[]) =>
    scene.runOk([python, clientScript('burst.py'), ADDRESS, '80', ...args.map(String)], { timeoutMs: 60_000 });
  const metric = (page: string, name: string): number =>
    Number(new RegExp(`^imds_tracer_${name} (\\d+)$`, 'm').exec(page)?.[1]);

  beforeAll(async () => {
    scene = await openScene({ providers: [], endpoints: [ENDPOINT] });
    python = await pythonPath();
  });
  afterEach(() => cleanup.run());
  afterAll(() => scene?.close());

  test('of packets: in the log, the metrics and the exit status the same number', async () => {
    const port = await freePort();
    const tracer = await startTracer({
      logDir: join(scene.folder, 'log-metrics'),
      args: [...PROVIDER, ...SMALLEST_RING, '--metrics', String(port)],
    });
    cleanup.defer('kill the tracer', () => tracer.kill('SIGKILL'));
    tracer.kill('SIGSTOP');
    await burst(1, 100, 10);
    tracer.kill('SIGCONT');
    const said = await until('capture-loss', () => lostBy(tracer.events())['ring']);
    const page = await until('the metrics of that second', async () => {
      const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
      return metric(text, 'ring_dropped_total') > 0 && text;
    });
    const { status } = await tracer.stop(); // which balances `capture-loss` with the counters
    const stats = statsOf(tracer);
    expect(stats.ring_dropped).toBe(said);
    expect(metric(page, 'ring_dropped_total')).toBe(said);
    expect(metric(page, 'packets_seen_total')).toBe(
      metric(page, 'packets_captured_total') + said + metric(page, 'packets_passed_over_total'),
    );
    expect(status).toBe(4);
  });

  test('an audit that lost packets is not `ready`, and says how many', async () => {
    const out = join(scene.folder, 'audit');
    const logDir = join(scene.folder, 'log-audit');
    const argv = [MAIN, 'audit', ...PROVIDER, ...SMALLEST_RING, '--skip-inventory', '--duration', '60s'];
    const child = spawn(process.execPath, [...argv, '--out', out, '--log-dir', logDir], { stdio: 'ignore' });
    cleanup.defer('kill the audit', () => child.kill('SIGKILL'));
    const exit = once(child, 'exit');
    await until('capture to begin', () => existsSync(join(out, 'audit-state.json')), 15_000);
    const token = await scene.runOk(askForToken(`http://${ADDRESS}`, 60, 'X-volc-ecs-metadata-token'));
    child.kill('SIGSTOP');
    await burst(1, 100, 10, `X-volc-ecs-metadata-token: ${token.stdout}`);
    child.kill('SIGCONT');
    await sleep(1500); // the duration is cut short by a signal, when the loss was said
    child.kill('SIGTERM');
    const [status] = (await exit) as [number];
    const result = JSON.parse(readFileSync(join(out, 'audit.json'), 'utf8')) as AuditDocument;
    expect(result.totals['normal_mode'] ?? 0).toBe(0);
    expect(result.verdict).toBe('inconclusive');
    expect(status).toBe(4);
    expect(result.coverage.complete).toBe(false);
    const lines = readFileSync(join(logDir, 'imds-events.ndjson'), 'utf8').trimEnd().split('\n');
    const stats = JSON.parse(lines.at(-1)!).imds.stats;
    expect(stats.ring_dropped).toBeGreaterThan(0);
    expect(result.coverage.details.find(({ code }) => code === 'ring_dropped')?.count).toBe(stats.ring_dropped);
  });

  testWith(
    ['mkfs.ext4', 'fsfreeze', ...(existsSync('/dev/loop-control') ? [] : ['/dev/loop-control'])],
    'a disk that hangs: lines wait, then are counted; it goes on when the disk does',
    async () => {
      const logDir = join(scene.folder, 'frozen');
      const image = join(scene.folder, 'disk.img');
      mkdirSync(logDir);
      await runOk(['truncate', '-s', '200M', image]);
      await runOk(['mkfs.ext4', '-q', '-F', image]);
      await runOk(['mount', '-o', 'loop', image, logDir]);
      cleanup.defer('unmount the disk', () => runOk(['umount', '-l', logDir]));
      const port = await freePort();
      const tracer = await startTracer({ logDir, args: [...PROVIDER, '--quiet', '--metrics', String(port)] });
      cleanup.defer('kill the tracer', () => tracer.kill('SIGKILL'));
      // So long, that 8 MiB of lines are soon made.
      const before = tracer.requests().length;
      await runOk(['fsfreeze', '-f', logDir]);
      let frozen = true;
      const thaw = async () => {
        if (frozen) await runOk(['fsfreeze', '-u', logDir]);
        frozen = false;
      };
      cleanup.defer('thaw the disk', thaw);
      const requests = 600;
      await burst(2, requests / 2, 50, `User-Agent: ${'x'.repeat(6000)}`);
      // A disk that hangs stops neither the tracer nor its metrics: they say when there was too much to keep.
      await until('a line that had no room', async () => {
        const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
        return metric(text, 'log_errors_total') > 0 && metric(text, 'requests_total') === requests;
      });
      expect(existsSync(`/proc/${tracer.pid}`)).toBe(true);
      await thaw();
      await until('lines', () => tracer.requests().length > before);
      const { status, stderr } = await tracer.stop();
      const stats = statsOf(tracer);
      expect(stats.requests).toBe(requests);
      expect(stats.ring_dropped).toBe(0);
      expect(stats.log_errors).toBeGreaterThan(0);
      expect(status).toBe(4);
      // Every line of both files is there, or was counted.
      const lines = (stem: string) =>
        readdirSync(logDir)
          .filter((name) => name.startsWith(stem))
          .reduce((sum, name) => sum + readFileSync(join(logDir, name), 'utf8').split('\n').length - 1, 0);
      const wanted = 2 * (tracer.events().filter(({ event }) => event.action !== 'imds-request').length + requests);
      const lost = Number(/(\d+) lines could not be written to/.exec(stderr)?.[1]);
      expect(lines('imds-trace') + lines('imds-events') + lost).toBe(wanted);
    },
  );
});
