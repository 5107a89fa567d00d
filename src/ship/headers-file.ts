import { usageError } from '../errors.js';
import { escapeText } from '../output/escape.js';
import { readSmallFile } from './connect.js';

/** Headers that the request itself needs. */
const RESERVED = ['host', 'content-type', 'content-length', 'content-encoding', 'transfer-encoding', 'connection'];

/**
 * The headers in a file: a line `Name: value` each; empty lines and lines beginning with `#` are passed over. Throws a usage
 * error that shows no value.
 */
export function readHeadersFile(path: string): Record<string, string> {
  const headers: Record<string, string> = {};
  const lines = readSmallFile(path, 'headers-file', 'IMDS_SHIP_HEADERS', 'private').toString('utf8').split('\n');
  for (const [i, line] of lines.entries()) {
    if (line.trim() === '' || line.startsWith('#')) continue;
    // RFC 9110, section 5.1 and 5.5: a token, a colon, visible characters and spaces.
    const [, name, value] = /^([!#$%&'*+.^_`|~\w-]+):[ \t]*([\x20-\x7e\t]*?)[ \t\r]*$/.exec(line) ?? [];
    if (name === undefined || value === undefined) {
      throw usageError(
        'IMDS_SHIP_HEADERS',
        `--ship: line ${i + 1} of headers-file=${escapeText(path, 256)} is no header`,
        'write lines such as `Authorization: Bearer …`',
      );
    }
    if (RESERVED.includes(name.toLowerCase())) {
      throw usageError(
        'IMDS_SHIP_HEADERS',
        `--ship: line ${i + 1} of headers-file=${escapeText(path, 256)} sets ${name}, which the request itself needs`,
        'leave it out',
      );
    }
    headers[name] = value;
  }
  return headers;
}
