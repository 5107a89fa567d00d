import { MAX_HEADERS } from './limits.js';
import type { HttpHeader } from './types.js';

/**
 * Reads heads of HTTP/1.x messages (RFC 9112) as leniently as servers do, for what a server answered was asked, however
 * it was written. What servers read in different ways is kept as sent, and where it could change the length of the body,
 * the framing is `unsure`.
 */

/**
 * How the body's length is told: bytes, chunks, not at all, or in a way that servers disagree on, so that nothing behind
 * the head can be trusted to be a message (RFC 9112 sections 6.3 and 11.2).
 */
export type BodyFraming = number | 'none' | 'chunked' | 'unsure';

export interface RequestLine {
  method: string;
  target: string;
  version: string;
}

export interface StatusLine {
  version: string;
  status: number;
}

export interface HeaderBlock {
  headers: HttpHeader[];
  framing: BodyFraming;
  /** An Upgrade header is there. */
  upgrade: boolean;
}

const HTAB = 9;
const LF = 10;
const CR = 13;
const SPACE = 32;

/** 1 for the bytes of a token (RFC 9110 section 5.6.2). */
export const TOKEN = Uint8Array.from({ length: 256 }, (_, code) =>
  /^[!#$%&'*+\-.^_`|~0-9A-Za-z]$/.test(String.fromCharCode(code)) ? 1 : 0,
);

/** How versions end a request line or begin a status line. A minor version above 1 is read as 1.1 (RFC 9110 section 2.5). */
const VERSION = /^HTTP\/1\.(\d)$/i;
const VERSION_LENGTH = 'HTTP/1.1'.length;

const parseVersion = (text: string): string | undefined => {
  const match = VERSION.exec(text);
  return match === null ? undefined : match[1] === '0' ? '1.0' : '1.1';
};

/** The part of `text[from..to)` without white space around it. */
function trimmed(text: string, from: number, to: number): string {
  let start = from;
  let end = to;
  while (start < end && isBlank(text.charCodeAt(start))) start++;
  while (end > start && isBlank(text.charCodeAt(end - 1))) end--;
  return text.slice(start, end);
}

const isBlank = (code: number): boolean => code === SPACE || code === HTAB;

/** Length of the first line of a latin1 text without its line end, or -1. */
function lineEnd(text: string): number {
  const end = text.indexOf('\n');
  return end > 0 && text.charCodeAt(end - 1) === CR ? end - 1 : end;
}

/**
 * Reads a request line without its line end: a token, spaces, a target of any bytes (spaces inside it are the target's,
 * as most servers have it), spaces, a version.
 */
export function parseRequestLine(line: string): RequestLine | undefined {
  const methodEnd = line.indexOf(' ');
  if (methodEnd <= 0) return undefined;
  for (let i = 0; i < methodEnd; i++) {
    const code = line.charCodeAt(i);
    if (code > 0xff || TOKEN[code] === 0) return undefined;
  }
  let end = line.length;
  while (isBlank(line.charCodeAt(end - 1))) end--;
  const versionStart = end - VERSION_LENGTH;
  if (versionStart <= methodEnd || line.charCodeAt(versionStart - 1) !== SPACE) return undefined;
  const version = parseVersion(line.slice(versionStart, end));
  const target = trimmed(line, methodEnd, versionStart);
  if (version === undefined || target === '') return undefined;
  return { method: line.slice(0, methodEnd), target, version };
}

/** Reads a status line without its line end; the reason phrase and even its space may be missing (RFC 9112 section 4). */
export function parseStatusLine(line: string): StatusLine | undefined {
  const version = parseVersion(line.slice(0, VERSION_LENGTH));
  const rest = /^ +([1-9]\d\d)(?:[ \t\r]|$)/.exec(line.slice(VERSION_LENGTH, VERSION_LENGTH + 16));
  return version === undefined || rest === null ? undefined : { version, status: Number(rest[1]) };
}

/** The head's first line, without its line end. */
export const firstLine = (head: string): string => head.slice(0, Math.max(0, lineEnd(head)));

/**
 * Reads the header lines of a whole head (latin1, first line and blank line included).
 * Lines that are no header (no colon, or folded onto nothing) are passed over, as servers do that don't refuse them.
 * @returns undefined when there are more headers than the bound.
 */
export function parseHeaders(head: string, version: string): HeaderBlock | undefined {
  const headers: HttpHeader[] = [];
  const framing = new FramingHeaders();
  let upgrade = false;
  // Each search is taken up where its last hit is passed, never per line: else lines without a colon cost a quadratic time.
  let colon = 0;
  let bareCr = 0;
  let at = head.indexOf('\n') + 1;
  while (at > 0 && at < head.length) {
    const next = head.indexOf('\n', at) + 1;
    const lineStop = next === 0 ? head.length : next - 1;
    const end = lineStop > at && head.charCodeAt(lineStop - 1) === CR ? lineStop - 1 : lineStop;
    if (end === at) break;
    if (colon < at) colon = indexOrEnd(head, ':', at);
    if (bareCr < at) bareCr = indexOrEnd(head, '\r', at);
    if (bareCr < end) framing.doubt(head.slice(at, end));
    if (isBlank(head.charCodeAt(at))) {
      // A folded line (RFC 9112 section 5.2) belongs to the value above it.
      framing.doubt(head.slice(at, end));
      const last = headers.at(-1);
      if (last !== undefined) {
        framing.doubt(last.name);
        last.value = `${last.value} ${trimmed(head, at, end)}`;
      }
    } else if (colon >= end || colon === at) {
      framing.doubt(head.slice(at, end));
    } else {
      if (headers.length === MAX_HEADERS) return undefined;
      const header = { name: head.slice(at, colon), value: trimmed(head, colon + 1, end) };
      headers.push(header);
      // White space before the colon (RFC 9112 section 5.1): some servers refuse it, some take it for no part of the name.
      if (isBlank(head.charCodeAt(colon - 1))) framing.doubt(header.name);
      else if (FRAMING_NAME_LENGTHS.has(header.name.length)) {
        const name = header.name.toLowerCase();
        if (name === 'content-length') framing.contentLengths.push(header.value);
        else if (name === 'transfer-encoding') framing.transferEncodings.push(header.value);
        else if (name === 'upgrade') upgrade = true;
      }
    }
    at = next;
  }
  return { headers, framing: framing.result(version), upgrade };
}

const FRAMING_NAME_LENGTHS = new Set(['content-length', 'transfer-encoding', 'upgrade'].map((name) => name.length));

const indexOrEnd = (text: string, what: string, from: number): number => {
  const index = text.indexOf(what, from);
  return index < 0 ? text.length : index;
};

const FRAMING_NAME = /content-length|transfer-encoding/i;
/** 15 digits are exact in a double. */
const CONTENT_LENGTH = /^\d{1,15}$/;
const NONE: string[] = [];

class FramingHeaders {
  #contentLengths = NONE;
  #transferEncodings = NONE;
  #unsure = false;

  get contentLengths(): string[] {
    if (this.#contentLengths === NONE) this.#contentLengths = [];
    return this.#contentLengths;
  }
  get transferEncodings(): string[] {
    if (this.#transferEncodings === NONE) this.#transferEncodings = [];
    return this.#transferEncodings;
  }

  /** A line that servers read in different ways: it matters where it names a framing header. */
  doubt(line: string): void {
    this.#unsure ||= FRAMING_NAME.test(line);
  }

  /** RFC 9112 section 6.3; what it calls an error is unsure. */
  result(version: string): BodyFraming {
    if (this.#unsure) return 'unsure';
    if (this.#transferEncodings !== NONE) {
      if (this.#contentLengths !== NONE || version === '1.0') return 'unsure';
      const codings = this.#transferEncodings
        .join(',')
        .split(',')
        .map((coding) => trimmed(coding, 0, coding.length).toLowerCase())
        .filter((coding) => coding !== '');
      return codings.length > 0 && codings.indexOf('chunked') === codings.length - 1 ? 'chunked' : 'unsure';
    }
    if (this.#contentLengths === NONE) return 'none';
    const lengths = this.#contentLengths
      .join(',')
      .split(',')
      .map((length) => trimmed(length, 0, length.length));
    return lengths.every((length) => CONTENT_LENGTH.test(length) && length === lengths[0])
      ? Number(lengths[0])
      : 'unsure';
  }
}

/**
 * Whether `bytes[from..to)` begins with a whole request line: the only place where reading can begin when what was
 * before is not known.
 */
export function beginsWithRequestLine(bytes: Buffer, from: number, to: number): boolean {
  let at = from;
  while (at < to && TOKEN[bytes[at]!] === 1) at++;
  if (at === from || at === to || bytes[at] !== SPACE) return false;
  while (at < to && bytes[at] !== LF) at++;
  return at < to && parseRequestLine(firstLine(bytes.toString('latin1', from, at + 1))) !== undefined;
}

/**
 * Whether all of `bytes[from..to)` can be the first part of a request line: a method in capitals, maybe a space and what
 * targets begin with. For the first bytes of a connection only.
 */
export function mayBeginRequestLine(bytes: Buffer, from: number, to: number): boolean {
  return (
    PARTIAL_REQUEST_LINE.test(bytes.toString('latin1', from, Math.min(to, from + 64))) &&
    !bytes.subarray(from, to).includes(LF)
  );
}
const PARTIAL_REQUEST_LINE = /^[A-Z]{1,16}(?:$| +(?:$|[/h*]))/;
