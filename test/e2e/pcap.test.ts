import { mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { inNamespace } from '../../src/lab/netns.js';
import { connection, GET, onLink } from '../support/packets.js';
import { expectExactlyTheJournal } from './support/match.js';
import { run, runOk } from './support/run.js';
import { observe, openScene, pythonPath, type Scene } from './support/scene.js';
import { startTracer, statsOf, type Tracer } from './support/tracer.js';
import { until } from './support/wait.js';

const V4 = 'http://100.100.100.200';
const V6 = 'http://[fd00:ec2::254]';
const ID = '/latest/meta-data/instance-id';
const TTL = 'X-aliyun-ecs-metadata-token-ttl-seconds: 60';

/** A client that lives on after its request, so that /proc still knows it when it is looked for. */
const LASTING = `
import socket, sys, time
s = socket.create_connection((sys.argv[1], 80))
time.sleep(0.3)
s.sendall(b'GET ${ID} HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')
s.recv(65536)
time.sleep(0.3)
`;

/** Sends the frames of its standard input, in hex, through imds0. */
const INJECT = `
import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(('imds0', 0))
for line in sys.stdin: s.send(bytes.fromhex(line))
`;

describe.skipIf(process.getuid?.() !== 0)('live capture through libpcap', () => {
  let scene: Scene;
  let python: string;
  beforeAll(async () => {
    scene = await openScene({ providers: ['alibaba', 'aws'] });
    python = await pythonPath();
  });
  afterAll(() => scene?.close());

  const inClient = (argv: readonly string[]) => inNamespace(scene.lab.clientNamespace, argv);
  const start = async (
    args: readonly string[],
    wrap: (argv: readonly string[]) => readonly string[] = (argv) => argv,
  ) => {
    const tracer = await startTracer({
      logDir: mkdtempSync(join(scene.folder, 'log-')),
      args: ['--provider', 'alibaba', '--provider', 'aws', ...args],
      wrap: (argv) => inClient(wrap(argv)),
    });
    scene.cleanup.defer('stop the tracer', () => tracer.stop());
    return tracer;
  };
  const started = (tracer: Tracer): string =>
    tracer.events().find(({ event }) => event.action === 'tracer-started')!.message;

  /** Verdicts and answers of real clients, IPv4 and IPv6, one at a time and many at once; nothing missed, nothing twice. */
  async function expectEveryRequest(tracer: Tracer): Promise<void> {
    const curl = (...args: string[]) => scene.runOk(['curl', '-s', '-m', '5', '-o', '/dev/null', ...args]);
    const { journal, events } = await observe(scene, tracer, 26, async () => {
      await curl(V4 + ID);
      await curl(V6 + ID);
      await curl('-X', 'PUT', '-H', TTL, `${V4}/latest/api/token`);
      const { stdout: token } = await scene.runOk(['curl', '-s', '-X', 'PUT', '-H', TTL, `${V4}/latest/api/token`]);
      await curl('-H', `X-aliyun-ecs-metadata-token: ${token}`, V4 + ID, V4 + ID);
      await Promise.all(Array.from({ length: 20 }, (_, i) => curl(`${V4}/latest/meta-data/${i}`)));
    });
    expectExactlyTheJournal(events, journal, (entry) => ({
      verdict:
        entry.kind === 'request' && entry.method === 'PUT'
          ? 'token_issue'
          : entry.kind === 'request' && entry.headers.some(([name]) => /^x-aliyun-ecs-metadata-token$/i.test(name))
            ? 'hardened'
            : 'normal_mode',
    }));
  }

  async function expectNothingLost(tracer: Tracer): Promise<void> {
    await tracer.stop();
    expect(tracer.requests()).toHaveLength(26);
    const stats = statsOf(tracer);
    expect(stats).toMatchObject({ ring_dropped: 0, gaps: 0, truncated: 0, unparsed: 0 });
    expect(stats.packets_seen).toBe(stats.packets_captured + stats.ring_dropped + stats.packets_passed_over);
    expect(stats.packets_passed_over).toBeGreaterThan(0);
  }

  test.each([
    ['the interface of the route', [], /on imds0 \(Ethernet; chosen by the routes/],
    ['any', ['--interface', 'any'], /on any \(Linux cooked/],
    ['a named interface', ['--interface', 'imds0'], /on imds0 \(Ethernet\)/],
  ])('sees every request once: %s', async (_, args, words) => {
    const tracer = await start(['--source', 'pcap', ...args]);
    expect(started(tracer)).toMatch(/source:pcap /);
    expect(started(tracer)).toMatch(words);
    await expectEveryRequest(tracer);
    await expectNothingLost(tracer);
  });

  test('finds the process through /proc', async () => {
    const tracer = await start(['--source', 'pcap']);
    for (const address of ['100.100.100.200', 'fd00:ec2::254', '::ffff:100.100.100.200']) {
      const { result, journal, events } = await observe(scene, tracer, 1, () =>
        scene.runOk([python, '-c', LASTING, address]),
      );
      expectExactlyTheJournal(events, journal, () => ({
        verdict: 'normal_mode',
        attribution: 'procfs',
        pid: result.pid,
        args: [python, '-c', LASTING, address],
        parentPid: process.pid,
      }));
    }
    expect((await tracer.stop()).status).toBe(0);
  });

  test('names short-lived clients, or says that they were gone; never another', async () => {
    const tracer = await start(['--source', 'pcap']);
    const { journal, events } = await observe(scene, tracer, 30, async () => {
      for (let i = 0; i < 30; i++) await scene.runOk(['curl', '-s', '-m', '5', '-o', '/dev/null', `${V4}/${i}`]);
    });
    expectExactlyTheJournal(events, journal, () => ({ verdict: 'normal_mode' }));
    const named = events.filter(({ imds }) => imds!.attribution === 'procfs');
    for (const { process, url } of named) {
      expect(process!.name).toBe('curl');
      // A process's memory goes before the rest of it: who ends at that very moment (1 of 150 on a busy machine) has a name, and no arguments.
      if (process!.args !== undefined) expect(process!.args).toContain(`${V4}${url!.path}`);
    }
    for (const { imds } of events) expect([undefined, 'exited']).toContain(imds!.attribution_detail);
    // How many it is, is a matter of microseconds: most on an idle machine, a few on a busy one.
    expect(named.filter(({ process }) => process!.args !== undefined).length).toBeGreaterThan(0);
    await tracer.stop();
  });

  test.each(['vlan', 'qinq'] as const)('reads frames with tags: %s', async (link) => {
    const tracer = await start(['--source', 'pcap', '--interface', 'imds0']);
    // Not every kernel has VLAN devices: the frames are sent from the other end as they are.
    const packets = connection({ request: GET(ID), client: { address: '10.1.1.1', port: 40_001 } });
    const frames = onLink(link, packets).map(({ bytes }) => bytes.toString('hex'));
    const server = scene.lab.clientNamespace.replace(/client$/, 'server');
    await runOk(inNamespace(server, [python, '-c', INJECT]), { input: frames.join('\n') });
    await until(
      () => `the request; the tracer said:\n${tracer.stderr()}`,
      () => tracer.requests().length > 0,
    );
    await tracer.stop();
    expect(tracer.requests()).toMatchObject([
      {
        source: { ip: '10.1.1.1', port: 40_001 },
        http: { response: { status_code: 200 } },
        imds: { verdict: 'normal_mode' },
      },
    ]);
    expect(statsOf(tracer)).toMatchObject({ packets_seen: 8, packets_captured: 6, packets_passed_over: 2 });
  });

  test('goes on when the interface was down, and says so', async () => {
    const ip = (...args: string[]) => runOk(['ip', '-n', scene.lab.clientNamespace, ...args]);
    await ip('link', 'add', 'other7', 'type', 'veth', 'peer', 'name', 'other8');
    await ip('link', 'set', 'other7', 'up');
    const tracer = await start(['--source', 'pcap', '--interface', 'other7']);
    await ip('link', 'delete', 'other7');
    await until(
      () => `word of the loss; the tracer said:\n${tracer.stderr()}`,
      () => /capturing on other7 has stopped, and is tried again: /.test(tracer.stderr()),
    );
    await ip('link', 'add', 'other7', 'type', 'veth', 'peer', 'name', 'other8');
    await ip('link', 'set', 'other7', 'up');
    await until(
      () => `word of the return; the tracer said:\n${tracer.stderr()}`,
      () => /capturing goes on/.test(tracer.stderr()),
    );
    expect((await tracer.stop()).status).toBe(4);
    await ip('link', 'delete', 'other7');
  });

  const refused = (args: readonly string[], wrap: (argv: readonly string[]) => readonly string[] = (argv) => argv) =>
    run(
      inClient(
        wrap([
          process.execPath,
          'dist/cli/main.js',
          'trace',
          '--log-dir',
          mkdtempSync(join(scene.folder, 'log-')),
          ...args,
        ]),
      ),
    );
  const withCapabilities =
    (...names: string[]) =>
    (argv: readonly string[]): string[] => [
      'setpriv',
      `--bounding-set=-all${names.map((name) => `,+${name}`).join('')}`,
      ...argv,
    ];

  test('says what is missing, with exit status 3', async () => {
    const unknown = await refused(['--source', 'pcap', '--interface', 'nosuch0']);
    expect(unknown).toMatchObject({
      status: 3,
      stderr: expect.stringMatching(/no network interface nosuch0; there are: lo, .*imds0.* \[IMDS_E_INTERFACE\]/),
    });
    const long = await refused(['--source', 'pcap', '--interface', 'x'.repeat(300)]);
    expect(long).toMatchObject({ status: 3, stderr: expect.stringContaining('IMDS_E_INTERFACE') });
    const powerless = await refused(['--source', 'pcap'], withCapabilities());
    expect(powerless).toMatchObject({ status: 3, stderr: expect.stringMatching(/CAP_NET_RAW is missing/) });
    const neither = await refused([], withCapabilities());
    expect(neither).toMatchObject({ status: 3, stderr: expect.stringMatching(/CAP_BPF.*CAP_NET_RAW/s) });
    const contradiction = await refused(['--source', 'ebpf', '--interface', 'imds0']);
    expect(contradiction).toMatchObject({
      status: 2,
      stderr: expect.stringContaining('no meaning with --source ebpf'),
    });
  });

  test('auto takes it where eBPF is refused, and says why', async () => {
    const tracer = await start([], withCapabilities('net_raw', 'sys_ptrace', 'dac_read_search'));
    expect(started(tracer)).toMatch(/source:pcap .* on imds0 .*not eBPF, because: .*CAP_BPF.*IMDS_E_PERMISSION/);
    await until(
      () => `the first line, not ${tracer.stdout()}`,
      () => /source:pcap .*not eBPF, because/.test(tracer.stdout()),
    );
    const { journal, events } = await observe(scene, tracer, 1, () =>
      scene.runOk([python, '-c', LASTING, '100.100.100.200']),
    );
    expectExactlyTheJournal(events, journal, () => ({ verdict: 'normal_mode', attribution: 'procfs' }));
  });
});
