import { expect, it } from 'vitest';
import type { CaptureSource } from '../../src/capture/types.js';
import { Judge } from '../../src/imds/judge.js';
import { endpointsFor } from '../../src/imds/providers.js';
import { Pipeline } from '../../src/pipeline.js';
import { runTracer } from '../../src/tracer.js';
import { NOTHING_SEEN } from '../support/records.js';

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

it('a loop that hangs feeds no watchdog, though the process turns on; one that goes on does', async () => {
  let release: (() => void) | undefined;
  let hang = false;
  const source: CaptureSource = {
    kind: 'ebpf',
    description: 'made by hand',
    next: async () => {
      await pause(20);
      if (hang) await new Promise<void>((resolve) => (release = resolve));
      return 0;
    },
    wake: () => {},
    stop: () => {},
    stats: () => NOTHING_SEEN,
    close: () => {},
  };
  let fed = 0;
  const pipeline = new Pipeline({
    endpoints: endpointsFor(['alibaba']),
    judge: new Judge(),
    processes: { onConnect: () => {}, onProcess: () => {}, forFlow: () => ({ how: 'none' }), forget: () => {} },
    emit: () => {},
  });
  const tracer = runTracer({ source, pipeline, write: () => {}, logErrors: () => 0, onTick: () => void fed++ });
  await expect.poll(() => fed, { timeout: 5000 }).toBeGreaterThan(0);
  hang = true;
  await expect.poll(() => release, { timeout: 5000 }).toBeDefined();
  const before = fed;
  await pause(2200);
  expect(fed).toBe(before);
  hang = false;
  release!();
  await expect.poll(() => fed, { timeout: 5000 }).toBeGreaterThan(before);
  tracer.stop();
  await tracer.done;
}, 20_000);
