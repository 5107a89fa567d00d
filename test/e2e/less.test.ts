import { mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { inNamespace } from '../../src/lab/netns.js';
import { Dialogue } from './support/child.js';
import { describeWithOrWithoutBtf } from './support/kernel.js';
import { expectExactlyTheJournal } from './support/match.js';
import { verdictOf } from './support/oracle.js';
import { clientScript, observe, openScene, pythonPath, type Scene } from './support/scene.js';
import { startTracer, statsOf, type Tracer } from './support/tracer.js';

/** Nobody else on a test machine talks to this one, so that the counters are this test's alone. */
const ADDRESS = '100.96.0.96';
const ID = '/latest/instance_id';
const SHORT_LIVED = 20;
/** Why `/proc` did not tell: the process was gone, or there was no time left to look. */
const NOT_FOUND = ['exited', 'lookup_limit'];

/** In a mount namespace of its own, the tracer is started on what `script` leaves of the host. */
const without =
  (script: string) =>
  (argv: readonly string[]): readonly string[] => ['unshare', '-m', 'sh', '-c', `${script}; exec "$@"`, 'sh', ...argv];

const NO_BTF = 'mount -t tmpfs none /sys/kernel/btf';
const NO_CGROUP2 =
  'for mount in $(awk \'/ - cgroup2 /{print $5}\' /proc/self/mountinfo); do umount -l "$mount" || exit; done';

/** Hosts that offer less than the tracer would like to have, whether this one does or it is taken away. */
describeWithOrWithoutBtf('on a host', () => {
  let scene: Scene;
  let python: string;
  beforeAll(async () => {
    scene = await openScene({ providers: ['volcengine'] });
    python = await pythonPath();
  });
  afterAll(() => scene?.close());

  describe.each([
    { host: 'without BTF', script: NO_BTF, source: / \(without CO-RE\), .*\(the kernel has no BTF\)/ },
    { host: 'without a mount of cgroup v2', script: NO_CGROUP2, source: /, cgroup v2 mounted privately, / },
    {
      host: 'with neither',
      script: `${NO_BTF}; ${NO_CGROUP2}`,
      source: / \(without CO-RE\), cgroup v2 mounted privately, /,
    },
  ])('$host', ({ script, source }) => {
    let tracer: Tracer;
    beforeAll(async () => {
      tracer = await startTracer({
        logDir: mkdtempSync(join(scene.folder, 'log-')),
        args: ['--provider', 'volcengine'],
        wrap: without(script),
      });
      scene.cleanup.defer('stop the tracer', () => tracer.stop());
    });

    test('it says so', () => {
      expect(tracer.events()[0]!.imds).toMatchObject({
        source: 'ebpf',
        source_detail: expect.stringMatching(source),
      });
    });

    test('a client that lives on is known in full', async () => {
      const client = [python, clientScript('interactive.py'), ADDRESS];
      const dialogue = new Dialogue(inNamespace(scene.lab.clientNamespace, client));
      try {
        await dialogue.read();
        const { journal, events } = await observe(scene, tracer, 2, async () => {
          for (const line of ['connect', `get ${ID}`, `get ${ID}`]) await dialogue.ask(line);
        });
        expectExactlyTheJournal(events, journal, (entry) => ({
          ...verdictOf(entry),
          pid: dialogue.pid,
          args: client,
          parentPid: process.pid,
          attribution: 'connect',
        }));
      } finally {
        await dialogue.kill();
      }
    });

    test('of those that are gone at once the pid is known, and no arguments that are not theirs', async () => {
      const pids = new Map<string, number>();
      const script = 'exec 3<>/dev/tcp/$0/80 && printf "GET $1 HTTP/1.0\\r\\n\\r\\n" >&3';
      const { journal, events } = await observe(scene, tracer, SHORT_LIVED, async () => {
        for (let n = 0; n < SHORT_LIVED; n++) {
          const target = `${ID}?n=${n}`;
          const { pid } = await scene.runOk(['bash', '-c', script, ADDRESS, target]);
          pids.set(target, pid);
        }
      });
      expectExactlyTheJournal(events, journal, (entry) => ({
        ...verdictOf(entry),
        ...(entry.kind === 'request' && { pid: pids.get(entry.target)! }),
        name: 'bash',
        attribution: 'connect',
        status: 'any',
      }));
      for (const { process, url, imds } of events) {
        if (process!.args === undefined) expect(NOT_FOUND).toContain(imds!.attribution_detail);
        else expect(process!.args).toEqual(['bash', '-c', script, ADDRESS, url!.original]);
      }
    });

    test('four clients at full speed: every request is one event of its process', async () => {
      const [workers, requests, perConnection] = [4, 100, 10];
      const { journal, events } = await observe(scene, tracer, workers * requests, () =>
        scene.runOk([
          ...[python, clientScript('burst.py'), ADDRESS, '80'],
          ...[workers, requests, perConnection].map(String),
        ]),
      );
      expectExactlyTheJournal(events, journal, (entry) => ({
        ...verdictOf(entry),
        pid: entry.kind === 'request' ? Number(/worker=(\d+)/.exec(entry.target)![1]) : 0,
        attribution: 'connect',
      }));
    });

    test('nothing was lost, and the counters add up', async () => {
      await tracer.stop();
      const stats = statsOf(tracer);
      expect(stats).toMatchObject({
        requests: 2 + SHORT_LIVED + 400,
        ring_dropped: 0,
        connects_dropped: 0,
        gaps: 0,
        unattributed: 0,
      });
      expect(stats.packets_seen).toBe(stats.packets_captured + stats.packets_passed_over);
    });
  });
});
