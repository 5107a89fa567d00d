import { constants } from 'node:os';
import { nativeModule } from './native.js';

/** What a process may be waited for, in milliseconds: the event loop stands meanwhile. */
const WAIT_MS = 100;

const { ETIMEDOUT, EAGAIN } = constants.errno;
const LATE: ReadonlySet<number> = new Set([-ETIMEDOUT, -EAGAIN]);

/**
 * Reads the beginning of a file of /proc whose process may keep it from ever answering (native/patient_read.h): its length,
 * undefined where it is not there, 'late' where it does not answer in time.
 */
export function readProcFile(path: string, to: Buffer, maxBytes: number): number | undefined | 'late' {
  const result = nativeModule().readProc(path, to, maxBytes, WAIT_MS);
  if (result >= 0) return result;
  return LATE.has(result) ? 'late' : undefined;
}
