import { join } from 'node:path';
import { usageError } from '../errors.js';
import { parseSize } from '../sizes.js';
import type { ShipTarget } from './target.js';
import { parseShipUrl } from './url.js';

const DEFAULT_SPOOL = '256M';
/** The least bound of a spool that a user may set: several records of the greatest size have room. */
const LEAST_SPOOL_BYTES = 8 * 1024 * 1024;

/** What `--ship`, `--spool-dir` and `--spool-size` say. */
export interface ShipOptions {
  /** Receivers of all events. */
  ship: ShipTarget[];
  /** Where events wait for them. */
  spoolDir: string;
  /** How much may wait for each. */
  spoolBytes: number;
}

/** Checks the values of the options; `label` gives where one comes from, for errors. Throws usage errors. */
export function shipOptions(
  given: { ship: readonly string[]; spoolDir?: string | undefined; spoolSize?: string | undefined; logDir: string },
  label: (name: string) => string,
): ShipOptions {
  const size = given.spoolSize ?? DEFAULT_SPOOL;
  const spoolBytes = parseSize(size, label('spool-size'));
  if (spoolBytes < LEAST_SPOOL_BYTES) {
    throw usageError(
      'IMDS_BAD_SIZE',
      `${label('spool-size')}: ${size} is too little for a spool`,
      `give ${LEAST_SPOOL_BYTES / 1024 ** 2}M or more`,
    );
  }
  return {
    ship: given.ship.map((url) => parseShipUrl(url, label('ship'))),
    spoolDir: given.spoolDir ?? join(given.logDir, 'spool'),
    spoolBytes,
  };
}
