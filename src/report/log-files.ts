import type { Stats } from 'node:fs';
import { opendir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { AUDIT_FINDINGS } from '../audit/document.js';
import { usageError } from '../errors.js';
import { escapeText } from '../output/escape.js';

/**
 * Event logs by name, in a folder: the current one, rotated ones (by the tracer, logrotate or a copy of many hosts), compressed
 * ones. Whatever begins as the tracer's own logs do is one: passed over in silence, it would be missing without a word.
 */
const LOG_NAME = /^imds-events|\.(?:ndjson|jsonl)(?:\.\d+)?(?:\.gz)?$/;
/** What an audit has found, which may lie beside the logs: no log. */
const isLog = (name: string): boolean => LOG_NAME.test(name) && name !== AUDIT_FINDINGS;
/** Folders in folders: deeper there is no log, but perhaps a loop of mounts. */
const MAX_DEPTH = 16;
const MAX_FILES = 1_000_000;

export interface LogFile {
  path: string;
  /** As it lies there. */
  bytes: number;
}

export interface FoundLogs {
  /** By folder, each folder's together: they are of one host as a rule, so that few sums are kept twice. */
  groups: LogFile[][];
  bytes: number;
  /** What could not be looked into, for people. */
  problems: string[];
}

/**
 * The event logs under `paths`: files as they are named, of folders those that look like event logs. A file that is reached in
 * two ways counts once. Throws a usage error for a path that is not there.
 */
export async function findLogs(paths: readonly string[]): Promise<FoundLogs> {
  const found: FoundLogs = { groups: [], bytes: 0, problems: [] };
  const seen = new Set<string>();
  /** Links, by what they lead to: it may have been reached by its own path as well. */
  const links = new Map<string, string>();
  let files = 0;

  const take = async (path: string, group: LogFile[]): Promise<void> => {
    const status = await stat(path);
    const { size } = status;
    const identity = identityOf(status);
    if (seen.has(identity)) return;
    seen.add(identity);
    if (++files > MAX_FILES) throw usageError('IMDS_REPORT_FILES', `there are more than ${MAX_FILES} files`);
    group.push({ path, bytes: size });
    found.bytes += size;
  };

  const noteLink = async (path: string, isLog: boolean): Promise<void> => {
    const target = await stat(path).catch(() => undefined);
    if (target?.isDirectory() || isLog) links.set(target === undefined ? path : identityOf(target), path);
  };

  const walk = async (folder: string, depth: number): Promise<void> => {
    const group: LogFile[] = [];
    const below: string[] = [];
    try {
      seen.add(identityOf(await stat(folder)));
      for await (const entry of await opendir(folder)) {
        const path = join(folder, entry.name);
        // Links are left alone: one could lead out of the folder, or in a circle.
        if (entry.isDirectory()) below.push(path);
        else if (entry.isFile() && isLog(entry.name)) await take(path, group);
        else if (entry.isSymbolicLink()) await noteLink(path, isLog(entry.name));
      }
    } catch (error) {
      if (!isSystemError(error)) throw error;
      found.problems.push(escapeText(`${folder}: ${error.message}`));
    }
    if (group.length > 0) found.groups.push(group.sort((a, b) => (a.path < b.path ? -1 : 1)));
    if (depth >= MAX_DEPTH) {
      for (const path of below) found.problems.push(`${escapeText(path)}: too deep`);
      return;
    }
    for (const path of below.sort()) await walk(path, depth + 1);
  };

  for (const path of paths) {
    let isFolder: boolean;
    try {
      isFolder = (await stat(path)).isDirectory();
    } catch (error) {
      if (!isSystemError(error)) throw error;
      throw usageError('IMDS_REPORT_PATH', escapeText(`cannot read ${path}: ${error.message}`));
    }
    if (isFolder) {
      await walk(path, 0);
      continue;
    }
    const group: LogFile[] = [];
    await take(path, group);
    if (group.length > 0) found.groups.push(group);
  }
  for (const [identity, path] of links) {
    if (!seen.has(identity))
      found.problems.push(`${escapeText(path)}: a link that is not followed; name what it leads to`);
  }
  return found;
}

const identityOf = ({ dev, ino }: Stats): string => `${dev} ${ino}`;

const isSystemError = (error: unknown): error is NodeJS.ErrnoException => error instanceof Error && 'syscall' in error;
