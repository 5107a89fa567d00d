import {
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { inNamespace } from '../../src/lab/netns.js';
import { Dialogue } from './support/child.js';
import { CleanupStack } from './support/cleanup.js';
import { describeOnKernel, testWith } from './support/kernel.js';
import { allLinks, linksOf } from './support/links.js';
import { expectExactlyTheJournal } from './support/match.js';
import { verdictOf } from './support/oracle.js';
import { run, runOk } from './support/run.js';
import { clientScript, observe, openScene, pythonPath, type Scene } from './support/scene.js';
import {
  type EcsEvent,
  isRequest,
  MAIN,
  startTracer,
  statsOf,
  type Tracer,
  type TracerOptions,
} from './support/tracer.js';
import { until } from './support/wait.js';

/** Of this test alone (RFC 2544), so that what it counts and how it ends is about nobody else's requests. */
const ADDRESS = '198.18.5.80';
const ENDPOINT = { provider: 'volcengine', address: ADDRESS, port: 80 } as const;
const ID = '/latest/instance_id';
const PROVIDER = ['--provider', 'volcengine', '--endpoint', ADDRESS];
const HOUR_MS = 3_600_000;
/** `HOSTILE=full`, or what a normal test run has time for. */
const KILLS = process.env['HOSTILE'] === 'full' ? 30 : 2;

const CLOCK = [
  '/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1',
  '/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1',
  '/usr/lib64/faketime/libfaketimeMT.so.1',
].find((path) => statSync(path, { throwIfNoEntry: false }) !== undefined);

describeOnKernel('faults', () => {
  let scene: Scene;
  let python: string;
  let folders = 0;
  const cleanup = new CleanupStack();

  const newFolder = () => join(scene.folder, `fault-${folders++}`);
  const ask = () => scene.runOk(['curl', '-s', '-m', '5', `http://${ADDRESS}${ID}`]);
  const burst = (...counts: number[]) =>
    scene.run([python, clientScript('burst.py'), ADDRESS, '80', ...counts.map(String)], { timeoutMs: 60_000 });
  async function start(options: Partial<TracerOptions> = {}): Promise<Tracer> {
    const tracer = await startTracer({ logDir: newFolder(), ...options, args: [...PROVIDER, ...(options.args ?? [])] });
    cleanup.defer('stop the tracer', () => tracer.stop());
    return tracer;
  }
  const hasEnded = (pid: number) => /^State:\s+Z/m.test(statusOf(pid)) || statusOf(pid) === '';
  /** A request, and its one event, as it must be. */
  async function expectTraced(tracer: Tracer): Promise<EcsEvent> {
    const { result, journal, events } = await observe(scene, tracer, 1, ask);
    expectExactlyTheJournal(events, journal, (entry) => ({
      ...verdictOf(entry),
      pid: result.pid,
      attribution: 'connect',
    }));
    return events[0]!;
  }

  beforeAll(async () => {
    scene = await openScene({ providers: [], endpoints: [ENDPOINT] });
    python = await pythonPath();
  });
  afterEach(() => cleanup.run());
  afterAll(() => scene?.close());

  test(`kill -9 amid a burst, ${KILLS} times: nothing stays attached, and the next start ends a torn line`, async () => {
    const logDir = newFolder();
    const file = join(logDir, 'imds-events.ndjson');
    const text = join(logDir, 'imds-trace.log');
    let torn = 0;
    for (let i = 0; i < KILLS; i++) {
      const tracer = await startTracer({ logDir, args: PROVIDER, torn: true });
      const links = linksOf(tracer.pid);
      expect(links.length).toBeGreaterThanOrEqual(4);
      const sending = burst(2, 200, 10);
      const size = statSync(file).size;
      await until('part of the burst', () => statSync(file).size > size + i * 997);
      tracer.kill('SIGKILL');
      await until('its end', () => hasEnded(tracer.pid));
      await sending;
      await until('the end of its links', async () => {
        const all = await allLinks();
        return !links.some((link) => all.includes(link));
      });
      // What a kill in the midst of a write leaves.
      for (const path of [file, text]) truncateSync(path, statSync(path).size - 40);
      torn++;
    }
    const last = await startTracer({ logDir, args: PROVIDER, torn: true });
    expect((await last.stop()).status).toBe(0);

    const lines = readFileSync(file, 'utf8').split('\n');
    expect(lines.pop()).toBe('');
    const broken = lines.flatMap((line, at) => (isJson(line) ? [] : [at]));
    expect(broken).toHaveLength(torn);
    // Only what was torn, each on a line of its own in front of what the next one wrote.
    for (const at of broken) {
      expect(lines[at]).toMatch(/^\{"log":\{/);
      expect((JSON.parse(lines[at + 1]!) as EcsEvent).event.action).toBe('tracer-started');
    }
    for (const line of readFileSync(text, 'utf8').trimEnd().split('\n')) expect(line).toMatch(/^\[\d{4}-/);
    const report = await run([process.execPath, MAIN, 'report', logDir]);
    expect(report.stdout + report.stderr).toMatch(new RegExp(`${torn} lines? of the logs`));
  });

  test('SIGSTOP and SIGCONT: what came meanwhile is there, of processes that are long gone', async () => {
    const tracer = await start();
    const { journal, events } = await observe(scene, tracer, 300, async () => {
      tracer.kill('SIGSTOP');
      await burst(2, 150, 10);
      tracer.kill('SIGCONT');
    });
    expectExactlyTheJournal(events, journal, (entry) => ({
      ...verdictOf(entry),
      pid: Number(/worker=(\d+)/.exec(entry.kind === 'request' ? entry.target : '')![1]),
      attribution: 'connect',
    }));
    expect((await tracer.stop()).status).toBe(0);
  });

  test('the cgroup tree unmounted and mounted again', async () => {
    const tracer = await start({ wrap: (argv) => ['unshare', '--mount', ...argv] });
    const first = await expectTraced(tracer);
    const inside = (...argv: string[]) => runOk(['nsenter', '-m', '-t', String(tracer.pid), ...argv]);
    const tree = /^\S+ (\S+) cgroup2 /m.exec(readFileSync(`/proc/${tracer.pid}/mounts`, 'utf8'))?.[1];
    const mounted = tree ?? join(scene.folder, 'cgroup2');
    if (tree === undefined) mkdirSync(mounted);
    else await inside('umount', '-l', tree);
    expect((await expectTraced(tracer)).service).toEqual(first.service);
    await inside('mount', '-t', 'cgroup2', 'none', mounted);
    expect((await expectTraced(tracer)).service).toEqual(first.service);
    expect((await tracer.stop()).status).toBe(0);
  });

  test('interface and namespace deleted under an open connection', async () => {
    const tracer = await start();
    const descriptors = () => readdirSync(`/proc/${tracer.pid}/fd`).length;
    const before = descriptors();
    const other = await openScene({ providers: [], endpoints: [ENDPOINT] });
    cleanup.defer('close the other scene', () => other.close());
    const argv = [python, clientScript('interactive.py'), ADDRESS];
    const client = new Dialogue(inNamespace(other.lab.clientNamespace, argv));
    cleanup.defer('kill the client', () => client.kill());
    expect(await client.read()).toMatch(/^ready/);
    await client.ask('connect');
    await client.ask(`get ${ID}`);
    await until('its event', () => tracer.requests().length === 1);
    await runOk(['ip', '-n', other.lab.clientNamespace, 'link', 'delete', 'imds0']);
    await other.close();
    await client.kill();
    await expectTraced(tracer);
    await until('its own descriptors', () => descriptors() <= before);
    const both = tracer.events().filter(isRequest);
    expect(both.map(({ imds }) => imds!.verdict)).toEqual(['normal_mode', 'normal_mode']);
    expect(both[0]!.process).toMatchObject({ pid: client.pid, args: argv });
    expect((await tracer.stop()).status).toBe(0);
  });

  const clock = CLOCK === undefined ? test.skip : test;
  clock(
    `the clock set back by an hour, and forward by two${CLOCK ? '' : ' (skipped: needs libfaketime)'}`,
    async () => {
      const setting = join(scene.folder, 'clock');
      const set = (seconds: number) => writeFileSync(setting, `${seconds < 0 ? '' : '+'}${seconds}\n`);
      set(0);
      const tracer = await start({
        env: {
          LD_PRELOAD: CLOCK!,
          FAKETIME_TIMESTAMP_FILE: setting,
          FAKETIME_NO_CACHE: '1',

          DONT_FAKE_MONOTONIC: '1',
        },
      });
      // Open all the while.
      const client = new Dialogue(
        inNamespace(scene.lab.clientNamespace, [python, clientScript('interactive.py'), ADDRESS]),
      );
      cleanup.defer('kill the client', () => client.kill());
      await client.read();
      await client.ask('connect');
      for (const hours of [0, -1, 1]) {
        set(hours * 3600);
        const event = await expectTraced(tracer);
        const off = Date.parse(event['@timestamp']) - Date.now() - hours * HOUR_MS;
        expect(Math.abs(off)).toBeLessThan(HOUR_MS / 4);
        const kept = await observe(scene, tracer, 1, () => client.ask(`get ${ID}`));
        expectExactlyTheJournal(kept.events, kept.journal, () => ({ verdict: 'normal_mode', pid: client.pid }));
      }
      expect((await tracer.stop()).status).toBe(0);
      expect(tracer.events().map(({ event }) => event.action)).not.toContain('capture-loss');
    },
  );

  testWith(
    ['prlimit'],
    'out of file descriptors: it captures on, and writes what waited when there are some again',
    async () => {
      const tracer = await start({ args: ['--quiet', '--log-max-size', '100000', '--log-max-files', '100'] });
      await expectTraced(tracer);
      const limit = (count: number) => runOk(['prlimit', '--pid', String(tracer.pid), `--nofile=${count}:`]);
      await limit(3);
      const before = scene.journal().length;
      await burst(2, 50, 5);
      // A rotation needs one.
      await until(
        () => `word of it; the tracer said:\n${tracer.stderr()}`,
        () => /imds-events.ndjson can't be written, and is tried again each second: .*EMFILE/.test(tracer.stderr()),
      );
      expect(tracer.requests().length).toBeLessThan(101);
      await limit(1024);
      await until('what waited', () => tracer.requests().length === 101);
      expectExactlyTheJournal(tracer.requests().slice(1), scene.journal().slice(before), (entry) => ({
        ...verdictOf(entry),
        pid: Number(/worker=(\d+)/.exec(entry.kind === 'request' ? entry.target : '')![1]),
        attribution: 'connect',
      }));
      expect((await tracer.stop()).status).toBe(0);
    },
  );

  test('an upgrade in place: the running one goes on to its end, the next start is the new one', async () => {
    const root = fileURLToPath(new URL('../..', import.meta.url));
    const installed = join(scene.folder, 'installed');
    const put = (into: string, name?: string) => {
      mkdirSync(join(into, 'build'), { recursive: true });
      cpSync(join(root, 'dist'), join(into, 'dist'), { recursive: true });
      cpSync(join(root, 'build/Release/imds_capture.so'), join(into, 'build/Release/imds_capture.so'));
      const { version, ...rest } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
      writeFileSync(join(into, 'package.json'), JSON.stringify({ ...rest, version: name ?? version }));
      symlinkSync(join(root, 'node_modules'), join(into, 'node_modules'));
    };
    put(installed);
    const fromThere = (argv: readonly string[]) =>
      argv.map((word) => (word === MAIN ? join(installed, 'dist/cli/main.js') : word));
    const tracer = await start({ wrap: fromThere });
    await expectTraced(tracer);

    put(`${installed}.new`, '99.0.0');
    renameSync(
      join(`${installed}.new`, 'build/Release/imds_capture.so'),
      join(installed, 'build/Release/imds_capture.so'),
    );
    renameSync(installed, `${installed}.old`);
    renameSync(`${installed}.new`, installed);
    await runOk(['rm', '-r', `${installed}.old`]);
    cpSync(join(root, 'build/Release/imds_capture.so'), join(installed, 'build/Release/imds_capture.so'));

    await expectTraced(tracer);
    const next = await start({ wrap: fromThere });
    expect(next.events()[0]!.message).toContain('99.0.0');
    const { journal, events } = await observe(scene, tracer, 20, async () => void (await burst(2, 10, 5)));
    await until('the same of the new one', () => next.requests().length === 20);
    for (const seen of [events, next.requests()]) expectExactlyTheJournal(seen, journal, verdictOf);
    tracer.kill('SIGHUP');
    expect(await tracer.stop()).toMatchObject({ status: 0 });
    expect(await next.stop()).toMatchObject({ status: 0 });
    expect(statsOf(tracer).requests).toBe(22);
  });
});

function statusOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/status`, 'latin1');
  } catch {
    return '';
  }
}

function isJson(line: string): boolean {
  try {
    JSON.parse(line);
    return true;
  } catch {
    return false;
  }
}
