import { constants } from 'node:os';
import { nativeModule } from './native.js';

/** What a process may be waited for, in milliseconds: the event loop stands meanwhile. */
const WAIT_MS = 100;
const WAIT_LATER_MS = 1000;

const { ETIMEDOUT, EAGAIN } = constants.errno;
const LATE: ReadonlySet<number> = new Set([-ETIMEDOUT, -EAGAIN]);

/**
 * Reads the beginning of a file of /proc whose process may keep it from ever answering (native/patient_read.h): its length,
 * undefined where it is not there, 'late' where it does not answer in time.
 */
export function readProcFile(path: string, to: Buffer, maxBytes: number): number | undefined | 'late' {
  return lengthOf(nativeModule().readProc(path, to, maxBytes, WAIT_MS));
}

/** The same beside the event loop. Never rejects. */
export async function readProcFileLater(
  path: string,
  to: Buffer,
  maxBytes: number,
): Promise<number | undefined | 'late'> {
  return lengthOf(await nativeModule().readProcLater(path, to, maxBytes, WAIT_LATER_MS));
}

const lengthOf = (result: number): number | undefined | 'late' =>
  result >= 0 ? result : LATE.has(result) ? 'late' : undefined;
