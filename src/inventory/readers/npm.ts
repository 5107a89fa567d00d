import { knownClient, namesOf } from '../../advice/clients.js';
import { readWhole, withFile } from '../files.js';
import type { Scan } from '../scan.js';
import { type Directory, inDirectory, pathIn } from '../walk.js';
import { readZip, type ZipEntry } from '../zip.js';
import { member, parseJson, textMember } from './json.js';

const MAX_PACKAGE = 1024 * 1024;
/** npm's list of all that it installed into a folder. */
const MAX_LOCK = 16 * 1024 * 1024;

const NAMES = namesOf('npm');
const FOLDERS: ReadonlySet<string> = new Set(NAMES.map((name) => name.slice(name.lastIndexOf('/') + 1)));
/** Yarn names the archives of its cache so: `@scope/name` is `@scope-name-npm-1.2.3-0123456789-8.zip`. */
const YARN_ARCHIVE = /^(.{1,200})-npm-(\d.{0,100})-[\da-f]{10}-[\w]+\.zip$/;
const YARN_NAMES: ReadonlyMap<string, string> = new Map(NAMES.map((name) => [name.replace('/', '-'), name]));

/** `node_modules/NAME/package.json`, wherever npm, pnpm (`.pnpm/…/node_modules`) or Yarn put it. */
export function readNpmPackage(scan: Scan, directory: Directory, name: string): undefined {
  if (!FOLDERS.has(directory.name)) return undefined;
  const installedAs = /\/node_modules\/((?:@[^/]+\/)?[^/]+)$/.exec(directory.path)?.[1];
  if (installedAs === undefined || knownClient('npm', installedAs) === undefined) return undefined;
  const path = pathIn(directory, name);
  withFile(scan, inDirectory(directory, name), path, (file) => {
    const bytes = readWhole(scan, file, MAX_PACKAGE, path);
    if (bytes !== undefined) add(scan, parseJson(bytes), installedAs, path);
  });
  return undefined;
}

function add(scan: Scan, manifest: unknown, installedAs: string, path: string): void {
  const name = textMember(manifest, 'name') ?? installedAs;
  // Another package under the name of a client is none.
  if (knownClient('npm', name) === undefined) return;
  scan.add({ kind: 'npm', name, version: textMember(manifest, 'version') ?? null, path });
}

/**
 * `node_modules/.package-lock.json`: for packages that are installed under another name (`npm:` aliases), whose folder does
 * not tell what they are.
 */
export function readNpmLock(scan: Scan, directory: Directory, name: string): undefined {
  if (directory.name !== 'node_modules') return undefined;
  const path = pathIn(directory, name);
  withFile(scan, inDirectory(directory, name), path, (file) => {
    const bytes = readWhole(scan, file, MAX_LOCK, path);
    // Only aliases have a name there.
    const packages = bytes === undefined ? undefined : member(parseJson(bytes), 'packages');
    if (packages === null || typeof packages !== 'object') return;
    for (const [folder, entry] of Object.entries(packages)) {
      const installed = textMember(entry, 'name');
      if (installed === undefined || folder.endsWith(`node_modules/${installed}`)) continue;
      if (knownClient('npm', installed) === undefined || !folder.startsWith('node_modules/')) continue;
      const place = Buffer.from(folder, 'utf8').toString('latin1');
      const version = textMember(entry, 'version') ?? null;
      scan.add({ kind: 'npm', name: installed, version, path: `${directory.path}${place.slice(12)}/package.json` });
    }
  });
  return undefined;
}

/** Archives of Yarn's cache, which programs under Plug'n'Play run from. */
export function readYarnArchive(scan: Scan, directory: Directory, name: string): Promise<void> | undefined {
  const match = YARN_ARCHIVE.exec(name);
  const installed = match === null ? undefined : YARN_NAMES.get(match[1]!);
  if (installed === undefined) return undefined;
  const path = pathIn(directory, name);
  const wanted = `node_modules/${installed}/package.json`;
  return withFile(scan, inDirectory(directory, name), path, async (file) => {
    const archive = readZip(scan, file, path);
    const entry = archive?.entries.find((found: ZipEntry) => found.name === wanted);
    const bytes = entry === undefined ? undefined : await archive!.content(entry, MAX_PACKAGE);
    // The name of the archive tells it too, should its inside not be readable.
    if (bytes === undefined) scan.add({ kind: 'npm', name: installed, version: match![2]!, path });
    else add(scan, parseJson(bytes), installed, `${path}!/${wanted}`);
  });
}
