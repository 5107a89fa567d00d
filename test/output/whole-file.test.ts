import { execFileSync } from 'node:child_process';
import {
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { writeWhole } from '../../src/output/whole-file.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'imds-whole-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

describe('a file that is written whole', () => {
  it('takes the place of the one that is there, for its owner alone', async () => {
    const file = join(folder, 'out');
    writeFileSync(file, 'old', { mode: 0o644 });
    await writeWhole(file, 'new');
    expect(readFileSync(file, 'utf8')).toBe('new');
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(readdirSync(folder)).toEqual(['out']);
  });

  it('replaces a link, and leaves alone what it leads to', async () => {
    writeFileSync(join(folder, 'victim'), 'keep');
    symlinkSync(join(folder, 'victim'), join(folder, 'out'));
    await writeWhole(join(folder, 'out'), 'new');
    expect(readFileSync(join(folder, 'victim'), 'utf8')).toBe('keep');
  });

  it('takes nothing away that is no plain file: /dev/null stays a device', async () => {
    const fifo = join(folder, 'fifo');
    execFileSync('mkfifo', [fifo]);
    await expect(writeWhole(fifo, 'x')).rejects.toThrow('no plain file');
    expect(lstatSync(fifo).isFIFO()).toBe(true);
    expect(readdirSync(folder)).toEqual(['fifo']);
  });

  it('leaves nothing behind where it fails', async () => {
    await expect(writeWhole(join(folder, 'none', 'out'), 'x')).rejects.toMatchObject({ code: 'ENOENT' });
    expect(readdirSync(folder)).toEqual([]);
  });
});
