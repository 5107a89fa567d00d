import { lstatSync, renameSync, unlinkSync } from 'node:fs';

export interface RotationOptions {
  /** A file reaches at most this size in bytes, unless a single block is longer. */
  maxBytes: number;
  /** How many rotated files are kept. */
  maxFiles: number;
}

/** The path of the file with this number: 0 is the one that is written, 1 the youngest of the rotated ones. */
export type PathOf = (number: number) => string;

/**
 * Moves the file to number 1 and those before it on by one, as far as that is needed; beyond `maxFiles` the oldest go. Numbers
 * know no clock, so that one that is set back changes nothing. Throws where a file can't be moved; nothing is lost then.
 */
export function shiftFiles(pathOf: PathOf, maxFiles: number): void {
  // A gap ends it: after a rotation that failed half-way, the next one must not put out the oldest for nothing.
  let free = 1;
  while (free < maxFiles && isThere(pathOf(free))) free++;
  for (let number = free; number > 0; number--) {
    if (isThere(pathOf(number - 1))) renameSync(pathOf(number - 1), pathOf(number));
  }
  // More may be there from a time when more were to be kept.
  for (let number = maxFiles + 1; isThere(pathOf(number)); number++) unlinkSync(pathOf(number));
}

const isThere = (path: string): boolean => lstatSync(path, { throwIfNoEntry: false }) !== undefined;
