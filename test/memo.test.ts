import { expect, it } from 'vitest';
import { memo } from '../src/memo.js';

function counting(): { of: (text: string) => string; made: string[] } {
  const made: string[] = [];
  const of = memo((text) => {
    made.push(text);
    return text.toUpperCase();
  });
  return { of, made };
}

it('makes what comes again once', () => {
  const { of, made } = counting();
  expect(['/a', '/b\xff', '/a', '/b\xff', ''].map(of)).toEqual(['/A', '/B\u0178', '/A', '/B\u0178', '']);
  expect(made).toEqual(['/a', '/b\xff', '']);
});

it('remembers neither long texts nor any number of them', () => {
  const { of, made } = counting();
  const long = 'x'.repeat(300);
  of(long);
  of(long);
  expect(made).toHaveLength(2);
  of('first');
  for (let i = 0; i < 5_000; i++) of(`n${i}`);
  const before = made.length;
  of('first');
  expect(made).toHaveLength(before + 1);
});
