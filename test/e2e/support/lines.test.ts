import { appendFileSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, expect, test } from 'vitest';
import { JsonLines } from './lines.js';

const folder = mkdtempSync(join(tmpdir(), 'imds-lines-'));
const file = join(folder, 'lines.ndjson');
beforeEach(() => rmSync(file, { force: true }));
afterAll(() => rmSync(folder, { recursive: true }));

test('a file that grows, in whatever pieces', () => {
  const lines = new JsonLines<unknown>();
  expect(lines.read(file)).toEqual([]);
  const bytes = Buffer.from('{"a":"\u00e9"}\n[2]\n');
  for (const byte of bytes) {
    appendFileSync(file, Buffer.from([byte]));
    lines.read(file);
  }
  expect(lines.read(file)).toEqual([{ a: '\u00e9' }, [2]]);
});

test('a file that is renamed while it is read', () => {
  const lines = new JsonLines<unknown>();
  writeFileSync(file, '1\n2');
  expect(lines.read(file)).toEqual([1]);
  renameSync(file, `${file}.1`);
  writeFileSync(file, '3\n');
  appendFileSync(`${file}.1`, '0\n');
  expect([...lines.read(`${file}.1`), ...lines.read(file)]).toEqual([1, 20, 3]);
});

test('a new file that got the number of a deleted one', () => {
  const lines = new JsonLines<unknown>();
  writeFileSync(file, '1\n2\n3\n');
  expect(lines.read(file)).toEqual([1, 2, 3]);
  writeFileSync(file, '4\n'); // the same inode, truncated
  expect(lines.read(file)).toEqual([4]);
});
