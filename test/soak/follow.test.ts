import { appendFileSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { FollowedLog } from './follow.js';

let folder: string;
let lines: string[];
let log: FollowedLog;
const path = (number: number) => join(folder, number === 0 ? 'log.ndjson' : `log.${number}.ndjson`);
/** As the tracer rotates: with `kept` rotated files at most. */
function rotate(files: number, kept: number): void {
  for (let number = files - 1; number >= 0; number--) {
    if (number === kept) rmSync(path(number));
    else renameSync(path(number), path(number + 1));
  }
  writeFileSync(path(0), '');
}

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'imds-follow-'));
  lines = [];
  log = new FollowedLog(folder, 'log', 'ndjson', (line) => lines.push(line));
});
afterEach(() => {
  log.close();
  rmSync(folder, { recursive: true });
});

test('reads each line once, in order, over rotations between and during reads', () => {
  writeFileSync(path(1), 'zero\n');
  writeFileSync(path(0), 'one\ntw');
  log.poll();
  expect(lines).toEqual(['zero', 'one']);
  appendFileSync(path(0), 'o\nthree\n');
  rotate(2, 10);
  appendFileSync(path(0), 'four\n');
  rotate(3, 10);
  appendFileSync(path(0), 'five\n');
  log.poll();
  log.poll();
  expect(lines).toEqual(['zero', 'one', 'two', 'three', 'four', 'five']);
});

test('says that a file went before it was read', () => {
  writeFileSync(path(0), 'one\n');
  log.poll();
  rotate(1, 1);
  rotate(2, 1);
  expect(() => log.poll()).toThrow('a rotated file of log was deleted before it was read');
});
