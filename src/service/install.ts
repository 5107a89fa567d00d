import {
  chmodSync,
  closeSync,
  constants,
  existsSync,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  renameSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { TracerError, usageError } from '../errors.js';
import { ALIAS, mainOf, PACKAGE_ROOT, type Program, renderUnit, UNIT } from './unit.js';

/** Where an administrator's units lie; those of packages in the others (systemd.unit(5)). */
const UNITS = '/etc/systemd/system';
const PACKAGED = ['/usr/lib/systemd/system', '/lib/systemd/system'];
/** Settings beside the unit, for what not every host needs: files in systemd/ of the program. */
export const DROP_INS = ['libpcap.conf', 'network.conf', 'reload.conf'] as const;
export type DropIn = (typeof DROP_INS)[number];
const DROP_IN_FOLDER = `${UNITS}/${UNIT}.d`;
const LINKS = [`${UNITS}/${ALIAS}`, `${UNITS}/multi-user.target.wants/${UNIT}`];

/** What is there of the service below a root. */
export interface Installed {
  /** The unit that systemd takes; undefined where there is none. As seen from within the root. */
  unit?: string;
  enabled: boolean;
  /** The unit is not the one that `install` would write for this program. */
  outdated: boolean;
}

/** What `install` or `uninstall` has done. */
export interface Change {
  /** Files and links that were written or removed; none when all was so already. */
  paths: string[];
  /** The unit, as seen from within the root; undefined where it was and is none. */
  unit?: string;
}

/** The texts in systemd/ of the program. */
export interface Templates {
  unit: string;
  dropIns: Readonly<Record<DropIn, string>>;
}

/** The service's files below `root`, for a program. Every method throws TracerError where files can't be read or written. */
export class ServiceFiles {
  readonly #root: string;
  readonly #program: Program;

  /** `root`: `/`, or where an image is unpacked. */
  constructor(
    root: string,
    program: Program,
    private readonly templates: Templates,
  ) {
    this.#root = attempt(root, () => realpathSync(root));
    // A program that was unpacked with the image is found there at the image's own paths.
    this.#program = { node: this.#within(program.node), root: this.#within(program.root) };
  }

  look(): Installed {
    const own = this.#read(`${UNITS}/${UNIT}`);
    const packaged = this.#packaged();
    const unit = own === undefined ? packaged : `${UNITS}/${UNIT}`;
    return {
      ...(unit !== undefined && { unit }),
      enabled: unit !== undefined && LINKS.every((link) => sameUnit(this.#target(link), unit)),
      outdated: own !== undefined && own !== this.#wanted(),
    };
  }

  /**
   * Writes and enables the unit, with the settings that this host needs and without the others. A package's own unit is
   * only enabled: a copy would outlive the package's updates.
   */
  install(needed: ReadonlySet<DropIn>): Change {
    for (const path of [this.#program.node, mainOf(this.#program)]) {
      if (existsSync(this.#at(path))) continue;
      throw usageError(
        'IMDS_SERVICE_PROGRAM',
        `there is no ${path}${this.#root === '/' ? '' : ` below ${this.#root}`}, which the service would start`,
        'install the program there first',
      );
    }
    const paths: string[] = [];
    const packaged = this.#program.root === PACKAGE_ROOT ? this.#packaged() : undefined;
    const unit = packaged ?? `${UNITS}/${UNIT}`;
    // A unit of a checkout, from before, would hide the package's.
    for (const [path, wanted] of [
      [`${UNITS}/${UNIT}`, packaged === undefined ? this.#wanted() : undefined],
      ...DROP_INS.map((name) => [dropIn(name), needed.has(name) ? this.templates.dropIns[name] : undefined] as const),
    ] as const) {
      if (wanted === undefined ? this.#remove(path) : this.#write(path, wanted)) paths.push(path);
    }
    this.#removeIfEmpty(DROP_IN_FOLDER);
    for (const link of LINKS) {
      if (this.#link(link, unit)) paths.push(link);
    }
    return { paths, unit };
  }

  /** Removes what `install` wrote. Logs stay. */
  uninstall(): Change {
    const { unit } = this.look();
    const written = [...LINKS, ...DROP_INS.map(dropIn), `${UNITS}/${UNIT}`];
    const paths = written.filter((path) => this.#remove(path));
    this.#removeIfEmpty(DROP_IN_FOLDER);
    return { paths, ...(unit !== undefined && { unit }) };
  }

  #wanted(): string {
    return renderUnit(this.templates.unit, this.#program);
  }

  #packaged(): string | undefined {
    return PACKAGED.map((folder) => `${folder}/${UNIT}`).find((path) => existsSync(this.#at(path)));
  }

  #read(path: string): string | undefined {
    return attempt(path, () => {
      try {
        return readUnit(this.#at(path));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
        throw error;
      }
    });
  }

  #target(path: string): string | undefined {
    try {
      return readlinkSync(this.#at(path));
    } catch {
      return undefined; // none, or no link
    }
  }

  /** At once whole, so that systemd never reads half of it. */
  #write(path: string, text: string): boolean {
    if (this.#read(path) === text) return false;
    return this.#replace(path, (temporary) => {
      writeFileSync(temporary, text, { flag: 'wx' });
      chmodSync(temporary, 0o644);
    });
  }

  #link(path: string, target: string): boolean {
    if (sameUnit(this.#target(path), target)) return false;
    return this.#replace(path, (temporary) => symlinkSync(target, temporary));
  }

  #replace(path: string, make: (temporary: string) => void): true {
    return attempt(path, () => {
      const file = this.#at(path);
      const temporary = join(dirname(file), `.${UNIT}.new`);
      // What is there first: a directory that is made behind a link would be made where it leads.
      this.#checkInside(existing(dirname(file)));
      mkdirSync(dirname(file), { recursive: true });
      this.#checkInside(dirname(file));
      rmSync(temporary, { force: true });
      make(temporary);
      renameSync(temporary, file);
      return true;
    });
  }

  #remove(path: string): boolean {
    return attempt(path, () => {
      const file = this.#at(path);
      if (lstatSync(file, { throwIfNoEntry: false }) === undefined) return false;
      this.#checkInside(dirname(file));
      rmSync(file);
      return true;
    });
  }

  /** An administrator's own settings in it stay. */
  #removeIfEmpty(path: string): void {
    attempt(path, () => {
      const folder = this.#at(path);
      if (!lstatSync(folder, { throwIfNoEntry: false })?.isDirectory()) return;
      this.#checkInside(folder);
      try {
        rmdirSync(folder);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOTEMPTY') throw error;
      }
    });
  }

  /** An absolute symbolic link within an image would lead out of it, into the host's own units. */
  #checkInside(directory: string): void {
    const real = realpathSync(directory);
    if (this.#root === '/' || real === this.#root || real.startsWith(`${this.#root}/`)) return;
    throw usageError('IMDS_SERVICE_ROOT', `${directory} leads out of ${this.#root}, to ${real}`);
  }

  #at(path: string): string {
    return join(this.#root, path);
  }

  #within(path: string): string {
    return this.#root !== '/' && path.startsWith(`${this.#root}/`) ? path.slice(this.#root.length) : path;
  }
}

/** Far more than any unit has. */
const MAX_UNIT_BYTES = 1024 * 1024;

/** An image may hold anything at a unit's place: a FIFO, which would keep a reader waiting, a link to a device without an end. */
function readUnit(path: string): string {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const status = fstatSync(fd);
    if (!status.isFile() || status.size > MAX_UNIT_BYTES) throw new Error('it is no file, or too large for a unit');
    return readFileSync(fd, 'utf8');
  } finally {
    closeSync(fd);
  }
}

/** The directory itself, or the nearest above it that is there. A link that leads nowhere is there. */
function existing(directory: string): string {
  return lstatSync(directory, { throwIfNoEntry: false }) === undefined ? existing(dirname(directory)) : directory;
}

const dropIn = (name: DropIn): string => `${DROP_IN_FOLDER}/${name}`;

/** Where /lib is a link to /usr/lib, `systemctl enable` may name the unit by either. */
function sameUnit(a: string | undefined, b: string): boolean {
  const packaged = PACKAGED.map((folder) => `${folder}/${UNIT}`);
  return a === b || (a !== undefined && packaged.includes(a) && packaged.includes(b));
}

function attempt<T>(path: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    if (error instanceof TracerError) throw error;
    const { code, message } = error as NodeJS.ErrnoException;
    throw usageError(
      'IMDS_SERVICE_FILES',
      `${path}: ${message}`,
      code === 'EACCES' || code === 'EPERM' ? 'run it as root (sudo)' : undefined,
    );
  }
}
