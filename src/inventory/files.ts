import { closeSync, constants, fstatSync, openSync, readSync, type Stats } from 'node:fs';
import type { Scan } from './scan.js';

const { O_RDONLY, O_NONBLOCK, O_NOFOLLOW, O_NOATIME, O_DIRECTORY } = constants;
/** open(2): a file descriptor that stands for the file without opening it, so that a device or FIFO does not notice. */
const O_PATH = 0o10000000;

/** Paths and names are latin1 strings whose code units are bytes: file names are bytes, not text. */
export const fsPath = (path: string): string | Buffer =>
  /^[\x01-\x7f]*$/.test(path) ? path : Buffer.from(path, 'latin1');

export const entryPath = (directory: number, name: string): string | Buffer =>
  fsPath(`/proc/self/fd/${directory}/${name}`);

/** A directory below another that is open, never through a symbolic link. Throws what open(2) does. */
export const openDirectory = (parent: number, name: string): number =>
  openSync(entryPath(parent, name), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK);

/** A regular file that is open for reading. */
export interface OpenFile {
  readonly size: number;
  /** Executable by anybody. */
  readonly executable: boolean;
  /** Up to `length` bytes from an offset; fewer at the end, none after an error or when the scan is over. */
  read(offset: number, length: number): Buffer;
}

/**
 * Opens an entry of a directory if it is a regular file (and `wanted` says so), gives it to `use` and closes it. The file is
 * looked at before it is opened, and what is opened is what was looked at: nothing that takes its place can be a device, a
 * FIFO or a symbolic link; `follow` is for the links of /proc, which stand for files. Gives undefined where there is no such file or it may not be read, which is noted.
 */
export function withFile<T>(
  scan: Scan,
  path: string | Buffer,
  shown: string,
  use: (file: OpenFile) => T,
  wanted: (stats: Stats) => boolean = () => true,
  links: 'follow' | 'refuse' = 'refuse',
): T | undefined {
  let handle: number | undefined;
  let fd: number | undefined;
  const close = (): void => {
    for (const open of [fd, handle]) if (open !== undefined) closeSync(open);
  };
  let result: T;
  try {
    handle = openSync(path, links === 'follow' ? O_PATH : O_PATH | O_NOFOLLOW);
    const stats = fstatSync(handle);
    if (!stats.isFile() || !wanted(stats)) {
      close();
      return undefined;
    }
    fd = reopen(handle);
    scan.scanned.opened += 1;
    result = use(openFile(scan, fd, stats, shown));
  } catch (error) {
    close();
    scan.failed(error, shown);
    return undefined;
  }
  if (result instanceof Promise) return result.finally(close) as T;
  close();
  return result;
}

function reopen(handle: number): number {
  const flags = O_RDONLY | O_NONBLOCK;
  try {
    return openSync(`/proc/self/fd/${handle}`, flags | O_NOATIME);
  } catch (error) {
    // Only the owner and CAP_FOWNER may leave the time of access alone.
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') throw error;
    return openSync(`/proc/self/fd/${handle}`, flags);
  }
}

function openFile(scan: Scan, fd: number, stats: Stats, shown: string): OpenFile {
  return {
    size: stats.size,
    executable: (stats.mode & 0o111) !== 0,
    read(offset, length) {
      const wanted = Math.min(length, stats.size - offset);
      if (!(wanted > 0 && offset >= 0) || !scan.spend(wanted, shown)) return Buffer.alloc(0);
      const buffer = Buffer.allocUnsafeSlow(wanted);
      let got = 0;
      try {
        while (got < wanted) {
          const count = readSync(fd, buffer, got, wanted - got, offset + got);
          if (count === 0) break;
          got += count;
        }
      } catch (error) {
        scan.failed(error, shown);
      }
      return buffer.subarray(0, got);
    },
  };
}

/** The whole file; undefined where it is larger than `limit`, which is noted. */
export function readWhole(scan: Scan, file: OpenFile, limit: number, shown: string): Buffer | undefined {
  if (file.size > limit) {
    scan.problem('too_large', shown);
    return undefined;
  }
  return file.read(0, file.size);
}

/** Whether a file has one of some texts, in any case; looks at `limit` bytes at most. The texts are ASCII in lower case. */
export function fileHas(file: OpenFile, texts: readonly string[], limit: number): boolean {
  const piece = 1024 * 1024;
  const overlap = Math.max(...texts.map((text) => text.length)) - 1;
  for (let offset = 0; offset < Math.min(file.size, limit); offset += piece - overlap) {
    const bytes = file.read(offset, piece);
    if (bytes.length === 0) return false;
    const text = bytes.toString('latin1').toLowerCase();
    if (texts.some((wanted) => text.includes(wanted))) return true;
  }
  return false;
}
