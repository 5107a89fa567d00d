import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, rmdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { inNamespace } from '../../src/lab/netns.js';
import { PATIENCE } from '../support/patience.js';
import { childrenOf, Dialogue } from './support/child.js';
import { CleanupStack } from './support/cleanup.js';
import { describeOnKernel } from './support/kernel.js';
import { runOk } from './support/run.js';
import { clientScript, observe, openScene, pythonPath, type Scene } from './support/scene.js';
import type { EcsEvent, Tracer } from './support/tracer.js';

/** Nobody else on a test machine talks to this one, so that exit statuses are about this test alone. */
const ADDRESS = '100.96.0.96';
const ID = '/latest/instance_id';

/** Where the cgroup v2 tree is mounted, if it is. */
const cgroupRoot = /^\S+ (\S+) cgroup2 /m.exec(readFileSync('/proc/self/mounts', 'utf8'))?.[1];

/** Looking through `/proc` may take a part of the time only, which is soon used up where the processor is emulated. */
const hadNoTime = ({ imds }: EcsEvent): boolean =>
  PATIENCE > 1 && imds?.attribution === 'none' && imds.attribution_detail === 'lookup_limit';

describeOnKernel('who it was', () => {
  let scene: Scene;
  let tracer: Tracer;
  let python: string;
  /** argv of an interactive client. */
  let client: string[];
  const cleanup = new CleanupStack();

  /** A client that waits for what to do; `prefix` is a command that runs it. */
  const start = (...prefix: string[]) => open(inNamespace(scene.lab.clientNamespace, [...prefix, ...client]));
  async function open(argv: readonly string[]): Promise<Dialogue> {
    const dialogue = new Dialogue(argv);
    cleanup.defer('kill the client', () => dialogue.kill());
    expect(await dialogue.read()).toMatch(/^ready \d+$/);
    return dialogue;
  }
  /** The event of the one request that the client sends when told so. */
  async function eventOf(dialogue: Dialogue, ...commands: string[]): Promise<EcsEvent> {
    const { events } = await observe(scene, tracer, 1, async () => {
      for (const command of commands) await dialogue.ask(command);
    });
    expect(events).toHaveLength(1);
    return events[0]!;
  }

  beforeAll(async () => {
    scene = await openScene({ providers: ['volcengine'] });
    tracer = await scene.startTracer();
    python = await pythonPath();
    client = [python, clientScript('interactive.py'), ADDRESS];
  });
  afterEach(() => cleanup.run());
  afterAll(() => scene?.close());

  test('a process that forks after it connected: who connected, whoever sends', async () => {
    const dialogue = await start();
    await dialogue.ask('connect');
    for (const command of ['get', 'fork', 'get']) {
      const event = await eventOf(dialogue, `${command} ${ID}`);
      expect(event.process).toMatchObject({ pid: dialogue.pid, args: client });
      expect(event.imds).toMatchObject({ attribution: 'connect' });
    }
  });

  test('a thread: its process', async () => {
    const event = await eventOf(await start(), `thread ${ID}`);
    expect(event.process).toMatchObject({ args: client, name: python.slice(python.lastIndexOf('/') + 1).slice(0, 15) });
    expect(event.process!.parent!.pid).toBe(process.pid);
  });

  test('a client that is exec()ed into another program between two connections', async () => {
    const script =
      'exec 3<>/dev/tcp/$0/80; printf "GET /latest/meta-data/mac HTTP/1.0\\r\\n\\r\\n" >&3; cat <&3; exec "$@"';
    const curl = ['curl', '-s', `http://${ADDRESS}${ID}`];
    const { result, events } = await observe(scene, tracer, 2, () =>
      scene.runOk(['bash', '-c', script, ADDRESS, ...curl]),
    );
    expect(events.map(({ process }) => [process!.pid, process!.name, process!.args])).toEqual([
      [result.pid, 'bash', ['bash', '-c', script, ADDRESS, ...curl]],
      [result.pid, 'curl', curl],
    ]);
    expect(new Set(events.map(({ process }) => process!.entity_id)).size).toBe(1);
  });

  test('another user', async () => {
    const event = await eventOf(
      // With the right to read its script, wherever the checkout lies.
      await start(
        ...['setpriv', '--reuid', '65534', '--regid', '65534', '--clear-groups'],
        ...['--inh-caps', '+dac_read_search', '--ambient-caps', '+dac_read_search'],
      ),
      'connect',
      `get ${ID}`,
    );
    expect(event.process!.user).toEqual({ id: '65534', name: 'nobody' });
    expect(event.process!.args).toEqual(client);
  });

  test('another pid namespace: the pid is that of the machine, and so are the parents', async () => {
    const unshare = ['unshare', '--pid', '--fork', '--kill-child', '--mount-proc'];
    const dialogue = await start(...unshare);
    const [pid] = childrenOf(dialogue.pid);
    const event = await eventOf(dialogue, 'connect', `get ${ID}`);
    expect(event.process).toMatchObject({
      pid,
      args: client,
      parent: { pid: dialogue.pid, name: 'unshare', args: [...unshare, ...client] },
    });
  });

  describe('cgroups', () => {
    const id = randomBytes(32).toString('hex');
    const mark = `imds-e2e-${process.pid}`;
    const pod = '0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f';
    const podSlice = `kubepods-pod${pod.replaceAll('-', '_')}.slice`;

    test.skipIf(cgroupRoot === undefined).each<[string, string, Partial<EcsEvent>]>([
      ['a systemd service', `${mark}.slice/${mark}.service`, { service: { name: `${mark}.service` } }],
      ["a user's scope", `${mark}.slice/user-7.slice/session-3.scope`, { service: { name: 'session-3.scope' } }],
      [
        'a Docker container',
        `${mark}.slice/docker-${id}.scope`,
        { service: { name: `docker-${id}.scope` }, container: { id, runtime: 'docker' } },
      ],
      ['a Podman container', `${mark}.slice/libpod-${id}.scope/container`, { container: { id, runtime: 'podman' } }],
      [
        'a pod of Kubernetes',
        `${mark}.slice/kubepods.slice/${podSlice}/cri-containerd-${id}.scope`,
        { container: { id, runtime: 'containerd' }, orchestrator: { resource: { id: pod } } },
      ],
    ])('%s', async (_, path, wanted) => {
      const folder = join(cgroupRoot!, path);
      const made: string[] = [];
      for (let at = folder; at !== cgroupRoot; at = dirname(at)) made.push(at);
      mkdirSync(folder, { recursive: true });
      cleanup.defer('remove the cgroups', () => {
        for (const each of made) rmdirSync(each);
      });
      // `ip netns exec` hides the cgroup file system from what it runs.
      const enter = ['sh', '-c', 'echo $$ > "$0"/cgroup.procs && exec "$@"', folder];

      const dialogue = await open([...enter, ...inNamespace(scene.lab.clientNamespace, client)]);
      const event = await eventOf(dialogue, 'connect', `get ${ID}`);
      expect(event).toMatchObject(wanted);
      expect(event.process).toMatchObject({ pid: dialogue.pid, args: client });
      await dialogue.kill();

      // And one that is gone before anyone could look into /proc.
      const script = `exec 3<>/dev/tcp/${ADDRESS}/80 && printf "GET ${ID} HTTP/1.0\\r\\n\\r\\n" >&3`;
      const once = await observe(scene, tracer, 1, () =>
        runOk([...enter, ...inNamespace(scene.lab.clientNamespace, ['bash', '-c', script])]),
      );
      expect(once.events[0]).toMatchObject(wanted);
    });
  });

  describe('connections that were open before the tracer started', () => {
    test('are found through /proc', async () => {
      const dialogue = await start();
      await dialogue.ask('connect');
      await dialogue.ask(`get ${ID}?before`);
      const late = await scene.startTracer();
      const journaled = scene.journal().length;
      await dialogue.ask(`get ${ID}?after`);
      await dialogue.ask(`get ${ID}?again`);
      await observe(scene, late, 1, () => dialogue.ask(`get ${ID}?third`));
      expect(scene.journal()).toHaveLength(journaled + 3);
      const end = await late.stop();

      const events = late.requests();
      expect(events.map(({ url }) => url!.query)).toEqual(['after', 'again', 'third']);
      const found = events.filter((event) => !hadNoTime(event));
      for (const event of found) {
        expect(event).toMatchObject({
          log: { level: 'WARNING' },
          process: { pid: dialogue.pid, args: client, parent: { pid: process.pid } },
          imds: { verdict: 'normal_mode', attribution: 'procfs' },
        });
        // The answer is waited for for a second, which an emulated processor may be late by.
        const status = event.http?.response?.status_code;
        if (PATIENCE === 1 || status !== undefined) expect(status).toBe(200);
      }
      expect(end.status).toBe(found.length === events.length ? 0 : 4);
      // The tracer that saw the connect says the same process.
      const earlier = tracer.requests().filter(({ url }) => url!.query === 'after');
      expect(earlier).toHaveLength(1);
      for (const { process } of found) expect(process!.entity_id).toBe(earlier[0]!.process!.entity_id);
    });

    test('also where a child inherited them, and says so', async () => {
      const dialogue = await start();
      await dialogue.ask('connect');
      const late = await scene.startTracer();
      await observe(scene, late, 1, () => dialogue.ask(`fork ${ID}`));
      await late.stop();
      expect(late.requests()).toHaveLength(1);
      const event = late.requests()[0]!;
      if (!hadNoTime(event)) expect(event.process).toMatchObject({ pid: dialogue.pid, args: client });
    });

    test('and have no process, with the reason, where it is gone: exit status 4', async () => {
      await start(); // keeps the network namespace where it can be looked into
      const dialogue = await start();
      await dialogue.ask('connect');
      const late = await scene.startTracer();
      late.kill('SIGSTOP'); // until the client is gone
      try {
        await dialogue.ask(`drop ${ID}`).catch(() => {});
        await dialogue.kill();
      } finally {
        late.kill('SIGCONT');
      }
      const end = await late.stop();
      const [event, ...more] = late.requests();
      expect(more).toEqual([]);
      expect(event).toMatchObject({
        imds: {
          verdict: 'normal_mode',
          attribution: 'none',
          attribution_detail: hadNoTime(event!) ? 'lookup_limit' : 'exited',
        },
      });
      expect(event!.process).toBeUndefined();
      expect(late.text()).toContain('IMDSv1(!) (pid:?) called by -> (pid:?)');
      expect(end.status).toBe(4);
    });
  });
});
