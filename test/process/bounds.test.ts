import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { BootClock, ticksOfBootNs } from '../../src/process/boot-clock.js';
import { WorkBudget } from '../../src/process/budget.js';
import { parsePasswd, UserNames } from '../../src/process/users.js';
import { CleanUp, sleep, tree } from './support.js';

const cleanUp = new CleanUp();
afterEach(() => cleanUp.run());

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
