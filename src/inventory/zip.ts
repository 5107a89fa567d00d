import { promisify } from 'node:util';
import { inflateRaw } from 'node:zlib';
import type { OpenFile } from './files.js';
import type { Scan } from './scan.js';

/*
 * The directory of a ZIP archive (APPNOTE.TXT 6.3.10, section 4.3), read at once: libraries for it read each of its entries by two
 * calls of their own, which for the thousands of jars of a Java host takes minutes, and know no archive within an archive
 * that is read in its place.
 */

const END = 0x06054b50;
const END_64 = 0x06064b50;
const END_64_LOCATOR = 0x07064b50;
const CENTRAL = 0x02014b50;
const LOCAL = 0x04034b50;

/** The end record and the longest comment behind it. */
const END_SIZE = 22;
const MAX_COMMENT = 0xffff;
/** 300,000 entries of a usual size. */
const MAX_DIRECTORY = 32 * 1024 * 1024;

const STORED = 0;
const DEFLATED = 8;
const ENCRYPTED = 1;

export interface ZipEntry {
  /** A latin1 string whose code units are bytes. */
  name: string;
  /** In bytes, as the archive says. */
  size: number;
  compressed: number;
  stored: boolean;
  readable: boolean;
  offset: number;
}

export interface ZipArchive {
  entries: readonly ZipEntry[];
  /** What is in an entry; undefined where it is larger than `limit`, damaged or encrypted, which is noted. */
  content(entry: ZipEntry, limit: number): Promise<Buffer | undefined>;
  /** A stored entry as a file of its own, read in its place. */
  file(entry: ZipEntry): OpenFile | undefined;
}

const inflate = promisify(inflateRaw) as (bytes: Buffer, options: object) => Promise<Buffer>;

/** Reads the directory of an archive. Gives undefined for what is no ZIP archive, and notes what is a damaged one. */
export function readZip(scan: Scan, file: OpenFile, shown: string): ZipArchive | undefined {
  const tail = file.read(Math.max(file.size - END_SIZE - MAX_COMMENT, 0), END_SIZE + MAX_COMMENT);
  const tailAt = file.size - tail.length;
  const end = findEnd(tail);
  if (end < 0) return undefined;
  const place = directoryPlace(file, tail, end, tailAt);
  if (place === undefined || place.size > MAX_DIRECTORY) {
    scan.problem(place === undefined ? 'unreadable' : 'too_large', shown);
    return undefined;
  }
  const entries = parseDirectory(file.read(place.offset, place.size));
  return {
    entries,
    async content(entry, limit) {
      if (entry.size > limit || entry.compressed > limit + MAX_COMMENT) {
        scan.problem('too_large', `${shown}!/${entry.name}`);
        return undefined;
      }
      const at = dataOffset(file, entry, place.base);
      const bytes = at === undefined || !entry.readable ? undefined : file.read(at, entry.compressed);
      if (bytes === undefined || bytes.length < entry.compressed) {
        scan.problem('unreadable', `${shown}!/${entry.name}`);
        return undefined;
      }
      if (entry.stored) return bytes;
      if (!scan.spend(entry.size, shown)) return undefined;
      try {
        // The size that the archive says bounds what comes out: a bomb ends there.
        return await inflate(bytes, { maxOutputLength: Math.max(entry.size, 1) });
      } catch {
        scan.problem('unreadable', `${shown}!/${entry.name}`);
        return undefined;
      }
    },
    file(entry) {
      const at = entry.stored && entry.readable ? dataOffset(file, entry, place.base) : undefined;
      if (at === undefined) return undefined;
      const size = Math.max(Math.min(entry.compressed, file.size - at), 0);
      return {
        size,
        executable: false,
        read: (offset, length) => file.read(at + offset, Math.max(Math.min(length, size - offset), 0)),
      };
    },
  };
}

/** The last end record whose comment ends within the file. */
function findEnd(tail: Buffer): number {
  for (let at = tail.length - END_SIZE; at >= 0; at--) {
    if (
      tail[at] === 0x50 &&
      tail.readUInt32LE(at) === END &&
      at + END_SIZE + tail.readUInt16LE(at + 20) <= tail.length
    ) {
      return at;
    }
  }
  return -1;
}

interface DirectoryPlace {
  offset: number;
  size: number;
  /** What stands before the archive: Spring Boot can put a script there. */
  base: number;
}

function directoryPlace(file: OpenFile, tail: Buffer, end: number, tailAt: number): DirectoryPlace | undefined {
  const size = tail.readUInt32LE(end + 12);
  const offset = tail.readUInt32LE(end + 16);
  const isLarge = size === 0xffffffff || offset === 0xffffffff || tail.readUInt16LE(end + 10) === 0xffff;
  if (isLarge && end >= 20 && tail.readUInt32LE(end - 20) === END_64_LOCATOR) {
    const record = file.read(Number(tail.readBigUInt64LE(end - 12)), 56);
    if (record.length < 56 || record.readUInt32LE(0) !== END_64) return undefined;
    const [size64, offset64] = [Number(record.readBigUInt64LE(40)), Number(record.readBigUInt64LE(48))];
    return offset64 + size64 <= file.size ? { offset: offset64, size: size64, base: 0 } : undefined;
  }
  const start = tailAt + end - size;
  if (start < 0 || start < offset) return undefined;
  return { offset: start, size, base: start - offset };
}

function parseDirectory(bytes: Buffer): ZipEntry[] {
  const entries: ZipEntry[] = [];
  for (let at = 0; at + 46 <= bytes.length && bytes.readUInt32LE(at) === CENTRAL; ) {
    const nameLength = bytes.readUInt16LE(at + 28);
    const extraLength = bytes.readUInt16LE(at + 30);
    const method = bytes.readUInt16LE(at + 10);
    const extraAt = at + 46 + nameLength;
    entries.push({
      name: bytes.toString('latin1', at + 46, Math.min(extraAt, bytes.length)),
      stored: method === STORED,
      readable: (method === STORED || method === DEFLATED) && (bytes.readUInt16LE(at + 8) & ENCRYPTED) === 0,
      ...sizes(bytes, at, bytes.subarray(extraAt, extraAt + extraLength)),
    });
    at = extraAt + extraLength + bytes.readUInt16LE(at + 32);
  }
  return entries;
}

/** Sizes and offset, of 64 bits in the extra field where they are too large for 32 (section 4.5.3). */
function sizes(bytes: Buffer, at: number, extra: Buffer): Pick<ZipEntry, 'size' | 'compressed' | 'offset'> {
  const values = [bytes.readUInt32LE(at + 24), bytes.readUInt32LE(at + 20), bytes.readUInt32LE(at + 42)];
  if (values.includes(0xffffffff)) {
    for (let field = 0; field + 4 <= extra.length; field += 4 + extra.readUInt16LE(field + 2)) {
      if (extra.readUInt16LE(field) !== 1) continue;
      let next = field + 4;
      for (const [i, value] of values.entries()) {
        if (value !== 0xffffffff || next + 8 > extra.length) continue;
        values[i] = Number(extra.readBigUInt64LE(next));
        next += 8;
      }
      break;
    }
  }
  return { size: values[0]!, compressed: values[1]!, offset: values[2]! };
}

/** Where an entry's bytes begin: behind its own header, whose extra field may differ from the directory's. */
function dataOffset(file: OpenFile, entry: ZipEntry, base: number): number | undefined {
  const header = file.read(base + entry.offset, 30);
  if (header.length < 30 || header.readUInt32LE(0) !== LOCAL) return undefined;
  return base + entry.offset + 30 + header.readUInt16LE(26) + header.readUInt16LE(28);
}
