import { lookup } from 'node:dns';
import { readFileSync, statSync } from 'node:fs';
import { isIP, type LookupFunction } from 'node:net';
import { createSecureContext, type SecureContext } from 'node:tls';
import { usageError } from '../errors.js';
import type { ShipTarget, TlsFiles } from './target.js';

/** Whether packets to an address and port are what the tracer traces: it must not send there, or it would trace itself. */
export type IsTraced = (address: string, port: number) => boolean;

/** Name resolution that gives no address that is traced. */
export function lookupUntraced(port: number, isTraced: IsTraced): LookupFunction {
  return (host, options, callback) => {
    lookup(host, { ...options, all: true }, (error, addresses) => {
      if (error !== null) return callback(error, '', 0);
      const allowed = addresses.filter(({ address }) => !isTraced(address, port));
      const first = allowed[0];
      if (first === undefined) return callback(new Error(tracedMessage(host, port)), '', 0);
      return options.all ? callback(null, allowed) : callback(null, first.address, first.family);
    });
  };
}

/** Throws a usage error where a target names an address that is traced. */
export function refuseTraced({ name, host, port }: ShipTarget, isTraced: IsTraced): void {
  if (isIP(host) === 0 || !isTraced(host, port)) return;
  throw usageError(
    'IMDS_SHIP_ENDPOINT',
    `--ship ${name}: ${tracedMessage(host, port)}`,
    'give the address of a receiver',
  );
}

const tracedMessage = (host: string, port: number): string =>
  `${host} port ${port} is a metadata endpoint that is traced, no receiver of logs`;

/** What the options of Node's TLS and HTTPS take. Throws a usage error where a file can't be used. */
export function secureOptions(
  { host }: Pick<ShipTarget, 'host'>,
  files: TlsFiles,
): { secureContext: SecureContext; rejectUnauthorized: true; servername: string } {
  const ca = files.ca === undefined ? undefined : readPem(files.ca, 'ca', 'public');
  const cert = files.cert === undefined ? undefined : readPem(files.cert, 'cert', 'public');
  const key = files.key === undefined ? undefined : readPem(files.key, 'key', 'private');
  let secureContext: SecureContext;
  try {
    secureContext = createSecureContext({ ca, cert, key, minVersion: 'TLSv1.2' });
  } catch (error) {
    throw usageError(
      'IMDS_SHIP_TLS',
      `--ship: ${Object.values(files).join(', ')} can't be used for TLS: ${(error as Error).message}`,
      'give files in PEM, the key without a passphrase and belonging to the certificate',
    );
  }
  // Said outright: otherwise NODE_TLS_REJECT_UNAUTHORIZED in the environment could switch verification off.
  const servername = files.servername ?? (isIP(host) === 0 ? host : '');
  return { secureContext, rejectUnauthorized: true, servername };
}

/** Files of certificates and headers are small. */
const MAX_FILE_BYTES = 1024 * 1024;

function readPem(path: string, name: string, what: 'public' | 'private'): Buffer {
  return readSmallFile(path, name, 'IMDS_SHIP_TLS', what);
}

/** Content of a file that a URL of `--ship` names. What is private must not be readable by everybody. */
export function readSmallFile(path: string, name: string, code: `IMDS_${string}`, what: 'public' | 'private'): Buffer {
  const refuse = (why: string, remedy: string) => usageError(code, `--ship: ${name}=${path} ${why}`, remedy);
  try {
    const status = statSync(path);
    if (!status.isFile()) throw refuse('is no file', 'give a file');
    if (status.size > MAX_FILE_BYTES) throw refuse('is too large', `give a file of at most ${MAX_FILE_BYTES} bytes`);
    if (what === 'private' && (status.mode & 0o004) !== 0) {
      throw refuse('can be read by every user of this host', `run \`chmod o-rwx ${path}\``);
    }
    return readFileSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).syscall === undefined) throw error;
    throw refuse(`can't be read: ${(error as Error).message}`, 'give a file that this user can read');
  }
}
