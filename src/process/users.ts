import { readFileSync, statSync } from 'node:fs';
import { decodeLatin1 } from '../text.js';

/** More than any real file; what lies behind is not read. */
const MAX_FILE_BYTES = 16 * 1024 * 1024;
const RECHECK_MS = 1000;

/**
 * User names of the host, from its passwd file alone: asking NSS could mean a request to a directory server, from
 * within the path that packets take.
 */
export class UserNames {
  #names: ReadonlyMap<number, string> = new Map();
  #version = '';
  #checkedAt = Number.NEGATIVE_INFINITY;

  constructor(private readonly passwdFile: string) {}

  /** The name of a user id of the initial user namespace; of several with the id the first, as getpwuid(3) has it. */
  nameOf(uid: number): string | undefined {
    const now = performance.now();
    if (now - this.#checkedAt >= RECHECK_MS) {
      this.#checkedAt = now;
      this.#refresh();
    }
    return this.#names.get(uid);
  }

  #refresh(): void {
    try {
      const stat = statSync(this.passwdFile);
      const version = `${stat.ino} ${stat.size} ${stat.mtimeMs} ${stat.ctimeMs}`;
      if (version === this.#version || !stat.isFile() || stat.size > MAX_FILE_BYTES) return;
      this.#names = parsePasswd(readFileSync(this.passwdFile));
      this.#version = version;
    } catch {
      // Being replaced at this moment, or not there: the names known so far are better than none.
    }
  }
}

/** passwd(5): `name:password:uid:…` a line; lines of another shape (comments, `+` of NIS) have no part in it. */
export function parsePasswd(bytes: Buffer): Map<number, string> {
  const names = new Map<number, string>();
  for (const line of bytes.toString('latin1').split('\n')) {
    const match = /^([^:+#-][^:]{0,255}):[^:]*:(\d{1,10}):/.exec(line);
    if (match === null) continue;
    const uid = Number(match[2]);
    if (!names.has(uid)) names.set(uid, decodeLatin1(match[1]!));
  }
  return names;
}
