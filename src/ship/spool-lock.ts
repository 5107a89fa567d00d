import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import process from 'node:process';
import { usageError } from '../errors.js';
import type { PrivateDirectory } from '../output/private-directory.js';
import { startOfLiving } from '../process/living.js';

const NAME = 'lock';

/**
 * Takes a spool for this process, so that two tracers don't write the same files. A lock whose process is gone (kill -9) is
 * nobody's. Throws a usage error where another process has it.
 */
export function lockSpool(directory: PrivateDirectory): void {
  const path = directory.entry(NAME);
  const own = `${process.pid} ${startOfLiving(process.pid) ?? ''}`;
  for (let attempt = 0; ; attempt++) {
    try {
      writeFileSync(path, own, { flag: 'wx', mode: 0o600 });
      return;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST' || attempt > 2) throw error;
    }
    const holder = holderOf(path);
    if (holder !== undefined) {
      throw usageError(
        'IMDS_SHIP_SPOOL_IN_USE',
        `the spool ${directory.path} is in use by process ${holder}`,
        'stop that tracer first, or give this one a directory of its own with --spool-dir',
      );
    }
    rmSync(path, { force: true });
  }
}

/** Never throws: a lock that stays behind is nobody's once this process has ended. */
export function unlockSpool(directory: PrivateDirectory): void {
  try {
    rmSync(directory.entry(NAME), { force: true });
  } catch {}
}

/** The living process that holds the lock: the same pid with another start time is another process. */
function holderOf(path: string): number | undefined {
  let text: string;
  try {
    text = readFileSync(path, 'latin1').slice(0, 64);
  } catch {
    return undefined;
  }
  const [, pid, start] = /^(\d{1,10}) (\d{1,20})$/.exec(text) ?? [];
  return pid !== undefined && startOfLiving(Number(pid)) === Number(start) ? Number(pid) : undefined;
}
