import { constants } from 'node:fs';
import { open, opendir, readlink } from 'node:fs/promises';
import { dirname, isAbsolute, join, normalize } from 'node:path';
import { namesOf } from '../advice/clients.js';
import { readProcFileLater } from '../capture/proc-file.js';
import { sdkFinding } from './sdk.js';
import type { SdkFinding } from './types.js';

/** A process to look into, as its events describe it. */
export interface RunningProcess {
  pid: number;
  executable?: string;
  args?: readonly string[];
}

/** Bounds of one look: a process can map and open anything, and its folders can hold anything. */
const MAX_MAPS_BYTES = 1024 * 1024;
const MAX_OPEN_FILES = 4096;
const MAX_FOLDERS = 24;
const MAX_ENTRIES = 20_000;
const MAX_FILE_BYTES = 256 * 1024;
const VERSION = /^v?\d[\w.+~!-]{0,39}$/;

const { O_RDONLY, O_NONBLOCK, O_NOFOLLOW } = constants;

const NPM_NAMES = namesOf('npm');
const PIP_NAMES = namesOf('pip');
const JARS: ReadonlyMap<string, string> = new Map(
  namesOf('jar').map((name) => [name.slice(name.indexOf(':') + 1), name]),
);

/**
 * The SDKs that a running process has open, has mapped or would load: Python's packages, Node's modules, Java's archives. Reads
 * a bounded part of /proc and of the process's own root; never rejects, and finds nothing where the process has gone.
 *
 * What is found is what a version in a file says: a process can show anything of itself, but only what looks like a version
 * comes out. Go's build information and nested archives are the inventory's.
 */
export async function inspectProcess(process: RunningProcess, procRoot = '/proc'): Promise<SdkFinding[]> {
  const own = join(procRoot, String(process.pid));
  const before = await quietly(() => readlink(join(own, 'exe')));
  if (before === undefined || (process.executable !== undefined && before !== process.executable)) return [];
  const language = LANGUAGES.find(({ names }) => names.test(before.slice(before.lastIndexOf('/') + 1)));
  if (language === undefined) return [];
  const found = await language.look({ ...process, own, root: join(own, 'root') });
  // A pid may have been given to another process meanwhile: then nothing of this is certain.
  return (await quietly(() => readlink(join(own, 'exe')))) === before ? found : [];
}

interface Place extends RunningProcess {
  /** `/proc/PID` and `/proc/PID/root`. */
  own: string;
  root: string;
}

const LANGUAGES: readonly { names: RegExp; look: (place: Place) => Promise<SdkFinding[]> }[] = [
  { names: /^(?:python|pypy)[\d.]*t?$/, look: lookAtPython },
  { names: /^(?:node|nodejs|bun)$/, look: lookAtNode },
  { names: /^java$/, look: lookAtJava },
];

/** `alibabacloud_credentials-0.3.5.dist-info` and the like in the folders that its modules come from. */
async function lookAtPython(place: Place): Promise<SdkFinding[]> {
  const folders = new Set<string>();
  const maps = await mapsOf(place.own);
  // What `python3 -m venv` and pip make; the interpreter's own version is in the name of its file.
  const version = /python(\d+\.\d+)/.exec(maps)?.[1] ?? /python(\d+\.\d+)/.exec(place.executable ?? '')?.[1];
  for (const folder of packageFolders(maps)) folders.add(folder);
  const program = place.args?.[0];
  if (version !== undefined) {
    for (const prefix of [program?.startsWith('/') ? dirname(dirname(program)) : undefined, '/usr/local', '/usr']) {
      if (prefix === undefined) continue;
      for (const kind of ['site-packages', 'dist-packages']) folders.add(join(prefix, `lib/python${version}`, kind));
    }
  }
  folders.add('/usr/lib/python3/dist-packages');
  const found: SdkFinding[] = [];
  for (const folder of [...folders].slice(0, MAX_FOLDERS)) {
    for (const name of await entriesOf(join(place.root, folder))) {
      const match = /^([\w.]{1,100})-(\d[^-]{0,40})(?:-py[\d.]+)?\.(?:dist|egg)-info$/.exec(name);
      if (match === null) continue;
      const [, written, installed] = match as unknown as [string, string, string];
      // PEP 503: the same name in the form that the table has it.
      const package_ = written.toLowerCase().replace(/[-_.]+/g, '-');
      if (PIP_NAMES.includes(package_)) add(found, 'pip', package_, installed, join(folder, name));
    }
  }
  return found;
}

/** On older kernels than 6.17 a process can keep them from ever being read (native/patient_read.h). */
async function mapsOf(own: string): Promise<string> {
  const bytes = Buffer.alloc(MAX_MAPS_BYTES);
  const length = await readProcFileLater(join(own, 'maps'), bytes, bytes.length);
  return typeof length === 'number' ? bytes.toString('latin1', 0, length) : '';
}

const PACKAGES = /\/(?:site|dist)-packages\//;
const MAX_FOLDER = 1000;

/** The folders of packages that files are mapped from. Linear: who maps a file has chosen its path, a megabyte of them in all. */
export function packageFolders(maps: string): Set<string> {
  const folders = new Set<string>();
  for (const line of maps.split('\n')) {
    // proc_pid_maps(5): nothing before the path has a slash.
    const path = line.indexOf('/');
    const at = path < 0 ? -1 : line.slice(path, path + MAX_FOLDER).search(PACKAGES);
    if (at > 0) folders.add(line.slice(path, line.indexOf('-packages/', path + at) + '-packages'.length));
  }
  return folders;
}

/** `node_modules` of the script's folder and those above it, as Node looks for modules. */
async function lookAtNode(place: Place): Promise<SdkFinding[]> {
  const cwd = (await quietly(() => readlink(join(place.own, 'cwd')))) ?? '/';
  const script = place.args?.slice(1).find((arg) => !arg.startsWith('-'));
  const found: SdkFinding[] = [];
  const folders = new Set<string>();
  const starts = script === undefined ? [cwd] : [dirname(isAbsolute(script) ? script : join(cwd, script)), cwd];
  for (const start of starts) {
    for (let folder = normalize(start); folders.size < MAX_FOLDERS; folder = dirname(folder)) {
      folders.add(folder);
      if (folder === dirname(folder)) break;
    }
  }
  for (const folder of folders) {
    for (const name of NPM_NAMES) {
      const path = join(folder, 'node_modules', name, 'package.json');
      const text = await readStart(join(place.root, path), MAX_FILE_BYTES);
      // The nearest is the one that is loaded.
      if (text === undefined || found.some((sdk) => sdk.name === name)) continue;
      const version = versionOf(text);
      if (version !== undefined) add(found, 'npm', name, version, path);
    }
  }
  return found;
}

/** Archives that it has open, by their names: `credentials-java-0.3.4.jar`. */
async function lookAtJava(place: Place): Promise<SdkFinding[]> {
  const found: SdkFinding[] = [];
  const seen = new Set<string>();
  for (const name of await entriesOf(join(place.own, 'fd'), MAX_OPEN_FILES)) {
    const path = await quietly(() => readlink(join(place.own, 'fd', name)));
    const match = path === undefined ? null : /\/([a-z][a-z-]{1,60})-(\d[\w.-]{0,39})\.jar$/.exec(path);
    const artifact = match === null ? undefined : JARS.get(match[1]!);
    if (artifact === undefined || seen.has(path!)) continue;
    seen.add(path!);
    add(found, 'jar', artifact, match![2]!, path!);
  }
  return found;
}

function add(found: SdkFinding[], kind: 'pip' | 'npm' | 'jar', name: string, version: string, path: string): void {
  if (VERSION.test(version)) found.push(sdkFinding({ kind, name, version, how: 'process', path }));
}

function versionOf(packageJson: string): string | undefined {
  try {
    const version = (JSON.parse(packageJson) as { version?: unknown } | null)?.version;
    return typeof version === 'string' ? version : undefined;
  } catch {
    return undefined;
  }
}

async function entriesOf(path: string, limit = MAX_ENTRIES): Promise<string[]> {
  const names: string[] = [];
  await quietly(async () => {
    for await (const { name } of await opendir(path)) {
      names.push(name);
      if (names.length >= limit) break;
    }
  });
  return names;
}

/** The beginning of a plain file, as latin1. What is no plain file is not read: a FIFO in a folder would never end. */
async function readStart(path: string, limit: number): Promise<string | undefined> {
  return quietly(async () => {
    const file = await open(path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW);
    try {
      if (!(await file.stat()).isFile()) return undefined;
      const bytes = Buffer.alloc(limit);
      let length = 0;
      while (length < limit) {
        const { bytesRead } = await file.read(bytes, length, limit - length, null);
        if (bytesRead === 0) break;
        length += bytesRead;
      }
      return bytes.toString('latin1', 0, length);
    } finally {
      await file.close();
    }
  });
}

/** Processes and files go away at any time, and may not be ours to read: that is an answer like any other. */
async function quietly<T>(call: () => Promise<T>): Promise<T | undefined> {
  try {
    return await call();
  } catch {
    return undefined;
  }
}

/** Processes that wait to be looked into. */
const MAX_WAITING = 64;

/** Looks into one process after the other, beside the work of the event loop; those that there is no room for are left out. */
export class Inspector {
  readonly #waiting: { process: RunningProcess; found: (sdks: SdkFinding[]) => void }[] = [];
  #busy = false;

  look(process: RunningProcess, found: (sdks: SdkFinding[]) => void): void {
    if (this.#waiting.length >= MAX_WAITING) return;
    this.#waiting.push({ process, found });
    if (!this.#busy) void this.#work();
  }

  async #work(): Promise<void> {
    this.#busy = true;
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      next.found(await inspectProcess(next.process));
    }
    this.#busy = false;
  }
}
