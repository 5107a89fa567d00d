import { spawn } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  lchownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Audit } from '../../src/audit/audit.js';
import { Clients } from '../../src/audit/clients.js';
import { AuditFolder, type AuditState, isAlive, STATE_FILE } from '../../src/audit/state.js';
import { startOfLiving } from '../../src/process/living.js';
import { parseStat } from '../../src/process/proc.js';
import { zombie } from '../support/zombie.js';
import { observation } from './support.js';

let base: string;
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'imds-audit-'));
});
afterEach(() => rmSync(base, { recursive: true, force: true }));

function state(changes: Partial<AuditState> = {}): AuditState {
  const clients = new Clients();
  clients.add(observation());
  return {
    schema_version: 1,
    traces: 'alibaba',
    host: 'vm',
    settled: false,
    started: Date.now() - 60_000,
    saved: Date.now() - 10_000,
    traced_ms: 50_000,
    // No process has it: pid_max is at most 2^22.
    pid: 5_000_000,
    pid_start: 1,
    clients: JSON.parse(JSON.stringify(clients)),
    coverage: [['ring_dropped', 2, '']],
    ...changes,
  };
}

const open = (out: string, durationMs = 120_000, traces = 'alibaba') =>
  Audit.open({
    folder: new AuditFolder(out),
    host: { name: 'vm' },
    durationMs,
    allowSilent: false,
    providers: ['alibaba'],
    traces,
  });

describe("an audit's folder", () => {
  it('is made for this user alone; its files too, whatever the umask', async () => {
    const out = join(base, 'out');
    const folder = new AuditFolder(out);
    await folder.prepare();
    const umask = process.umask(0);
    try {
      await folder.write('audit.json', 'x');
    } finally {
      process.umask(umask);
    }
    expect(statSync(out).mode & 0o777).toBe(0o700);
    expect(statSync(join(out, 'audit.json')).mode & 0o777).toBe(0o600);
    expect(readdirSync(out)).toEqual(['audit.json']);
  });

  it('keeps the rights that it has', async () => {
    chmodSync(base, 0o755);
    await new AuditFolder(base).prepare();
    expect(statSync(base).mode & 0o777).toBe(0o755);
    expect(readdirSync(base)).toEqual([]);
  });

  it('replaces a symbolic link, and does not write through it', async () => {
    const victim = join(base, 'victim');
    writeFileSync(victim, 'keep');
    symlinkSync(victim, join(base, 'audit.json'));
    await new AuditFolder(base).write('audit.json', 'new');
    expect(readFileSync(victim, 'utf8')).toBe('keep');
    expect(readFileSync(join(base, 'audit.json'), 'utf8')).toBe('new');
  });

  it.skipIf(process.geteuid!() !== 0)("is none by another user's symbolic link (needs root)", async () => {
    const link = join(base, 'link');
    mkdirSync(join(base, 'real'));
    symlinkSync(join(base, 'real'), link);
    await new AuditFolder(link).prepare();
    lchownSync(link, 12_345, 12_345);
    await expect(new AuditFolder(link).prepare()).rejects.toMatchObject({
      code: 'IMDS_AUDIT_DIR',
      message: expect.stringContaining('user 12345'),
    });
    expect(readdirSync(join(base, 'real'))).toEqual([]);
  });

  it('that can not be is said with its name and what to do', async () => {
    writeFileSync(join(base, 'file'), '');
    for (const path of [join(base, 'file'), join(base, 'no', 'such'), '/proc/1/nothing']) {
      await expect(new AuditFolder(path).prepare()).rejects.toMatchObject({
        code: 'IMDS_AUDIT_DIR',
        exitStatus: 2,
        message: expect.stringContaining(path),
      });
    }
  });

  it.each([
    ['no JSON', '{'],
    ['another JSON', '[1]'],
    ['clients of another form', JSON.stringify(state({ clients: { clients: [{}] } as never }))],
    ['coverage that is unknown', JSON.stringify(state({ coverage: [['made_up' as never, 1, '']] }))],
    ['times that are none', JSON.stringify(state({ saved: 'x' as never }))],
    ['times beyond all dates', JSON.stringify(state({ saved: 1e300 }))],
  ])('with a state that is %s is refused', async (_, text) => {
    writeFileSync(join(base, STATE_FILE), text, { mode: 0o600 });
    await expect(open(base)).rejects.toMatchObject({ code: 'IMDS_AUDIT_STATE', exitStatus: 2 });
  });

  it('with a state that others could have written, or that is no file, is refused', async () => {
    const path = join(base, STATE_FILE);
    writeFileSync(path, JSON.stringify(state()));
    chmodSync(path, 0o666);
    await expect(open(base)).rejects.toMatchObject({ code: 'IMDS_AUDIT_STATE' });
    rmSync(path);
    mkdirSync(path);
    await expect(open(base)).rejects.toMatchObject({ code: 'IMDS_AUDIT_STATE' });
    rmSync(path, { recursive: true });
    symlinkSync('/dev/zero', path);
    await expect(open(base)).rejects.toMatchObject({ code: 'IMDS_AUDIT_STATE' });
  });
});

describe('an interrupted audit', () => {
  it('goes on with the time that is left and all that was seen; the gap counts against it', async () => {
    writeFileSync(join(base, STATE_FILE), JSON.stringify(state()), { mode: 0o600 });
    const audit = await open(base);
    expect(audit.remainingMs).toBe(70_000);
    expect(audit.resumedAfterMs).toBeGreaterThanOrEqual(10_000);
    expect(audit.progress).toMatchObject({ requests: 1, clients: 1, normalMode: 1 });
    const { verdict, coverage, totals } = audit.result([]);
    expect(verdict).toBe('not_ready');
    expect(totals).toMatchObject({ requests: 1, normal_mode: 1 });
    expect(coverage.reasons.map(({ code, count }) => [code, count])).toEqual([
      ['ring_dropped', 2],
      ['not_traced', 1],
      ['ended_early', 1],
    ]);
    expect(coverage.reasons[1]!.text).toMatch(/was not running once, the last time for 1\d s from 20/);
  });

  it('that was killed is never ready, also where a shorter time leaves nothing to trace', async () => {
    const clients = new Clients();
    clients.add(observation({ verdict: 'hardened' }));
    const gathered = JSON.parse(JSON.stringify(clients));
    for (const settled of [false, true]) {
      const text = JSON.stringify(state({ clients: gathered, coverage: [], settled }));
      writeFileSync(join(base, STATE_FILE), text, { mode: 0o600 });
      const { verdict, coverage } = (await open(base, 40_000)).result([]);
      expect(verdict).toBe(settled ? 'ready' : 'inconclusive');
      expect(coverage.reasons.map(({ code }) => code)).toEqual(settled ? [] : ['not_traced']);
    }
  });

  it('of another host is not gone on with', async () => {
    writeFileSync(join(base, STATE_FILE), JSON.stringify(state({ host: 'other' })), { mode: 0o600 });
    await expect(open(base)).rejects.toMatchObject({ code: 'IMDS_AUDIT_OTHER', exitStatus: 2 });
  });

  it('is not gone on with where others could have put an older state back', async () => {
    writeFileSync(join(base, STATE_FILE), JSON.stringify(state()), { mode: 0o600 });
    chmodSync(base, 0o777);
    await expect(open(base)).rejects.toMatchObject({ code: 'IMDS_AUDIT_STATE', exitStatus: 2 });
    // As /tmp is: there nobody renames what another made.
    chmodSync(base, 0o1777);
    expect((await open(base)).remainingMs).toBe(70_000);
  });

  it('that only lacks its result has no gap', async () => {
    const whole = state({ traced_ms: 120_000, settled: true });
    writeFileSync(join(base, STATE_FILE), JSON.stringify(whole), { mode: 0o600 });
    const audit = await open(base);
    expect(audit.endedEarly).toBe(false);
    expect(audit.result([]).coverage.reasons.map(({ code }) => code)).toEqual(['ring_dropped']);
  });

  it('saves what it goes on with, and what is saved is the same again', async () => {
    writeFileSync(join(base, STATE_FILE), JSON.stringify(state()), { mode: 0o600 });
    const audit = await open(base);
    audit.sink().write!(
      {
        kind: 'request',
        time: Date.now(),
        client: { address: '1.1.1.1', port: 1 },
        endpoint: { address: '100.100.100.200', port: 80 },
        family: 4,
        cookie: 1n,
        judgement: {
          provider: 'alibaba',
          verdict: 'hardened',
          level: 'INFO',
          severity: 'low',
          reasons: [],
          tokenPresent: true,
        },
        attribution: { how: 'none' },
      },
      { timestamp: '', level: 'INFO', message: '', line: '' },
    );
    await audit.save();
    expect(audit.saveError).toBeUndefined();
    const saved = JSON.parse(readFileSync(join(base, STATE_FILE), 'utf8')) as AuditState;
    expect(saved).toMatchObject({ pid: process.pid, pid_start: startOfLiving(process.pid), traced_ms: 50_000 });
    writeFileSync(join(base, STATE_FILE), JSON.stringify({ ...saved, pid: 5_000_000 }));
    const again = await open(base);
    expect(again.progress).toEqual({ ...audit.progress, remainingMs: again.remainingMs });
    expect(again.result([]).coverage.reasons.find(({ code }) => code === 'not_traced')).toMatchObject({ count: 2 });
  });

  it('of something else is not gone on with', async () => {
    writeFileSync(join(base, STATE_FILE), JSON.stringify(state()), { mode: 0o600 });
    await expect(open(base, 120_000, 'aws')).rejects.toMatchObject({
      code: 'IMDS_AUDIT_OTHER',
      message: expect.stringContaining('alibaba'),
    });
    expect(existsSync(join(base, STATE_FILE))).toBe(true);
  });

  it('that still runs is left alone', async () => {
    const child = spawn('sleep', ['60']);
    try {
      const running = { pid: child.pid!, pid_start: startOfLiving(child.pid!)! };
      writeFileSync(join(base, STATE_FILE), JSON.stringify(state(running)), { mode: 0o600 });
      await expect(open(base)).rejects.toMatchObject({
        code: 'IMDS_AUDIT_RUNNING',
        message: expect.stringContaining(String(child.pid)),
      });
      expect(isAlive({ ...running, pid_start: running.pid_start - 1 })).toBe(false);
    } finally {
      child.kill('SIGKILL');
    }
  });

  it('that was killed is gone on with, also while nobody has asked for its process', async () => {
    const { pid, release } = await zombie();
    try {
      const { startTicks } = parseStat(readFileSync(`/proc/${pid}/stat`, 'latin1'))!;
      writeFileSync(join(base, STATE_FILE), JSON.stringify(state({ pid, pid_start: startTicks })), { mode: 0o600 });
      expect((await open(base)).remainingMs).toBeLessThan(120_000);
    } finally {
      release();
    }
  });

  it('says why its state could not be saved, and goes on', async () => {
    const out = join(base, 'out');
    const audit = await open(out);
    rmSync(out, { recursive: true });
    await audit.save();
    expect(audit.saveError).toMatchObject({ code: 'IMDS_AUDIT_DIR' });
    mkdirSync(out);
    await audit.save();
    expect(audit.saveError).toBeUndefined();
  });
});
