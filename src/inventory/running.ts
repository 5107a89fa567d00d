import type { ClientKind } from '../advice/clients.js';
import { type ProcReader, splitArguments } from '../process/proc.js';
import { decodeLatin1 } from '../text.js';
import { withFile } from './files.js';
import { DELETED } from './judge.js';
import { readProgram } from './readers/executable.js';
import { readArchive } from './readers/jar.js';
import type { Root } from './roots.js';
import type { Scan } from './scan.js';
import { type InventoryItem, MAX_PIDS } from './types.js';

/** What of one process is looked at; it may have a million open files. */
const MAX_OPEN_FILES = 4096;
const MAX_ARGUMENTS = 32;
const MAX_FILES = 16_384;
const MAX_DIRECTORIES = 100_000;

/** Gives each process of the given roots to `visit`, and leaves the event loop free in between. Not this one, no kernel thread. */
async function eachProcess(
  scan: Scan,
  proc: ProcReader,
  roots: readonly Root[],
  visit: (pid: number, root: Root, executable: string) => undefined | Promise<void>,
): Promise<void> {
  const byNamespace = new Map(roots.map((root) => [root.namespace, root]));
  for (const pid of proc.pids().reverse()) {
    if (scan.over) return;
    const root = byNamespace.get(proc.link(`${pid}/ns/mnt`));
    // Kernel threads run no file.
    const executable = proc.link(`${pid}/exe`);
    if (pid === process.pid || root === undefined || executable === undefined) continue;
    scan.root = root.shownBy.at(-1)!;
    const visiting = visit(pid, root, executable);
    if (visiting !== undefined) await visiting;
    if (scan.worked(`/proc/${pid}`)) await scan.pause(`/proc/${pid}`);
  }
}

/** The links of a process's open files. */
function openLinks(scan: Scan, proc: ProcReader, pid: number): string[] {
  const { names, more } = proc.openFiles(pid, MAX_OPEN_FILES);
  if (more) scan.problem('limit_reached', `/proc/${pid}/fd`);
  return names.map((name) => `${pid}/fd/${name}`);
}

/**
 * Reads programs and jars that are removed from the disk but still run or are open: what was upgraded beneath a running process
 * is still the old one in it.
 */
export async function readDeletedFiles(scan: Scan, proc: ProcReader, roots: readonly Root[]): Promise<void> {
  const seen = new Set<string>();
  await eachProcess(scan, proc, roots, async (pid) => {
    scan.scanned.processes += 1;
    for (const link of [`${pid}/exe`, ...openLinks(scan, proc, pid)]) await readDeleted(scan, proc, link, seen);
  });
}

async function readDeleted(scan: Scan, proc: ProcReader, link: string, seen: Set<string>): Promise<void> {
  const target = proc.link(link);
  if (target === undefined || !target.endsWith(DELETED)) return;
  const name = target.slice(target.lastIndexOf('/') + 1, -DELETED.length);
  const isJar = /\.(?:jar|war)$/.test(name);
  const key = `${scan.root}\0${target}`;
  if ((!isJar && !link.endsWith('/exe')) || seen.has(key)) return;
  seen.add(key);
  await withFile(
    scan,
    `${proc.root}/${link}`,
    target,
    async (file) => {
      if (isJar) await readArchive(scan, file, { path: target, name, nesting: 1, budget: { left: 0 } });
      else readProgram(scan, file, name, target);
    },
    undefined,
    'follow',
  );
}

interface Loading {
  /** Name of the executable that loads packages of this kind. */
  interpreter: RegExp;
  /** The part of an item's path that a process must have something to do with to load it. */
  within: RegExp;
}

/** Kinds whose files are read and closed again, so that no process shows them. */
const LOADED: Readonly<Partial<Record<ClientKind, Loading>>> = {
  pip: { interpreter: /^(?:python|pypy|uwsgi|gunicorn)/, within: /^(.*)\/lib\/python[^/]*\/(?:site|dist)-packages\// },
  npm: { interpreter: /^(?:node|nodejs|bun|electron)$/, within: /^(.*?)\/node_modules\// },
  composer: { interpreter: /^(?:php|frankenphp|apache2|httpd)/, within: /^(.*)\/[^/]+\/composer\/installed\.json$/ },
  gem: { interpreter: /^(?:ruby|puma|unicorn)/, within: /^(.*)\/specifications\// },
};
/** Prefixes of the distribution's own interpreters: any process of one may load what is below them. */
const SYSTEM = /^\/(?:usr(?:\/local)?|var\/lib\/gems.*)?$/;

/** Says of each item which processes use it: sets `in_use` and `pids`. */
export async function markUsed(
  scan: Scan,
  proc: ProcReader,
  roots: readonly Root[],
  items: readonly InventoryItem[],
): Promise<void> {
  const byFile = new Map<string, InventoryItem[]>();
  const loaded = new Map<string, InventoryItem[]>();
  const put = (map: Map<string, InventoryItem[]>, root: string, path: string, item: InventoryItem): void => {
    const key = `${root}\0${path}`;
    const known = map.get(key);
    if (known === undefined) map.set(key, [item]);
    else known.push(item);
  };
  for (const item of items) {
    put(byFile, item.root, item.path.split('!/', 1)[0]!, item);
    const within = LOADED[item.kind]?.within.exec(item.path)?.[1];
    if (within !== undefined) put(loaded, item.root, `${item.kind}\0${SYSTEM.test(within) ? '' : within}`, item);
  }
  await eachProcess(scan, proc, roots, (pid, { shownBy }, executable) => {
    const { cwd, args, files } = describe(scan, proc, pid, executable);
    const used = (map: ReadonlyMap<string, InventoryItem[]>, path: string, how: 'running' | 'possible'): void => {
      for (const label of shownBy) {
        for (const item of map.get(`${label}\0${path}`) ?? []) use(item, how, pid);
      }
    };
    for (const file of [...files, ...args]) used(byFile, decodeLatin1(file), 'running');
    const name = executable.slice(executable.lastIndexOf('/') + 1);
    for (const [kind, { interpreter }] of Object.entries(LOADED)) {
      if (!interpreter.test(name)) continue;
      const places = ancestors([cwd, ...args, ...files]);
      // A system's own interpreter loads what is below its prefix wherever it was started.
      if (executable.startsWith('/usr/')) places.add('');
      for (const place of places) used(loaded, `${kind}\0${place}`, 'possible');
    }
    return undefined;
  });
  for (const item of items) item.pids.sort((a, b) => a - b);
}

/** What a process has to do with: latin1 strings, as it sees them. */
function describe(scan: Scan, proc: ProcReader, pid: number, executable: string) {
  const cwd = proc.link(`${pid}/cwd`) ?? '/';
  const files = new Set([executable]);
  for (const link of openLinks(scan, proc, pid)) {
    const target = proc.link(link);
    if (target?.startsWith('/')) files.add(target);
  }
  proc.lines(`${pid}/maps`, (piece) => {
    for (const match of piece.toString('latin1').matchAll(/ (\/[^\n]+)$/gm)) files.add(match[1]!);
    return files.size > MAX_FILES;
  });
  if (files.size > MAX_FILES) scan.problem('limit_reached', `/proc/${pid}/maps`);
  const args = splitArguments(proc.arguments(pid)?.argv ?? '')
    .slice(0, MAX_ARGUMENTS)
    .map((argument) => absolute(cwd, argument));
  return { cwd, args, files };
}

/** An argument that may be a file, from where the process is. */
const absolute = (cwd: string, argument: string): string =>
  argument.startsWith('/') ? argument : `${cwd === '/' ? '' : cwd}/${argument.replace(/^(?:\.\/)+/, '')}`;

/** All paths and the directories that they lie in, but the root. */
function ancestors(paths: readonly string[]): Set<string> {
  const all = new Set<string>();
  for (const path of paths) {
    for (
      let place = decodeLatin1(path);
      place.length > 1 && !all.has(place) && all.size < MAX_DIRECTORIES;
      place = place.slice(0, place.lastIndexOf('/'))
    ) {
      all.add(place);
    }
  }
  return all;
}

function use(item: InventoryItem, how: 'running' | 'possible', pid: number): void {
  // What is certain displaces what is not.
  if (item.in_use === 'running' && how === 'possible') return;
  if (item.in_use !== how) item.pids = [];
  item.in_use = how;
  if (item.pids.length < MAX_PIDS && !item.pids.includes(pid)) item.pids.push(pid);
}
