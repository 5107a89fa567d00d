import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { AuditResult } from '../../src/audit/types.js';
import type { ReportResult } from '../../src/report/fleet.js';
import { type Finished, run } from '../e2e/support/run.js';
import { request, started, stopped } from '../report/logs.js';

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'imds-report-'));
  mkdirSync(join(folder, 'logs'));
  const lines = [started(), request({ at: 1 }), request({ at: 2, verdict: 'hardened' }), stopped({ at: 3 })];
  writeFileSync(join(folder, 'logs/imds-events.ndjson'), `${lines.join('\n')}\n`);
});
afterAll(() => rmSync(folder, { recursive: true }));

const report = (...args: string[]): Promise<Finished> => run([process.execPath, MAIN, 'report', ...args]);

describe('report', () => {
  it('prints verdict, clients and what was read', async () => {
    const { status, stdout, stderr } = await report(join(folder, 'logs'));
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toMatch(/^NOT READY for tokens only: web-1/);
    expect(stdout).toContain('curl (unit backup.service, user root): breaks with the switch');
    expect(stdout).toContain('Read: 4 events in 1 files');
  });

  it('writes JSON and HTML into a file that only its owner can read', async () => {
    const json = join(folder, 'out.json');
    const html = join(folder, 'out.html');
    for (const [format, file] of [
      ['json', json],
      ['html', html],
    ] as const) {
      const { status, stdout } = await report('--format', format, '--out', file, join(folder, 'logs'));
      expect({ status, stdout }).toEqual({ status: 0, stdout: '' });
      expect(statSync(file).mode & 0o777).toBe(0o600);
    }
    const result = JSON.parse(readFileSync(json, 'utf8')) as AuditResult;
    expect(result).toMatchObject({ verdict: 'not_ready', totals: { requests: 2, normal_mode: 1, hardened: 1 } });
    expect(readFileSync(html, 'utf8')).toMatch(/^<!doctype html>/);
  });

  it('says what it can not write, and leaves a device a device', async () => {
    for (const file of [join(folder, 'none', 'out.html'), '/dev/null']) {
      const { status, stderr } = await report('--out', file, join(folder, 'logs'));
      expect(status).toBe(2);
      expect(stderr).toContain(`cannot write ${file}`);
      expect(stderr).toContain('[IMDS_REPORT_OUT]');
    }
    expect(statSync('/dev/null').isCharacterDevice()).toBe(true);
  });

  it('does not call a folder empty that it may not look into', async () => {
    const shut = join(folder, 'shut');
    mkdirSync(shut, { mode: 0o755 });
    mkdirSync(join(shut, 'too-deep', ...Array.from({ length: 20 }, (_, i) => `${i}`)), { recursive: true });
    const { status, stderr } = await report(shut);
    expect(status).toBe(2);
    expect(stderr).toMatch(/^imds-tracer: .*: too deep\n.*there is no event log/);
  });

  it("compares with the cloud's counter: 4 where it is not accounted for", async () => {
    const right = await report('--expect-normal-mode', '1', join(folder, 'logs'));
    expect(right.status).toBe(0);
    expect(right.stdout).toContain('every one is accounted for');
    const wrong = await report('--expect-normal-mode', '7', join(folder, 'logs'));
    expect(wrong.status).toBe(4);
    expect(wrong.stdout).toContain('6 are not accounted for');
  });

  it('takes a period', async () => {
    const { stdout } = await report('--since', '2026-11-21T00:00:02Z', '--format', 'json', join(folder, 'logs'));
    expect((JSON.parse(stdout) as AuditResult).totals.requests).toBe(1);
  });

  it('reads logs of more than 64 MiB in threads, to the same sums', async () => {
    const hosts = ['web-1', 'web-2'];
    for (const host of hosts) {
      mkdirSync(join(folder, 'large', host), { recursive: true });
      const path = `/latest/meta-data/${'x'.repeat(56_000)}`;
      const requests = Array.from({ length: 600 }, (_, at) => request({ host, at, path }));
      const lines = [started({ host }), ...requests, stopped({ host, at: 601 })];
      writeFileSync(join(folder, 'large', host, 'imds-events.ndjson'), `${lines.join('\n')}\n`);
    }
    const { status, stdout, stderr } = await report('--format', 'json', join(folder, 'large'));
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    const result = JSON.parse(stdout) as ReportResult;
    expect(result.totals).toMatchObject({ requests: 1_200, normal_mode: 1_200 });
    expect(result.hosts.map(({ name }) => name).toSorted()).toEqual(hosts);
  });

  it.each([
    [['/nowhere/at/all'], 'IMDS_REPORT_PATH'],
    [['--since', 'yesterday', '/tmp'], 'IMDS_BAD_VALUE'],
    [['--since', '2026-02-31', '/tmp'], 'IMDS_BAD_VALUE'],
    [['--until', '2026-02-30T08:00:00+02:00', '/tmp'], 'IMDS_BAD_VALUE'],
    [['--since', '2026-11-22', '--until', '2026-11-21', '/tmp'], 'IMDS_BAD_VALUE'],
    [['--expect-normal-mode', '-3', '/tmp'], 'IMDS_BAD_VALUE'],
    [['/etc/init.d'], 'IMDS_REPORT_EMPTY'],
  ])('refuses %j: %s', async (args, code) => {
    const { status, stdout, stderr } = await report(...args);
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
    expect(stderr).toContain(`[${code}]`);
  });
});
