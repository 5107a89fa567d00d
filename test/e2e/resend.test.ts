import { afterAll, beforeAll, expect, test } from 'vitest';
import { describeOnKernel } from './support/kernel.js';
import { requestText } from './support/raw.js';
import { clientScript, openScene, pythonPath, type Scene } from './support/scene.js';
import type { Tracer } from './support/tracer.js';
import { until } from './support/wait.js';

const ADDRESS = '100.100.100.200';
const ID = '/latest/meta-data/instance-id';

describeOnKernel('what is sent again', () => {
  let scene: Scene;
  let tracer: Tracer;
  let python: string;

  /** What the service has received, after the first attempt was lost. */
  async function resend(first: string, then: string) {
    const journaled = scene.journal().length;
    const { stdout } = await scene.runOk([python, clientScript('resend.py'), ADDRESS], {
      input: JSON.stringify({ first, then }),
    });
    expect(stdout).toMatch(/^HTTP\/1.1 \d/);
    return scene.journal().slice(journaled);
  }

  beforeAll(async () => {
    scene = await openScene();
    tracer = await scene.startTracer();
    python = await pythonPath();
  });
  afterAll(() => scene?.close());

  test('with other bytes is said: it may be what the service has read', async () => {
    const headers = ['X-aliyun-ecs-metadata-token: never-issued', 'Connection: close'];
    const first = requestText(ID, headers);
    const [entry] = await resend(first, first.replace('aliyun', 'nobody'));
    expect(entry).toMatchObject({ headers: expect.arrayContaining([['X-nobody-ecs-metadata-token', 'never-issued']]) });
    const events = await until('both', () => tracer.requests().length === 2 && tracer.requests());
    const said = events.find(({ imds }) => imds!.verdict === 'unparsed')!;
    expect(said.imds!.reasons).toEqual(['changed_on_resend']);
    expect(said.log.level).toBe('ERROR');
    expect(said.process!.name).toMatch(/^python/);
  });

  test('with the same bytes is nothing new', async () => {
    const before = tracer.requests().length;
    const same = requestText(`${ID}?same`, ['X-aliyun-ecs-metadata-token: never-issued', 'Connection: close']);
    await resend(same, same);
    const [event] = await until('it', () => tracer.requests().length > before && tracer.requests().slice(before));
    expect(event).toMatchObject({ url: { query: 'same' }, imds: { verdict: 'token_invalid' } });
    expect((await tracer.stop()).status).toBe(0);
    expect(tracer.requests()).toHaveLength(before + 1);
  });
});
