import {
  chmodSync,
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  readSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { ExitCode, messageOf, TracerError } from '../errors.js';

const { O_APPEND, O_CREAT, O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_RDWR } = constants;

/**
 * A directory that only this user can use (0700), with files that only this user can read (0600).
 *
 * Names inside it are resolved through the open directory (`/proc/self/fd/N/…`, proc_pid_fd(5)), so that who can rename one of
 * the directories above can't move later files elsewhere.
 */
export class PrivateDirectory {
  #fd: number;

  /**
   * Opens the directory, creating it where it is missing and taking away the rights of others where they have any.
   * Throws a TracerError where it belongs to somebody else, is a symbolic link made by somebody else, or can't be used.
   */
  constructor(readonly path: string) {
    this.#fd = openPrivate(path);
  }

  /** The path of an entry. `name` has no slash. */
  entry(name: string): string {
    return `/proc/self/fd/${this.#fd}/${name}`;
  }

  /**
   * Opens a file for appending, and ends a last line that a crash has torn. Throws TracerError where what is there is no plain
   * file of this user alone: it would be somebody else's way to read or redirect what is written. Where the directory was
   * removed, or is said to be `broken` with its file system, it is opened or made anew by its path.
   */
  openFile(name: string, broken = false): { fd: number; size: number } {
    if (broken) this.#renew();
    try {
      return this.#openFile(name);
    } catch (error) {
      if (((error as Error).cause as NodeJS.ErrnoException | undefined)?.code !== 'ENOENT') throw error;
      this.#renew();
      return this.#openFile(name);
    }
  }

  #renew(): void {
    const fd = openPrivate(this.path);
    closeSync(this.#fd);
    this.#fd = fd;
  }

  #openFile(name: string): { fd: number; size: number } {
    let fd: number;
    try {
      // Without O_NONBLOCK, opening a planted FIFO could wait for ever.
      fd = openSync(this.entry(name), O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0o600);
    } catch (error) {
      throw unusable(`${this.path}/${name}`, messageOf(error), error);
    }
    try {
      const status = fstatSync(fd);
      if (!status.isFile() || status.nlink > 1 || status.uid !== process.geteuid!()) {
        throw unusable(`${this.path}/${name}`, 'it is not a plain file of this user with one name');
      }
      // Whatever the umask is, and whatever an earlier file was.
      if ((status.mode & 0o7777) !== 0o600) fchmodSync(fd, 0o600);
      return { fd, size: endTornLine(fd, status.size) };
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  }

  close(): void {
    closeSync(this.#fd);
  }
}

function openPrivate(path: string): number {
  try {
    // Not what mkdir's mode gives under an odd umask. The chmod can't meet another's directory: it was made just now.
    if (makeDirectory(path)) chmodSync(path, 0o700);
    const link = lstatSync(path);
    if (link.isSymbolicLink() && link.uid !== process.geteuid!() && link.uid !== 0) {
      throw unusable(path, `it is a symbolic link of user ${link.uid}`);
    }
    const fd = openSync(path, O_RDONLY | O_DIRECTORY | (link.isSymbolicLink() ? 0 : O_NOFOLLOW));
    try {
      const status = fstatSync(fd);
      if (status.uid !== process.geteuid!()) {
        throw unusable(path, `it belongs to user ${status.uid}`, undefined, ANOTHERS);
      }
      if ((status.mode & 0o077) !== 0) fchmodSync(fd, 0o700);
      return fd;
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  } catch (error) {
    if (error instanceof TracerError) throw error;
    throw unusable(path, messageOf(error), error);
  }
}

/**
 * Makes a directory and those above it, as far as missing; whether there was one to make. Node's own `recursive` never
 * returns where a file system says ENOENT to every new directory, as procfs does.
 */
function makeDirectory(path: string): boolean {
  try {
    mkdirSync(path, 0o700);
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST') return false;
    if (code !== 'ENOENT' || dirname(path) === path || !makeDirectory(dirname(path))) throw error;
    mkdirSync(path, 0o700);
    return true;
  }
}

const isRefused = (error: unknown): boolean => (error as NodeJS.ErrnoException | undefined)?.code === 'EACCES';

/** That of the service belongs to a user who is there only while it runs (systemd.exec(5), DynamicUser=). */
const ANOTHERS = 'Give another directory with --log-dir: the service, for one, has its own for itself.';

const unusable = (path: string, why: string, cause?: unknown, remedy?: string): TracerError =>
  new TracerError(
    'IMDS_LOG_DIR',
    ExitCode.usage,
    `cannot use ${path} for logs: ${why}`,
    remedy ??
      (isRefused(cause)
        ? 'Run as root (sudo), or give a directory that this user can write to with --log-dir.'
        : 'Give another directory with --log-dir, or remove what is there.'),
    { cause },
  );

/** Puts a line end behind a last line that has none. Gives the size in bytes. */
function endTornLine(fd: number, size: number): number {
  if (size === 0) return 0;
  const last = Buffer.alloc(1);
  if (readSync(fd, last, 0, 1, size - 1) === 1 && last[0] === 0x0a) return size;
  return size + writeSync(fd, '\n');
}
