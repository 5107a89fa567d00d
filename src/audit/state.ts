import { constants } from 'node:fs';
import { lstat, mkdir, open, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf, TracerError, usageError } from '../errors.js';
import { escapeText } from '../output/escape.js';
import { writeWhole } from '../output/whole-file.js';
import { startOfLiving } from '../process/living.js';
import { type ClientsJson, isClientsJson } from './clients.js';
import { type CoverageJson, isCoverageJson } from './coverage.js';

const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;

/** What an audit has gathered so far: enough to go on with after a crash. */
export interface AuditState {
  schema_version: 1;
  /** What was traced, in one text: an audit goes on only with the same. */
  traces: string;
  /** Id of the host, or its name: a directory may be one that several hosts have mounted. */
  host: string;
  /** All that was captured is in it; else the last seconds before it may be missing. */
  settled: boolean;
  /** Epoch milliseconds: of the audit's start, and of this state. */
  started: number;
  saved: number;
  traced_ms: number;
  /** The process that writes it; its start in clock ticks tells it from a later one with the same pid. */
  pid: number;
  pid_start: number;
  clients: ClientsJson;
  coverage: CoverageJson;
}

export const STATE_FILE = 'audit-state.json';

/** The largest that the bounds of `Clients` come to, as JSON with every character escaped. */
const MAX_STATE_BYTES = 256 * 1024 * 1024;

/**
 * The folder of an audit. Files in it are 0600 and appear whole or not at all (output/whole-file.ts). An existing folder's
 * rights stay as they are: it may be one that others use too.
 */
export class AuditFolder {
  constructor(readonly path: string) {}

  /** Makes the folder (0700) where it is missing; its parent must be there. Throws a TracerError where it can't be used. */
  async prepare(): Promise<void> {
    try {
      await mkdir(this.path, { mode: 0o700 });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw this.#unusable(error);
    }
    try {
      const link = await lstat(this.path);
      if (link.isSymbolicLink() && link.uid !== 0 && link.uid !== process.geteuid!()) {
        throw new Error(`it is a symbolic link of user ${link.uid}, who decides where it leads`);
      }
      if (!(await stat(this.path)).isDirectory()) throw new Error('it is no directory');
      // Now, and not after a day of tracing.
      await this.write('.audit-trial', '');
      await rm(join(this.path, '.audit-trial'));
    } catch (error) {
      throw error instanceof TracerError ? error : this.#unusable(error);
    }
  }

  /** Puts a file there in one step, over one that is there. Rejects with a TracerError. */
  async write(name: string, text: string): Promise<void> {
    try {
      await writeWhole(join(this.path, name), text);
    } catch (error) {
      throw this.#unusable(error);
    }
  }

  /** The state of an audit that has not come to its end; undefined where there is none. Throws a TracerError for one that is no state. */
  async readState(): Promise<AuditState | undefined> {
    const path = join(this.path, STATE_FILE);
    let text: string;
    try {
      const file = await open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
      try {
        const status = await file.stat();
        if (!status.isFile() || status.uid !== process.geteuid!() || (status.mode & 0o022) !== 0) {
          throw new Error('it is not a plain file that only this user can write to');
        }
        if (!(await this.#isOurs())) {
          throw new Error('others can write to its directory: they could have put back that of another time');
        }
        if (status.size > MAX_STATE_BYTES) throw new Error('it is larger than any state');
        text = await readFile(file, 'utf8');
      } finally {
        await file.close();
      }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw unreadable(path, messageOf(error));
    }
    const state = parse(text);
    if (!isState(state)) throw unreadable(path, 'it is no state of an audit');
    return state;
  }

  /** Only this user or root decides what is in it; where it is sticky, like /tmp, others can't rename what is ours. */
  async #isOurs(): Promise<boolean> {
    const { uid, mode } = await stat(this.path);
    return (uid === 0 || uid === process.geteuid!()) && ((mode & 0o022) === 0 || (mode & 0o1000) !== 0);
  }

  async removeState(): Promise<void> {
    await rm(join(this.path, STATE_FILE), { force: true });
  }

  #unusable(error: unknown): TracerError {
    return usageError(
      'IMDS_AUDIT_DIR',
      `cannot use ${escapeText(this.path)} for the audit: ${messageOf(error)}`,
      'give a directory that this user can write to with --out; the one above it must be there',
    );
  }
}

/** Whether the process that wrote a state still runs: then its audit is not over. */
export function isAlive({ pid, pid_start }: Pick<AuditState, 'pid' | 'pid_start'>): boolean {
  return pid !== process.pid && startOfLiving(pid) === pid_start;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isState(value: unknown): value is AuditState {
  const state = value as Partial<AuditState> | null | undefined;
  return (
    typeof state === 'object' &&
    state !== null &&
    state.schema_version === 1 &&
    typeof state.traces === 'string' &&
    typeof state.host === 'string' &&
    typeof state.settled === 'boolean' &&
    [state.started, state.saved].every((time) => isTime(time)) &&
    [state.traced_ms, state.pid, state.pid_start].every(Number.isFinite) &&
    isCoverageJson(state.coverage) &&
    isClientsJson(state.clients)
  );
}

/** What Date takes (ECMA-262, time values). */
const isTime = (value: unknown): boolean => typeof value === 'number' && Math.abs(value) <= 8.64e15;

const unreadable = (path: string, why: string): TracerError =>
  usageError(
    'IMDS_AUDIT_STATE',
    `the state of an earlier audit, ${escapeText(path)}, can't be used: ${why}`,
    'take another --out, or remove the file to begin anew',
  );
