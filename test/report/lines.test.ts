import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { readLines } from '../../src/report/lines.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'imds-lines-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const GROWS = 20;

it.each([
  ['a log', (text: string) => Buffer.from(text)],
  ['a compressed log', (text: string) => gzipSync(text)],
])('%s is read as it was when it was opened, however fast it grows', async (_, pack) => {
  const path = join(folder, 'imds-events.ndjson');
  // More than is read at once.
  const text = `${'x'.repeat(99)}\n`.repeat(20_000);
  writeFileSync(path, pack(text));
  let lines = 0;
  let grown = 0;
  const grow = (): boolean => {
    // Each time more than was read; in the end it stops, so that the test ends where reading doesn't.
    if (grown++ < GROWS) appendFileSync(path, pack(text));
    return true;
  };
  await readLines(path, { line: () => lines++, tooLong: () => undefined, rest: () => undefined, progress: grow });
  expect(lines).toBe(20_000);
});

it('an empty log has no lines', async () => {
  const path = join(folder, 'imds-events.ndjson');
  writeFileSync(path, '');
  const seen: string[] = [];
  const note = (text: string): void => void seen.push(text);
  await readLines(path, { line: note, tooLong: () => note('too long'), rest: note, progress: () => true });
  expect(seen).toEqual([]);
});
