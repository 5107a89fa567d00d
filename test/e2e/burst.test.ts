import { afterEach, expect, test } from 'vitest';
import type { JournalEntry } from '../../src/lab/journal.js';
import { inNamespace } from '../../src/lab/netns.js';
import { PATIENCE } from '../support/patience.js';
import { lostBy } from './support/accounting.js';
import { Dialogue } from './support/child.js';
import { CleanupStack } from './support/cleanup.js';
import { describeOnKernel } from './support/kernel.js';
import { expectExactlyTheJournal } from './support/match.js';
import { verdictOf } from './support/oracle.js';
import { type Action, sendRaw } from './support/raw.js';
import { clientScript, observe, openScene, pythonPath, type Scene } from './support/scene.js';
import { type EcsEvent, statsOf, type Tracer } from './support/tracer.js';

/** Nobody else on a test machine talks to this one, so that the tracer's counters are this test's alone. */
const ADDRESS = '100.96.0.96';

interface BurstResult {
  seconds: number;
  workers: Record<string, { sent: number; answered: number }>;
}

interface Counts {
  all: number;
  telling: number;
  missed: number;
}

/** The packets that the kernel's own tap saw between two moments. */
async function startSniffing(scene: Scene, python: string): Promise<() => Promise<Counts>> {
  const sniffer = new Dialogue(
    inNamespace(scene.lab.clientNamespace, [python, clientScript('sniff.py'), 'imds0', ADDRESS]),
  );
  scene.cleanup.defer('end the sniffer', () => sniffer.kill());
  expect(await sniffer.read()).toBe('ready');
  return async () => {
    sniffer.close();
    const counts = JSON.parse(await sniffer.read()) as Counts;
    expect(counts.missed).toBe(0);
    return counts;
  };
}

function expectCounted(tracer: Tracer, counts: Counts): void {
  const { packets_seen, packets_captured, ring_dropped, packets_passed_over } = statsOf(tracer);
  expect(packets_seen).toBe(counts.all);
  expect(packets_captured + ring_dropped).toBe(counts.telling);
  expect(packets_passed_over).toBe(counts.all - counts.telling);
}

/** Worker and number of a burst's request. */
const tagOf = (target: string | undefined) =>
  /worker=(\d+)&n=(\d+)/
    .exec(target ?? '')
    ?.slice(1)
    .map(Number) ?? [];

describeOnKernel('bursts', () => {
  const cleanup = new CleanupStack();
  afterEach(() => cleanup.run());

  async function open(...args: string[]): Promise<{ scene: Scene; tracer: Tracer; python: string }> {
    const scene = await openScene({ providers: ['volcengine'] });
    cleanup.defer('close the scene', () => scene.close());
    return { scene, tracer: await scene.startTracer(args), python: await pythonPath() };
  }
  const burst = (scene: Scene, python: string, ...args: (number | string)[]) =>
    scene.runOk([python, clientScript('burst.py'), ADDRESS, '80', ...args.map(String)], { timeoutMs: 60_000 });

  test('of four clients at full speed: nothing is lost, and the counters add up', async () => {
    const [workers, requests, perConnection] = [4, 1000, 10];
    const { scene, tracer, python } = await open();
    const sniffed = await startSniffing(scene, python);
    const { result, journal, events } = await observe(
      scene,
      tracer,
      workers * requests,
      () => burst(scene, python, workers, requests, perConnection),
      45_000,
    );
    const counts = await sniffed();
    expect(await tracer.stop()).toMatchObject({ status: 0 });

    const sent = (JSON.parse(result.stdout) as BurstResult).workers;
    expect(Object.values(sent)).toEqual(Array(workers).fill({ sent: requests, answered: requests }));
    expectExactlyTheJournal(events, journal, (entry) => ({
      ...verdictOf(entry),
      pid: tagOf(entry.kind === 'request' ? entry.target : '')[0]!,
      parentPid: result.pid,
      attribution: 'connect',
    }));
    const stats = statsOf(tracer);
    expect(stats).toMatchObject({
      ring_dropped: 0,
      connects_dropped: 0,
      truncated: 0,
      gaps: 0,
      flows_evicted: 0,
      unattributed: 0,
      log_errors: 0,
      requests: workers * requests,
      connections: (workers * requests) / perConnection,
    });
    expect(stats.packets_seen).toBe(stats.packets_captured + stats.ring_dropped + stats.packets_passed_over);
    // The last FIN may meet a socket in TIME_WAIT, which no program sees: at most one packet a connection.
    expect(counts.telling - stats.packets_captured).toBeLessThanOrEqual(stats.connections);
    expect(counts.telling - stats.packets_captured).toBeGreaterThanOrEqual(0);
    expect(lostBy(tracer.events())).toEqual({});
  });

  test('while the tracer is stopped: what its small ring can not take is counted to the packet, and said', async () => {
    const { scene, tracer, python } = await open('--ring-size', '4096');
    const sniffed = await startSniffing(scene, python);
    const total = 200;
    // The service closes first, so that every packet meets a full socket of the client.
    const request = (n: number, last: string) =>
      `GET /latest/instance_id?worker=0&n=${n} HTTP/1.1\r\nHost: x\r\n${last}\r\n`;
    const actions = Array.from({ length: total - 1 }, (_, n): Action[] => [
      ['send', request(n, '')],
      ['answers', 1],
    ]);
    tracer.kill('SIGSTOP');
    try {
      await sendRaw(scene, python, {
        address: ADDRESS,
        connections: [[...actions.flat(), ['send', request(total - 1, 'Connection: close\r\n')], ['end']]],
      });
    } finally {
      tracer.kill('SIGCONT');
    }
    const counts = await sniffed();
    const end = await tracer.stop();

    expect(scene.journal()).toHaveLength(total);
    expectCounted(tracer, counts);
    const { ring_dropped, connects_dropped, requests } = statsOf(tracer);
    expect(counts.telling).toBe(2 * total + 4); // a packet each, SYN and FIN of both sides
    expect(ring_dropped).toBeGreaterThan(total);
    expect(lostBy(tracer.events())).toEqual({
      ring: ring_dropped,
      ...(connects_dropped > 0 && { connect: connects_dropped }),
    });
    expect(end.status).toBe(4);
    expect(
      tracer
        .text()
        .split('\n')
        .filter((line) => line.includes('[ERROR] capture-loss')),
    ).not.toHaveLength(0);
    // What did come through is the beginning of what was sent.
    const read = tracer.requests().filter(({ url }) => url !== undefined);
    expect(read).toHaveLength(requests);
    expect(read.map(({ url }) => tagOf(url!.original)[1])).toEqual(read.map((_, n) => n));
  });

  test('with a ring that is too small: the loss is counted, and nothing is invented', async () => {
    const { scene, tracer, python } = await open('--ring-size', '4096');
    const sniffed = await startSniffing(scene, python);
    await burst(scene, python, 4, 300, 10);
    const counts = await sniffed();
    const end = await tracer.stop();

    const journal = scene.journal();
    expect(journal).toHaveLength(1200);
    const stats = statsOf(tracer);
    expect(stats.packets_seen).toBe(stats.packets_captured + stats.ring_dropped + stats.packets_passed_over);
    expect(counts.telling - stats.packets_captured - stats.ring_dropped).toBeLessThanOrEqual(120);
    const lost = lostBy(tracer.events());
    expect(lost['ring'] ?? 0).toBe(stats.ring_dropped);
    expect(lost['connect'] ?? 0).toBe(stats.connects_dropped);
    // Emulated, the clients may be slower than who reads the ring.
    const emulated = PATIENCE > 1;
    if (!emulated) expect(stats.ring_dropped).toBeGreaterThan(0);
    if (stats.ring_dropped > 0) expect(end.status).toBe(4);

    const sent = new Map(journal.map((entry: JournalEntry) => [entry.kind === 'request' ? entry.target : '', entry]));
    const seen = new Set<string>();
    for (const event of tracer.requests().filter(({ imds }: EcsEvent) => imds!.verdict !== 'unparsed')) {
      const target = event.url!.original!;
      expect(sent.has(target)).toBe(true);
      expect(seen.has(target)).toBe(false);
      seen.add(target);
      expect(event.imds!.verdict).toBe('normal_mode');
      if (event.process !== undefined) expect(event.process.pid).toBe(tagOf(target)[0]);
    }
    expect(seen.size).toBe(stats.requests);
    if (stats.ring_dropped + stats.connects_dropped === 0) expect(seen.size).toBe(1200);
    else if (!emulated) expect(seen.size).toBeLessThan(1200);
  });
});
