import type { ClientKind } from '../advice/clients.js';
import type { ProviderName } from '../imds/types.js';

/** `ok`: asks with a token by itself. `too_old`: goes without. `unknown`: neither is known. */
export type Status = 'ok' | 'too_old' | 'unknown';

/** A metadata client that was found. The names of the members are part of the interface: the JSON has them as they are. */
export interface InventoryItem {
  kind: ClientKind;
  /** As its package manager writes it; of a script its file name. */
  name: string;
  provider: ProviderName;
  /** As it was found; null where the file tells none. */
  version: string | null;
  /** Below `root`, absolute; what is inside an archive follows behind `!/`. */
  path: string;
  /** The directory that was looked through: `/`, that of --root, or `/proc/PID/root` of a container. */
  root: string;
  /** Of the container whose root this is, where its cgroup tells. */
  container_id: string | null;
  minimum: string | null;
  status: Status;
  /** Can ask without a token: it is too old, or does so when it gets none. */
  may_fall_back: boolean;
  /** What to do, in whole sentences; empty where there is nothing to do. */
  advice: string;
  /**
   * `running`: a process runs, maps or has it open. `possible`: an interpreter of its language runs where it would load it
   * from. null: neither was seen, or processes were not looked at.
   */
  in_use: 'running' | 'possible' | null;
  /** Of the processes that this is said of, the first MAX_PIDS, ascending. */
  pids: number[];
}

/** What an inventory could not see, and how often. */
export interface Problem {
  /** A stable word. */
  reason: ProblemReason;
  count: number;
  /** The first place where it happened. */
  example: string;
}

export type ProblemReason =
  /** A directory, file or process that this user may not read. */
  | 'not_permitted'
  /** It could not be read for another reason (an error of the disk, a broken archive's bounds). */
  | 'unreadable'
  /** Directories in directories beyond the limit. */
  | 'too_deep'
  /** A file or an archive's member is larger than what is read of its kind. */
  | 'too_large'
  /** The time, the number of entries, the bytes or the number of items reached their limit: the rest was not looked at. */
  | 'limit_reached'
  /** A network or FUSE file system was passed over. */
  | 'file_system_skipped'
  /** Somebody asked for the end. */
  | 'stopped';

export interface InventoryResult {
  /** Sorted by root, path, kind and name. */
  items: InventoryItem[];
  /** All that was to be looked at was. */
  complete: boolean;
  problems: Problem[];
  scanned: Scanned;
}

export interface Scanned {
  /** Directories that were looked through, each with its mounts. */
  roots: number;
  directories: number;
  /** All entries of directories but directories. */
  files: number;
  /** Files that were opened. */
  opened: number;
  bytes_read: number;
  processes: number;
}

export interface Limits {
  /** Milliseconds. */
  time: number;
  /** Entries of directories. */
  entries: number;
  /** Bytes read from files, archives' members included. */
  bytes: number;
  items: number;
}

export const DEFAULT_LIMITS: Limits = {
  time: 10 * 60_000,
  entries: 50_000_000,
  bytes: 16 * 1024 ** 3,
  items: 20_000,
};

export const MAX_PIDS = 32;

/** What a reader found in a file: no more than what the file says. */
export interface Finding {
  kind: ClientKind;
  name: string;
  version: string | null;
  /** Absolute below the root, archives' members behind `!/`; a latin1 string whose code units are bytes. */
  path: string;
  /** What the code can do, where it was looked at: whether it has the name of its provider's token header. */
  capable?: boolean;
  /** Of scripts: whose address they name. */
  provider?: ProviderName;
}
