import { setTimeout as sleep } from 'node:timers/promises';

/** Resolves when it holds; rejects after a long time in which it did not. */
export async function until(holds: () => boolean | Promise<boolean>, what = 'it', withinMs = 30_000): Promise<void> {
  const end = Date.now() + withinMs;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`${what} did not come to hold within ${withinMs} ms`);
    await sleep(10);
  }
}
