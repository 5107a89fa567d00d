import type { OpenFile } from './files.js';

/** What of an ELF file is needed to find data in it (elf(5)). */
export interface Elf {
  wide: boolean;
  bigEndian: boolean;
  sections: readonly { name: string; offset: number; size: number }[];
  segments: readonly { offset: number; size: number; address: number; writable: boolean }[];
}

const MAX_HEADERS = 4096;
const MAX_NAMES = 1024 * 1024;

/** Reads an ELF file's headers; undefined for what is none. Numbers that a hostile file makes too large read nothing. */
export function readElf(file: OpenFile): Elf | undefined {
  const head = file.read(0, 64);
  if (head.length < 64 || head.readUInt32BE(0) !== 0x7f454c46) return undefined;
  const wide = head[4] === 2;
  const bigEndian = head[5] === 2;
  const short = (bytes: Buffer, at: number): number => (bigEndian ? bytes.readUInt16BE(at) : bytes.readUInt16LE(at));
  const word = (bytes: Buffer, at: number): number => (bigEndian ? bytes.readUInt32BE(at) : bytes.readUInt32LE(at));
  const long = (bytes: Buffer, at: number): number =>
    wide ? Number(bigEndian ? bytes.readBigUInt64BE(at) : bytes.readBigUInt64LE(at)) : word(bytes, at);

  const table = (offset: number, size: number, count: number, least: number): Buffer[] => {
    if (size < least || count > MAX_HEADERS) return [];
    const bytes = file.read(offset, size * count);
    return Array.from({ length: Math.floor(bytes.length / size) }, (_, i) => bytes.subarray(i * size, (i + 1) * size));
  };
  const segments = table(
    long(head, wide ? 32 : 28),
    short(head, wide ? 54 : 42),
    short(head, wide ? 56 : 44),
    wide ? 56 : 32,
  );
  const sections = table(
    long(head, wide ? 40 : 32),
    short(head, wide ? 58 : 46),
    short(head, wide ? 60 : 48),
    wide ? 64 : 40,
  );
  const place = (header: Buffer) => ({
    offset: long(header, wide ? 24 : 16),
    size: long(header, wide ? 32 : 20),
  });
  const nameTable = sections[short(head, wide ? 62 : 50)];
  const names =
    nameTable === undefined
      ? Buffer.alloc(0)
      : file.read(place(nameTable).offset, Math.min(place(nameTable).size, MAX_NAMES));
  return {
    wide,
    bigEndian,
    sections: sections.map((header) => ({ name: nameAt(names, word(header, 0)), ...place(header) })),
    segments: segments
      .filter((header) => word(header, 0) === 1)
      .map((header) => ({
        offset: long(header, wide ? 8 : 4),
        address: long(header, wide ? 16 : 8),
        size: long(header, wide ? 32 : 16),
        writable: (word(header, wide ? 4 : 24) & 2) !== 0,
      })),
  };
}

function nameAt(names: Buffer, at: number): string {
  const end = names.indexOf(0, at);
  return at >= names.length || end < 0 ? '' : names.toString('latin1', at, Math.min(end, at + 64));
}
