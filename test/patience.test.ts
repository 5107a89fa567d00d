import { describe, expect, it } from 'vitest';
import { waitWithPatience } from '../src/patience.js';

const never = new Promise<void>(() => {});
/** The waiting itself lets a process end. */
const stayAlive = async <T>(waiting: Promise<T>): Promise<T> => {
  const timer = setInterval(() => {}, 1_000);
  return waiting.finally(() => clearInterval(timer));
};

describe('waitWithPatience', () => {
  it('ends with what is waited for, also where that fails', async () => {
    const patience = { progress: () => 0, stillMs: 3_600_000, inAllMs: 3_600_000 };
    await waitWithPatience(Promise.resolve(), patience);
    await waitWithPatience(Promise.reject(new Error('failed')), patience);
  });

  it('gives up when nothing moves', async () => {
    let looks = 0;
    const progress = () => {
      looks++;
      return 0;
    };
    await stayAlive(waitWithPatience(never, { progress, stillMs: 300, inAllMs: 3_600_000 }));
    expect(looks).toBe(1 + 3);
  });

  it('waits on while something moves, but not for ever', async () => {
    let moves = 0;
    await stayAlive(waitWithPatience(never, { progress: () => moves++, stillMs: 200, inAllMs: 700 }));
    expect(moves).toBe(1 + 7);
  });
});
