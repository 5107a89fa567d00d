import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { PATIENCE } from '../support/patience.js';
import { describeOnKernel } from './support/kernel.js';
import { runOk } from './support/run.js';
import { clientScript, openScene, pythonPath, type Scene } from './support/scene.js';
import { MAIN } from './support/tracer.js';
import { until } from './support/wait.js';

describeOnKernel('a terminal that stands still', () => {
  let scene: Scene;
  beforeAll(async () => {
    scene = await openScene({ providers: ['volcengine'] });
  });
  afterAll(() => scene?.close());

  // What Ctrl-S does, or a multiplexer in copy mode: nobody reads, until the terminal's buffer is full and writing waits.
  test('neither stops the tracer nor keeps it from ending', { timeout: 60_000 * PATIENCE }, async () => {
    const REQUESTS = 300;
    const logDir = `${scene.folder}/still`;
    const python = await pythonPath();
    const child = spawn(
      python,
      [clientScript('still.py'), process.execPath, MAIN, 'trace', '--provider', 'volcengine', '--log-dir', logDir],
      { stdio: ['pipe', 'pipe', 'inherit'] },
    );
    scene.cleanup.defer('end the terminal', () => child.kill('SIGKILL'));
    const log = (): string => {
      try {
        return readFileSync(`${logDir}/imds-trace.log`, 'utf8');
      } catch {
        return '';
      }
    };
    const seen = (): number => log().split('/latest/still').length - 1;
    await until('the start', () => log().includes('tracer-started'));
    const urls = Array(REQUESTS).fill('http://100.96.0.96/latest/still');
    await runOk(['ip', 'netns', 'exec', scene.lab.clientNamespace, 'curl', '-s', '-A', 'x'.repeat(900), ...urls], {
      timeoutMs: 30_000,
    });
    await until(
      () => `${REQUESTS} lines; there are ${seen()}`,
      () => seen() >= REQUESTS,
    );
    child.stdin.end(); // still.py sends SIGINT
    const [status] = await Promise.race([once(child, 'exit'), sleep(5_000 * PATIENCE).then(() => ['still running'])]);
    expect(status).toBe(0);
    expect(log()).toContain('tracer-stopped');
  });
});
