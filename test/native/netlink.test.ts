import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PATIENCE } from '../support/patience.js';
import { compile } from './support.js';

describe('questions about sockets, under the sanitizers', () => {
  const folder = mkdtempSync(join(tmpdir(), 'imds-netlink-'));
  let driver: string;
  beforeAll(() => {
    const sanitize = ['-O1', '-fsanitize=address,undefined', '-fno-sanitize-recover=all'];
    driver = compile('netlink_driver.c', join(folder, 'driver'), ...sanitize);
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  const run = (mode: string) => {
    const { status, stdout, stderr } = spawnSync(driver, [mode], { encoding: 'utf8', timeout: 50_000 * PATIENCE });
    return { status, stdout, stderr };
  };
  const passed = { status: 0, stdout: 'passed\n', stderr: '' };

  it('reads answers that are cut, changed or made up without a finding', () => {
    expect(run('parse')).toEqual(passed);
  });

  it.skipIf(process.getuid?.() !== 0)('finds real sockets, and whose they are (needs root)', () => {
    expect(run('host')).toEqual(passed);
  });
});
