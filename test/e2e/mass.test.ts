import { afterAll, beforeAll, expect } from 'vitest';
import type { JournalEntry } from '../../src/lab/journal.js';
import { describeOnKernel, testWith } from './support/kernel.js';
import { type Expectation, expectExactlyTheJournal } from './support/match.js';
import { compileClient, observe, openScene, type Scene } from './support/scene.js';
import { statsOf, type Tracer } from './support/tracer.js';

/** Nobody else on a test machine talks to this one, so that the counters are this test's alone. */
const ADDRESS = '100.96.0.96';
const GROUPS = 10;
const EACH = 50;

/** `TAG PID PPID` lines of mass.c by tag. */
function processes(stdout: string): Map<string, { pid: number; parentPid: number }> {
  const lines = stdout.trim().split('\n');
  return new Map(
    lines.map((line) => {
      const [tag, pid, parentPid] = line.split(' ');
      return [tag!, { pid: Number(pid), parentPid: Number(parentPid) }];
    }),
  );
}

const tagOf = (entry: JournalEntry): string => (entry.kind === 'request' ? entry.target.split('mass-')[1]! : '');

describeOnKernel('processes that connect, send once and exit without reading', () => {
  let scene: Scene;
  let tracer: Tracer;
  let program: string;

  beforeAll(async () => {
    scene = await openScene({ providers: ['volcengine'] });
    tracer = await scene.startTracer();
  });
  afterAll(() => scene?.close());

  testWith(['cc'], '500 of them: 500 events, and all pids, argvs and parents are right', async () => {
    program = await compileClient(scene, 'mass.c');
    const { result, journal, events } = await observe(scene, tracer, GROUPS * EACH, () =>
      scene.runOk([program, 'run', ADDRESS, '80', String(GROUPS), String(EACH)]),
    );
    const sent = processes(result.stdout);
    expect(sent.size).toBe(GROUPS * EACH);
    expect(new Set(journal.map(tagOf))).toEqual(new Set(sent.keys()));
    expectExactlyTheJournal(events, journal, (entry): Expectation => {
      const tag = tagOf(entry);
      const group = tag.split('-')[0]!;
      return {
        verdict: 'normal_mode',
        level: 'WARNING',
        ...sent.get(tag)!,
        name: 'exe', // of the path it was started by: /proc/self/exe
        args: [program, 'once', ADDRESS, '80', tag],
        parentArgs: [program, 'group', ADDRESS, '80', group, String(EACH)],
        attribution: 'connect',
        status: 'any',
      };
    });
    for (const { process, imds } of events) {
      expect(process!.executable).toBe(program);
      expect(imds!.ancestors![1]).toMatchObject({
        pid: result.pid,
        name: 'mass',
        args: [program, 'run', ADDRESS, '80', '10', '50'],
      });
      expect(imds!.attribution_detail).toBeUndefined();
    }
    expect(new Set(events.map(({ process }) => process!.entity_id)).size).toBe(GROUPS * EACH);
  });

  testWith(['cc'], 'parents that exit before their children send, or even connect', async () => {
    program = await compileClient(scene, 'mass.c');
    const { result, journal, events } = await observe(scene, tracer, 100, () =>
      scene.runOk([program, 'leave', ADDRESS, '80', '10', '10']),
    );
    const sent = processes(result.stdout);
    expect(sent.size).toBe(100);
    expectExactlyTheJournal(events, journal, (entry): Expectation => {
      const tag = tagOf(entry);
      const [group] = tag.split('-');
      const late = Number(group) % 2 === 0;
      // The parent is that of the connect: the one that has left since, or who adopted the orphan.
      if (!late) expect(sent.get(tag)!.parentPid).toBe(result.pid);
      return {
        verdict: 'normal_mode',
        ...sent.get(tag)!,
        args: [program, late ? 'late' : 'orphan', ADDRESS, '80', tag],
        parentArgs: late
          ? [program, 'left', ADDRESS, '80', group!, '10']
          : [program, 'leave', ADDRESS, '80', '10', '10'],
        attribution: 'connect',
        status: 'any',
      };
    });
  });

  testWith(['cc'], 'nothing was lost and nothing came late', async () => {
    expect(await tracer.stop()).toMatchObject({ status: 0 });
    expect(tracer.requests()).toHaveLength(GROUPS * EACH + 100);
    expect(statsOf(tracer)).toMatchObject({ ring_dropped: 0, connects_dropped: 0, unattributed: 0, log_errors: 0 });
  });
});
