import { close, fstatSync, fsync, write, writeSync } from 'node:fs';
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf } from '../errors.js';
import { waitWithPatience } from '../patience.js';
import { type Block, BlockQueue, type Blocks, lengthOf } from './block-queue.js';

/** Blocks wait for a slow disk up to this many bytes a file; what comes on top is dropped and counted. */
const MAX_PENDING_BYTES = 8 * 1024 * 1024;
/** One write holds at most this many bytes (or one block). While less than that waits, it follows the last no sooner than this. */
const MAX_BATCH_BYTES = 256 * 1024;
const MIN_WRITE_INTERVAL_MS = 5;
/** After a failed operation the next attempt waits this long. */
const RETRY_MS = 1000;
/**
 * While more than this waits for the disk, no more should be made, but not for longer than this at a time: captured packets
 * wait in the kernel, in a fraction of the room that their lines take; but a disk that hangs must not stop the tracer.
 */
const ENOUGH_PENDING_BYTES = 1024 * 1024;
const WAIT_FOR_DISK_MS = 50;
/** A disk that has taken nothing for so long is taken to hang. At the end it has so long again, and a slow one so long in all. */
const HANGS_MS = 2000;
const CLOSE_WITHIN_MS = 5000;

/** What mends by itself at the same place, when somebody makes room. After other errors the file is opened anew. */
const NO_ROOM: ReadonlySet<string | undefined> = new Set(['ENOSPC', 'EDQUOT', 'EAGAIN', 'EINTR']);

/** The files that a writer writes, one at a time. */
export interface BlockFiles {
  /** For messages. */
  readonly path: string;
  /** What each file begins with, if anything. */
  readonly header?: Buffer;
  /** Opens the file to append to. `broken`: where it lay can't be used any more. May throw: it is tried again. */
  open(broken: boolean): { fd: number; size: number };
  /** Makes room for a new file at the same place. May throw: then the same file goes on. */
  rotate(): void;
}

/** Says how writing goes, for people: one call when it begins to fail, one when it works again. Never throws. */
export type Say = (message: string) => void;

/**
 * Writes blocks to files that rotate by size. Writing never blocks, never throws and never splits a block between files.
 *
 * After an error (a full disk, a read-only one, a directory that has gone) what is pending is kept within its bound and
 * tried again each second, from the byte where the write stopped, so that no block is torn or repeated. What a bound or the
 * end keeps from being written is counted, block for block. A file that was deleted is made anew.
 */
export class BlockWriter {
  /** Blocks that were not written and will not be. */
  lost = 0;
  #maxBytes: number;
  #fd: number | undefined;
  #size = 0;
  /** Where the file is rotated: later than maxBytes after a rotation that failed. */
  #rotateAt: number;
  readonly #queue = new BlockQueue();
  #pendingBytes = 0;
  /** What is being written, from `#offset` on. A header has no blocks. */
  #batch: Blocks | undefined;
  #offset = 0;
  #writing = false;
  #reopenWanted = false;
  #timer: NodeJS.Timeout | undefined;
  #lastWrite = Number.NEGATIVE_INFINITY;
  /** When the disk took something for the last time, or was given something after a pause. */
  #lastMove = Number.NEGATIVE_INFINITY;
  #bytesWritten = 0;
  #outage: { since: number; lost: number } | undefined;
  #rotationFails = false;
  /** The last error was none that mends by itself. */
  #broken = false;
  #onIdle: (() => void) | undefined;
  #closed = false;
  /** Closed, and nobody waits for it any more. */
  #ended = false;

  /** Opens the first file, and throws where it can't. */
  constructor(
    private readonly files: BlockFiles,
    maxBytes: number,
    private readonly say: Say,
  ) {
    this.#maxBytes = maxBytes;
    this.#rotateAt = maxBytes;
    this.#open();
    if (files.header !== undefined) this.#writeSoon();
  }

  /** What waits to be written. */
  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  /** So much waits that more should wait for `room`. Not while nothing can be written, or the disk hangs: nobody waits for that. */
  get full(): boolean {
    return this.#pendingBytes > ENOUGH_PENDING_BYTES && !this.failing && performance.now() - this.#lastMove < HANGS_MS;
  }

  /** Nothing can be written at present. */
  get failing(): boolean {
    return this.#outage !== undefined;
  }

  /** A file reaches at most this size in bytes, unless a single block is longer. From the next block on. */
  set maxBytes(maxBytes: number) {
    this.#maxBytes = maxBytes;
    this.#rotateAt = maxBytes;
  }

  append(block: Block): void {
    const length = lengthOf(block);
    if (this.#closed || this.#pendingBytes + length > MAX_PENDING_BYTES) {
      this.lost++;
      return;
    }
    this.#queue.append(block, length);
    this.#pendingBytes += length;
    this.#writeSoon();
  }

  /** Resolves when there is room for more, soon in any case, and at once while nothing can be written. Never rejects. */
  async room(): Promise<void> {
    const end = performance.now() + WAIT_FOR_DISK_MS;
    while (this.full && performance.now() < end) await sleep(1);
  }

  /** Opens the file anew: after something outside has renamed it, or `files` lie elsewhere. */
  reopen(): void {
    this.#reopenWanted = true;
    if (!this.#writing) this.#reopen();
  }

  /**
   * Writes what is pending and closes: at once after an error, in a bounded time where the disk is slow or hangs. What could
   * not be written is counted. Never rejects.
   */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    const idle = new Promise<void>((resolve) => {
      this.#onIdle = resolve;
      if (!this.#writing) this.#writeNext();
    });
    await waitWithPatience(idle, {
      progress: () => this.#bytesWritten,
      stillMs: HANGS_MS,
      inAllMs: CLOSE_WITHIN_MS,
    });
    clearTimeout(this.#timer);
    this.#onIdle = undefined;
    this.lost += this.#queue.count + (this.#batch?.lengths.length ?? 0) - this.#wholeBlocks().count;
    this.#queue.clear();
    this.#ended = true;
    // A descriptor that a write still uses must stay: its number would be given to another file.
    if (!this.#writing) this.#closeFile();
  }

  /**
   * Writes what is pending at once, as far as that goes: for when the process ends by itself. Takes no blocks any more. A
   * write that is under way ends by itself. Never throws.
   */
  flushAtExit(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    const begun = this.#writing ? undefined : this.#batch?.bytes.subarray(this.#offset);
    const bytes = Buffer.concat([begun ?? Buffer.alloc(0), this.#queue.takeAll()]);
    try {
      if (this.#fd === undefined) this.#open();
      for (let at = 0; at < bytes.length; ) at += writeSync(this.#fd!, bytes, at);
    } catch {
      // The disk is full or gone, and there is nobody left to tell.
    }
  }

  /** Blocks are gathered for a while, unless they fill a write already. */
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
      this.#lookAtFile();
      this.#batch ??= this.#nextBatch();
    } catch (error) {
      this.#failed(error);
      return;
    }
    const batch = this.#batch?.bytes;
    if (batch === undefined) {
      this.#onIdle?.();
      return;
    }
    this.#writing = true;
    this.#lastWrite = performance.now();
    if (this.#lastWrite - this.#lastMove > HANGS_MS) this.#lastMove = this.#lastWrite;
    write(this.#fd!, batch, this.#offset, batch.length - this.#offset, null, (error, written) => {
      this.#writing = false;
      if (this.#ended) return;
      if (error === null) {
        this.#lastMove = performance.now();
        this.#bytesWritten += written;
        this.#offset += written;
        this.#size += written;
        if (this.#offset === batch.length) this.#batchDone();
      }
      if (this.#reopenWanted) this.#reopen();
      if (error !== null) this.#failed(error);
      else if (this.#closed || this.#batch !== undefined) this.#writeNext();
      else if (this.#queue.count > 0) this.#writeSoon();
    });
  }

  /** What is written into a deleted file is gone, without any error. A size changes where an outside program cuts the file. */
  #lookAtFile(): void {
    if (this.#fd !== undefined) {
      const { nlink, size } = fstatSync(this.#fd);
      if (nlink > 0) {
        this.#size = size;
        return;
      }
      this.say(`${this.files.path} was removed, and is made anew`);
      this.#leaveFile();
    }
    this.#open();
  }

  #batchDone(): void {
    const { bytes, lengths } = this.#batch!;
    if (lengths.length > 0) {
      this.#pendingBytes -= bytes.length;
      this.#queue.taken();
    }
    this.#batch = undefined;
    this.#offset = 0;
    if (this.#outage === undefined) return;
    const { since, lost } = this.#outage;
    this.#outage = undefined;
    const seconds = Math.round((performance.now() - since) / 1000);
    const missing = this.lost - lost;
    this.say(`${this.files.path} is written again after ${seconds} s; lost meanwhile: ${missing}`);
  }

  #failed(error: unknown): void {
    if (this.#outage === undefined) {
      this.#outage = { since: performance.now(), lost: this.lost };
      const why = messageOf(error);
      this.say(`${this.files.path} can't be written, and is tried again each second: ${why}`);
    }
    if (!NO_ROOM.has((error as NodeJS.ErrnoException | null)?.code)) {
      this.#broken = true;
      this.#leaveFile();
    }
    // A closing file has no time to wait for better.
    if (this.#closed) this.#onIdle?.();
    else this.#writeIn(RETRY_MS);
  }

  /** The header, or as many blocks as fit into one write and into the file, which is rotated first where not one fits. */
  #nextBatch(): Blocks | undefined {
    const { header } = this.files;
    if (this.#size === 0 && header !== undefined) return { bytes: header, lengths: [] };
    const first = this.#queue.firstLength;
    if (first === undefined) return undefined;
    if (this.#size > (header?.length ?? 0) && this.#size + first > this.#rotateAt && this.#rotate()) {
      return this.#nextBatch();
    }
    return this.#queue.take(Math.min(MAX_BATCH_BYTES, this.#rotateAt - this.#size));
  }

  /** Whether there is a new file now. */
  #rotate(): boolean {
    try {
      this.files.rotate();
    } catch (error) {
      // Better one file too long than blocks lost: try again after as many bytes more.
      if (!this.#rotationFails) this.say(`${this.files.path} can't be rotated, and grows: ${(error as Error).message}`);
      this.#rotationFails = true;
      this.#rotateAt = this.#size + this.#maxBytes;
      return false;
    }
    this.#rotationFails = false;
    this.#closeFile();
    this.#open();
    return true;
  }

  #reopen(): void {
    this.#reopenWanted = false;
    this.#leaveFile();
    try {
      this.#open();
    } catch (error) {
      this.#failed(error);
    }
  }

  /** Goes on in another file: a block that was begun in this one is written whole there, behind a header. */
  #leaveFile(): void {
    this.#closeFile();
    if (this.#batch === undefined) return;
    const { count, bytes } = this.#wholeBlocks();
    // What is left waits in front of the others.
    this.#pendingBytes -= bytes;
    this.#queue.putBack({ bytes: this.#batch.bytes.subarray(bytes), lengths: this.#batch.lengths.slice(count) });
    this.#batch = undefined;
    this.#offset = 0;
  }

  /** What of the batch is written whole. */
  #wholeBlocks(): { count: number; bytes: number } {
    let count = 0;
    let bytes = 0;
    for (const length of this.#batch?.lengths ?? []) {
      if (bytes + length > this.#offset) break;
      bytes += length;
      count++;
    }
    return { count, bytes };
  }

  #open(): void {
    const { fd, size } = this.files.open(this.#broken);
    this.#broken = false;
    this.#fd = fd;
    this.#size = size;
    this.#rotateAt = this.#maxBytes;
  }

  #closeFile(): void {
    if (this.#fd !== undefined) closeQuietly(this.#fd);
    this.#fd = undefined;
  }
}

/** Closes once the data has been asked to the disk; an error there has nobody left to hear it. */
function closeQuietly(fd: number): void {
  fsync(fd, () => {
    close(fd, () => undefined);
  });
}
