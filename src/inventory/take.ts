import { realpathSync } from 'node:fs';
import { readProcFile } from '../capture/proc-file.js';
import type { ProviderName } from '../imds/types.js';
import { packageRoot } from '../package-root.js';
import { ProcReader } from '../process/proc.js';
import { fsPath } from './files.js';
import { judge, settleCloudInit } from './judge.js';
import { planMounts } from './mounts.js';
import { readerOf } from './readers/table.js';
import { linkRoots, namedRoot, type Root, systemRoots } from './roots.js';
import { markUsed, readDeletedFiles } from './running.js';
import { Scan } from './scan.js';
import { DEFAULT_LIMITS, type InventoryItem, type InventoryResult, type Limits, type Scanned } from './types.js';
import { walk } from './walk.js';

/** Where the tracer itself is installed: its help and its lab name the addresses. */
const OWN = packageRoot();

export interface InventoryOptions {
  /**
   * The directory to look through, `/` by default. Of `/` the roots of all containers are looked through too, and which
   * processes use what was found; another directory is taken for an image, which has no processes.
   */
  root?: string;
  /** Only clients of these; all by default. */
  providers?: readonly ProviderName[];
  limits?: Partial<Limits>;
  /** Ends it early, with what was found until then. */
  signal?: AbortSignal;
  /** Is told where it is, many times a second. */
  onProgress?: (scanned: Readonly<Scanned>, path: string) => void;
}

/**
 * Finds the metadata clients that are installed. Reads only; follows no symbolic link below the root, opens regular files and
 * directories only, and leaves the event loop free in between. Throws a usage error where the root is no directory; all else
 * that can't be read is told in `problems`.
 */
export async function takeInventory(options: InventoryOptions = {}): Promise<InventoryResult> {
  const scan = new Scan({ ...DEFAULT_LIMITS, ...options.limits }, options.signal, options.onProgress);
  const isSystem = (options.root ?? '/') === '/';
  const proc = new ProcReader('/proc', readProcFile);
  const roots = isSystem ? systemRoots(scan, proc) : [namedRoot(options.root!)];
  const plans = planMounts(roots, followLayer);
  linkRoots(roots, plans);
  for (const [index, root] of roots.entries()) {
    await scan.pause('/');
    scan.worked('/');
    if (scan.over) break;
    // Nearly all services with a view of their own see what the system's root shows.
    if (root.mounts.length > 0 && ![...plans[index]!.values()].includes('walk')) continue;
    const fd = root.open(scan);
    if (fd === undefined) continue;
    scan.root = root.label;
    scan.scanned.roots += 1;
    const own = root.label === '/' ? OWN : undefined;
    await walk(scan, fd, plans[index]!, (directory, name) => readerOf(directory, name)(scan, directory, name), own);
  }
  if (isSystem) await readDeletedFiles(scan, proc, roots);
  const items = judgeAll(scan, roots, options.providers);
  if (isSystem) await markUsed(scan, proc, roots, items);
  const problems = scan.problems();
  return {
    items,
    complete: problems.every(({ reason }) => reason === 'file_system_skipped'),
    problems,
    scanned: scan.scanned,
  };
}

/** Container runtimes name an overlay's layers by symbolic links. */
function followLayer(path: string): string {
  try {
    return realpathSync(fsPath(path), 'latin1' as 'utf8');
  } catch {
    return path;
  }
}

function judgeAll(scan: Scan, roots: readonly Root[], providers: readonly ProviderName[] | undefined): InventoryItem[] {
  const containers = new Map(roots.map(({ label, containerId }) => [label, containerId]));
  const items = new Map<string, InventoryItem>();
  for (const { root, finding } of scan.findings) {
    const version = finding.kind === 'cloud-init' ? cloudInitVersion(scan, root, finding.path) : finding.version;
    const item = judge({ ...finding, version }, { root, containerId: containers.get(root) ?? null });
    if (providers !== undefined && !providers.includes(item.provider)) continue;
    items.set([root, item.path, item.kind, item.name, item.version].join('\0'), item);
  }
  const sorted = [...items.values()].sort(
    (a, b) =>
      order(a.root, b.root) ||
      order(a.path, b.path) ||
      order(a.kind, b.kind) ||
      order(a.name, b.name) ||
      order(a.version ?? '', b.version ?? ''),
  );
  settleCloudInit(sorted);
  return sorted;
}

const cloudInitVersion = (scan: Scan, root: string, path: string): string | null =>
  scan.cloudInit.get(`${root}\0${path.split('/').slice(0, -2).join('/')}`) ?? null;

const order = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
