import { isIPv6 } from 'node:net';
import { canonicalAddress } from '../addresses.js';
import type { EndpointAddress } from '../capture/types.js';
import { usageError } from '../errors.js';
import type { ListenAddress } from '../metrics/server.js';
import { escapeText } from '../output/escape.js';
import { parseSize } from '../sizes.js';

/** Parsers of option values. Each throws a usage error that names the option, the value and what would be right. */

/** What values look like; the schema of the configuration has them too. */
export const DURATION = /^(\d{1,9})(ms|s|m|h|d)$/;
export const COUNT = /^\d{1,9}$/;
export const LISTEN = /^(?:(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9.-]+)):)?(\d{1,5})$/;

const shown = (value: string): string => escapeText(value, 100);

const DURATION_UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** `90s`, `10m`, `24h` → milliseconds. */
export function parseDuration(value: string, option: string): number {
  const match = DURATION.exec(value);
  const ms = match ? Number(match[1]) * DURATION_UNITS[match[2]!]! : 0;
  if (ms <= 0) {
    throw usageError(
      'IMDS_BAD_DURATION',
      `${option}: "${shown(value)}" is no duration`,
      'write a number and a unit: 90s, 10m, 24h',
    );
  }
  return ms;
}

/** A whole number from 1 to `most`. */
export function parseCount(value: string, option: string, most: number): number {
  const count = COUNT.test(value) ? Number(value) : 0;
  if (count < 1 || count > most) {
    throw usageError('IMDS_BAD_VALUE', `${option}: "${shown(value)}" is no number from 1 to ${most}`);
  }
  return count;
}

/** `9464`, `127.0.0.1:9464`, `localhost:9464`, `[::1]:9464` → where to listen; a port alone is on 127.0.0.1. */
export function parseListen(value: string, option: string): ListenAddress {
  const match = LISTEN.exec(value);
  const port = match ? Number(match[3]) : 0;
  if (!match || port < 1 || port > 65535 || (match[1] !== undefined && !isIPv6(match[1]))) {
    throw usageError(
      'IMDS_BAD_VALUE',
      `${option}: "${shown(value)}" is no address to listen on`,
      'give PORT (on 127.0.0.1) or HOST:PORT, for example 9464, 0.0.0.0:9464 or [::1]:9464',
    );
  }
  return { host: match[1] ?? match[2] ?? '127.0.0.1', port };
}

/** A ring buffer's size: a power of two, from a page up to 1 GiB. */
export function parseRingSize(value: string, option: string): number {
  const bytes = parseSize(value, option);
  if (bytes < 4096 || bytes > 2 ** 30 || (bytes & (bytes - 1)) !== 0) {
    throw usageError(
      'IMDS_BAD_SIZE',
      `${option}: ${shown(value)} can't be a ring buffer's size`,
      'give a power of two from 4K to 1G',
    );
  }
  return bytes;
}

/** `1.2.3.4`, `1.2.3.4:8080`, `fd00::1`, `[fd00::1]:8080` → address and port (80 where none is given). */
export function parseEndpoint(value: string, option: string): EndpointAddress {
  const match = /^(?:\[([^\]]+)\]|([^:]+)|(.*))(?::(\d{1,5}))?$/.exec(value);
  const address = match ? (match[1] ?? match[2] ?? value) : value;
  const bare = match?.[1] === undefined && match?.[2] === undefined;
  const port = bare || match?.[4] === undefined ? 80 : Number(match[4]);
  const wrongBrackets = match?.[1] !== undefined && !isIPv6(match[1]);
  const canonical = canonicalAddress(address);
  if (canonical === undefined || wrongBrackets || port < 1 || port > 65535) {
    throw usageError(
      'IMDS_BAD_ENDPOINT',
      `${option}: "${shown(value)}" is no address`,
      'give IP or IP:PORT, for example 100.100.100.200, 169.254.169.254:80 or [fd00:ec2::254]:80',
    );
  }
  return { address: canonical, port };
}
