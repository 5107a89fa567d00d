import { expect, test } from 'vitest';
import { slope } from './slope.js';

test('of a straight line, with no error', () => {
  const { perUnit, error } = slope([
    [0, 7],
    [1, 10],
    [3, 16],
    [4, 19],
  ]);
  expect(perUnit).toBeCloseTo(3, 12);
  expect(error).toBeCloseTo(0, 7);
});

test('of points around a line, with the standard error of the textbook', () => {
  // Mean of x 2, of y 4; sums of squares: x 10, xy 6; residuals -0.8, 0.6, 1, -0.6, -0.2.
  const { perUnit, error } = slope([
    [0, 2],
    [1, 4],
    [2, 5],
    [3, 4],
    [4, 5],
  ]);
  expect(perUnit).toBeCloseTo(0.6, 12);
  expect(error).toBeCloseTo(Math.sqrt(2.4 / 3 / 10), 12);
});
