import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { knownClient, namesOf } from '../../advice/clients.js';
import { readWhole, withFile } from '../files.js';
import type { Scan } from '../scan.js';
import type { Finding } from '../types.js';
import { type Directory, inDirectory, pathIn } from '../walk.js';

/** Of a host with ten thousand packages it has some 20 MiB. */
const MAX_STATUS = 64 * 1024 * 1024;
const RPM_TIMEOUT_MS = 30_000;
const NAMES = namesOf('package');

type Package = Pick<Finding, 'name' | 'version'>;

/** Where a package manager keeps its list: directories below the root, and how to read a file of it. */
const DPKG: ReadonlySet<string> = new Set(['/var/lib/dpkg', '/var/lib/dpkg/status.d']);
const APK: ReadonlySet<string> = new Set(['/lib/apk/db', '/usr/lib/apk/db']);
const RPM: ReadonlySet<string> = new Set(['/var/lib/rpm', '/usr/lib/sysimage/rpm', '/usr/share/rpm']);

/** `/var/lib/dpkg/status`, and `status.d/*` of images without a package manager. */
export function readDpkg(scan: Scan, directory: Directory, name: string): undefined {
  return DPKG.has(directory.path) ? readList(scan, directory, name, parseDpkg) : undefined;
}

/** Alpine's `/lib/apk/db/installed`. */
export function readApk(scan: Scan, directory: Directory, name: string): undefined {
  return APK.has(directory.path) ? readList(scan, directory, name, parseApk) : undefined;
}

export const isDpkgPart = ({ path }: Directory): boolean => path === '/var/lib/dpkg/status.d';

function readList(scan: Scan, directory: Directory, name: string, parse: (text: string) => Package[]): undefined {
  const path = pathIn(directory, name);
  withFile(scan, inDirectory(directory, name), path, (file) => {
    const text = readWhole(scan, file, MAX_STATUS, path)?.toString('latin1') ?? '';
    for (const found of parse(text)) scan.add({ kind: 'package', ...found, path });
  });
  return undefined;
}

/** Paragraphs of fields (deb-control(5)); a package that is removed but for its configuration stays in the list. */
function parseDpkg(text: string): Package[] {
  return paragraphs(text).flatMap((paragraph) => {
    const name = /^Package: *(\S{1,200})/m.exec(paragraph)?.[1];
    if (name === undefined || knownClient('package', name) === undefined) return [];
    const status = /^Status: *(.{1,100})$/m.exec(paragraph)?.[1];
    if (status !== undefined && !/ (?:installed|unpacked|half-configured|triggers-\w+)$/.test(status)) return [];
    return [{ name, version: /^Version: *(\S{1,200})/m.exec(paragraph)?.[1] ?? null }];
  });
}

function parseApk(text: string): Package[] {
  return paragraphs(text).flatMap((paragraph) => {
    const name = /^P:(\S{1,200})/m.exec(paragraph)?.[1];
    if (name === undefined || knownClient('package', name) === undefined) return [];
    return [{ name, version: /^V:(\S{1,200})/m.exec(paragraph)?.[1] ?? null }];
  });
}

/** Only those that begin with a known name are copied. */
function paragraphs(text: string): string[] {
  return text.split('\n\n').filter((paragraph) => NAMES.some((name) => paragraph.includes(name)));
}

/**
 * RPM's database, by the rpm command, for it has three formats; only that of the running system, whose owner is root: rpm is not
 * to read what anybody else wrote. Of other roots cloud-init and programs are known by their own files.
 */
export function readRpm(scan: Scan, directory: Directory, name: string): Promise<void> | undefined {
  if (scan.root !== '/' || !RPM.has(directory.path)) return undefined;
  return queryRpm(directory.path).then((packages) => {
    for (const found of packages) scan.add({ kind: 'package', ...found, path: pathIn(directory, name) });
  });
}

/** The known packages in a database; none where rpm is missing or refuses. */
export async function queryRpm(database: string): Promise<Package[]> {
  const format = '%{NAME}\\t%{EPOCHNUM}:%{VERSION}-%{RELEASE}\\n';
  const run = promisify(execFile)('rpm', ['--dbpath', database, '-q', '--qf', format, ...NAMES], {
    timeout: RPM_TIMEOUT_MS,
    maxBuffer: 1024 * 1024,
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' },
  });
  // Its status tells how many are missing; what it found is on standard output all the same.
  const output = await run.then(
    ({ stdout }) => stdout,
    (error: { stdout?: string }) => error.stdout ?? '',
  );
  return output.split('\n').flatMap((line) => {
    const [name, version] = line.split('\t');
    return version === undefined || knownClient('package', name!) === undefined ? [] : [{ name: name!, version }];
  });
}
