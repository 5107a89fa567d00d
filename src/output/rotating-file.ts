import { close, fsync, renameSync, write, writeSync } from 'node:fs';
import { performance } from 'node:perf_hooks';
import type { PrivateDirectory } from './private-directory.js';

/** Lines wait for a slow disk up to this many bytes a file; what comes on top is dropped and counted. */
const MAX_PENDING_BYTES = 8 * 1024 * 1024;
/** One write holds at most this many bytes (or one line). While less than that waits, it follows the last no sooner than this. */
const MAX_BATCH_BYTES = 256 * 1024;
const MIN_WRITE_INTERVAL_MS = 5;
/** After a failed operation the next attempt waits this long. */
const RETRY_MS = 1000;

export interface RotationOptions {
  /** A file reaches at most this size in bytes, unless a single line is longer. */
  maxBytes: number;
  /** How many rotated files are kept. */
  maxFiles: number;
}

/**
 * A file of lines, `STEM.EXTENSION`, that rotates to `STEM.1.EXTENSION` (the youngest), `STEM.2.EXTENSION`, …
 *
 * Writing never blocks, never throws and never splits a line between files. After an error (a full disk) what is pending is
 * kept within its bound and tried again, from the byte where the write stopped, so that no line is torn or repeated.
 *
 * Why no package: rotating-file-stream gives up for good at the first error, with all that was pending, awaits a write per
 * line, follows symbolic links and can't reopen; sonic-boom, on a full disk, keeps the process from ending (its flushSync
 * tries again for ever).
 */
export class RotatingFile {
  #fd: number | undefined;
  #size = 0;
  /** Where the file is rotated: later than maxBytes after a rotation that failed. */
  #rotateAt: number;
  #lines: string[] = [];
  #pendingBytes = 0;
  /** What is being written, from `#offset` on; within `#space` unless it is a longer line. */
  #batch: Buffer | undefined;
  readonly #space = Buffer.alloc(MAX_BATCH_BYTES);
  #batchLines = 0;
  #offset = 0;
  #writing = false;
  #reopenWanted = false;
  #timer: NodeJS.Timeout | undefined;
  #lastWrite = Number.NEGATIVE_INFINITY;
  #onIdle: (() => void) | undefined;
  #closed = false;

  /** Opens the file; throws a TracerError or a system error where it can't. `onError` hears how many errors or lost lines. */
  constructor(
    private directory: PrivateDirectory,
    private readonly stem: string,
    private readonly extension: string,
    private readonly rotation: RotationOptions,
    private readonly onError: (count: number) => void,
  ) {
    this.#rotateAt = rotation.maxBytes;
    this.#open();
  }

  /** What waits to be written. */
  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  /** Adds a line; `line` has no line end of its own. */
  append(line: string): void {
    const whole = `${line}\n`;
    const length = Buffer.byteLength(whole);
    if (this.#closed || this.#pendingBytes + length > MAX_PENDING_BYTES) {
      this.onError(1);
      return;
    }
    this.#lines.push(whole);
    this.#pendingBytes += length;
    this.#writeSoon();
  }

  /** Goes on in a file of the same name in `directory`: after something outside has renamed this one. */
  reopen(directory: PrivateDirectory): void {
    this.directory = directory;
    this.#reopenWanted = true;
    if (!this.#writing) this.#reopen();
  }

  /** Writes what is pending for at most `withinMs`, then closes. What could not be written is counted. Never rejects. */
  async close(withinMs: number): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    let deadline: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      this.#onIdle = resolve;
      deadline = setTimeout(resolve, withinMs);
      if (!this.#writing) this.#writeNext();
    });
    clearTimeout(deadline);
    clearTimeout(this.#timer);
    this.#onIdle = undefined;
    const left = this.#lines.length + this.#batchLines;
    if (left > 0) this.onError(left);
    this.#lines = [];
    // A descriptor that a write still uses must stay: its number would be given to another file.
    if (this.#fd !== undefined && !this.#writing) closeQuietly(this.#fd);
  }

  /**
   * Writes what is pending at once, as far as that goes: for when the process ends by itself. Takes no lines any more. A
   * write that is under way ends by itself. Never throws.
   */
  flushAtExit(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    const pieces: Buffer[] = [Buffer.from(this.#lines.join(''))];
    if (!this.#writing && this.#batch !== undefined) pieces.unshift(this.#batch.subarray(this.#offset));
    this.#lines = [];
    try {
      if (this.#fd === undefined) this.#open();
      for (const piece of pieces) {
        for (let at = 0; at < piece.length; ) at += writeSync(this.#fd!, piece, at);
      }
    } catch {
      // The disk is full or gone, and there is nobody left to tell.
    }
  }

  /** Lines are gathered for a while, unless they fill a write already. */
  #writeSoon(): void {
    this.#writeIn(
      this.#pendingBytes >= MAX_BATCH_BYTES ? 0 : this.#lastWrite + MIN_WRITE_INTERVAL_MS - performance.now(),
    );
  }

  #writeIn(waitMs: number): void {
    if (this.#writing || this.#timer !== undefined) return;
    if (waitMs <= 0) this.#writeNext();
    else {
      this.#timer = setTimeout(() => {
        this.#timer = undefined;
        if (!this.#writing) this.#writeNext();
      }, waitMs);
    }
  }

  #writeNext(): void {
    try {
      if (this.#fd === undefined) this.#open();
      this.#batch ??= this.#nextBatch();
    } catch {
      this.#failed();
      return;
    }
    const batch = this.#batch;
    if (batch === undefined) {
      this.#onIdle?.();
      return;
    }
    this.#writing = true;
    this.#lastWrite = performance.now();
    write(this.#fd!, batch, this.#offset, batch.length - this.#offset, null, (error, written) => {
      this.#writing = false;
      if (error === null) {
        this.#offset += written;
        this.#size += written;
        if (this.#offset === batch.length) this.#batchDone(batch.length);
      }
      if (this.#reopenWanted) this.#reopen();
      if (error !== null) this.#failed();
      else if (this.#closed || this.#batch !== undefined) this.#writeNext();
      else if (this.#lines.length > 0) this.#writeSoon();
    });
  }

  #batchDone(bytes: number): void {
    this.#pendingBytes -= bytes;
    this.#batch = undefined;
    this.#batchLines = 0;
    this.#offset = 0;
  }

  #failed(): void {
    this.onError(1);
    // A closing file has no time to wait for better.
    if (this.#closed) this.#onIdle?.();
    else this.#writeIn(RETRY_MS);
  }

  /** Takes as many lines as fit into one write and into the file, which is rotated first where not one fits. */
  #nextBatch(): Buffer | undefined {
    const first = this.#lines[0];
    if (first === undefined) return undefined;
    let bytes = Buffer.byteLength(first);
    if (this.#size > 0 && this.#size + bytes > this.#rotateAt) this.#rotate();
    const room = Math.min(MAX_BATCH_BYTES, this.#rotateAt - this.#size);
    let count = 1;
    if (bytes > room) {
      this.#batch = Buffer.from(first);
    } else {
      this.#space.write(first);
      for (; count < this.#lines.length; count++) {
        const line = this.#lines[count]!;
        const length = Buffer.byteLength(line);
        if (bytes + length > room) break;
        this.#space.write(line, bytes);
        bytes += length;
      }
      this.#batch = this.#space.subarray(0, bytes);
    }
    this.#lines.splice(0, count);
    this.#batchLines = count;
    return this.#batch;
  }

  #rotate(): void {
    const { maxBytes, maxFiles } = this.rotation;
    try {
      for (let number = maxFiles; number > 0; number--) {
        renameIfThere(this.directory.entry(this.#name(number - 1)), this.directory.entry(this.#name(number)));
      }
    } catch {
      // Better one file too long than lines lost: try again after as many bytes more.
      this.onError(1);
      this.#rotateAt = this.#size + maxBytes;
      return;
    }
    this.#closeFile();
    this.#open();
  }

  #reopen(): void {
    this.#reopenWanted = false;
    this.#closeFile();
    // A line that was begun in the old file is written whole in the new one.
    if (this.#batch !== undefined && this.#offset > 0) {
      this.#offset = this.#batch.lastIndexOf(0x0a, this.#offset - 1) + 1;
    }
    try {
      this.#open();
    } catch {
      this.#failed();
    }
  }

  #open(): void {
    const { fd, size } = this.directory.openFile(this.#name(0));
    this.#fd = fd;
    this.#size = size;
    this.#rotateAt = this.rotation.maxBytes;
  }

  #closeFile(): void {
    if (this.#fd !== undefined) closeQuietly(this.#fd);
    this.#fd = undefined;
  }

  #name(number: number): string {
    return number === 0 ? `${this.stem}.${this.extension}` : `${this.stem}.${number}.${this.extension}`;
  }
}

function renameIfThere(from: string, to: string): void {
  try {
    renameSync(from, to);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}

/** Closes once the data has been asked to the disk; an error there has nobody left to hear it. */
function closeQuietly(fd: number): void {
  fsync(fd, () => {
    close(fd, () => undefined);
  });
}
