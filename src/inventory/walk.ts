import { closeSync, type Dirent, fstatSync, opendirSync, statfsSync } from 'node:fs';
import { entryPath, openDirectory } from './files.js';
import { type Plan, passedOverByMagic } from './mounts.js';
import type { Scan } from './scan.js';

/** A directory that is looked through. Paths and names are latin1 strings whose code units are bytes. */
export interface Directory {
  /** Open for as long as its files are visited. */
  fd: number;
  /** Absolute below the root. */
  path: string;
  /** Last part of the path, and the one before. */
  name: string;
  parent: string;
  /** Lies in a directory of installed packages, whose own scripts are nobody's to rewrite. */
  library: boolean;
}

/** Is given each entry that is a regular file as far as the directory says. */
export type VisitFile = (directory: Directory, name: string) => undefined | Promise<void>;

/** Directories within directories; each holds a file descriptor open. */
const MAX_DEPTH = 200;
/** Subdirectories of one directory that are remembered. */
const MAX_SUBDIRECTORIES = 1_000_000;
const LIBRARIES: ReadonlySet<string> = new Set(
  'node_modules site-packages dist-packages vendor vendored third_party gems .git .cargo .rustup .npm .cache .m2 doc imds-tracer'.split(
    ' ',
  ),
);

interface Frame {
  directory: Directory;
  device: number;
  names: string[];
}

/**
 * Goes through a root, depth first, without following any symbolic link and without leaving it: each directory is opened
 * below the one that is open already, so that who renames or replaces directories meanwhile leads nowhere else.
 *
 * Mounts are treated as `plan` says; scripts below `own` are passed over. Never throws; what it could not see is noted in `scan`. Closes `root`.
 */
export async function walk(scan: Scan, root: number, plan: Plan, visit: VisitFile, own?: string): Promise<void> {
  const frames: Frame[] = [];
  try {
    const top: Directory = { fd: root, path: '/', name: '', parent: '', library: false };
    frames.push({ directory: top, device: fstatSync(root).dev, names: await list(scan, top, visit) });
    while (frames.length > 0) {
      const frame = frames.at(-1)!;
      const name = scan.over ? undefined : frame.names.pop();
      if (name === undefined) {
        frames.pop();
        closeSync(frame.directory.fd);
        continue;
      }
      const next = enter(scan, frame, name, plan, frames.length, own);
      if (next === undefined) continue;
      frames.push(next);
      next.names = await list(scan, next.directory, visit);
    }
  } catch (error) {
    scan.failed(error, frames.at(-1)?.directory.path ?? '/');
  } finally {
    for (const { directory } of frames) closeSync(directory.fd);
  }
}

function enter(
  scan: Scan,
  { directory, device }: Frame,
  name: string,
  plan: Plan,
  depth: number,
  own: string | undefined,
): Frame | undefined {
  const path = directory.path === '/' ? `/${name}` : `${directory.path}/${name}`;
  const decision = plan.get(path);
  if (decision !== undefined && decision !== 'walk') {
    if (decision === 'network') scan.problem('file_system_skipped', path);
    return undefined;
  }
  if (depth >= MAX_DEPTH) {
    scan.problem('too_deep', path);
    return undefined;
  }
  let fd: number | undefined;
  try {
    fd = openDirectory(directory.fd, name);
    const { dev } = fstatSync(fd);
    if (dev !== device && decision === undefined) {
      // No mount that the table has: one that is newer, or a subvolume.
      const passing = passedOverByMagic(statfsSync(`/proc/self/fd/${fd}`).type);
      if (passing !== undefined) {
        closeSync(fd);
        if (passing === 'network') scan.problem('file_system_skipped', path);
        return undefined;
      }
    }
    const library = directory.library || LIBRARIES.has(name) || path === own;
    return { directory: { fd, path, name, parent: directory.name, library }, device: dev, names: [] };
  } catch (error) {
    if (fd !== undefined) closeSync(fd);
    scan.failed(error, path);
    return undefined;
  }
}

/** Visits the files of a directory and gives the names of its subdirectories. */
async function list(scan: Scan, directory: Directory, visit: VisitFile): Promise<string[]> {
  const names: string[] = [];
  scan.scanned.directories += 1;
  const open = opendirSync(`/proc/self/fd/${directory.fd}`, { encoding: 'latin1', bufferSize: 1024 });
  try {
    for (let entry = open.readSync(); entry !== null && !scan.over; entry = open.readSync()) {
      const kind = typeOf(entry, directory.fd);
      if (kind === 'directory') {
        if (names.length < MAX_SUBDIRECTORIES) names.push(entry.name);
        else scan.problem('limit_reached', directory.path);
      } else {
        scan.scanned.files += 1;
        if (kind === 'file') {
          const visiting = visit(directory, entry.name);
          if (visiting !== undefined) await visiting;
        }
      }
      if (scan.entry(directory.path)) await scan.pause(directory.path);
    }
  } catch (error) {
    scan.failed(error, directory.path);
  } finally {
    open.closeSync();
  }
  return names;
}

function typeOf(entry: Dirent, directory: number): 'directory' | 'file' | undefined {
  if (entry.isFile()) return 'file';
  if (entry.isDirectory()) return 'directory';
  const known = entry.isSymbolicLink() || entry.isFIFO() || entry.isSocket() || entry.isBlockDevice();
  if (known || entry.isCharacterDevice()) return undefined;
  // A file system that leaves the type out of its directories.
  return unknownType(directory, entry.name);
}

function unknownType(directory: number, name: string): 'directory' | 'file' | undefined {
  try {
    closeSync(openDirectory(directory, name));
    return 'directory';
  } catch {
    // What it is, is seen before it is opened.
    return 'file';
  }
}

/** The path of an entry on the file system. */
export const inDirectory = (directory: Directory, name: string): string | Buffer => entryPath(directory.fd, name);

/** The path of an entry below the root, as a latin1 string. */
export const pathIn = ({ path }: Directory, name: string): string => (path === '/' ? `/${name}` : `${path}/${name}`);
