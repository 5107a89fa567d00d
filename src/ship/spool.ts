import { closeSync, constants, ftruncateSync, openSync, readdirSync, readFileSync, statSync, writeSync } from 'node:fs';
import { type FileHandle, open, rename, rm, writeFile } from 'node:fs/promises';
import { performance } from 'node:perf_hooks';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { crc32 } from 'node:zlib';
import { messageOf, TracerError, usageError } from '../errors.js';
import { PrivateDirectory } from '../output/private-directory.js';
import { frameRecord, MAX_FRAMED_BYTES, MAX_RECORD_BYTES, parseRecords, payloadOf, scanRecords } from './records.js';
import { lockSpool, unlockSpool } from './spool-lock.js';

const { O_CREAT, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_RDWR } = constants;

/** A spool of files: at least sixteen of them, so that the bound costs a small part of what waits. */
const FILES = 16;
const GREATEST_FILE = 4 * 1024 * 1024;

/** Records wait for the disk up to this many bytes; what comes on top is dropped. */
const MEMORY_BYTES = 8 * 1024 * 1024;
/** While more than this waits for the disk, no more should be made, but not for longer than this at a time. */
const ENOUGH_MEMORY_BYTES = 1024 * 1024;
const WAIT_FOR_DISK_MS = 50;
/** One write holds at most this many bytes (or one record). */
const WRITE_BYTES = 256 * 1024;
/** After a failed write the next attempt waits this long. */
const RETRY_MS = 1000;
/** So often, at most, the cursor is written: what was acknowledged since is sent again after a kill -9. */
const CURSOR_INTERVAL_MS = 200;
/** What closing may take to write what waits. */
const CLOSE_WITHIN_MS = 500;

const CURSOR = 'cursor';
const FILE_NAME = /^(\d{12})\.spool$/;
const fileName = (id: number): string => `${String(id).padStart(12, '0')}.spool`;

/** A place between two records: in a file, or, where the disk failed, among the records in memory. */
export interface Position {
  file: number;
  offset: number;
  memory?: number;
}

export interface Batch {
  /** The payloads as they were given to `append`. Valid until the next call of `next`. */
  records: Buffer[];
  /** To acknowledge by. */
  end: Position;
}

interface SpoolFile {
  id: number;
  /** Whole records end here. */
  size: number;
}

/**
 * A queue of records on disk, in a directory of its own, bounded: where a record has no room, the oldest file goes. Records
 * are read in order and, until they are acknowledged, again after `rewind` or a new start. What is in the files survives the
 * end of the process at any moment, kill -9 included; records reach them within milliseconds.
 *
 * Where the disk fails (full, gone), records wait in memory, within a bound, and are read from there, so that a receiver
 * that is up gets them all the same.
 *
 * Why no package: those that there are keep a database (native builds) or hold all that waits in memory.
 */
export class Spool {
  /** Records that were given up, or were found damaged: nobody gets them from here. */
  dropped = 0;
  /** Operations on the disk that failed; they are tried again. */
  failures = 0;
  /** Called when there may be more to read. */
  onData: () => void = () => undefined;

  #directory: PrivateDirectory;
  /** From the oldest to the one that is written. */
  #files: SpoolFile[] = [];
  #nextId = 1;
  readonly #fileBytes: number;
  #writer: FileHandle | undefined;
  #reader: { id: number; handle: FileHandle } | undefined;
  /** Framed records that are not on disk yet; `#memoryStart` is the number of the first. */
  #memory: Buffer[] = [];
  #memoryStart = 0;
  #memoryBytes = 0;
  /** How many of them are handed out because the disk fails: they are not written meanwhile. */
  #lent = 0;
  #acked: Position = { file: 0, offset: 0 };
  #read: Position = { file: 0, offset: 0 };
  #failing: Error | undefined;
  #working: Promise<void> | undefined;
  #retryAt = 0;
  #retry: NodeJS.Timeout | undefined;
  #cursorTimer: NodeJS.Timeout | undefined;
  #cursorWrite: Promise<void> = Promise.resolve();
  #closing = false;
  #closed = false;
  readonly #atExit = (): void => this.#flushAtExit();

  /**
   * Opens or creates the directory and finds what an earlier run left. Throws a TracerError where the directory can't be
   * used or another process uses it.
   */
  constructor(
    readonly path: string,
    private readonly maxBytes: number,
  ) {
    this.#fileBytes = Math.min(GREATEST_FILE, Math.floor(maxBytes / FILES));
    this.#directory = openDirectory(path);
    try {
      lockSpool(this.#directory);
      this.#recover();
    } catch (error) {
      this.#directory.close();
      throw error instanceof TracerError ? error : unusable(path, error);
    }
    process.once('exit', this.#atExit);
  }

  /** Why the disk fails at present. */
  get problem(): string | undefined {
    return this.#failing?.message;
  }

  /** Bytes of records that are not acknowledged. */
  get waitingBytes(): number {
    const { file, offset } = this.#acked;
    const onDisk = this.#files.reduce((sum, { id, size }) => {
      return id < file ? sum : sum + size - (id === file ? offset : 0);
    }, 0);
    return onDisk + this.#memoryBytes;
  }

  /** Records are on their way to the disk: soon there is more to read. */
  get isWriting(): boolean {
    return this.#memory.length > 0 && this.#failing === undefined && !this.#closed;
  }

  /** Adds a record. Returns at once, never throws; what has no room is counted as dropped. */
  append(payload: Buffer): void {
    const tooMuch = this.#memoryBytes + payload.length > MEMORY_BYTES;
    if (this.#closed || tooMuch || payload.length === 0 || payload.length > MAX_RECORD_BYTES) {
      this.dropped++;
      return;
    }
    const framed = frameRecord(payload);
    this.#memory.push(framed);
    this.#memoryBytes += framed.length;
    this.#work();
    if (this.#failing !== undefined) this.onData();
  }

  /** Resolves when there is room for more records, soon in any case. Never rejects. */
  async room(): Promise<void> {
    const end = performance.now() + WAIT_FOR_DISK_MS;
    while (this.#memoryBytes > ENOUGH_MEMORY_BYTES && this.#failing === undefined && performance.now() < end)
      await sleep(1);
  }

  /** The next records, within the limits but one at least; undefined if there are none now. Never rejects. */
  async next(maxRecords: number, maxBytes: number): Promise<Batch | undefined> {
    while (!this.#closed) {
      const file = this.#files.find(({ id }) => id >= this.#read.file);
      if (file === undefined) break;
      if (file.id !== this.#read.file) this.#read = { file: file.id, offset: 0 };
      if (this.#read.offset >= file.size) {
        if (file === this.#files.at(-1)) break;
        this.#read = { file: file.id + 1, offset: 0 };
        continue;
      }
      const batch = await this.#readFile(file, maxRecords, maxBytes);
      if (batch !== undefined) return batch;
    }
    return this.#lend(maxRecords, maxBytes);
  }

  /** Everything up to a position has arrived. */
  ack(end: Position): void {
    if (end.memory !== undefined) {
      const count = Math.max(0, end.memory - this.#memoryStart);
      for (const framed of this.#memory.splice(0, count)) this.#memoryBytes -= framed.length;
      this.#memoryStart += count;
      this.#lent = Math.max(0, this.#lent - count);
    }
    // The bound may have taken the file meanwhile.
    if (isBefore(this.#acked, end)) this.#acked = { file: end.file, offset: end.offset };
    this.#saveCursorSoon();
    this.#work();
  }

  /** Reading goes on with the first record that is not acknowledged. */
  rewind(): void {
    this.#read = { ...this.#acked };
    this.#lent = 0;
    this.#work();
  }

  /** Writes what waits, within half a second, and closes. Never rejects. */
  async close(): Promise<void> {
    if (this.#closing) return;
    this.#closing = true;
    this.#lent = 0;
    this.#retryAt = 0;
    clearTimeout(this.#retry);
    this.#retry = undefined;
    const end = performance.now() + CLOSE_WITHIN_MS;
    this.#work();
    while (this.#memory.length > 0 && this.#working !== undefined && performance.now() < end) await sleep(2);
    this.dropped += this.#memory.length;
    this.#closed = true;
    clearTimeout(this.#cursorTimer);
    clearTimeout(this.#retry);
    process.off('exit', this.#atExit);
    const inTime = await Promise.race([
      this.#closeFiles().then(() => true),
      sleep(CLOSE_WITHIN_MS, false, { ref: false }),
    ]);
    unlockSpool(this.#directory);
    // A disk that hangs doesn't keep the tracer, but the directory stays open: what is still under way goes through the
    // descriptor's number, which must not come to mean another directory.
    if (inTime) this.#directory.close();
  }

  async #closeFiles(): Promise<void> {
    await this.#working;
    await this.#cursorWrite;
    const last = this.#files.at(-1);
    const empty = this.#memory.length === 0 && (last === undefined || !isBefore(this.#acked, endOf(last)));
    await this.#writer?.sync().catch(() => undefined);
    await this.#writer?.close().catch(() => undefined);
    await this.#reader?.handle.close().catch(() => undefined);
    if (empty) {
      for (const { id } of this.#files) await rm(this.#entry(id), { force: true }).catch(() => undefined);
      await rm(this.#directory.entry(CURSOR), { force: true }).catch(() => undefined);
    } else {
      await this.#writeCursor();
    }
  }

  /** Finds the files of an earlier run, cuts a torn end off the last one, and takes up its cursor. */
  #recover(): void {
    const found = readdirSync(this.#directory.entry('.'))
      .flatMap((name) => FILE_NAME.exec(name)?.[1] ?? [])
      .map(Number)
      .sort((a, b) => a - b);
    for (const id of found) this.#files.push({ id, size: statSync(this.#entry(id)).size });
    const cursor = readCursor(this.#directory);
    this.#nextId = Math.max(found.at(-1) ?? 0, cursor.file) + 1;
    this.#acked = cursor;
    const [first, last] = [this.#files[0], this.#files.at(-1)];
    if (first === undefined || last === undefined) return;
    this.#cutTornEnd(last);
    // A cursor beyond what there is doesn't belong to these files.
    if (first.id > cursor.file || isBefore(endOf(last), cursor)) this.#acked = { file: first.id, offset: 0 };
    this.#read = { ...this.#acked };
    this.#cursorWrite = this.#forgetAcked();
  }

  #cutTornEnd(file: SpoolFile): void {
    const fd = openSync(this.#entry(file.id), O_RDWR | O_NOFOLLOW | O_NONBLOCK);
    try {
      // A file of the tracer's own is never longer than this, not even where all that was in memory was written at an exit.
      const isOurs = file.size <= GREATEST_FILE + MEMORY_BYTES + MAX_FRAMED_BYTES;
      const bytes = isOurs ? readFileSync(fd) : Buffer.alloc(0);
      const { end } = scanRecords(bytes);
      if (end < file.size) {
        this.dropped++;
        ftruncateSync(fd, end);
        file.size = end;
      }
    } finally {
      closeSync(fd);
    }
  }

  /** Starts writing what waits in memory, unless that is under way or has to wait. */
  #work(): void {
    if (this.#working !== undefined || this.#closed || this.#memory.length === 0 || this.#lent > 0) return;
    const wait = this.#retryAt - performance.now();
    if (wait > 0) {
      this.#retry ??= setTimeout(() => {
        this.#retry = undefined;
        this.#work();
      }, wait).unref();
      return;
    }
    this.#working = this.#writeMemory()
      .catch((error: unknown) => this.#failed(error as Error))
      .finally(() => {
        this.#working = undefined;
        this.onData();
        this.#work();
      });
  }

  async #writeMemory(): Promise<void> {
    while (this.#memory.length > 0 && this.#lent === 0 && !this.#closed) {
      let file = this.#files.at(-1);
      const first = this.#memory[0]!.length;
      if (file !== undefined && file.size > 0 && file.size + first > this.#fileBytes) {
        await this.#closeWriter();
        file = undefined;
      }
      if (file === undefined) {
        file = { id: this.#nextId++, size: 0 };
        this.#writer = await open(this.#entry(file.id), O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0o600);
        this.#files.push(file);
        if (this.#files.length === 1 && this.#acked.file < file.id) this.#acked = { file: file.id, offset: 0 };
      }
      this.#writer ??= await open(this.#entry(file.id), O_RDWR | O_NOFOLLOW | O_NONBLOCK);
      const room = Math.min(WRITE_BYTES, this.#fileBytes - file.size);
      let count = 1;
      let bytes = first;
      for (; count < this.#memory.length && bytes + this.#memory[count]!.length <= room; count++) {
        bytes += this.#memory[count]!.length;
      }
      await this.#makeRoom(bytes);
      await writeAt(this.#writer, Buffer.concat(this.#memory.slice(0, count), bytes), file.size);
      file.size += bytes;
      this.#memory.splice(0, count);
      this.#memoryStart += count;
      this.#memoryBytes -= bytes;
      this.#failing = undefined;
      this.onData();
    }
  }

  async #failed(error: Error): Promise<void> {
    this.failures++;
    this.#failing = error;
    this.#retryAt = performance.now() + RETRY_MS;
    const file = this.#files.at(-1);
    // What a failed write has left takes room that others may need.
    if (file !== undefined) await this.#writer?.truncate(file.size).catch(() => undefined);
    await this.#closeWriter();
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') this.#makeAnew();
  }

  /** Somebody has removed the directory. What is still open of it can be read to the end. */
  #makeAnew(): void {
    try {
      const directory = openDirectory(this.path);
      unlockSpool(this.#directory);
      lockSpool(directory);
      // The old one stays open: what is under way goes through its number, which must not come to mean another directory.
      this.#directory = directory;
      // How many records were in them, nobody knows any more.
      this.dropped += this.#files.filter((file) => isBefore(this.#acked, endOf(file))).length;
      this.#files = [];
      this.#read = { file: this.#nextId, offset: 0 };
      this.#acked = { ...this.#read };
    } catch (error) {
      this.#failing = error as Error;
    }
  }

  async #closeWriter(): Promise<void> {
    const writer = this.#writer;
    this.#writer = undefined;
    await writer?.close().catch(() => undefined);
  }

  /** Gives up the oldest files, until so many bytes more have room. */
  async #makeRoom(bytes: number): Promise<void> {
    while (this.#files.length > 1 && this.#files.reduce((sum, { size }) => sum + size, bytes) > this.maxBytes) {
      const oldest = this.#files[0]!;
      const content = await this.#content(oldest);
      // Only now: some of it may have been acknowledged while it was read.
      if (this.#files[0] !== oldest) continue;
      const from = this.#acked.file < oldest.id ? 0 : this.#acked.file > oldest.id ? oldest.size : this.#acked.offset;
      this.dropped += content === undefined ? 1 : scanRecords(content.subarray(from)).records;
      this.#files.shift();
      const next: Position = { file: this.#files[0]!.id, offset: 0 };
      if (isBefore(this.#acked, next)) this.#acked = next;
      if (isBefore(this.#read, next)) this.#read = { ...next };
      await rm(this.#entry(oldest.id), { force: true });
      this.#saveCursorSoon();
    }
  }

  /** Undefined where it can't be read. */
  async #content({ id, size }: SpoolFile): Promise<Buffer | undefined> {
    let handle: FileHandle | undefined;
    try {
      handle = await open(this.#entry(id), O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
      return await readAt(handle, 0, size);
    } catch {
      return undefined;
    } finally {
      await handle?.close().catch(() => undefined);
    }
  }

  async #readFile(file: SpoolFile, maxRecords: number, maxBytes: number): Promise<Batch | undefined> {
    const { offset } = this.#read;
    try {
      const handle = await this.#openReader(file.id);
      const left = file.size - offset;
      let bytes = await readAt(handle, offset, Math.min(left, maxBytes));
      let parsed = parseRecords(bytes, maxRecords, maxBytes);
      if (parsed.payloads.length === 0 && parsed.rest === 'cut' && bytes.length < left) {
        bytes = await readAt(handle, offset, Math.min(left, MAX_FRAMED_BYTES));
        parsed = parseRecords(bytes, 1, maxBytes);
      }
      // The bound may have given up this file meanwhile, or `rewind` have gone back.
      if (this.#read.file !== file.id || this.#read.offset !== offset) return undefined;
      if (parsed.payloads.length === 0) {
        this.dropped++;
        this.#skip(file);
        return undefined;
      }
      this.#read = { file: file.id, offset: offset + parsed.end };
      return { records: parsed.payloads, end: { ...this.#read } };
    } catch {
      // The file is gone or can't be read: what else waits shall not wait for it.
      this.failures++;
      // Had it been removed while it is written, nothing would say so there.
      if (file === this.#files.at(-1)) await this.#closeWriter();
      if (this.#read.file === file.id) {
        this.dropped++;
        this.#skip(file);
      }
      return undefined;
    }
  }

  async #openReader(id: number): Promise<FileHandle> {
    if (this.#reader?.id !== id) {
      const old = this.#reader;
      this.#reader = undefined;
      await old?.handle.close().catch(() => undefined);
      this.#reader = { id, handle: await open(this.#entry(id), O_RDONLY | O_NOFOLLOW | O_NONBLOCK) };
    }
    return this.#reader.handle;
  }

  /** Goes past the rest of a file. */
  #skip(file: SpoolFile): void {
    this.#read = endOf(file);
  }

  /** Records that the disk doesn't take, straight from memory. */
  #lend(maxRecords: number, maxBytes: number): Batch | undefined {
    // Once the disk is to be tried again, what was lent comes back first.
    if (this.#failing === undefined || this.#working !== undefined) return undefined;
    if (this.#lent > 0 && performance.now() > this.#retryAt + RETRY_MS) return undefined;
    const records: Buffer[] = [];
    let bytes = 0;
    for (let i = this.#lent; i < this.#memory.length && records.length < maxRecords; i++) {
      const framed = this.#memory[i]!;
      if (records.length > 0 && bytes + framed.length > maxBytes) break;
      bytes += framed.length;
      records.push(payloadOf(framed));
    }
    if (records.length === 0) return undefined;
    this.#lent += records.length;
    return { records, end: { ...this.#read, memory: this.#memoryStart + this.#lent } };
  }

  /** Deletes files all of whose records have arrived, but not the one that is written. */
  async #forgetAcked(): Promise<void> {
    const done = this.#files.filter(
      (file) => file !== this.#files.at(-1) && (file.id < this.#acked.file || !isBefore(this.#acked, endOf(file))),
    );
    if (done.length === 0) return;
    this.#files = this.#files.filter((file) => !done.includes(file));
    for (const { id } of done) await rm(this.#entry(id), { force: true }).catch(() => undefined);
  }

  #saveCursorSoon(): void {
    if (this.#closed) return;
    this.#cursorTimer ??= setTimeout(() => {
      this.#cursorTimer = undefined;
      // One after the other: they write to the same file before it gets its name.
      this.#cursorWrite = this.#cursorWrite.then(() => this.#writeCursor());
    }, CURSOR_INTERVAL_MS).unref();
  }

  async #writeCursor(): Promise<void> {
    const { file, offset } = this.#acked;
    const text = `${file} ${offset}`;
    try {
      await writeFile(this.#directory.entry(`${CURSOR}.new`), `${text} ${crc32(text)}\n`, { mode: 0o600 });
      await rename(this.#directory.entry(`${CURSOR}.new`), this.#directory.entry(CURSOR));
    } catch (error) {
      // Without it, more is sent twice after a restart, and nothing else.
      this.failures++;
      // The directory is gone, which who writes to an open file doesn't notice: the next write opens it again.
      if ((error as NodeJS.ErrnoException).code === 'ENOENT' && this.#working === undefined) await this.#closeWriter();
    }
    await this.#forgetAcked();
  }

  /** The process ends without closing: what is in memory goes to the file as far as that goes. */
  #flushAtExit(): void {
    if (this.#closed) return;
    this.#closed = true;
    const file = this.#files.at(-1) ?? { id: this.#nextId, size: 0 };
    try {
      const fd = openSync(this.#entry(file.id), O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0o600);
      const bytes = Buffer.concat(this.#memory);
      for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at, bytes.length - at, file.size + at);
    } catch {
      // The disk is full or gone, and there is nobody left to tell.
    }
    unlockSpool(this.#directory);
  }

  #entry(id: number): string {
    return this.#directory.entry(fileName(id));
  }
}

const endOf = ({ id, size }: SpoolFile): Position => ({ file: id, offset: size });

const isBefore = (a: Position, b: Position): boolean => a.file < b.file || (a.file === b.file && a.offset < b.offset);

async function writeAt(handle: FileHandle, bytes: Buffer, position: number): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    at += (await handle.write(bytes, at, bytes.length - at, position + at)).bytesWritten;
  }
}

/** Fewer bytes than asked for where the file ends before. */
async function readAt(handle: FileHandle, position: number, length: number): Promise<Buffer> {
  const bytes = Buffer.alloc(length);
  let at = 0;
  while (at < length) {
    const { bytesRead } = await handle.read(bytes, at, length - at, position + at);
    if (bytesRead === 0) break;
    at += bytesRead;
  }
  return bytes.subarray(0, at);
}

/** Where the last run had come to; a cursor that is missing or damaged means the beginning: twice is better than never. */
function readCursor(directory: PrivateDirectory): Position {
  try {
    const text = readFileSync(directory.entry(CURSOR), 'latin1').slice(0, 64);
    const [, place, file, offset, sum] = /^((\d{1,12}) (\d{1,12})) (\d{1,10})\n$/.exec(text) ?? [];
    if (place !== undefined && crc32(place) === Number(sum)) return { file: Number(file), offset: Number(offset) };
  } catch {}
  return { file: 0, offset: 0 };
}

function openDirectory(path: string): PrivateDirectory {
  try {
    return new PrivateDirectory(path);
  } catch (error) {
    throw unusable(path, error);
  }
}

const unusable = (path: string, error: unknown): TracerError =>
  usageError(
    'IMDS_SHIP_SPOOL',
    `cannot use ${path} as a spool: ${messageOf(error)}`,
    'Give another directory with --spool-dir, or remove what is there.',
  );
