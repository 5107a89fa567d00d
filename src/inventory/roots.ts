import { closeSync, constants, openSync, realpathSync } from 'node:fs';
import { usageError } from '../errors.js';
import { describeCgroups, parseCgroupFile } from '../process/cgroup.js';
import { ProcReader } from '../process/proc.js';
import { decodeLatin1 } from '../text.js';
import { fsPath } from './files.js';
import { below, type Mount, type Plan, parseMountInfo } from './mounts.js';
import type { Scan } from './scan.js';

/** A directory to look through as the root of a system. Paths are latin1 strings whose code units are bytes. */
export interface Root {
  /** As items name it. */
  label: string;
  containerId: string | null;
  mounts: Mount[];
  /** Labels of the roots that show what its processes see: its own, and where it is another's again, that one's. */
  shownBy: string[];
  /** Inode of its mount namespace, as /proc shows it; undefined for a directory that was named. */
  namespace?: string;
  /** Opens it; undefined where it is gone or may not be opened, which is noted. */
  open(scan: Scan): number | undefined;
}

/** Processes that a namespace is reached through, as any may exit meanwhile. */
const MAX_REPRESENTATIVES = 4;
/** Mount namespaces that are looked at. */
const MAX_NAMESPACES = 4096;
/** Any user can make a namespace with as many mounts as the kernel lets him: what is kept of all of them. */
const MAX_MOUNTS = 500_000;
const MAX_TABLE = 32 * 1024 * 1024;

/** The directory that --root names. Throws a usage error where it is none. */
export function namedRoot(directory: string): Root {
  let path: string;
  try {
    // A root's own name may lead through symbolic links; nothing below it does.
    path = realpathSync(directory, 'latin1' as 'utf8');
    closeSync(openRoot(path));
  } catch (error) {
    throw usageError(
      'IMDS_ROOT_UNREADABLE',
      `--root ${directory} can't be looked through: ${(error as Error).message}`,
      'give a directory: / for this system, or where an image is mounted',
    );
  }
  const mounts = readMounts(new ProcReader('/proc'), 'self');
  const label = decodeLatin1(path);
  return {
    label,
    shownBy: [label],
    containerId: null,
    mounts: mountsBelow(mounts, path),
    open: () => openRoot(path),
  };
}

/**
 * This system's root and those of all other mount namespaces: containers and services with a view of their own. A namespace that
 * may not be looked at is noted.
 */
export function systemRoots(scan: Scan, proc: ProcReader): Root[] {
  const own = proc.link('self/ns/mnt');
  const namespaces = new Map<string, number[]>();
  for (const pid of proc.pids().reverse()) {
    const namespace = proc.link(`${pid}/ns/mnt`);
    if (namespace === undefined) {
      // A process that is gone has no stat either.
      if (proc.stat(pid) !== undefined) scan.problem('not_permitted', `/proc/${pid}`);
      continue;
    }
    if (namespace === own) continue;
    const pids = namespaces.get(namespace) ?? [];
    if (pids.length < MAX_REPRESENTATIVES) pids.push(pid);
    namespaces.set(namespace, pids);
  }
  const roots: Root[] = [
    {
      label: '/',
      shownBy: ['/'],
      containerId: null,
      mounts: readMounts(proc, 'self'),
      ...(own !== undefined && { namespace: own }),
      open: () => openRoot('/'),
    },
  ];
  let mounts = 0;
  for (const [namespace, pids] of namespaces) {
    if (roots.length > MAX_NAMESPACES) {
      scan.problem('limit_reached', '/proc');
      break;
    }
    const root = namespaceRoot(proc, namespace, pids);
    if (root === undefined) continue;
    mounts += root.mounts.length;
    if (mounts <= MAX_MOUNTS) roots.push(root);
    else scan.problem('limit_reached', root.label);
  }
  return roots;
}

function namespaceRoot(proc: ProcReader, namespace: string, pids: readonly number[]): Root | undefined {
  for (const pid of pids) {
    const mounts = readMounts(proc, pid);
    const { container } = describeCgroups(parseCgroupFile(proc.cgroupFile(pid) ?? ''));
    if (mounts.length === 0 || proc.link(`${pid}/ns/mnt`) !== namespace) continue;
    const label = `/proc/${pid}/root`;
    const open = (scan: Scan): number | undefined => {
      for (const candidate of [pid, ...pids]) {
        try {
          const fd = openRoot(`${proc.root}/${candidate}/root`);
          // Read after it was opened: so it was that process's, which is in the namespace.
          if (proc.link(`${candidate}/ns/mnt`) === namespace) return fd;
          closeSync(fd);
        } catch (error) {
          scan.failed(error, label);
        }
      }
      return undefined;
    };
    return { label, shownBy: [label], containerId: container?.id ?? null, mounts, namespace, open };
  }
  return undefined;
}

const openRoot = (path: string): number => openSync(fsPath(path), constants.O_RDONLY | constants.O_DIRECTORY);

function readMounts(proc: ProcReader, pid: number | 'self'): Mount[] {
  let table = '';
  proc.lines(`${pid}/mountinfo`, (piece) => {
    table += piece.toString('latin1');
    return table.length > MAX_TABLE;
  });
  return parseMountInfo(table);
}

/** The mounts below a directory, with their paths from there; first what the directory itself lies in. */
export function mountsBelow(mounts: readonly Mount[], directory: string): Mount[] {
  let owner: Mount | undefined;
  const inside: Mount[] = [];
  for (const mount of mounts) {
    const path = below(directory, mount.path);
    if (path !== undefined && path !== '/') inside.push({ ...mount, path });
    else if (below(mount.path, directory) !== undefined && mount.path.length >= (owner?.path.length ?? 0))
      owner = mount;
  }
  if (owner === undefined) return inside;
  const rest = below(owner.path, directory)!;
  const root = rest === '/' ? owner.root : owner.root === '/' ? rest : `${owner.root}${rest}`;
  return [{ ...owner, root, path: '/' }, ...inside];
}

/**
 * Says of each root that shows what another shows (that of a service with a view of its own is the system's, with some
 * directories replaced) by which one the files of its processes are found.
 */
export function linkRoots(roots: readonly Root[], plans: readonly Plan[]): void {
  const walked = new Map<string, string>();
  const key = ({ mounts }: Root): string | undefined => {
    const top = mounts.findLast(({ path }) => path === '/');
    return top && `${top.device} ${top.root}`;
  };
  for (const [index, root] of roots.entries()) {
    const id = key(root);
    if (id !== undefined && plans[index]!.get('/') === 'walk') walked.set(id, root.label);
  }
  for (const [index, root] of roots.entries()) {
    const other = walked.get(key(root) ?? '');
    if (plans[index]!.get('/') === 'twice' && other !== undefined) root.shownBy.push(other);
  }
}
