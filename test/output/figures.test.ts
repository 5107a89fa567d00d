import { describe, expect, it } from 'vitest';
import { count, duration, sizeText } from '../../src/output/figures.js';

describe('figures for people', () => {
  it.each([
    [0, '0 s'],
    [-5, '0 s'],
    [999, '0 s'],
    [59_999, '59 s'],
    [200_000, '3 min 20 s'],
    [3_600_000, '1 h'],
    [90_061_000, '1 d 1 h'],
    [86_401_000, '1 d'],
  ])('writes %d ms as %s', (ms, words) => {
    expect(duration(ms)).toBe(words);
  });

  it.each([
    [0, '0'],
    [999, '999'],
    [1_000, '1,000'],
    [12_345_678, '12,345,678'],
  ])('counts %d as %s', (number, words) => {
    expect(count(number)).toBe(words);
  });

  it.each([
    [0, '0 bytes'],
    [999, '999 bytes'],
    [1_500, '1.5 kB'],
    [2_500_000_000, '2.5 GB'],
    [5e18, '5000000.0 TB'],
  ])('writes %d bytes as %s', (bytes, words) => {
    expect(sizeText(bytes)).toBe(words);
  });
});
