import { execFileSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { readProcFile } from '../../src/capture/proc-file.js';
import { until } from '../e2e/support/wait.js';

const to = Buffer.alloc(64 * 1024);
const OWN = '/proc/self/cmdline';

it('reads a file as it is, and says where there is none', () => {
  const length = readProcFile(OWN, to, to.length);
  expect(to.toString('latin1', 0, length as number)).toBe(readFileSync(OWN, 'latin1'));
  expect(readProcFile(OWN, to, 3)).toBe(3);
  expect(readProcFile('/proc/999999999/cmdline', to, to.length)).toBeUndefined();
});

it('waits neither for a file that never answers, nor twice, nor for ever more of them', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'imds-late-'));
  // Pipes that nobody writes to. More than there may be threads.
  const paths = Array.from({ length: 20 }, (_, i) => join(folder, String(i)));
  execFileSync('mkfifo', paths);
  const ends = paths.map((path) => openSync(path, 'r+'));
  try {
    for (const path of paths) expect(readProcFile(path, to, 10)).toBe('late');
    // All threads wait; and none more for what was waited for in vain.
    expect(readProcFile(OWN, to, to.length)).toBe('late');
    for (const end of ends.slice(0, 1)) writeSync(end, 'x'.repeat(10));
    await until('a thread', () => readProcFile(OWN, to, to.length) !== 'late');
    expect(readProcFile(paths[1]!, to, 10)).toBe('late');
    expect(readProcFile(OWN, to, 3)).toBe(3);
    // What came too late is nobody's.
    writeSync(ends[0]!, '0123456789');
    expect(readProcFile(paths[0]!, to, 10)).toBe(10);
    expect(to.toString('latin1', 0, 10)).toBe('0123456789');
  } finally {
    for (const end of ends) {
      writeSync(end, 'x'.repeat(10));
      closeSync(end);
    }
    rmSync(folder, { recursive: true });
  }
});
