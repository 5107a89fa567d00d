import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PATIENCE } from '../support/patience.js';
import { compile } from './support.js';

describe.each(['address,undefined', 'thread'])('from the ring to TypeScript, under -fsanitize=%s', (sanitizers) => {
  const folder = mkdtempSync(join(tmpdir(), 'imds-drain-'));
  let driver: string;
  beforeAll(() => {
    driver = compile(
      'drain_driver.c',
      join(folder, 'driver'),
      '-O1',
      `-fsanitize=${sanitizers}`,
      '-fno-sanitize-recover=all',
    );
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  /** With addresses that are not random: ThreadSanitizer's own layout has no room for as much chance as newer kernels take. */
  const run = (mode: string) => {
    const { status, stdout, stderr } = spawnSync('setarch', ['--addr-no-randomize', driver, mode], {
      encoding: 'utf8',
      timeout: 50_000 * PATIENCE,
    });
    return { status, stdout, stderr };
  };
  const passed = { status: 0, stdout: 'passed\n', stderr: '' };

  it('the queue keeps order and end, whoever is faster', () => {
    expect(run('queue')).toEqual(passed);
  });

  it('the queue takes memory up to its bound, and gives it back', () => {
    expect(run('bound')).toEqual(passed);
  });

  it('connect records are squeezed, or refused', () => {
    expect(run('squeeze')).toEqual(passed);
  });

  it.skipIf(process.getuid?.() !== 0)(
    'what was captured before the stop is read to the end, and counted exactly (needs root)',
    () => {
      expect(run('source')).toEqual(passed);
    },
  );
});
