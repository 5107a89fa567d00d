import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';

const NEWLINE = 10;
const CHUNK_BYTES = 1024 * 1024;
/** Of a damaged file at most so much is lost that could still be read. */
const UNZIPPED_BYTES = 128 * 1024;
/** The longest event has an argv of 128 KiB, escaped; nothing of that length is the tracer's beyond it. */
export const MAX_LINE_BYTES = 2 * 1024 * 1024;
/** RFC 1952, section 2.3.1. */
const GZIP_MAGIC = 0x1f8b;
/** The first bytes of what other programs pack, as file(1) knows them. */
const OTHERS: readonly (readonly [name: string, magic: string])[] = [
  ['xz', '\xfd7z'],
  ['zstd', '\x28\xb5\x2f\xfd'],
  ['bzip2', 'BZh'],
  ['lz4', '\x04\x22\x4d\x18'],
];

export interface LineReader {
  /** A whole line without its line break. */
  line(text: string): void;
  /** A line that is too long, of which nothing is kept. */
  tooLong(): void;
  /** What stands behind the last line break: a line that is still being written, or was cut by a crash. */
  rest(text: string): void;
  /** Bytes of the file that were read since the last call; false ends the reading. */
  progress(bytes: number): boolean;
}

/** Reads a file's lines, through gzip where it is compressed, a chunk at a time. Rejects where it can't be read to its end. */
export async function readLines(path: string, reader: LineReader): Promise<void> {
  // A named pipe must not hold the report up, nor a device be read without end.
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  let source: Readable | undefined;
  try {
    const status = await file.stat();
    if (!status.isFile()) throw new Error('it is not a plain file');
    const magic = Buffer.alloc(4);
    const { bytesRead } = await file.read(magic, 0, 4, 0);
    const compressed = bytesRead >= 2 && magic.readUInt16BE() === GZIP_MAGIC;
    const other = OTHERS.find(([, bytes]) => magic.toString('latin1', 0, bytesRead).startsWith(bytes));
    if (other !== undefined) throw new Error(`it is packed by ${other[0]}: unpack it first`);
    // What is written from now on is not read: whoever writes as fast as this reads would keep it from ever ending.
    const end = Math.max(status.size - 1, 0);
    const raw = file.createReadStream({ autoClose: false, start: 0, end, highWaterMark: CHUNK_BYTES });
    source = raw;
    let stopped = false;
    let counted = 0;
    const lines = new LineSplitter(reader);
    const chunks: AsyncIterable<Buffer> = compressed
      ? raw.pipe(createGunzip({ chunkSize: UNZIPPED_BYTES })).on('close', () => raw.destroy())
      : raw;
    if (compressed) raw.on('error', () => undefined);
    for await (const chunk of chunks) {
      lines.push(chunk);
      stopped = !reader.progress(raw.bytesRead - counted);
      counted = raw.bytesRead;
      if (stopped) return;
    }
    lines.end();
    reader.progress(raw.bytesRead - counted);
  } finally {
    source?.destroy();
    await file.close();
  }
}

/** Cuts chunks into lines. */
class LineSplitter {
  #parts: Buffer[] = [];
  #length = 0;
  #skipping = false;

  constructor(private readonly reader: LineReader) {}

  push(chunk: Buffer): void {
    let from = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, from)) {
      this.#line(chunk, from, end);
      from = end + 1;
    }
    if (from < chunk.length) this.#keep(chunk.subarray(from));
  }

  end(): void {
    if (this.#skipping) this.reader.tooLong();
    else if (this.#length > 0) this.reader.rest(Buffer.concat(this.#parts).toString('utf8'));
    this.#clear();
  }

  #line(chunk: Buffer, from: number, end: number): void {
    if (this.#skipping || this.#length + end - from > MAX_LINE_BYTES) this.reader.tooLong();
    else if (this.#length === 0) this.reader.line(chunk.toString('utf8', from, end));
    else this.reader.line(Buffer.concat([...this.#parts, chunk.subarray(from, end)]).toString('utf8'));
    this.#clear();
  }

  #keep(part: Buffer): void {
    if (this.#skipping) return;
    this.#length += part.length;
    if (this.#length > MAX_LINE_BYTES) {
      this.#parts = [];
      this.#skipping = true;
      return;
    }
    this.#parts.push(part);
  }

  #clear(): void {
    this.#parts = [];
    this.#length = 0;
    this.#skipping = false;
  }
}
