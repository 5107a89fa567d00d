import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { startOfLiving } from '../../src/process/living.js';
import { parseStat } from '../../src/process/proc.js';
import { zombie } from '../support/zombie.js';

const startInStat = (pid: number): number => parseStat(readFileSync(`/proc/${pid}/stat`, 'latin1'))!.startTicks;

it('is the start of who runs', () => {
  expect(startOfLiving(process.pid)).toBe(startInStat(process.pid));
});

it('is none of a pid that nobody has', () => {
  // pid_max is at most 2^22.
  expect(startOfLiving(5_000_000)).toBeUndefined();
});

it('is none of a zombie, though its pid and its start time are still there', async () => {
  const { pid, release } = await zombie();
  try {
    expect(startInStat(pid)).toBeGreaterThan(0);
    expect(startOfLiving(pid)).toBeUndefined();
  } finally {
    release();
  }
});
