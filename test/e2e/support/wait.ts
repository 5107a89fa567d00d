import { setTimeout as sleep } from 'node:timers/promises';
import { PATIENCE } from '../../support/patience.js';

/**
 * Polls until `probe` gives something other than undefined or false, and resolves to it.
 * @param timeoutMs on a processor that is not emulated
 * @param what completes "waited in vain for …"; a function, so that it can tell how far things came.
 */
export async function until<T>(
  what: string | (() => string),
  probe: () => T | undefined | false | Promise<T | undefined | false>,
  timeoutMs = 10_000,
): Promise<T> {
  for (const end = performance.now() + timeoutMs * PATIENCE; ; ) {
    const found = await probe();
    if (found !== undefined && found !== false) return found;
    if (performance.now() > end) {
      throw new Error(`waited ${timeoutMs * PATIENCE} ms in vain for ${typeof what === 'string' ? what : what()}`);
    }
    await sleep(10);
  }
}
