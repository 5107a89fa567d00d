import { LruMap, OWN_BYTES } from '../lru.js';
import type { ProcessSummary } from '../process/types.js';

/** What is kept of one kind, whatever local users do: what one long command line leads to is some hundred KiB. */
const MAX_PROCESSES = 256;
const MAX_BYTES = 512 * 1024;
/** What an entry takes beside its text. */
const OVERHEAD = 200;

/** Most processes ask once, one after another; their text kept would only be more for the garbage collector to carry. */
const SEEN_ONCE = { made: undefined, bytes: OVERHEAD };

/**
 * Text made of a process as it is shown, kept for the next events of that process: most of a line, and of an object, says who
 * asked, and redaction gives the same object for all requests of a process (redact.ts). `make` must only depend on what
 * never changes in it.
 */
export function perProcess<P extends ProcessSummary, T extends object>(
  make: (process: P) => T,
  lengthOf: (made: T) => number,
): (process: P) => T {
  const known = new LruMap<P, { made: T | undefined; bytes: number }>(MAX_PROCESSES, MAX_BYTES, OWN_BYTES);
  let last: P | undefined;
  let lastMade: T | undefined;
  return (process) => {
    if (process === last) return lastMade!;
    const before = known.get(process);
    let made = before?.made;
    if (made === undefined) {
      made = make(process);
      known.set(process, before === undefined ? SEEN_ONCE : { made, bytes: OVERHEAD + 2 * lengthOf(made) });
    }
    last = process;
    lastMade = made;
    return made;
  };
}
