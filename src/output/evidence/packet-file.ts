import { closeSync, constants, fchmodSync, fstatSync, lstatSync, openSync, type Stats, unlinkSync } from 'node:fs';
import { basename, dirname, extname } from 'node:path';
import { TracerError, usageError } from '../../errors.js';
import { BlockWriter, type Say } from '../block-writer.js';
import { type RotationOptions, shiftFiles } from '../numbered-files.js';
import { MAX_FILE_BYTES, MAX_FILES } from './limits.js';
import { PCAP } from './pcap.js';
import { PCAPNG } from './pcapng.js';
import type { DumpedPacket, PacketFormat } from './types.js';

const { O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_RDONLY, O_WRONLY } = constants;

const FORMATS: ReadonlyMap<string, PacketFormat> = new Map([
  ['.pcapng', PCAPNG],
  ['.pcap', PCAP],
]);

const ROTATION: RotationOptions = { maxBytes: MAX_FILE_BYTES, maxFiles: MAX_FILES };

/**
 * A packet file, `STEM.EXTENSION`, in a directory that exists; the extension says which format. Whenever it has reached its
 * size, and where there is one with packets at the start, it becomes `STEM.1.EXTENSION` (the youngest), `STEM.2.EXTENSION`,
 * …, and a new one is begun: each is a whole file, readable by itself, but for its last packet if the tracer was killed.
 *
 * The files are this user's alone (0600), and made anew, so that no link that somebody planted is followed. Names are
 * resolved through the open directory, as in private-directory.ts. How it is written, and what happens where it can't be, is in
 * block-writer.ts.
 */
export class PacketFile {
  readonly #format: PacketFormat;
  readonly #header: Buffer;
  readonly #directory: number;
  readonly #stem: string;
  readonly #extension: string;
  readonly #writer: BlockWriter;
  #inode: number | undefined;
  #closed = false;

  /** Makes the file. Throws a usage error where that can't be done. `say` as that of BlockWriter. */
  constructor(
    readonly path: string,
    private readonly rotation: RotationOptions = ROTATION,
    say: Say = () => {},
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
      this.#writer = new BlockWriter(
        { path, header: this.#header, open: () => this.#open(), rotate: () => this.#rotate() },
        this.rotation.maxBytes,
        say,
      );
    } catch (error) {
      closeSync(this.#directory);
      throw error instanceof TracerError ? error : unusable(path, error);
    }
  }

  /** Packets that were lost. */
  get errors(): number {
    return this.#writer.lost;
  }

  append(packet: DumpedPacket): void {
    this.#writer.append(this.#format.packet(packet));
  }

  /** More packets should wait for `room`. */
  get full(): boolean {
    return this.#writer.full;
  }

  /** Resolves when there is room for more packets, soon in any case. Never rejects. */
  room(): Promise<void> {
    return this.#writer.room();
  }

  /** Begins a file at the path, after something outside has renamed this one. What stands there by then makes way. */
  reopen(): void {
    // A request to open everything anew, while nothing has renamed this file, must not put out an older one.
    if (this.#statusOf(0)?.ino !== this.#inode) this.#writer.reopen();
  }

  /** Writes what is pending, within a bounded time, and closes. What could not be written is counted. Never rejects. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#writer.close();
    closeSync(this.#directory);
  }

  /** Makes the file: each is a new one, with a header of its own. */
  #open(): { fd: number; size: number } {
    this.#setAside();
    // Made here and now, so it is no other file, link or FIFO.
    const fd = openSync(this.#entry(0), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
    // Whatever the umask is.
    if ((fstatSync(fd).mode & 0o7777) !== 0o600) fchmodSync(fd, 0o600);
    this.#inode = fstatSync(fd).ino;
    return { fd, size: 0 };
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
    else this.#rotate();
  }

  #rotate(): void {
    shiftFiles((number) => this.#entry(number), this.rotation.maxFiles);
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
