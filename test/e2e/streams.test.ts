import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { CleanupStack } from './support/cleanup.js';
import { describeOnKernel } from './support/kernel.js';
import { clientScript, openScene, pythonPath, type Scene } from './support/scene.js';
import { MAIN } from './support/tracer.js';
import { until } from './support/wait.js';

const ADDRESS = '100.96.0.96';
const PROVIDER = ['--provider', 'volcengine'];

describeOnKernel('where its words go', () => {
  let scene: Scene;
  let python: string;
  let folders = 0;
  const cleanup = new CleanupStack();
  beforeAll(async () => {
    scene = await openScene({ providers: ['volcengine'] });
    python = await pythonPath();
  });
  afterEach(() => cleanup.run());
  afterAll(() => scene?.close());

  const newFolder = () => join(scene.folder, `streams-${folders++}`);
  const textOf = (logDir: string): string => {
    const file = join(logDir, 'imds-trace.log');
    return existsSync(file) ? readFileSync(file, 'utf8') : '';
  };
  const statusOf = (child: ChildProcess) =>
    until(
      'its end',
      () => (child.exitCode ?? child.signalCode) !== null && { status: child.exitCode ?? child.signalCode },
    );
  function inShell(line: string, args: readonly string[]): ChildProcess {
    const child = spawn('bash', ['-c', line, 'bash', process.execPath, MAIN, ...args], { stdio: 'ignore' });
    cleanup.defer('end it', () => child.kill('SIGKILL'));
    return child;
  }
  function inTerminal(line: string): ChildProcess & { shown(): string } {
    const child = spawn(python, [clientScript('hang_up.py'), line], { stdio: ['pipe', 'pipe', 'inherit'] });
    let shown = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      shown += text;
    });
    cleanup.defer('end the terminal', () => child.kill('SIGKILL'));
    return Object.assign(child, { shown: () => shown });
  }

  test.each([
    ['a full disk', 'exec "$@" 2>/dev/full'],
    ['a pipe that nobody reads any more', 'exec 3> >(exec true); wait $!; exec "$@" 2>&3'],
  ])('standard error is %s: tracing goes on', async (_, line) => {
    const logDir = newFolder();
    const tracer = inShell(line, ['trace', '--quiet', ...PROVIDER, '--log-dir', logDir]);
    await until('its start', () => textOf(logDir).includes('tracer-started'));
    // Something to say.
    rmSync(logDir, { recursive: true });
    await scene.runOk(['curl', '-s', '-m', '5', `http://${ADDRESS}/latest/first`]);
    await until('the log, made anew', () => textOf(logDir).includes('/latest/first'));
    await scene.runOk(['curl', '-s', '-m', '5', `http://${ADDRESS}/latest/second`]);
    await until('the second', () => textOf(logDir).includes('/latest/second'));
    tracer.kill('SIGTERM');
    expect(await statusOf(tracer)).toEqual({ status: 0 });
    expect(textOf(logDir)).toContain('tracer-stopped');
  });

  test('the terminal has gone while the lines went through a pipe: it ends', async () => {
    const logDir = newFolder();
    const command = `${process.execPath} ${MAIN} trace ${PROVIDER.join(' ')} --log-dir ${logDir}`;
    const terminal = inTerminal(`${command} | cat >${scene.folder}/piped`);
    await until('its start', () => textOf(logDir).includes('tracer-started'));
    terminal.stdin!.end();
    await until('its end', () => textOf(logDir).includes('tracer-stopped'));
  });

  test('the terminal of a lab has gone: nothing of it stays', async () => {
    const namespaces = () => (existsSync('/var/run/netns') ? readdirSync('/var/run/netns') : []);
    const terminal = inTerminal(`exec ${process.execPath} ${MAIN} lab --provider naver --provider aws`);
    const name = await until('its start', () => /ip netns exec (\S+) COMMAND/.exec(terminal.shown())?.[1]);
    expect(terminal.shown()).toContain('lab: aws, naver in normal mode at 169.254.169.254');
    expect(namespaces()).toContain(name);
    terminal.stdin!.end();
    await until('its end', () => !namespaces().includes(name));
  });

  test('nobody reads what a lab says: it ends as ever', async () => {
    const lab = inShell('exec 3> >(exec true); wait $!; exec "$@" >&3', ['lab', '--once', ...PROVIDER]);
    expect(await statusOf(lab)).toEqual({ status: 0 });
    const left = readdirSync('/var/run/netns').filter((name) => name.startsWith(`imds-lab-${lab.pid}-`));
    expect(left).toEqual([]);
  });

  test('SIGHUP while an audit looks for installed clients: it comes to its result', async () => {
    const out = newFolder();
    let said = '';
    const audit = spawn(
      process.execPath,
      [MAIN, 'audit', ...PROVIDER, '--duration', '300ms', '--allow-silent', '--out', out, '--log-dir', newFolder()],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    );
    cleanup.defer('end it', () => audit.kill('SIGKILL'));
    audit.stderr.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    await until('the inventory', () => said.includes('looking for installed clients'));
    audit.kill('SIGHUP');
    audit.kill('SIGINT'); // leaves the rest of the inventory out
    expect(await statusOf(audit)).toEqual({ status: 0 });
    expect(JSON.parse(readFileSync(join(out, 'audit.json'), 'utf8'))).toMatchObject({ verdict: 'ready' });
  });
});
