import { closeSync, opendirSync, openSync, readdirSync, readlinkSync, readSync } from 'node:fs';

/** What is kept of a process's arguments, in bytes. The kernel allows 128 KiB for one argument and megabytes for all. */
export const MAX_ARGV_BYTES = 8192;

/** The fields of /proc/PID/stat that matter here (proc_pid_stat(5)). */
export interface ProcStat {
  /** Name of the thread group leader, a latin1 string whose code units are its bytes. */
  comm: string;
  parentPid: number;
  /** Field 22: clock ticks between boot and the process's start. With the pid it names a process. */
  startTicks: number;
}

/** Bytes as a latin1 string: compact, compared by `===`, and no slice of a shared buffer pool that it would keep alive. */
export type RawText = string;

export interface RawArguments {
  /** NUL-separated, at most MAX_ARGV_BYTES. */
  argv: RawText;
  truncated: boolean;
}

/** All of a process that /proc shows, read in such an order that `stat` vouches for the rest. */
export interface ProcSnapshot extends RawArguments {
  stat: ProcStat;
  /** Where /proc/PID/exe points to; empty for kernel threads and zombies, or where not permitted. */
  executable: RawText;
}

/** Reads the beginning of a file that may never answer: undefined where it is not there, 'late' where that takes too long. */
export type ReadPatiently = (path: string, to: Buffer, maxBytes: number) => number | undefined | 'late';

/** Longest path that readlink(2) of procfs or a cgroup line can give, with room to spare. */
const MAX_SMALL_FILE = 64 * 1024;

/**
 * Reads a proc file system. Processes go away between any two calls, so "not there" is an ordinary answer: every method
 * gives `undefined` (or nothing) then, and none throws.
 */
export class ProcReader {
  /** How often a read was refused (EACCES, EPERM), for telling "not found" from "not allowed to look". */
  denied = 0;
  readonly #scratch = Buffer.allocUnsafeSlow(MAX_SMALL_FILE);

  /** `readPatiently`: how arguments are read; without it, whoever's they are can keep the caller waiting for ever. */
  constructor(
    readonly root: string,
    private readonly readPatiently?: ReadPatiently,
  ) {}

  /** Ids of the processes there are, newest first as far as pids tell (they wrap around). */
  pids(): number[] {
    const names = this.attempt(() => readdirSync(this.root)) ?? [];
    const pids: number[] = [];
    for (const name of names) if (/^[1-9]\d{0,9}$/.test(name)) pids.push(Number(name));
    return pids.sort((a, b) => b - a);
  }

  stat(pid: number): ProcStat | undefined {
    const text = this.read(`${pid}/stat`, 4096);
    return text === undefined ? undefined : parseStat(text);
  }

  /** None where its process keeps them from being read. */
  arguments(pid: number): RawArguments | undefined {
    const text = this.#commandLine(`${pid}/cmdline`, MAX_ARGV_BYTES + 1);
    if (text === undefined) return undefined;
    return { argv: text.slice(0, MAX_ARGV_BYTES), truncated: text.length > MAX_ARGV_BYTES };
  }

  /**
   * Arguments, executable and stat of a process. `stat` is read last: as a pid is given away only after its process is
   * gone, a start time that is right after the reads was right during them.
   */
  snapshot(pid: number): ProcSnapshot | undefined {
    const args = this.arguments(pid);
    if (args === undefined) return undefined;
    const executable = this.link(`${pid}/exe`) ?? '';
    const stat = this.stat(pid);
    return stat === undefined ? undefined : { ...args, executable, stat };
  }

  /** Real user id, as `bpf_get_current_uid_gid` gives it. */
  uid(pid: number): number | undefined {
    return parseUid(this.read(`${pid}/status`, 4096) ?? '');
  }

  /** /proc/PID/cgroup as it is. */
  cgroupFile(pid: number): RawText | undefined {
    return this.read(`${pid}/cgroup`, MAX_SMALL_FILE);
  }

  /** Inode number of the process's network namespace. */
  netns(pid: number): number | undefined {
    const match = /^net:\[(\d+)\]$/.exec(this.link(`${pid}/ns/net`) ?? '');
    return match === null ? undefined : Number(match[1]);
  }

  /**
   * The names of a process's open files, at most `limit` (a process may have a million, and listing them takes a
   * second); true when there are more.
   */
  openFiles(pid: number, limit: number): { names: string[]; more: boolean } {
    const names: string[] = [];
    const more = this.attempt(() => {
      const directory = opendirSync(`${this.root}/${pid}/fd`, { bufferSize: 128 });
      try {
        for (let entry = directory.readSync(); entry !== null; entry = directory.readSync()) {
          if (names.length === limit) return true;
          names.push(entry.name);
        }
        return false;
      } finally {
        directory.closeSync();
      }
    });
    return { names, more: more ?? false };
  }

  /** Target of a symbolic link below the root. */
  link(path: string): RawText | undefined {
    return this.attempt(() => readlinkSync(`${this.root}/${path}`, 'latin1'));
  }

  /** The first `maxBytes` (at most 64 KiB) of a file below the root. */
  read(path: string, maxBytes: number): RawText | undefined {
    return this.attempt(() => {
      const fd = openSync(`${this.root}/${path}`, 'r');
      try {
        let length = 0;
        // procfs may give less than was asked for without being at the end.
        while (length < maxBytes) {
          const got = readSync(fd, this.#scratch, length, maxBytes - length, null);
          if (got === 0) break;
          length += got;
        }
        return this.#scratch.toString('latin1', 0, length);
      } finally {
        closeSync(fd);
      }
    });
  }

  /**
   * Goes through a file below the root in pieces of whole lines, until `visit` returns true or the file ends.
   * Returns false when it could not be read (to the end). A line longer than 64 KiB is passed over.
   */
  lines(path: string, visit: (piece: Buffer) => boolean): boolean {
    const buffer = this.#scratch;
    const done = this.attempt(() => {
      const fd = openSync(`${this.root}/${path}`, 'r');
      try {
        let kept = 0;
        for (;;) {
          const got = readSync(fd, buffer, kept, buffer.length - kept, null);
          const filled = kept + got;
          if (got === 0) {
            if (filled > 0) visit(buffer.subarray(0, filled));
            return true;
          }
          const end = buffer.lastIndexOf(0x0a, filled - 1) + 1;
          if (end > 0 && visit(buffer.subarray(0, end))) return true;
          kept = end === 0 && filled === buffer.length ? 0 : buffer.copy(buffer, 0, end, filled);
        }
      } finally {
        closeSync(fd);
      }
    });
    return done ?? false;
  }

  #commandLine(path: string, maxBytes: number): RawText | undefined {
    if (this.readPatiently === undefined) return this.read(path, maxBytes);
    const length = this.readPatiently(`${this.root}/${path}`, this.#scratch, maxBytes);
    return length === 'late' ? '' : length === undefined ? undefined : this.#scratch.toString('latin1', 0, length);
  }

  attempt<T>(call: () => T): T | undefined {
    try {
      return call();
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      if (code === 'EACCES' || code === 'EPERM') this.denied += 1;
      return undefined;
    }
  }
}

/**
 * Reads a line of /proc/PID/stat. The name stands in parentheses and may itself hold `) R 1 (` or a line break; all
 * behind it is numbers, so the last parenthesis ends it.
 */
export function parseStat(text: RawText): ProcStat | undefined {
  const open = text.indexOf('(');
  const close = text.lastIndexOf(')');
  if (open < 0 || close < open) return undefined;
  // From field 3, the state, on.
  const fields = text.slice(close + 2).split(' ', 20);
  const parentPid = Number(fields[1]);
  const startTicks = Number(fields[19]);
  if (!Number.isSafeInteger(parentPid) || !Number.isSafeInteger(startTicks)) return undefined;
  return { comm: text.slice(open + 1, close), parentPid, startTicks };
}

/** A path in mountinfo: the kernel writes space, tab, line break, `\` and `#` as three octal digits (fs/proc_namespace.c, mangle). */
export const unescapeMountPath = (path: string): string =>
  path.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));

/** The real user id in /proc/PID/status. */
export function parseUid(status: RawText): number | undefined {
  // The kernel escapes line breaks in the name (first line), so no process can forge this one: fs/proc/array.c.
  const match = /^Uid:\t(\d+)/m.exec(status);
  return match === null ? undefined : Number(match[1]);
}

/**
 * The arguments in a NUL-separated block, each NUL-terminated but, when it was cut or rewritten, the last. A program that
 * wrote a shorter title over its arguments (setproctitle: nginx, sshd, postgres) leaves NULs behind it: these are
 * no arguments.
 */
export function splitArguments(decoded: string): string[] {
  let end = decoded.length;
  while (end > 0 && decoded.charCodeAt(end - 1) === 0) end -= 1;
  // One NUL ends the last argument; two are an empty last argument (`curl ''`); more are padding.
  if (decoded.length - end === 2) end += 1;
  return end === 0 ? [] : decoded.slice(0, end).split('\0');
}
