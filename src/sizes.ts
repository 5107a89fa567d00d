import { usageError } from './errors.js';
import { escapeText } from './output/escape.js';

/** What sizes look like; the schema of the configuration has it too. */
export const SIZE = /^(\d{1,12})([KMGkmg]?)(?:[iI]?[bB])?$/;
const UNITS: Readonly<Record<string, number>> = { '': 1, K: 1024, M: 1024 ** 2, G: 1024 ** 3 };

/** `8M`, `64K`, `65536`, with or without `iB` → bytes. Throws a usage error that names the option. */
export function parseSize(value: string, option: string): number {
  const match = SIZE.exec(value);
  const bytes = match ? Number(match[1]) * UNITS[match[2]!.toUpperCase()]! : 0;
  if (bytes <= 0)
    throw usageError(
      'IMDS_BAD_SIZE',
      `${option}: "${escapeText(value, 100)}" is no size`,
      'write bytes or a unit: 65536, 64K, 8M',
    );
  return bytes;
}
