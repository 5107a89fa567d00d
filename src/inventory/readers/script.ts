import { FOREIGN_CLOUDS, PROVIDERS, type Provider, SHARED_ADDRESSES } from '../../imds/providers.js';
import { type OpenFile, withFile } from '../files.js';
import type { Scan } from '../scan.js';
import { type Directory, inDirectory, pathIn } from '../walk.js';

/** Larger files were generated, not written. */
export const MAX_SCRIPT = 1024 * 1024;

const SHEBANG = 0x2321; // #!
/** Files that are run as they are, without a `#!`. */
const IS_SCRIPT =
  /(?:^|\.)(?:sh|bash|zsh|ksh|csh|service|timer|cron|crontab|profile|bashrc|bash_profile)$|^[^.]+$|^rc\.local$/;

/** Each address with the providers that answer there, the likeliest first. */
const ADDRESSES: ReadonlyMap<string, Provider[]> = new Map(
  [...new Set(PROVIDERS.flatMap(({ addresses }) => addresses))].map((address) => [
    address,
    PROVIDERS.filter(({ addresses }) => addresses.includes(address)),
  ]),
);

const quote = (text: string): string => text.replace(/[.[\]]/g, '\\$&');
/** The address as a whole, not as a part of another. */
const AS_WHOLE: ReadonlyMap<string, RegExp> = new Map(
  [...ADDRESSES.keys()].map((address) => [address, new RegExp(`(?<![\\w.:])${quote(address)}(?![\\w.]*\\d)`)]),
);
/** What stands behind the address in a URL. */
const PATHS: ReadonlyMap<string, RegExp> = new Map(
  [...ADDRESSES.keys()].map((address) => [
    address,
    new RegExp(`(?<![\\w.:])${quote(address)}\\]?(?::80)?(/[^\\s"'\`<>|;)]*)`, 'g'),
  ]),
);
/** A line that is all comment, in the languages that scripts and unit files are written in; `* * * * *` is a crontab's. */
const COMMENT = /^\s*(?:#(?!!)|\/\/|;|--\s|\*\s(?!\s*[\d*])|rem\s)/i;
/** Signs that a file which names the address asks there: it may as well keep others away from it (a firewall, no_proxy). */
const ASKS = /meta-?data|user-?data|\blatest\b|\bcurl\b|\bwget\b|https?:|urlopen|requests\.|fetch\(/i;

/** What only requests to another cloud at the same address have. */
const FOREIGN_SIGNS: readonly string[] = FOREIGN_CLOUDS.flatMap(({ headers, families }) => [
  ...headers.map(({ name }) => name).filter((name) => name.includes('-')),
  ...families.filter((family) => family.length > 4),
]);

/** A script or unit file, whether or not it may be run. */
export function readScript(scan: Scan, directory: Directory, name: string): undefined {
  if (directory.library) return undefined;
  const path = pathIn(directory, name);
  const wanted = ({ size }: { size: number }): boolean => size >= 24 && size <= MAX_SCRIPT;
  withFile(scan, inDirectory(directory, name), path, (file) => readScriptFile(scan, file, name, path), wanted);
  return undefined;
}

/** The same for one that is open. */
export function readScriptFile(scan: Scan, file: OpenFile, name: string, path: string): void {
  const bytes = file.read(0, MAX_SCRIPT);
  for (const [address, providers] of ADDRESSES) {
    // Nearly no file names one: searched before anything is copied.
    if (!bytes.includes(address)) continue;
    const isScript = bytes.readUInt16BE(0) === SHEBANG || IS_SCRIPT.test(name);
    const found = judgeScript(bytes.toString('latin1'), isScript, address, providers);
    if (found !== undefined) scan.add({ kind: 'script', name, version: null, path, ...found });
  }
}

/**
 * What a script that names an address does there: `capable: false` where it asks for one of the service's own paths without a
 * word of a token, without `capable` where that is not certain. Undefined where it knows tokens or has to do with other clouds.
 *
 * At an address that several clouds share, a module of a program (no `#!`, no shell) is no certain sign: libraries know
 * the addresses of all clouds.
 */
function judgeScript(
  text: string,
  isScript: boolean,
  address: string,
  providers: readonly Provider[],
): { provider: Provider['name']; capable?: boolean } | undefined {
  const lower = text.toLowerCase();
  if (providers.some(({ tokenHeader }) => lower.includes(tokenHeader))) return undefined;
  const isShared = SHARED_ADDRESSES.has(address);
  const lines = text.split('\n').filter((line) => line.includes(address) && !COMMENT.test(line));
  const named = lines.filter((line) => AS_WHOLE.get(address)!.test(line));
  if (named.length === 0) return undefined;
  const paths = named.flatMap((line) => [...line.matchAll(PATHS.get(address)!)].map((match) => normalise(match[1]!)));
  for (const provider of providers) {
    const asks = (path: string): boolean => provider.families.some((family) => path.startsWith(family));
    if (!paths.some(asks)) continue;
    return { provider: provider.name, ...((isScript || !isShared) && { capable: false }) };
  }
  // Paths of another cloud that uses the same address.
  if (paths.some((path) => path.length > 1 && !path.includes('$'))) return undefined;
  if (isShared && (!isScript || FOREIGN_SIGNS.some((sign) => lower.includes(sign)))) return undefined;
  return ASKS.test(text) ? { provider: providers[0]!.name } : undefined;
}

/** As the services take paths: without case, slashes collapsed, a dated version the same as the latest. */
const normalise = (path: string): string =>
  path
    .toLowerCase()
    .replace(/\/{2,}/g, '/')
    .replace(/^\/(?:\d{4}-\d{2}-\d{2}|1\.0)(?=\/|$)/, '/latest');
