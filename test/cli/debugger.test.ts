import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { MAIN } from '../e2e/support/tracer.js';
import { until } from '../e2e/support/wait.js';

it("SIGUSR1 does not open Node's debugger, through which any local user could give orders", async () => {
  const child = spawn(process.execPath, [MAIN, 'replay', '-'], { stdio: ['pipe', 'ignore', 'pipe'] });
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  try {
    // The command runs: by then every handler is there.
    await until('the native module', () => readFileSync(`/proc/${child.pid}/maps`, 'utf8').includes('imds_capture.so'));
    child.kill('SIGUSR1');
    await sleep(300);
    expect(stderr).toBe('');
    expect(child.exitCode).toBeNull();
  } finally {
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  }
});
