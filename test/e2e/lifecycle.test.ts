import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync, renameSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { inNamespace } from '../../src/lab/netns.js';
import { PATIENCE } from '../support/patience.js';
import { CleanupStack } from './support/cleanup.js';
import { describeOnKernel } from './support/kernel.js';
import { JsonLines } from './support/lines.js';
import { allLinks, linksOf } from './support/links.js';
import { expectExactlyTheJournal } from './support/match.js';
import { verdictOf } from './support/oracle.js';
import { run, runOk } from './support/run.js';
import { clientScript, observe, openScene, pythonPath, type Scene } from './support/scene.js';
import { type EcsEvent, isRequest, MAIN, startTracer, statsOf, type Tracer } from './support/tracer.js';
import { until } from './support/wait.js';

/** Nobody else on a test machine talks to this one, so that exit statuses are about this test alone. */
const ADDRESS = '100.96.0.96';
const ID = '/latest/instance_id';
const PROVIDER = ['--provider', 'volcengine'];

const labNamespaces = (pid: number): string[] =>
  existsSync('/var/run/netns')
    ? readdirSync('/var/run/netns').filter((name) => name.startsWith(`imds-lab-${pid}-`))
    : [];

describeOnKernel('the life of a tracer', () => {
  let scene: Scene;
  let python: string;
  const cleanup = new CleanupStack();
  let folders = 0;

  const newFolder = () => join(scene.folder, `log-dir-${folders++}`);
  const ask = () => scene.runOk(['curl', '-s', `http://${ADDRESS}${ID}`]);
  const burst = (...counts: number[]) =>
    scene.runOk([python, clientScript('burst.py'), ADDRESS, '80', ...counts.map(String)], { timeoutMs: 60_000 });
  async function start(args: readonly string[] = [], logDir = newFolder()): Promise<Tracer> {
    const tracer = await startTracer({ logDir, args: [...PROVIDER, ...args] });
    cleanup.defer('stop the tracer', () => tracer.stop());
    return tracer;
  }
  const hasEnded = (pid: number) =>
    !existsSync(`/proc/${pid}`) || /^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'latin1'));
  async function expectDetached(links: readonly number[]): Promise<void> {
    expect(links.length).toBeGreaterThanOrEqual(4);
    await until('the end of its links', async () => {
      const all = await allLinks();
      return !links.some((link) => all.includes(link));
    });
  }

  beforeAll(async () => {
    scene = await openScene({ providers: ['volcengine'] });
    python = await pythonPath();
  });
  afterEach(() => cleanup.run());
  afterAll(() => scene?.close());

  test('says when it has started, from where, and where to', async () => {
    const tracer = await start();
    const [first] = tracer.events();
    expect(first).toMatchObject({
      event: { action: 'tracer-started' },
      log: { level: 'INFO' },
      imds: { source: 'ebpf', providers: ['volcengine'], endpoints: [{ ip: ADDRESS, port: 80 }] },
    });
    expect(statSync(tracer.logDir).mode & 0o777).toBe(0o700);
    for (const name of readdirSync(tracer.logDir)) expect(statSync(join(tracer.logDir, name)).mode & 0o777).toBe(0o600);
  });

  test.each(['SIGINT', 'SIGTERM'] as const)(
    '%s, amid a burst: all is written and detached, exit status 0',
    async (signal) => {
      const journaled = scene.journal().length;
      const tracer = await start();
      const links = linksOf(tracer.pid);
      const sending = burst(2, 1500, 10);
      await until('part of the burst', () => tracer.requests().length > 300, 20_000);
      tracer.kill(signal);
      await until('its end', () => hasEnded(tracer.pid));
      await sending;
      const { status, signal: endedBy } = await tracer.stop();
      const stats = statsOf(tracer);
      expect({ status, endedBy }, JSON.stringify(stats)).toEqual({ status: 0, endedBy: null });
      await expectDetached(links);

      expect(tracer.events().at(-1)!.event.action).toBe('tracer-stopped');
      expect(tracer.requests()).toHaveLength(stats.requests);
      expect(stats.packets_seen).toBe(stats.packets_captured + stats.ring_dropped + stats.packets_passed_over);
      expect(stats.ring_dropped).toBe(0);
      const sent = new Set(
        scene
          .journal()
          .slice(journaled)
          .map((entry) => entry.kind === 'request' && entry.target),
      );
      for (const { url } of tracer.requests()) expect(sent.delete(url!.original!)).toBe(true); // each once
    },
  );

  test('kill -9: nothing stays attached, and the next one goes on in the same logs', async () => {
    const logDir = newFolder();
    const first = await start([], logDir);
    const links = linksOf(first.pid);
    await observe(scene, first, 1, ask);
    first.kill('SIGKILL');
    await until('its end', () => hasEnded(first.pid));
    await expectDetached(links);

    const second = await startAgain(logDir);
    await observe(scene, second, 1, ask);
    expect(await second.stop()).toMatchObject({ status: 0 });
    expect(second.events().map(({ event }) => event.action)).toEqual([
      'tracer-started',
      'imds-request',
      'tracer-started',
      'imds-request',
      'tracer-stopped',
    ]);
    expect(second.text().trimEnd().split('\n')).toHaveLength(5);
  });

  /** A second tracer with a log directory that has its `tracer-started` from the first. */
  async function startAgain(logDir: string): Promise<Tracer> {
    const tracer = await start([], logDir);
    await until(
      'its own start',
      () => tracer.events().filter(({ event }) => event.action === 'tracer-started').length === 2,
    );
    return tracer;
  }

  test('two at once see the same, and one that stops takes nothing from the other', async () => {
    const first = await start();
    const second = await start();
    const journaled = scene.journal().length;
    const both = await observe(scene, first, 400, () => burst(2, 200, 7));
    await until('the same of the other', () => second.requests().length === 400);
    expectExactlyTheJournal(both.events, both.journal, verdictOf);
    expectExactlyTheJournal(second.requests(), both.journal, verdictOf);
    expect(await first.stop()).toMatchObject({ status: 0 });
    await observe(scene, second, 1, ask);
    expect(await second.stop()).toMatchObject({ status: 0 });
    expect(first.requests()).toHaveLength(400);
    expect(second.requests()).toHaveLength(scene.journal().length - journaled);
    expect(statsOf(second).ring_dropped).toBe(0);
  });

  test('--duration ends it, as a signal would', async () => {
    const logDir = newFolder();
    const begun = performance.now();
    const { status, stdout } = await run([
      process.execPath,
      MAIN,
      'trace',
      ...PROVIDER,
      '--log-dir',
      logDir,
      '--duration',
      '1s',
    ]);
    expect(status).toBe(0);
    expect(performance.now() - begun).toBeGreaterThan(1000);
    expect(
      stdout
        .trimEnd()
        .split('\n')
        .map((line) => / tracer-(\w+) /.exec(line)?.[1]),
    ).toEqual(['started', 'stopped']);
  });

  test('--quiet shows nothing, and logs all the same', async () => {
    const tracer = await start(['--quiet']);
    await observe(scene, tracer, 1, ask);
    expect(await tracer.stop()).toMatchObject({ status: 0, stdout: '', stderr: '' });
    expect(tracer.requests()).toHaveLength(1);
  });

  test('a configuration file says the same as options do, which come first', async () => {
    const logDir = newFolder();
    const file = join(scene.folder, 'config.yaml');
    await runOk(['sh', '-c', 'cat > "$0"', file], {
      input: `provider: [aws]\nlog-dir: ${logDir}\nquiet: true\nduration: 500ms\nendpoint: ['${ADDRESS}:81']\n`,
    });
    const { status, stdout } = await run([process.execPath, MAIN, 'trace', '--config', file, ...PROVIDER]);
    expect({ status, stdout }).toEqual({ status: 0, stdout: '' });
    const [started] = new JsonLines<EcsEvent>().read(join(logDir, 'imds-events.ndjson'));
    expect(started!.imds).toMatchObject({
      providers: ['volcengine'],
      endpoints: [{ port: 80 }, { ip: ADDRESS, port: 81 }],
    });
  });

  describe('when nobody can read what it shows, it logs on', () => {
    async function expectLogsOn(logDir: string, child: ReturnType<typeof spawn>): Promise<void> {
      cleanup.defer('kill the tracer', () => child.kill('SIGKILL'));
      const exit = once(child, 'exit');
      const reader = new JsonLines<EcsEvent>();
      const events = () => reader.read(join(logDir, 'imds-events.ndjson'));
      await until('the start', () => events().length > 0);
      for (let i = 1; i <= 3; i += 1) {
        await ask();
        await until(`event ${i}`, () => events().filter(isRequest).length === i);
      }
      child.kill('SIGTERM');
      expect(await exit).toEqual([0, null]);
      expect(events().at(-1)!.event.action).toBe('tracer-stopped');
    }
    const command = (logDir: string) => [process.execPath, MAIN, 'trace', ...PROVIDER, '--log-dir', logDir];

    test('a pipe whose reader left after a line (| head -1)', async () => {
      const logDir = newFolder();
      const [node, ...args] = command(logDir);
      const child = spawn(node!, args, { stdio: ['ignore', 'pipe', 'inherit'] });
      child.stdout!.once('data', () => child.stdout!.destroy());
      await expectLogsOn(logDir, child);
    });

    test.each(['/dev/full', 'closed'])('standard output is %s', async (output) => {
      const logDir = newFolder();
      const redirect = output === 'closed' ? '>&-' : `> ${output}`;
      const child = spawn('sh', ['-c', `exec "$@" ${redirect}`, 'sh', ...command(logDir)], {
        stdio: ['ignore', 'ignore', 'inherit'],
      });
      await expectLogsOn(logDir, child);
    });

    test('a pipe that is never read, which does not keep it from ending either', async () => {
      const logDir = newFolder();
      const fifo = join(scene.folder, 'fifo');
      await runOk(['mkfifo', fifo]);
      const reader = openSync(fifo, 'r+'); // holds it open and reads nothing
      const [node, ...args] = command(logDir);
      const child = spawn(node!, args, { stdio: ['ignore', reader, 'inherit'] });
      cleanup.defer('kill the tracer', () => child.kill('SIGKILL'));
      const events = new JsonLines<EcsEvent>();
      const written = () => events.read(join(logDir, 'imds-events.ndjson'));
      await until('the start', () => written().length > 0);
      await burst(1, 200, 50); // more than a pipe holds
      await until('all events', () => written().filter(isRequest).length === 200);
      const exit = once(child, 'exit', { signal: AbortSignal.timeout(2000 * PATIENCE) });
      child.kill('SIGTERM');
      expect(await exit).toEqual([0, null]);
      closeSync(reader);
    });
  });

  test('SIGHUP, after logrotate moved the files: it goes on in new ones', async () => {
    const tracer = await start();
    await observe(scene, tracer, 1, ask);
    for (const name of ['imds-trace.log', 'imds-events.ndjson']) {
      renameSync(join(tracer.logDir, name), join(tracer.logDir, name.replace('.', '.1.')));
    }
    tracer.kill('SIGHUP');
    await until(
      'the new files',
      () => existsSync(join(tracer.logDir, 'imds-trace.log')) && existsSync(join(tracer.logDir, 'imds-events.ndjson')),
    );
    await observe(scene, tracer, 1, ask);
    expect(await tracer.stop()).toMatchObject({ status: 0 });
    expect(
      readFileSync(join(tracer.logDir, 'imds-trace.log'), 'utf8')
        .split('\n')
        .filter((line) => line.includes('IMDSv1(!)')),
    ).toHaveLength(1);
    expect(tracer.requests()).toHaveLength(2);
  });

  test('a full disk: what could not be written is counted to the line and said, exit status 4', async () => {
    const logDir = newFolder();
    mkdirSync(logDir, { mode: 0o700 });
    await runOk(['mount', '-t', 'tmpfs', '-o', 'size=256k,mode=700', 'tmpfs', logDir]);
    cleanup.defer('unmount the full disk', () => runOk(['umount', '-l', logDir]));
    const tracer = await start([], logDir);
    await burst(2, 400, 10);
    const { status, stdout, stderr } = await tracer.stop();
    expect(Number(/tracer-stopped .* requests:(\d+) /.exec(stdout)?.[1])).toBe(800);
    expect(status).toBe(4);
    for (const name of ['imds-trace.log', 'imds-events.ndjson']) {
      expect(stderr).toMatch(new RegExp(`${name} can't be written, and is tried again each second: ENOSPC`));
    }
    // Every line of both files is there, or was counted.
    const whole = (text: string): number => text.split('\n').length - 1;
    const [traced, written] = ['imds-trace.log', 'imds-events.ndjson'].map((name) =>
      whole(readFileSync(join(logDir, name), 'utf8')),
    );
    expect(Number(/(\d+) lines could not be written to/.exec(stderr)?.[1])).toBe(
      2 * whole(stdout) - traced! - written!,
    );
    // What there is, is whole lines.
    const text = readFileSync(join(logDir, 'imds-events.ndjson'), 'utf8');
    for (const line of text.slice(0, text.lastIndexOf('\n')).split('\n')) expect(() => JSON.parse(line)).not.toThrow();
  });

  describe('--lab', () => {
    test('shows each kind of request, and leaves nothing', async () => {
      const tracer = await start(['--lab']);
      const namespaces = labNamespaces(tracer.pid);
      expect(namespaces).toHaveLength(2);
      const all = ['normal_mode', 'hardened', 'token_issue', 'token_refused', 'token_invalid'];
      await until(
        'every verdict',
        () => all.every((verdict) => tracer.requests().some(({ imds }) => imds!.verdict === verdict)),
        20_000,
      );
      const servers = (
        await runOk(['ip', 'netns', 'pids', namespaces.find((name) => name.endsWith('-server'))!])
      ).stdout.trim();
      expect(await tracer.stop()).toMatchObject({ status: 0 });
      expect(labNamespaces(tracer.pid)).toEqual([]);
      for (const pid of servers.split('\n').map(Number)) expect(hasEnded(pid)).toBe(true);
    });

    test('after kill -9, the next start clears what was left', async () => {
      const killed = await start(['--lab']);
      await until('a request', () => killed.requests().length > 0);
      killed.kill('SIGKILL');
      await until('its end', () => hasEnded(killed.pid));
      const [left] = labNamespaces(killed.pid);
      expect(left).toBeDefined();
      // The service hangs on its leash; clients that still run end by themselves.
      await until(
        'the end of its processes',
        async () =>
          (await run(inNamespace(left!, ['true']))).status === 0 &&
          (await runOk(['ip', 'netns', 'pids', left!])).stdout === '',
        20_000,
      );

      const next = await start(['--lab']);
      expect(labNamespaces(killed.pid)).toEqual([]);
      expect(labNamespaces(next.pid)).toHaveLength(2);
      await next.stop();
      expect(labNamespaces(next.pid)).toEqual([]);
    });
  });
});
