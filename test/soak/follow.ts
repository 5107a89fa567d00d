import { closeSync, fstatSync, openSync, readdirSync, readSync, statSync } from 'node:fs';
import { join } from 'node:path';

const CHUNK = 1 << 20;

/**
 * The lines of a log that is rotated while it is read: `NAME.EXTENSION` is written, `NAME.1.EXTENSION` the youngest of the
 * rotated ones. Every line once, in order. Throws where a file was deleted before it was read.
 */
export class FollowedLog {
  readonly #buffer = Buffer.alloc(CHUNK);
  #fd: number | undefined;
  #begun = '';

  constructor(
    private readonly folder: string,
    private readonly name: string,
    private readonly extension: string,
    private readonly onLine: (line: string) => void,
  ) {}

  /** Reads all that there is now. */
  poll(): void {
    this.#fd ??= this.#openOldest();
    while (this.#fd !== undefined) {
      // Looked at before the rest is read: once it has another name, nothing more is written to it.
      const rotated = !isSame(this.#fd, this.#path(0));
      this.#readOn(this.#fd);
      if (!rotated) return;
      const next = this.#openNext(this.#fd);
      closeSync(this.#fd);
      this.#fd = next;
    }
  }

  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }

  #readOn(fd: number): void {
    for (let length = readSync(fd, this.#buffer); length > 0; length = readSync(fd, this.#buffer)) {
      const lines = (this.#begun + this.#buffer.toString('latin1', 0, length)).split('\n');
      this.#begun = lines.pop()!;
      for (const line of lines) this.onLine(line);
    }
  }

  #path(number: number): string {
    return join(
      this.folder,
      number === 0 ? `${this.name}.${this.extension}` : `${this.name}.${number}.${this.extension}`,
    );
  }

  /** Numbers of the files that are there, the oldest first. */
  #numbers(): number[] {
    const form = new RegExp(`^${this.name}(?:\\.(\\d+))?\\.${this.extension}$`);
    return readdirSync(this.folder)
      .flatMap((name) => {
        const match = form.exec(name);
        return match === null ? [] : [Number(match[1] ?? 0)];
      })
      .sort((a, b) => b - a);
  }

  #openOldest(): number | undefined {
    const [oldest] = this.#numbers();
    return oldest === undefined ? undefined : openSync(this.#path(oldest), 'r');
  }

  /** The file that was begun after this one. */
  #openNext(fd: number): number {
    for (;;) {
      const number = this.#numbers().find((each) => isSame(fd, this.#path(each)));
      if (number === undefined) throw new Error(`a rotated file of ${this.name} was deleted before it was read`);
      if (number === 0) throw new Error(`${this.name} is no log that is rotated`);
      let next: number;
      try {
        next = openSync(this.#path(number - 1), 'r');
      } catch {
        continue; // between two renames
      }
      // Another rotation may have come between: then this is another file.
      if (isSame(fd, this.#path(number)) && isSame(next, this.#path(number - 1))) return next;
      closeSync(next);
    }
  }
}

function isSame(fd: number, path: string): boolean {
  const { ino } = fstatSync(fd);
  return statSync(path, { throwIfNoEntry: false })?.ino === ino;
}
