import { describe, expect, it } from 'vitest';
import { Backoff } from '../../src/ship/backoff.js';

describe('the waits between attempts', () => {
  it('double up to a bound, and begin anew after a success', () => {
    const backoff = new Backoff(() => 1);
    const waits = Array.from({ length: 9 }, () => backoff.next());
    expect(waits).toEqual([500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
    backoff.reset();
    expect(backoff.next()).toBe(500);
  });

  it('are anywhere below the bound', () => {
    const backoff = new Backoff(() => 0.25);
    expect([backoff.next(), backoff.next()]).toEqual([125, 250]);
  });

  it('are at least what the receiver asked for, but not without end', () => {
    const backoff = new Backoff(() => 0);
    expect(backoff.next(7000)).toBe(7000);
    expect(backoff.next(1e12)).toBe(600_000);
  });
});
