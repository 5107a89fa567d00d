import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { nativeModule } from '../../src/capture/native.js';
import { ServiceManager } from '../../src/service/notify.js';

const EAGAIN = -11;
const ENOENT = -2;
const ECONNREFUSED = -111;
const EINVAL = -22;

describe('states for the service manager', () => {
  function manager(...answers: number[]) {
    const sent: string[] = [];
    const send = (_address: string, text: string): number => {
      sent.push(text);
      return answers.shift() ?? 0;
    };
    return { sent, manager: new ServiceManager('/run/x', send) };
  }

  it('a state and its line', () => {
    const { sent, manager: m } = manager();
    m.tell('ready', 'tracing');
    m.tell('watchdog');
    expect(sent).toEqual(['READY=1\nSTATUS=tracing\n', 'WATCHDOG=1\n']);
  });

  it('nothing from a status begins an assignment of its own', () => {
    const { sent, manager: m } = manager();
    m.tell('watchdog', 'a\nMAINPID=1\r\0b');
    expect(sent).toEqual(['WATCHDOG=1\nSTATUS=a MAINPID=1 b\n']);
  });

  it('ready is sent again with the next state when the manager had no room; a watchdog is not', () => {
    const { sent, manager: m } = manager(EAGAIN, EAGAIN, 0, 0);
    m.tell('ready');
    m.tell('watchdog');
    m.tell('watchdog');
    m.tell('watchdog');
    expect(sent).toEqual(['READY=1\n', 'READY=1\nWATCHDOG=1\n', 'READY=1\nWATCHDOG=1\n', 'WATCHDOG=1\n']);
  });

  it('what could not be sent does not grow without bound', () => {
    const { sent, manager: m } = manager(...Array<number>(1000).fill(EAGAIN));
    for (let i = 0; i < 1000; i++) m.tell('reloading', 'x'.repeat(500));
    expect(Math.max(...sent.map((text) => text.length))).toBeLessThan(4096);
  });

  it('says nothing without a manager, and takes its address from children', () => {
    process.env['NOTIFY_SOCKET'] = '/run/of-a-manager';
    const addresses: string[] = [];
    const send = (address: string): number => addresses.push(address) * 0;
    ServiceManager.fromEnvironment(send).tell('ready');
    expect(process.env['NOTIFY_SOCKET']).toBeUndefined();
    ServiceManager.fromEnvironment(send).tell('ready');
    expect(addresses).toEqual(['/run/of-a-manager']);
  });
});

/** Node has no datagram sockets of AF_UNIX: Python stands for systemd. Prints each datagram as JSON, a line. */
const RECEIVER = `
import json, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
name = sys.argv[1]
s.bind('\\0' + name[1:] if name[0] == '@' else name)
print('bound', flush=True)
while True: print(json.dumps(s.recv(65536).decode()), flush=True)
`;

describe('imds_notify', () => {
  let folder: string;
  let receiver: ChildProcess | undefined;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'imds-notify-'));
  });
  afterEach(() => {
    receiver?.kill('SIGKILL');
    rmSync(folder, { recursive: true });
  });

  async function listen(address: string): Promise<() => Promise<string>> {
    receiver = spawn('/usr/bin/python3', ['-c', RECEIVER, address], { stdio: ['ignore', 'pipe', 'inherit'] });
    const lines = createInterface({ input: receiver.stdout! })[Symbol.asyncIterator]();
    expect((await lines.next()).value).toBe('bound');
    return async () => JSON.parse((await lines.next()).value as string) as string;
  }

  it.each(['path', 'abstract'])('arrives whole at a socket of the kind %s', async (kind) => {
    const address = kind === 'path' ? join(folder, 'notify') : `@imds-test-${process.pid}`;
    const next = await listen(address);
    expect(nativeModule().notify(address, 'READY=1\nSTATUS=läuft\n')).toBe(0);
    expect(await next()).toBe('READY=1\nSTATUS=läuft\n');
  });

  it('never waits for a manager that does not read', async () => {
    const address = join(folder, 'notify');
    await listen(address);
    receiver!.kill('SIGSTOP');
    // One that waited would wait for ever.
    let answer = 0;
    for (let i = 0; i < 100_000 && answer === 0; i++) answer = nativeModule().notify(address, 'x'.repeat(1000));
    expect(answer).toBe(EAGAIN);
  });

  it.each([
    ['/nowhere/at/all', ENOENT],
    ['relative', EINVAL],
    ['', EINVAL],
    ['/', EINVAL],
    [`/${'x'.repeat(107)}`, EINVAL],
    ['vsock:2:1234', EINVAL],
    ['@nobody-listens-here', ECONNREFUSED],
  ])('answers for the address %j with %i', (address, answer) => {
    expect(nativeModule().notify(address, 'READY=1')).toBe(answer);
  });
});
