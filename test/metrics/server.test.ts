import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { formatMetrics } from '../../src/metrics/exposition.js';
import { MetricsServer } from '../../src/metrics/server.js';
import { MAX_EXECUTABLES, TracerMetrics } from '../../src/metrics/tracer-metrics.js';
import type { Metric } from '../../src/metrics/types.js';
import { LearnedSecrets } from '../../src/output/learned.js';
import { redactEvent } from '../../src/output/redact.js';
import type { RequestEvent } from '../../src/output/types.js';
import { programPath } from '../deploy/support.js';
import { requestEvent, stats as STATS } from '../output/events.js';

const promtool = programPath('promtool');

function request(executable: string | undefined, verdict: RequestEvent['judgement']['verdict'] = 'normal_mode') {
  const event = requestEvent();
  const { process } = event.attribution;
  const { executable: _, ...rest } = process!;
  const changed: RequestEvent = {
    ...event,
    attribution: { ...event.attribution, process: { ...rest, ...(executable !== undefined && { executable }) } },
    judgement: { ...event.judgement, verdict, severity: 'critical' },
  };
  return redactEvent(changed, new LearnedSecrets());
}

/** The text format, strictly: every line is a HELP, a TYPE or a sample of the metric just named; no series twice. */
function parse(text: string): Map<string, number> {
  const series = new Map<string, number>();
  let current: { name: string; type?: string } | undefined;
  const families = new Set<string>();
  for (const line of text.replace(/\n$/, '').split('\n')) {
    const help = /^# HELP ([a-z_]+) (.+)$/.exec(line);
    const type = /^# TYPE ([a-z_]+) (counter|gauge)$/.exec(line);
    const sample = /^([a-z_]+)(\{(?:[a-z_]+="(?:[^"\\\n]|\\["\\n])*",?)+\})? (-?[\d.e+-]+)$/.exec(line);
    if (help) {
      expect(families.has(help[1]!)).toBe(false);
      families.add(help[1]!);
      current = { name: help[1]! };
    } else if (type) {
      expect(type[1]).toBe(current?.name);
      current!.type = type[2]!;
    } else {
      expect(sample, line).not.toBeNull();
      expect(sample![1]).toBe(current?.name);
      expect(current?.type).toBeDefined();
      const key = sample![1]! + (sample![2] ?? '');
      expect(series.has(key), key).toBe(false);
      series.set(key, Number(sample![3]));
    }
  }
  return series;
}

const health = { source: 'ebpf' as const, stats: STATS, problem: undefined };

let metrics: TracerMetrics;
beforeEach(() => {
  metrics = new TracerMetrics();
});

const read = (): Map<string, number> => parse(formatMetrics(metrics.metrics));

describe('metrics', () => {
  it('have all events by verdict and severity from the start', () => {
    expect([...read().keys()].filter((key) => key.startsWith('imds_tracer_events_total{'))).toHaveLength(28);
  });

  it('have the counters and what was written', () => {
    metrics.status(health);
    metrics.write(request('/usr/bin/curl'));
    metrics.write(request('/usr/bin/curl'));
    metrics.write(request(undefined));
    metrics.write(request('/usr/bin/good', 'hardened'));
    const series = read();
    expect(series.get('imds_tracer_packets_seen_total')).toBe(STATS.packets_seen);
    expect(series.get('imds_tracer_events_total{verdict="normal_mode",severity="critical"}')).toBe(3);
    expect(series.get('imds_tracer_events_total{verdict="hardened",severity="critical"}')).toBe(1);
    expect(series.get('imds_tracer_normal_mode_requests_total{executable="/usr/bin/curl"}')).toBe(2);
    expect(series.get('imds_tracer_normal_mode_requests_total{executable="unknown"}')).toBe(1);
    expect(series.get('imds_tracer_capture_info{source="ebpf"}')).toBe(1);
    expect(series.get('imds_tracer_healthy')).toBe(1);
    expect(series.get('imds_tracer_process_resident_memory_bytes')).toBeGreaterThan(1e6);
  });

  it('have a bounded number of executables, whatever their names hold', () => {
    for (let i = 0; i < 3 * MAX_EXECUTABLES; i++) metrics.write(request(`/tmp/x${i}`));
    metrics.write(request('/tmp/a"} 1\nimds_tracer_forged 1\\\n#\u0000'));
    const own = [...read()].filter(([key]) => key.startsWith('imds_tracer_normal_mode_requests_total'));
    expect(own).toHaveLength(MAX_EXECUTABLES + 1);
    expect(own.find(([key]) => key.includes('"other"'))?.[1]).toBe(2 * MAX_EXECUTABLES + 1);
  });

  it('can hold any text in a label and in a help text', () => {
    const odd: Metric = {
      name: 'odd',
      help: 'with \\ and\na line',
      type: 'gauge',
      labels: ['of'],
      read: () => ['a"b', 'a\\', 'a\nb', '\u0000', 'ü€'].map((of, value) => ({ labels: { of }, value })),
    };
    expect(parse(formatMetrics([odd])).size).toBe(5);
  });

  it.skipIf(promtool === undefined)(
    `please promtool${promtool ? '' : ' (skipped: promtool of Debian’s prometheus is missing)'}`,
    () => {
      metrics.status(health);
      for (const name of ['/usr/bin/curl', 'a"b\\c\nd', '/tmp/ü']) metrics.write(request(name));
      const checked = spawnSync(promtool!, ['check', 'metrics'], {
        input: formatMetrics(metrics.metrics),
        encoding: 'utf8',
      });
      expect(checked.stdout + checked.stderr).toBe('');
      expect(checked.status).toBe(0);
    },
  );
});

describe('the metrics server', () => {
  let server: MetricsServer;
  const sockets: Socket[] = [];
  beforeEach(async () => {
    server = new MetricsServer({ metrics: () => metrics.metrics, problem: () => metrics.problem() }, 300);
    await server.listen({ host: '127.0.0.1', port: 0 });
  });
  afterEach(() => {
    server.close();
    for (const socket of sockets.splice(0)) socket.destroy();
  });

  const url = (path: string): string => `http://127.0.0.1:${server.address!.port}${path}`;
  const raw = async (): Promise<Socket> => {
    const socket = connect(server.address!.port, '127.0.0.1');
    socket.on('error', () => undefined);
    sockets.push(socket);
    await once(socket, 'connect');
    return socket;
  };

  it('gives metrics', async () => {
    const answer = await fetch(url('/metrics?x=1'));
    expect(answer.headers.get('content-type')).toContain('version=0.0.4');
    expect(parse(await answer.text()).has('imds_tracer_requests_total')).toBe(true);
  });

  it('says whether the tracer is well, and why not', async () => {
    const look = async () => {
      const answer = await fetch(url('/healthz'));
      return [answer.status, await answer.text()];
    };
    expect(await look()).toEqual([503, 'capture has not begun\n']);
    metrics.status(health);
    expect(await look()).toEqual([200, 'ok\n']);
    metrics.status({ ...health, problem: 'eth0 is gone' });
    expect(await look()).toEqual([503, 'eth0 is gone\n']);
    metrics.status(health);
    metrics.close();
    expect(await look()).toEqual([503, 'the tracer is stopping\n']);
  });

  it('answers all, in their turn, where many are asked for at once', async () => {
    const answers = await Promise.all(
      Array.from({ length: 12 }, async () => [await fetch(url('/metrics')), await fetch(url('/healthz'))]),
    );
    expect(answers.flat().map(({ status }) => status)).toEqual(Array(12).fill([200, 503]).flat());
  });

  it('refuses other pages and other methods, and reads no body', async () => {
    expect((await fetch(url('/'))).status).toBe(404);
    expect((await fetch(url('/metrics'), { method: 'DELETE' })).status).toBe(405);
    const posted = await fetch(url('/metrics'), { method: 'POST', body: 'x'.repeat(10) });
    expect([posted.status, posted.headers.get('connection')]).toEqual([405, 'close']);
  });

  it('closes what is no HTTP, or has too large a head', async () => {
    for (const bytes of ['\x16\x03\x01\0\0', `GET /metrics HTTP/1.1\r\nA: ${'x'.repeat(9000)}`]) {
      const socket = await raw();
      socket.write(bytes);
      socket.resume();
      await once(socket, 'close');
    }
    expect((await fetch(url('/metrics'))).status).toBe(200);
  });

  it('closes a head that comes too slowly, and meanwhile answers others', async () => {
    const slow = await raw();
    slow.resume();
    slow.write('GET /metrics HTTP/1.1\r\n');
    expect((await fetch(url('/metrics'))).status).toBe(200);
    await once(slow, 'close');
  });

  it('takes a bounded number of connections', async () => {
    server.close();
    // The usual bounds: none of the connections ends by its time.
    server = new MetricsServer({ metrics: () => [], problem: () => undefined });
    await server.listen({ host: '127.0.0.1', port: 0 });
    const many = Array.from({ length: 40 }, () => connect(server.address!.port, '127.0.0.1'));
    sockets.push(...many);
    let refused = 0;
    for (const socket of many) {
      socket.on('error', () => undefined).resume();
      socket.on('close', () => refused++);
    }
    await expect.poll(() => refused).toBe(24);
    for (const socket of many) socket.destroy();
    await expect
      .poll(async () => (await fetch(url('/metrics')).catch(() => undefined))?.status, { timeout: 5000 })
      .toBe(200);
  });

  it('answers others while one address holds all connections it can', async () => {
    server.close();
    server = new MetricsServer({ metrics: () => [], problem: () => undefined });
    await server.listen({ host: '127.0.0.1', port: 0 });
    let held = 0;
    const hold = (): void => {
      const socket = connect({ port: server.address!.port, host: '127.0.0.1', localAddress: '127.0.0.2' });
      socket.on('error', () => undefined).resume();
      socket.on('connect', () => held++);
      sockets.push(socket);
    };
    for (let i = 0; i < 24; i++) hold();
    await expect.poll(() => held).toBe(24);
    const slow = await raw();
    for (let i = 0; i < 24; i++) hold();
    await expect.poll(() => held).toBe(48);
    const answer = once(slow, 'data');
    slow.write('GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n');
    expect(String((await answer)[0])).toMatch(/^HTTP\/1.1 200 /);
  });

  it('ends who sends requests without awaiting answers, and answers the others', async () => {
    // The answers of this second are used up, so that each further one waits.
    for (let i = 0; i < 20; i++) await fetch(url('/healthz'));
    const greedy = await raw();
    greedy.resume();
    greedy.write('GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(500));
    await once(greedy, 'close');
    expect((await fetch(url('/healthz'))).status).toBe(503);
  });

  it('moves to another port, and stays where it is when that is taken', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    const taken = (other.address() as AddressInfo).port;
    const before = server.address!.port;
    await expect(server.listen({ host: '127.0.0.1', port: taken })).rejects.toMatchObject({
      code: 'IMDS_METRICS_ADDRESS',
      exitStatus: 2,
    });
    expect(server.address!.port).toBe(before);
    expect((await fetch(url('/metrics'))).status).toBe(200);
    other.close();
    await once(other, 'close');
    await server.listen({ host: '127.0.0.1', port: taken });
    expect(server.address!.port).toBe(taken);
    expect((await fetch(url('/metrics'))).status).toBe(200);
    await server.listen(undefined);
    expect(server.address).toBeUndefined();
  });
});
