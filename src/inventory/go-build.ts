import { type Elf, readElf } from './elf.js';
import type { OpenFile } from './files.js';

/** What `go version -m` shows of a program. */
export interface GoBuild {
  /** Path of the main package. */
  path?: string;
  /** The main module and its dependencies; what a `replace` put in a dependency's place counts instead of it. */
  modules: { path: string; version: string }[];
}

/** debug/buildinfo of Go's library: 14 bytes, then the size of a pointer and flags; 32 bytes in all. */
const MAGIC = Buffer.from('\xff Go buildinf:', 'latin1');
const HEADER = 32;
const ALIGN = 16;
/** Where the section's name was stripped away, it stands near the beginning of the writable data. */
const MAX_SEARCH = 1024 * 1024;
const MAX_TEXT = 4 * 1024 * 1024;
const MAX_MODULES = 10_000;
/** Marks around the list of modules (cmd/go, modload.ModInfoProg). */
const MARK_LENGTH = 16;

/** The build information of a Go program; undefined for any other file. */
export function readGoBuild(file: OpenFile): GoBuild | undefined {
  const elf = readElf(file);
  const at = elf === undefined ? undefined : findHeader(file, elf);
  if (at === undefined) return undefined;
  const header = file.read(at, HEADER);
  const text =
    (header[15]! & 2) !== 0 ? inlineText(file, at + HEADER) : pointedText(file, elf!, header, (header[15]! & 1) !== 0);
  return text === undefined || text.length < 2 * MARK_LENGTH + 1 ? { modules: [] } : parseModules(text);
}

function findHeader(file: OpenFile, elf: Elf): number | undefined {
  const section = elf.sections.find(({ name }) => name === '.go.buildinfo');
  const place = section ?? elf.segments.find(({ writable }) => writable);
  if (place === undefined) return undefined;
  const bytes = file.read(place.offset, Math.min(place.size, MAX_SEARCH));
  for (let at = bytes.indexOf(MAGIC); at >= 0; at = bytes.indexOf(MAGIC, at + 1)) {
    if (at % ALIGN === 0 && at + HEADER <= bytes.length) return place.offset + at;
  }
  return undefined;
}

/** Since Go 1.18: the version and then the list, each behind its length as a varint. */
function inlineText(file: OpenFile, at: number): string | undefined {
  const version = lengthAt(file, at);
  const list = version === undefined ? undefined : lengthAt(file, version.at + version.length);
  return list === undefined ? undefined : textAt(file, list.at, list.length);
}

function lengthAt(file: OpenFile, at: number): { at: number; length: number } | undefined {
  const bytes = file.read(at, 5);
  let length = 0;
  for (const [i, byte] of bytes.entries()) {
    length += (byte & 0x7f) * 2 ** (7 * i);
    if (byte < 0x80) return length > MAX_TEXT ? undefined : { at: at + i + 1, length };
  }
  return undefined;
}

/** Before: two pointers to the texts' pointer and length. */
function pointedText(file: OpenFile, elf: Elf, header: Buffer, bigEndian: boolean): string | undefined {
  const size = header[14];
  if (size !== 4 && size !== 8) return undefined;
  const pointer = (bytes: Buffer, at: number): number => {
    if (bytes.length < at + size) return -1;
    if (size === 4) return bigEndian ? bytes.readUInt32BE(at) : bytes.readUInt32LE(at);
    return Number(bigEndian ? bytes.readBigUInt64BE(at) : bytes.readBigUInt64LE(at));
  };
  const offsetOf = (address: number): number | undefined => {
    const segment = elf.segments.find((found) => address >= found.address && address < found.address + found.size);
    return segment === undefined ? undefined : segment.offset + address - segment.address;
  };
  const text = offsetOf(pointer(header, 16 + size));
  if (text === undefined) return undefined;
  const words = file.read(text, 2 * size);
  const [start, length] = [offsetOf(pointer(words, 0)), pointer(words, size)];
  return start === undefined || length < 0 || length > MAX_TEXT ? undefined : textAt(file, start, length);
}

const textAt = (file: OpenFile, at: number, length: number): string => file.read(at, length).toString('latin1');

function parseModules(text: string): GoBuild {
  const build: GoBuild = { modules: [] };
  for (const line of text.slice(MARK_LENGTH, -MARK_LENGTH).split('\n', MAX_MODULES)) {
    const [word, path, version] = line.split('\t', 3);
    if (word === 'path' && path !== undefined) build.path = path;
    const isModule = (word === 'mod' || word === 'dep') && path !== undefined;
    if (isModule) build.modules.push({ path, version: version ?? '' });
    if (word === '=>' && path !== undefined && build.modules.length > 0) {
      // Its path may be a folder; what it is imported as stays.
      build.modules[build.modules.length - 1]!.version = version ?? '';
    }
  }
  return build;
}
