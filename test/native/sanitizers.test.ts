import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PATIENCE } from '../support/patience.js';
import { compile } from './support.js';

describe('the native module under the sanitizers', () => {
  const folder = mkdtempSync(join(tmpdir(), 'imds-sanitizers-'));
  let driver: string;
  beforeAll(() => {
    driver = compile(
      'driver.c',
      join(folder, 'driver'),
      '-O1',
      '-fsanitize=address,undefined',
      '-fno-sanitize-recover=all',
    );
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  const run = (mode: string) => {
    const { status, stdout, stderr } = spawnSync(driver, [mode], { encoding: 'utf8', timeout: 50_000 * PATIENCE });
    return { status, stdout, stderr };
  };
  const passed = { status: 0, stdout: 'passed\n', stderr: '' };

  it('copies hostile records, and lives and dies, without a finding of ASan, LSan or UBSan', () => {
    expect(run('batch')).toEqual(passed);
  });

  it.skipIf(process.getuid?.() !== 0)('opens, reads, probes and is refused without a finding (needs root)', () => {
    expect(run('host')).toEqual(passed);
  });

  it.skipIf(process.getuid?.() !== 0)('changes the endpoints of running sources without a finding (needs root)', () => {
    expect(run('endpoints')).toEqual(passed);
  });
});
