import { chmodSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { describeOnKernel, isInstalled } from './support/kernel.js';
import { run } from './support/run.js';
import { compileClient, openScene, type Scene } from './support/scene.js';
import { statsOf, type Tracer } from './support/tracer.js';
import { until } from './support/wait.js';

const ADDRESS = '100.96.0.96';
const NEEDS = ['cc', 'setpriv', 'unshare'];
const UNMET = isInstalled(...NEEDS) ? '' : ` (skipped: needs ${NEEDS.join(', ')})`;

describeOnKernel('connects that lead nowhere', () => {
  let scene: Scene;
  let tracer: Tracer;

  beforeAll(async () => {
    scene = await openScene({ providers: ['volcengine'] });
    tracer = await scene.startTracer(['--quiet']);
  });
  afterAll(() => scene?.close());

  test.skipIf(UNMET !== '')(`push out no request of another${UNMET}`, async () => {
    const program = await compileClient(scene, 'connects.c');
    chmodSync(scene.folder, 0o755);
    // In a namespace of its own, where there is no route at all.
    const nobody = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', 'unshare', '-Urn'];
    const flood = run([...nobody, 'sh', '-c', `${program} ${ADDRESS} 3 $(head -c 5000 /dev/zero | tr '\\0' x)`]);
    let over = false;
    void flood.finally(() => {
      over = true;
    });
    for (let i = 0; !over; i++) await scene.runOk(['curl', '-s', '-o', '/dev/null', `http://${ADDRESS}/?n=${i}`]);
    expect(Number((await flood).stdout)).toBeGreaterThan(1_000);
    const asked = scene.journal().length;
    await until('their events', () => tracer.requests().length >= asked, 60_000);
    // Whose each of them is may be lost, and is said.
    await tracer.stop();
    expect(statsOf(tracer)).toMatchObject({ ring_dropped: 0, requests: asked });
    expect(tracer.requests()).toHaveLength(asked);
  });
});
