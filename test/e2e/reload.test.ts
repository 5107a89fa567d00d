import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { inNamespace } from '../../src/lab/netns.js';
import { CleanupStack } from './support/cleanup.js';
import { runOk } from './support/run.js';
import { openScene, pythonPath, type Scene } from './support/scene.js';
import { type EcsEvent, startTracer, statsOf, type Tracer } from './support/tracer.js';
import { until } from './support/wait.js';

const STEADY = '100.96.0.96';
const OTHER = '169.254.169.254';
const RELOADS = 12;

/** A connection with a request, then the next, each with a number of its own, until standard input ends; then how many. */
const STREAM = `
import select, socket, sys
n = 0
while not select.select([sys.stdin], [], [], float(sys.argv[2]))[0]:
    with socket.create_connection((sys.argv[1], 80)) as s:
        s.sendall(b'GET /latest/instance_id?n=%d HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n' % n)
        while s.recv(65536): pass
    n += 1
print(n)
`;

const reloads = (tracer: Tracer): EcsEvent[] =>
  tracer.events().filter(({ event }) => event.action === 'tracer-reloaded');
const numbersOf = (events: readonly EcsEvent[]): number[] =>
  events.flatMap(({ url }) => (url?.query?.startsWith('n=') ? [Number(url.query.slice(2))] : [])).sort((a, b) => a - b);

describe.skipIf(process.getuid?.() !== 0)('reading the configuration again (needs root)', () => {
  let scene: Scene;
  let python: string;
  const cleanup = new CleanupStack();
  beforeAll(async () => {
    scene = await openScene({ providers: ['volcengine', 'aws'] });
    python = await pythonPath();
  });
  afterEach(() => cleanup.run());
  afterAll(() => scene?.close());

  const inClient = (argv: readonly string[]) => inNamespace(scene.lab.clientNamespace, argv);
  const ask = (address: string, path: string) => runOk([...inClient(['curl', '-s', `http://${address}${path}`])]);

  async function start(config: string, wrap?: (argv: readonly string[]) => readonly string[]) {
    const folder = mkdtempSync(join(scene.folder, 'reload-'));
    const file = join(folder, 'config.yaml');
    writeFileSync(file, config);
    const tracer = await startTracer({
      logDir: join(folder, 'log'),
      args: ['--config', file],
      ...(wrap !== undefined && { wrap }),
    });
    cleanup.defer('stop the tracer', () => tracer.stop());
    const read = async (text: string): Promise<EcsEvent> => {
      const before = reloads(tracer).length;
      writeFileSync(file, text);
      tracer.kill('SIGHUP');
      await until(
        () => `tracer-reloaded; the tracer said:\n${tracer.stderr()}`,
        () => reloads(tracer).length > before,
      );
      return reloads(tracer).at(-1)!;
    };
    const readRefused = async (text: string): Promise<string> => {
      const before = tracer.stderr().length;
      writeFileSync(file, text);
      tracer.kill('SIGHUP');
      await until('a refusal', () => /not taken.*\n/.test(tracer.stderr().slice(before)));
      return tracer.stderr().slice(before);
    };
    return { tracer, folder, read, readRefused };
  }

  test.each([
    ['ebpf', undefined, '0.002'],
    // The kernel's buffer for libpcap has some 250 slots, which a busy machine would fill without any reload.
    ['pcap', inClient, '0.04'],
  ])('loses no packet of a constant stream (%s)', async (source, wrap, pause) => {
    const { tracer, read } = await start(`provider: volcengine\nsource: ${source}\n`, wrap);
    const [command, ...args] = inClient([python, '-c', STREAM, STEADY, pause]);
    const stream = spawn(command!, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    cleanup.defer('end the stream', () => stream.kill('SIGKILL'));
    let printed = '';
    stream.stdout.on('data', (text: Buffer) => {
      printed += text.toString();
    });
    // More addresses than the programs have room for, so that the kernel's filter is off in between.
    const many = Array.from({ length: 20 }, (_, i) => `10.9.8.${i + 1}`).join(', ');
    const shapes = [
      'provider: [volcengine, aws]\n',
      'provider: volcengine\n',
      `provider: [aws, volcengine]\nendpoint: [${many}]\n`,
    ];
    for (let i = 0; i < RELOADS; i++) await read(`${shapes[i % shapes.length]!}source: ${source}\n`);
    stream.stdin.end();
    await once(stream, 'close');
    const sent = Number(printed);
    expect(sent).toBeGreaterThan(0);
    await until('all requests', () => numbersOf(tracer.requests()).length >= sent);
    await tracer.stop();
    expect(numbersOf(tracer.requests())).toEqual(Array.from({ length: sent }, (_, i) => i));
    const stats = statsOf(tracer);
    expect([stats.ring_dropped, stats.gaps, stats.flows_evicted, stats.unparsed]).toEqual([0, 0, 0, 0]);
    expect(stats.packets_seen).toBe(stats.packets_captured + stats.ring_dropped + stats.packets_passed_over);
  });

  test.each([
    ['ebpf', undefined],
    ['pcap', inClient],
  ])('sees a new endpoint from then on, and an old one no more (%s)', async (source, wrap) => {
    const { tracer, read } = await start(`provider: volcengine\nsource: ${source}\n`, wrap);
    await ask(OTHER, '/before');
    const event = await read(`provider: aws\nsource: ${source}\n`);
    expect(event.message).toMatch(
      new RegExp(
        `^tracer-reloaded source:${source} providers:aws endpoints:${OTHER}:80,\\[fd00:ec2::254\\]:80 changed:provider kept:-$`,
      ),
    );
    await ask(OTHER, '/after');
    await ask(STEADY, '/too-late');
    await read(`provider: [aws, volcengine]\nsource: ${source}\n`);
    await ask(STEADY, '/again');
    await until('the last request', () => tracer.requests().some(({ url }) => url?.path === '/again'));
    await tracer.stop();
    expect(tracer.requests().map(({ url }) => url?.path)).toEqual(['/after', '/again']);
    // libpcap has to find the process while it lives.
    if (source === 'ebpf') expect(tracer.requests().map(({ process: of }) => of?.name)).toEqual(['curl', 'curl']);
  });

  test('changes what it can, and says what it keeps until a restart', async () => {
    const { tracer, folder, read } = await start('provider: volcengine\nsource: ebpf\nquiet: true\n');
    const event = await read(
      'provider: volcengine\nsource: pcap\nring-size: 64K\nlog-max-size: 1M\nformat: ecs\nmetrics: 127.0.0.1:19464\nquiet: false\n',
    );
    expect(event.imds).toMatchObject({
      changed: ['log-max-size', 'metrics', 'quiet'],
      kept: ['source', 'ring-size'],
    });
    const restart = 'another value for source, ring-size, which takes a restart';
    await until('word of it', () => tracer.stderr().includes(restart));
    expect(await (await fetch('http://127.0.0.1:19464/metrics')).text()).toContain(
      'imds_tracer_capture_info{source="ebpf"} 1',
    );
    expect((await fetch('http://127.0.0.1:19464/healthz')).status).toBe(200);
    await ask(STEADY, '/shown');
    await until('the view', () => tracer.stdout().includes('/shown'));
    const back = await read('provider: volcengine\nsource: ebpf\nquiet: true\n');
    expect(back.imds).toMatchObject({ changed: ['log-max-size', 'metrics', 'quiet'], kept: [] });
    await expect(fetch('http://127.0.0.1:19464/healthz')).rejects.toThrow();
    expect((await tracer.stop()).status).toBe(0);
    expect(folder).toBeDefined();
  });

  test('refuses a wrong configuration and goes on with the old one', async () => {
    const { tracer, folder, read, readRefused } = await start('provider: volcengine\nsource: ebpf\n');
    expect(await readRefused('provider: volcengine\nlog-max-sise: 1M\n')).toContain('did you mean "log-max-size"?');
    expect(await readRefused('provider: volcengine\nprovider: aws\n')).toContain(':2: it is no valid YAML');
    // The metrics could move, the rest could not: neither does.
    writeFileSync(join(folder, 'file'), '');
    expect(await readRefused(`provider: aws\nmetrics: 19465\nship: syslog+tcp://user:pw@127.0.0.1\n`)).toContain(
      '[IMDS_',
    );
    await expect(fetch('http://127.0.0.1:19465/healthz')).rejects.toThrow();
    await ask(STEADY, '/still');
    await until('the request', () => tracer.requests().some(({ url }) => url?.path === '/still'));
    const event = await read('provider: volcengine\nsource: ebpf\n');
    expect(event.imds).toMatchObject({ changed: [], kept: [] });
    expect((await tracer.stop()).status).toBe(0);
  });
});
