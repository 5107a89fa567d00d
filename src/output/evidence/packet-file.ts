import {
  close,
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  fsync,
  lstatSync,
  openSync,
  renameSync,
  type Stats,
  unlinkSync,
  write,
} from 'node:fs';
import { basename, dirname, extname } from 'node:path';
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { TracerError, usageError } from '../../errors.js';
import type { RotationOptions } from '../rotating-file.js';
import { MAX_FILE_BYTES, MAX_FILES, MAX_PENDING_BYTES } from './limits.js';
import { PCAP } from './pcap.js';
import { PCAPNG } from './pcapng.js';
import type { DumpedPacket, PacketFormat } from './types.js';

const { O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_RDONLY, O_WRONLY } = constants;

const FORMATS: ReadonlyMap<string, PacketFormat> = new Map([
  ['.pcapng', PCAPNG],
  ['.pcap', PCAP],
]);

/** One write holds at most this many bytes (or one packet). */
const MAX_BATCH_BYTES = 256 * 1024;
/** After a failed operation the next attempt waits this long. */
const RETRY_MS = 1000;
/** As for the logs: while more than this waits for the disk no more should be made, but not for longer than this. */
const ENOUGH_PENDING_BYTES = 1024 * 1024;
const WAIT_FOR_DISK_MS = 50;

const ROTATION: RotationOptions = { maxBytes: MAX_FILE_BYTES, maxFiles: MAX_FILES };

/**
 * A packet file, `STEM.EXTENSION`, in a directory that exists; the extension says which format. Whenever it has reached its
 * size, and where there is one with packets at the start, it becomes `STEM.1.EXTENSION` (the youngest), `STEM.2.EXTENSION`,
 * …, and a new one is begun: each is a whole file, readable by itself, but for its last packet if the tracer was killed.
 *
 * The files are this user's alone (0600), and made anew, so that no link that somebody planted is followed. Names are
 * resolved through the open directory, as in private-directory.ts. Writing never blocks and never throws.
 */
export class PacketFile {
  /** Failed operations, which are tried again, and packets that were lost. */
  errors = 0;

  readonly #format: PacketFormat;
  readonly #header: Buffer;
  readonly #directory: number;
  readonly #stem: string;
  readonly #extension: string;
  #fd: number | undefined;
  #size = 0;
  #blocks: Buffer[] = [];
  #pendingBytes = 0;
  #batch: Buffer | undefined;
  #batchBlocks = 0;
  #offset = 0;
  #writing = false;
  #timer: NodeJS.Timeout | undefined;
  #onIdle: (() => void) | undefined;
  #closed = false;

  /** Makes the file. Throws a usage error where that can't be done. */
  constructor(
    readonly path: string,
    private readonly rotation: RotationOptions = ROTATION,
  ) {
    this.#extension = extname(path);
    this.#stem = basename(path, this.#extension);
    const format = FORMATS.get(this.#extension);
    if (format === undefined) {
      throw usageError(
        'IMDS_EVIDENCE_FORMAT',
        `--evidence: the name of "${path}" does not say which format to write`,
        'end it in .pcapng (with comments) or .pcap (for old readers)',
      );
    }
    this.#format = format;
    this.#header = format.fileHeader();
    this.#directory = openDirectory(path);
    try {
      this.#setAside();
      this.#open();
    } catch (error) {
      if (this.#fd !== undefined) closeSync(this.#fd);
      closeSync(this.#directory);
      throw error instanceof TracerError ? error : unusable(path, error);
    }
    this.#writeNext();
  }

  append(packet: DumpedPacket): void {
    const block = this.#format.packet(packet);
    if (this.#closed || this.#pendingBytes + block.length > MAX_PENDING_BYTES) {
      this.errors++;
      return;
    }
    this.#blocks.push(block);
    this.#pendingBytes += block.length;
    if (!this.#writing && this.#timer === undefined) this.#writeSoon(0);
  }

  /** Resolves when there is room for more packets, soon in any case. Never rejects. */
  async room(): Promise<void> {
    const end = performance.now() + WAIT_FOR_DISK_MS;
    while (this.#pendingBytes > ENOUGH_PENDING_BYTES && performance.now() < end) await sleep(1);
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
    this.errors += this.#blocks.length + this.#batchBlocks;
    this.#blocks = [];
    // A descriptor that a write still uses must stay: its number would be given to another file.
    if (this.#writing) return;
    if (this.#fd !== undefined) closeQuietly(this.#fd);
    closeSync(this.#directory);
  }

  #writeSoon(waitMs: number): void {
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      if (!this.#writing) this.#writeNext();
    }, waitMs);
  }

  #writeNext(): void {
    try {
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
    write(this.#fd!, batch, this.#offset, batch.length - this.#offset, null, (error, written) => {
      this.#writing = false;
      if (error !== null) {
        this.#failed();
        return;
      }
      // After a write that was cut short (a full disk) it goes on at that byte, so that no packet is torn.
      this.#offset += written;
      this.#size += written;
      if (this.#offset === batch.length) this.#batchDone(batch.length);
      this.#writeNext();
    });
  }

  #batchDone(bytes: number): void {
    // A header never was pending.
    if (this.#batchBlocks > 0) this.#pendingBytes -= bytes;
    this.#batch = undefined;
    this.#batchBlocks = 0;
    this.#offset = 0;
  }

  #failed(): void {
    this.errors++;
    // A closing file has no time to wait for better.
    if (this.#closed) this.#onIdle?.();
    else if (this.#timer === undefined) this.#writeSoon(RETRY_MS);
  }

  /** The file header, or as many packets as fit into one write and into the file, which is rotated first where not one fits. */
  #nextBatch(): Buffer | undefined {
    if (this.#fd === undefined) this.#open();
    if (this.#size === 0) return this.#header;
    const first = this.#blocks[0];
    if (first === undefined) return undefined;
    if (this.#size > this.#header.length && this.#size + first.length > this.rotation.maxBytes) {
      this.#rotate();
      return this.#header;
    }
    const room = Math.min(MAX_BATCH_BYTES, this.rotation.maxBytes - this.#size);
    let count = 1;
    let bytes = first.length;
    for (; count < this.#blocks.length; count++) {
      const { length } = this.#blocks[count]!;
      if (bytes + length > room) break;
      bytes += length;
    }
    this.#batchBlocks = count;
    return Buffer.concat(this.#blocks.splice(0, count), bytes);
  }

  /** What stands at the path from before makes way: a file without a packet goes, so that it puts no older one out. */
  #setAside(): void {
    const there = this.#statusOf(0);
    if (there === undefined) return;
    if (!there.isFile() || there.uid !== process.geteuid!() || there.nlink > 1) {
      throw usageError(
        'IMDS_EVIDENCE_FILE',
        `--evidence: ${this.path} is not a plain file of this user with one name`,
        'remove it, or give another name',
      );
    }
    if (there.size <= this.#header.length) unlinkSync(this.#entry(0));
    else this.#rename();
  }

  #rotate(): void {
    this.#rename();
    if (this.#fd !== undefined) closeQuietly(this.#fd);
    this.#fd = undefined;
    this.#open();
  }

  #rename(): void {
    for (let number = this.rotation.maxFiles; number > 0; number--) {
      if (this.#statusOf(number - 1) !== undefined) renameSync(this.#entry(number - 1), this.#entry(number));
    }
  }

  #open(): void {
    // Made here and now, so it is no other file, link or FIFO.
    const fd = openSync(this.#entry(0), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
    this.#fd = fd;
    this.#size = 0;
    // Whatever the umask is.
    if ((fstatSync(fd).mode & 0o7777) !== 0o600) fchmodSync(fd, 0o600);
  }

  #statusOf(number: number): Stats | undefined {
    return lstatSync(this.#entry(number), { throwIfNoEntry: false });
  }

  #entry(number: number): string {
    const name = number === 0 ? this.#stem : `${this.#stem}.${number}`;
    return `/proc/self/fd/${this.#directory}/${name}${this.#extension}`;
  }
}

/** Throws a usage error where the directory is missing, or the symbolic link of another user. */
function openDirectory(path: string): number {
  const directory = dirname(path);
  try {
    const link = lstatSync(directory);
    if (link.isSymbolicLink() && link.uid !== process.geteuid!() && link.uid !== 0) {
      throw new Error(`${directory} is a symbolic link of user ${link.uid}`);
    }
    return openSync(directory, O_RDONLY | O_DIRECTORY | (link.isSymbolicLink() ? 0 : O_NOFOLLOW));
  } catch (error) {
    throw unusable(path, error);
  }
}

const unusable = (path: string, cause: unknown): TracerError =>
  usageError(
    'IMDS_EVIDENCE_FILE',
    `--evidence: ${path} can't be written: ${cause instanceof Error ? cause.message : String(cause)}`,
    'give a file in a directory that exists and where this user may write',
  );

/** Closes once the data has been asked to the disk; an error there has nobody left to hear it. */
function closeQuietly(fd: number): void {
  fsync(fd, () => {
    close(fd, () => undefined);
  });
}
