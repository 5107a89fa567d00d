import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect, it } from 'vitest';
import { packageRoot } from '../../src/package-root.js';

const MAIN = join(packageRoot(), 'dist/cli/main.js');

it('service install, status and uninstall of an image', () => {
  const image = mkdtempSync(join(tmpdir(), 'imds-image-'));
  const run = (action: string) => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, 'service', action, '--root', image], {
      encoding: 'utf8',
    });
    return { status, out: stdout, err: stderr };
  };
  try {
    expect(run('install')).toMatchObject({ status: 2, err: expect.stringContaining('[IMDS_SERVICE_PROGRAM]') });
    for (const path of [process.execPath, MAIN]) {
      mkdirSync(dirname(join(image, path)), { recursive: true });
      writeFileSync(join(image, path), '');
    }
    expect(run('status')).toMatchObject({ status: 3, out: expect.stringContaining('enabled: no') });
    expect(run('install')).toMatchObject({ status: 0, out: expect.stringContaining('starts with the next boot') });
    expect(run('install').out).toContain('installed already');
    expect(run('status')).toMatchObject({ status: 0, out: expect.stringContaining('enabled: yes') });
    expect(run('uninstall').status).toBe(0);
    expect(run('uninstall')).toMatchObject({ status: 0, out: expect.stringContaining('was not installed') });
    expect(readdirSync(join(image, 'etc/systemd/system/multi-user.target.wants'))).toEqual([]);
  } finally {
    rmSync(image, { recursive: true });
  }
}, 60_000);
