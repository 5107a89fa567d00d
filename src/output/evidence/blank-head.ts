import { STATUS_CODES } from 'node:http';
import { firstLine, parseRequestLine, TOKEN } from '../../wire/http-head.js';
import type { HttpHeader } from '../../wire/types.js';
import type { LearnedSecrets } from '../learned.js';
import { secretKind } from '../secret-names.js';
import { REDACTED, redactText } from '../secret-text.js';

/**
 * Which bytes of an HTTP head a packet dump may have. Nothing is looked for that must go: what is known to be harmless
 * stays, all else is blanked. Names of headers stay, and values of those below; so the blanked head is read as the head
 * was, with the same target, framing and verdict.
 */

/** What stands for a byte that is not shown. It can be part of a method, a target, a value and a body. */
export const BLANK = 0x2a;

/**
 * Headers whose values say how a message is framed, who asks, and what a metadata service judges. Content-Encoding is not
 * among them: the body that is written is not encoded so.
 */
const SHOWN_VALUES: ReadonlySet<string> = new Set([
  'accept',
  'accept-charset',
  'accept-encoding',
  'accept-language',
  'accept-ranges',
  'age',
  'allow',
  'cache-control',
  'connection',
  'content-length',
  'content-type',
  'date',
  'expect',
  'expires',
  'forwarded',
  'host',
  'keep-alive',
  'last-modified',
  'metadata',
  'metadata-flavor',
  'pragma',
  'proxy-connection',
  'range',
  'retry-after',
  'server',
  'te',
  'transfer-encoding',
  'upgrade',
  'user-agent',
  'via',
  'x-forwarded-for',
]);
/** The time that a token shall live, as all providers name it. */
const TTL_NAME = /metadata-token-ttl-seconds$/;
const TTL = /^\d{1,10}$/;

const MAX_NAME = 128;
const MAX_VALUE = 4096;
const MAX_METHOD = 32;
const PRINTABLE = /^[\t\x20-\x7e]*$/;

type Learned = Pick<LearnedSecrets, 'redact'>;
/** As in the text line: who sends requests could have the path of a finding blanked by "learned" words. */
const NOTHING_LEARNED: Learned = { redact: (text) => text };

/**
 * The head of a request with its secrets blanked.
 * Learns the values of its secret headers first: they may
 * stand in the target, too.
 * @param head latin1, request line and blank line included; its first line is one that parseRequestLine reads
 * @param headers what parseHeaders read of it
 * @returns as many bytes as `head` has characters
 */
export function blankRequestHead(head: string, headers: readonly HttpHeader[], learned: LearnedSecrets): Buffer {
  for (const { name, value } of headers) {
    if (name.length <= MAX_NAME && secretKind(name) !== undefined) learned.learn(value);
  }
  const shown = new ShownBytes(head);
  const line = firstLine(head);
  const parsed = parseRequestLine(line);
  if (parsed !== undefined) {
    const { method, target } = parsed;
    if (method.length <= MAX_METHOD && isPlain(method, learned)) shown.show(0, method.length);
    const targetStart = line.indexOf(target, method.length);
    const query = target.indexOf('?');
    const pathEnd = query < 0 ? target.length : query;
    showPlainPart(shown, targetStart, target.slice(0, pathEnd), NOTHING_LEARNED);
    if (query >= 0) showPlainPart(shown, targetStart + query, target.slice(query), learned);
    showSpaces(shown, method.length, targetStart);
    // Spaces and the version.
    shown.show(targetStart + target.length, line.length);
  }
  blankHeaders(shown, head, learned);
  return shown.bytes;
}

/** The same for a response; its first line is one that parseStatusLine reads. */
export function blankResponseHead(head: string, learned: Learned): Buffer {
  const shown = new ShownBytes(head);
  const line = firstLine(head);
  const status = /^HTTP\/1\.\d +(\d{3})/i.exec(line);
  if (status !== null) {
    const end = status[0].length;
    shown.show(0, end);
    // A reason phrase can say anything: only the one of the standard is shown.
    if (line.slice(end).trim() === STATUS_CODES[status[1]!]) shown.show(end, line.length);
    else showSpaces(shown, end, line.length);
  }
  blankHeaders(shown, head, learned);
  return shown.bytes;
}

/** Bytes of a head, all blank at first but for the line ends. */
class ShownBytes {
  readonly bytes: Buffer;
  constructor(private readonly text: string) {
    this.bytes = Buffer.alloc(text.length, BLANK);
    for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) {
      this.show(at > 0 && text[at - 1] === '\r' ? at - 1 : at, at + 1);
    }
  }
  show(from: number, to: number): void {
    if (to > from) this.bytes.write(this.text.slice(from, to), from, 'latin1');
  }
  isSpace(at: number): boolean {
    return this.text[at] === ' ' || this.text[at] === '\t';
  }
}

function blankHeaders(shown: ShownBytes, head: string, learned: Learned): void {
  for (let at = head.indexOf('\n') + 1; at > 0 && at < head.length; ) {
    const next = head.indexOf('\n', at) + 1;
    const stop = next === 0 ? head.length : next - 1;
    const end = stop > at && head[stop - 1] === '\r' ? stop - 1 : stop;
    blankHeader(shown, at, head.slice(at, end), learned);
    if (next === 0) return;
    at = next;
  }
}

/** A line that is no header (no colon, folded) stays blank, but for the white space that it begins with. */
function blankHeader(shown: ShownBytes, start: number, line: string, learned: Learned): void {
  const colon = line.slice(0, MAX_NAME + 1).indexOf(':');
  const name = line.slice(0, Math.max(colon, 0));
  if (name === '' || !isToken(name) || !isPlain(name, learned)) {
    if (shown.isSpace(start)) shown.show(start, start + 1);
    return;
  }
  const value = line
    .slice(colon + 1)
    .replace(/^[ \t]+/, '')
    .trimEnd();
  const valueStart = line.length - line.slice(colon + 1).replace(/^[ \t]+/, '').length;
  shown.show(start, start + valueStart);
  showSpaces(shown, start + valueStart + value.length, start + line.length);
  const lowerCase = name.toLowerCase();
  const isShown = TTL_NAME.test(lowerCase)
    ? TTL.test(value)
    : SHOWN_VALUES.has(lowerCase) && value.length <= MAX_VALUE && PRINTABLE.test(value) && isPlain(line, learned);
  if (isShown) shown.show(start + valueStart, start + valueStart + value.length);
}

/** What redaction leaves as it is, before and behind all that it replaces. */
function showPlainPart(shown: ShownBytes, start: number, text: string, learned: Learned): void {
  const redacted = redactText(text, learned).text;
  const decoded = percentDecoded(text);
  // Percent-encoding can hide a secret's name; where it does, all of this part goes.
  if (decoded !== text && !isPlain(decoded, learned)) return;
  if (redacted === text) {
    shown.show(start, start + text.length);
    return;
  }
  const before = redacted.slice(0, Math.max(redacted.indexOf(REDACTED), 0));
  const after = redacted.slice(redacted.lastIndexOf(REDACTED) + REDACTED.length);
  if (before.length + after.length > text.length) return;
  if (text.startsWith(before)) shown.show(start, start + before.length);
  if (text.endsWith(after)) shown.show(start + text.length - after.length, start + text.length);
}

function showSpaces(shown: ShownBytes, from: number, to: number): void {
  for (let at = from; at < to; at++) if (shown.isSpace(at)) shown.show(at, at + 1);
}

const isPlain = (text: string, learned: Learned): boolean => redactText(text, learned).text === text;

const percentDecoded = (text: string): string =>
  text.replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));

function isToken(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (TOKEN[text.charCodeAt(i)] !== 1) return false;
  return true;
}
