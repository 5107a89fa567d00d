import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { describeOnKernel, isInstalled } from './support/kernel.js';
import { runOk } from './support/run.js';
import { clientScript, openScene, type Scene } from './support/scene.js';
import type { Tracer } from './support/tracer.js';
import { until } from './support/wait.js';

const ADDRESS = '100.96.0.96';
const URL = `http://${ADDRESS}/latest/instance_id`;

const UNMET = existsSync('/dev/fuse') && isInstalled('cc') ? undefined : ' (skipped: needs cc and /dev/fuse)';

describeOnKernel('a process whose arguments can never be read', () => {
  let scene: Scene;
  let tracer: Tracer;
  let stuck: string;

  beforeAll(async () => {
    scene = await openScene({ providers: ['volcengine'] });
    if (UNMET !== undefined) return;
    stuck = join(scene.folder, 'stuck');
    await runOk(['cc', '-O1', '-Wall', '-Wextra', '-Werror', '-o', stuck, clientScript('stuck.c'), '-lpthread']);
    tracer = await scene.startTracer();
  });
  afterAll(() => scene?.close());

  test.skipIf(UNMET !== undefined)(`holds up nobody${UNMET ?? ''}`, async () => {
    const seen = (query: string) => tracer.requests().find(({ url }) => url?.query === query);
    const done = join(scene.folder, 'done');
    const once = `curl -s -o /dev/null ${URL}`;
    // Each of them has the same parents, whose arguments are wanted again and again.
    const script = `${once}?held; for i in $(seq 20); do ${once}?again; sleep 0.05; done; while [ ! -e ${done} ]; do sleep 0.1; done`;
    const held = scene.runOk([stuck, 'sh', '-c', script]);
    try {
      const first = await until('an event of the child of the stuck process', () => seen('held'));
      expect(first.process).toMatchObject({ name: 'curl', args: ['curl', '-s', '-o', '/dev/null', `${URL}?held`] });
      await scene.runOk(['curl', '-s', '-o', '/dev/null', `${URL}?other`]);
      const other = await until("an event of another's", () => seen('other'));
      expect(other.process).toMatchObject({ args: ['curl', '-s', '-o', '/dev/null', `${URL}?other`] });
      await until('the others', () => tracer.requests().length === 22);
      // Nor is the end waited for by what is still being read.
      expect((await tracer.stop()).status).toBe(0);
    } finally {
      writeFileSync(done, '');
    }
    await held;
  });
});
