import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { LruMap, OWN_BYTES } from '../../src/lru.js';
import { BootClock, ticksOfBootNs } from '../../src/process/boot-clock.js';
import { WorkBudget } from '../../src/process/budget.js';
import { parsePasswd, UserNames } from '../../src/process/users.js';
import { CleanUp, sleep, tree } from './support.js';

const cleanUp = new CleanUp();
afterEach(() => cleanUp.run());

describe('LruMap', () => {
  const NOTHING = { take: () => 0, giveBack: () => 0 };
  const keys = (map: LruMap<number, unknown>): number[] => [1, 2, 3, 4, 5].filter((key) => map.get(key) !== undefined);

  it('gives up the least recently used', () => {
    const map = new LruMap<number, string>(3, 1, NOTHING);
    for (const key of [1, 2, 3]) map.set(key, `${key}`);
    map.get(1);
    map.set(2, 'again');
    map.set(4, '4');
    expect(keys(map)).toEqual([1, 2, 4]);
    map.delete(2);
    map.delete(2);
    map.set(3, '3');
    map.set(5, '5'); // the oldest is now 1, which `keys` asked for first
    expect(keys(map)).toEqual([3, 4, 5]);
    for (const key of [3, 4, 5]) map.delete(key);
    expect([map.size, map.get(3)]).toEqual([0, undefined]);
    map.set(1, '1');
    expect(map.get(1)).toBe('1');
  });

  it('keeps to its bytes, but always the newest', () => {
    const map = new LruMap<number, { bytes: number }>(9, 100, OWN_BYTES);
    map.set(1, { bytes: 40 });
    map.set(2, { bytes: 40 });
    map.set(2, { bytes: 50 });
    expect([map.bytes, keys(map)]).toEqual([90, [1, 2]]);
    map.set(3, { bytes: 20 });
    expect([map.bytes, keys(map)]).toEqual([70, [2, 3]]);
    map.set(4, { bytes: 1000 });
    expect([map.bytes, keys(map)]).toEqual([1000, [4]]);
    map.delete(4);
    expect(map.bytes).toBe(0);
  });

  it('slows down neither at its limit nor for a key that is used all the time', () => {
    const map = new LruMap<number, number>(16_384, 1, NOTHING);
    // A look through all that it holds, each time, would take minutes, and so run into the test's own limit.
    for (let i = 0; i < 1_000_000; i++) {
      map.set(i, i);
      map.get(7);
      map.set(7, i);
    }
    expect(map.size).toBe(16_384);
  });
});

describe('WorkBudget', () => {
  it('refuses work when the time is used up, and allows it again at its share', () => {
    let now = 0;
    const budget = new WorkBudget(0.1, 50, () => now);
    const work = (ms: number) =>
      budget.run(() => {
        now += ms;
        return ms;
      });
    expect(work(49)).toBe(49);
    expect(work(100)).toBe(100); // one piece of work may go into debt
    expect(work(1)).toBeUndefined();
    now += 800;
    expect(work(1)).toBeUndefined(); // the debt is not paid off
    now += 200;
    expect(work(1)).toBe(1);
    now += 1e6;
    expect(work(60)).toBe(60); // a long rest saves up no more than the burst
    expect(work(1)).toBeUndefined();
  });
});

describe('BootClock', () => {
  it('cuts nanoseconds to ticks as the kernel does', () => {
    expect(ticksOfBootNs(19_999_999n)).toBe(1);
    expect(ticksOfBootNs(20_000_000n)).toBe(2);
  });

  it('knows the time of boot to a hundredth of a second', () => {
    const clock = new BootClock('/proc');
    const script = 'import time; print(time.time() - time.clock_gettime(time.CLOCK_BOOTTIME))';
    const boot = Number(execFileSync('python3', ['-c', script], { encoding: 'utf8' })) * 1000;
    expect(Math.abs(clock.epochMs(0) - boot)).toBeLessThan(10);
    expect(clock.epochMs(100) - clock.epochMs(0)).toBe(1000);
  });
});

describe('user names', () => {
  it('reads passwd(5) and nothing else', () => {
    const text =
      'root:x:0:0::/:/bin/sh\n#c:x:1:1\n+nis:::\nbad\ntoor:x:0:0::/:\nj\xf6rg:x:1000:1000::/:\nlong:x:99999999999:1\n';
    expect([...parsePasswd(Buffer.from(text, 'latin1'))]).toEqual([
      [0, 'root'],
      [1000, 'j\\xf6rg'],
    ]);
  });

  it('notices a changed file, and lives without one', async () => {
    const root = tree(cleanUp, { passwd: 'a:x:7:7\n' });
    const users = new UserNames(join(root, 'passwd'));
    expect(users.nameOf(7)).toBe('a');
    expect(users.nameOf(8)).toBeUndefined();
    writeFileSync(join(root, 'passwd'), 'bb:x:7:7\nc:x:8:8\n');
    await sleep(1050);
    expect(users.nameOf(7)).toBe('bb');
    expect(users.nameOf(8)).toBe('c');
    expect(new UserNames(join(root, 'none')).nameOf(0)).toBeUndefined();
  });
});
