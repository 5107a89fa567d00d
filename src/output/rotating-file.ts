import { BlockWriter, type Say } from './block-writer.js';
import { type RotationOptions, shiftFiles } from './numbered-files.js';
import type { PrivateDirectory } from './private-directory.js';

/**
 * A file of lines, `STEM.EXTENSION`, that rotates to `STEM.1.EXTENSION` (the youngest), `STEM.2.EXTENSION`, … How it is written,
 * and what happens where it can't be, is in block-writer.ts.
 *
 * Why no package: rotating-file-stream gives up for good at the first error, with all that was pending, awaits a write per
 * line, follows symbolic links and can't reopen; sonic-boom, on a full disk, keeps the process from ending (its flushSync
 * tries again for ever).
 */
export class RotatingFile {
  readonly #writer: BlockWriter;

  /** Opens the file; throws a TracerError or a system error where it can't. */
  constructor(
    private directory: PrivateDirectory,
    stem: string,
    extension: string,
    private rotation: RotationOptions,
    say: Say,
  ) {
    const name = (number: number): string => (number === 0 ? `${stem}.${extension}` : `${stem}.${number}.${extension}`);
    const owner = this;
    this.#writer = new BlockWriter(
      {
        get path() {
          return `${owner.directory.path}/${name(0)}`;
        },
        open: (broken) => this.directory.openFile(name(0), broken),
        rotate: () => shiftFiles((number) => this.directory.entry(name(number)), this.rotation.maxFiles),
      },
      rotation.maxBytes,
      say,
    );
  }

  /** What waits to be written. */
  get pendingBytes(): number {
    return this.#writer.pendingBytes;
  }

  /** Lines that were lost. */
  get lost(): number {
    return this.#writer.lost;
  }

  /** Nothing can be written at present. */
  get failing(): boolean {
    return this.#writer.failing;
  }

  /** Adds a line; `line` has no line end of its own. */
  append(line: string): void {
    this.#writer.append(`${line}\n`);
  }

  /** More lines should wait for `room`. */
  get full(): boolean {
    return this.#writer.full;
  }

  /** Resolves when there is room for more lines, soon in any case. Never rejects. */
  room(): Promise<void> {
    return this.#writer.room();
  }

  /** Goes on in a file of the same name in `directory`: after something outside has renamed this one. */
  reopen(directory: PrivateDirectory): void {
    this.directory = directory;
    this.#writer.reopen();
  }

  /** From the next line on. */
  rotateBy(rotation: RotationOptions): void {
    this.rotation = rotation;
    this.#writer.maxBytes = rotation.maxBytes;
  }

  /** Writes what is pending, as far as the disk takes it within a bounded time, and closes. The rest is counted. Never rejects. */
  close(): Promise<void> {
    return this.#writer.close();
  }

  /** Writes what is pending at once, as far as that goes: for when the process ends by itself. Never throws. */
  flushAtExit(): void {
    this.#writer.flushAtExit();
  }
}
