import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { packageRoot } from '../../src/package-root.js';

/** Stands for systemd; see notify.test.ts. */
const MANAGER = `
import json, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
print('bound', flush=True)
while True: print(json.dumps(s.recv(65536).decode()), flush=True)
`;

describe.skipIf(process.geteuid!() !== 0)('a service', () => {
  let folder: string;
  let manager: ChildProcess;
  let tracer: ChildProcess;
  /** What it said, in order, and what the log had then. */
  const said: { text: string; log: string }[] = [];

  const states = (): string[] =>
    said.flatMap(({ text }) => text.match(/^(READY|WATCHDOG|RELOADING|STOPPING)=1$/gm) ?? []);
  const until = (state: string, count = 1): Promise<void> =>
    expect
      .poll(() => states().filter((word) => word === `${state}=1`).length, { timeout: 20_000 })
      .toBeGreaterThanOrEqual(count);

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'imds-service-'));
    manager = spawn('/usr/bin/python3', ['-c', MANAGER, join(folder, 'notify')], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const lines = createInterface({ input: manager.stdout! });
    await once(lines, 'line');
    lines.on('line', (line) => {
      said.push({ text: JSON.parse(line) as string, log: readFileSync(join(folder, 'log/imds-trace.log'), 'utf8') });
    });
    tracer = spawn(
      process.execPath,
      [
        join(packageRoot(), 'dist/cli/main.js'),
        'trace',
        '--quiet',
        '--log-dir',
        join(folder, 'log'),
        '--endpoint',
        '192.0.2.1:80',
      ],
      { env: { ...process.env, NOTIFY_SOCKET: join(folder, 'notify') }, stdio: 'inherit' },
    );
  });
  afterAll(() => {
    tracer.kill('SIGKILL');
    manager.kill('SIGKILL');
    rmSync(folder, { recursive: true });
  });

  it('is ready once it captures, feeds the watchdog, says reloads and its end', async () => {
    await until('READY');
    await until('WATCHDOG', 2);
    expect(said[0]!.text).toMatch(/^READY=1\nSTATUS=tracing \((ebpf|pcap)\): \d+ requests/);

    tracer.kill('SIGHUP');
    await until('READY', 2);
    expect(said.map(({ text }) => text).join('')).toMatch(/RELOADING=1\nMONOTONIC_USEC=\d+\n(.*\n)*READY=1\n/);

    tracer.kill('SIGTERM');
    await once(tracer, 'exit');
    await until('STOPPING');
    expect(states().filter((word) => word === 'STOPPING=1')).toHaveLength(1);
    expect(readFileSync(join(folder, 'log/imds-trace.log'), 'utf8')).toContain('tracer-stopped');
  }, 60_000);

  it('had written tracer-started when it said that it is ready', () => {
    expect(said[0]!.log).toContain('tracer-started');
  });
});
