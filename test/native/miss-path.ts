import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { compile } from './support.js';

/** Nanoseconds of one run, medians over many short rounds, and the median of the rounds' ratios. */
export interface MissPath {
  hook: string;
  empty_ns: number;
  miss_ns: number;
  ratio: number;
}

/** What a packet of no endpoint costs at each packet hook, against an empty program there. Needs root; takes seconds. */
export function measureMissPath(): MissPath[] {
  const folder = mkdtempSync(join(tmpdir(), 'imds-miss-path-'));
  try {
    const program = compile('miss_path.c', join(folder, 'miss_path'), '-O2');
    const output = execFileSync('unshare', ['-n', 'sh', '-c', 'ip link set lo up && exec "$0"', program], {
      encoding: 'utf8',
    });
    return output
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as MissPath);
  } finally {
    rmSync(folder, { recursive: true });
  }
}
