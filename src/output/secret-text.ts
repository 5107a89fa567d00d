import type { LearnedSecrets } from './learned.js';
import { MAY_HOLD_SECRET, NAME_END, type SecretKind, secretKind } from './secret-names.js';

/** What stands for a secret value in every output. */
export const REDACTED = '[redacted]';

/** Names are looked at over at most this many characters. */
const MAX_NAME_LENGTH = 128;

/** `text` without its secrets. */
export interface RedactedText {
  text: string;
  /** The text ends where the value of a secret name would begin, so that the next word may be that value. */
  valueFollows: boolean;
}

/**
 * Replaces secrets within one text: an argument (which may be a whole script), a request target, a header's value.
 * Secrets are the values of secret names (secret-names.ts) in the notations of HTTP heads, shells, JSON, query strings
 * and common languages; what follows `Bearer`; passwords in URLs; and words that were learned from the wire.
 *
 * With `cut`, the text is the beginning of a longer one. Linear time: every pass moves forward only.
 */
export function redactText(text: string, learned: Pick<LearnedSecrets, 'redact'>, cut = false): RedactedText {
  if (!cut && !MAY_HOLD_SECRET.test(text)) return { text: learned.redact(text, REDACTED, cut), valueFollows: false };
  const named = redactNamedValues(text);
  const plain = redactUserInfo(named.text, cut).replace(BEARER, `$1${REDACTED}`);
  return {
    text: learned.redact(plain, REDACTED, cut),
    valueFollows: named.valueFollows || BEARER_AT_END.test(plain),
  };
}

const BEARER = /\b(bearer[ \t]{1,4})[A-Za-z0-9+/_.~=-]+/gi;
const BEARER_AT_END = /\bbearer[ \t]{0,4}$/i;

/**
 * `://user:password@` up to the last `@` before the path (RFC 3986, section 3.2); where the text was cut before the `@`,
 * what is no port. No run can hold `//`, so that two attempts never read the same run.
 */
function redactUserInfo(text: string, cut: boolean): string {
  const whole = text.includes('@') ? text.replace(/(:\/\/[^\s/?#'"@:]*:)[^\s/?#'"]+@/g, `$1${REDACTED}@`) : text;
  return cut ? whole.replace(/(:\/\/[^\s/?#'"@:[]*:)(?!\d{0,5}$)[^\s/?#'"]+$/, `$1${REDACTED}`) : whole;
}

function redactNamedValues(text: string): RedactedText {
  let out = '';
  let done = 0;
  let valueFollows = false;
  NAME_END.lastIndex = 0;
  for (let match = NAME_END.exec(text); match !== null; match = NAME_END.exec(text)) {
    const nameEnd = match.index + match[0].length;
    const nameStart = startOfName(text, match.index, done);
    const kind = secretKind(text.slice(nameStart, nameEnd));
    if (kind === undefined) continue;
    const value = findValue(text, nameStart, nameEnd, kind);
    if (value === 'follows') {
      valueFollows = true;
    } else if (value !== 'none') {
      out += text.slice(done, value.start) + REDACTED;
      done = value.end;
      NAME_END.lastIndex = done;
    }
  }
  return { text: done === 0 ? text : out + text.slice(done), valueFollows };
}

function startOfName(text: string, from: number, least: number): number {
  const limit = Math.max(least, from - MAX_NAME_LENGTH);
  let start = from;
  while (start > limit && isNameCharacter(text.charCodeAt(start - 1))) start--;
  // The escape before a header in a quoted head, `\r\nCookie: …`, is no part of its name.
  const isEscape = start > 0 && text[start - 1] === '\\' && (text[start] === 'n' || text[start] === 'r');
  return isEscape ? start + 1 : start;
}

type Value = { start: number; end: number } | 'none' | 'follows';

function findValue(text: string, nameStart: number, nameEnd: number, kind: SecretKind): Value {
  // What closes the name: `"name"`, `\"name\"`, `['name']`.
  let at = nameEnd;
  let nameClosed = false;
  while (isQuote(text[at]) || text[at] === '\\' || text[at] === ']' || text[at] === ')') {
    nameClosed ||= isQuote(text[at]);
    at++;
  }
  const afterName = at;
  at = skipSpace(text, at);
  if (at >= text.length) return kind === 'header' ? 'follows' : 'none';

  // What stands between name and value.
  let separated = true;
  if (text[at] === ':' || text[at] === '=') {
    at++;
    while (text[at] === '=' || text[at] === '>') at++;
  } else if (/%3[ad]/i.test(text.slice(at, at + 3))) {
    at += 3;
  } else if (text[at] === ',' && nameClosed && kind !== 'field') {
    at++;
  } else if (kind === 'header' && at > afterName) {
    separated = false;
  } else {
    return 'none';
  }
  // A line break ends a header, but not the expression of a program.
  at = nameClosed ? skipSpace(text, at) : skipBlanks(text, at);
  if (at >= text.length) return kind === 'field' ? 'none' : 'follows';

  const enclosing = nameClosed ? undefined : quoteBefore(text, nameStart);
  if (enclosing !== undefined) {
    if (namesVariable(text, at)) return 'none';
    const end = endOfQuoted(text, at, enclosing);
    if (end > at) return unlessPlain(text, { start: at, end });
    // `"Name: " + value`, `"Name: " . $value`
    at = skipSpace(text, skipQuotes(text, at));
    if (text[at] !== '+' && text[at] !== '.') return 'none';
    at = skipSpace(text, at + 1);
    return quotedValue(text, at) ?? wordValue(text, at);
  }
  const quoted = quotedValue(text, at);
  if (quoted !== undefined) return quoted;
  if (isWholeArgument(text, nameStart)) {
    if (kind !== 'field') return { start: at, end: endOfLine(text, at) };
    // `--password=…` is an option, `NAME=…` without white space an assignment: all of it is the value.
    if (text.startsWith('-') || !/\s/.test(text.slice(at))) return unlessPlain(text, { start: at, end: text.length });
  }
  if (kind === 'line') return literal(text, at, undefined);
  if (!separated && !looksLikeValue(/^\S*/.exec(text.slice(at, at + 256))![0])) return 'none';
  return wordValue(text, at);
}

/** A string literal at `at`, with the prefixes of Python (`f"…"`, `b'…'`) and escaped quotes. */
function quotedValue(text: string, at: number): Value | undefined {
  let start = at;
  // Calls and lists around it: `("Name", ("v"))`.
  while (text[start] === '(' || text[start] === '[' || text[start] === '{') start++;
  const prefix = /^[bfruBFRU]{1,2}(?=\\?['"`])/.exec(text.slice(start, start + 4));
  if (prefix !== null) start += prefix[0].length;
  if (text[start] === '\\') start++;
  const quote = text[start];
  if (!isQuote(quote)) return undefined;
  const opened = skipSame(text, start);
  if (opened - start === 2) return 'none'; // an empty string
  return literal(text, opened, quote);
}

/**
 * An unquoted word: nothing where it is an expression (`$TOKEN`, `$(curl …)`, `get_token()`), which is no literal. A
 * word before a bracket is passed over only if no name with a value can be inside, so that no run is read twice.
 */
function wordValue(text: string, at: number): Value {
  let end = at;
  while (end < text.length && !endsWord(text.charCodeAt(end))) end++;
  if (end === at) return 'none';
  const next = text[end];
  if ((next === '(' || next === '[') && /^[\w.]*$/.test(text.slice(at, end))) return 'none';
  return unlessPlain(text, { start: at, end });
}

/** The inside of a string that begins at `start`, unless it is empty or only names a variable. */
function literal(text: string, start: number, quote: string | undefined): Value {
  if (namesVariable(text, start)) return 'none';
  const end = endOfQuoted(text, start, quote);
  return end > start ? unlessPlain(text, { start, end }) : 'none';
}

/** `$TOKEN`, `${TOKEN}` and no more, or `$(…)`; a scheme may stand before, as in `Bearer $TOKEN`. Looks no further ahead. */
function namesVariable(text: string, at: number): boolean {
  return /^(?:[A-Za-z]{1,16} )?\$(?:\(|(?:[A-Za-z_]\w{0,127}|\{[A-Za-z_]\w{0,127}\})(?![^\s'"`\\]))/.test(
    text.slice(at, at + 160),
  );
}

/** Words that are no secret whatever their name. */
const PLAIN = /^(?:true|false|yes|no|on|off|none|null|nil|undefined)$/i;

const unlessPlain = (text: string, value: { start: number; end: number }): Value =>
  value.end - value.start < 10 && PLAIN.test(text.slice(value.start, value.end)) ? 'none' : value;

/** The name begins the argument, or only the option that takes a header stands before it: `-H Name`, `--header=Name`. */
const isWholeArgument = (text: string, nameStart: number): boolean =>
  nameStart === 0 || (nameStart <= 40 && /^(?:-[A-Za-z]{0,8}H ?|--[a-z-]+[= ]|-+)$/.test(text.slice(0, nameStart)));

/**
 * Whether a word after a lone secret name may be its value: no option, path or URL. A long mixed word counts in spite of
 * a leading slash, which base64 can have.
 */
export function looksLikeValue(word: string): boolean {
  if (word === '' || /^[a-z][a-z0-9+.-]*:\/\//i.test(word)) return false;
  if (!/^[-/.~]/.test(word)) return /^[A-Za-z0-9+_=%"'[]/.test(word);
  return word.length >= 24 && /[a-z]/.test(word) && /[A-Z]/.test(word) && /[0-9]/.test(word);
}

const isQuote = (character: string | undefined): boolean => character === '"' || character === "'" || character === '`';

/** The quote that stands open before a name: directly, or with the option that takes a header between. */
function quoteBefore(text: string, nameStart: number): string | undefined {
  const before = text[nameStart - 1];
  return isQuote(before) ? before : undefined;
}

/** Where a string ends: at its quote (any, where it is not known), at a line break, or at an escaped one of these. */
function endOfQuoted(text: string, from: number, quote: string | undefined): number {
  for (let at = from; at < text.length; at++) {
    const character = text[at]!;
    if (character === '\n' || character === '\r') return at;
    if (quote === undefined ? isQuote(character) : character === quote) return at;
    if (character === '\\' && /[rn'"`]/.test(text[at + 1] ?? '')) return at;
  }
  return text.length;
}

function endOfLine(text: string, from: number): number {
  for (let at = from; at < text.length; at++) if (text[at] === '\n' || text[at] === '\r') return at;
  return text.length;
}

function skipSpace(text: string, from: number): number {
  let at = from;
  while (at < text.length && isSpace(text.charCodeAt(at))) at++;
  return at;
}

function skipBlanks(text: string, from: number): number {
  let at = from;
  while (text[at] === ' ' || text[at] === '\t') at++;
  return at;
}

function skipQuotes(text: string, from: number): number {
  let at = from;
  while (isQuote(text[at]) || text[at] === '\\') at++;
  return at;
}

function skipSame(text: string, from: number): number {
  let at = from;
  while (text[at] === text[from] && at - from < 3) at++;
  return at;
}

const isSpace = (code: number): boolean => code === 0x20 || (code >= 0x09 && code <= 0x0d);

function isNameCharacter(code: number): boolean {
  return (
    (code >= 0x61 && code <= 0x7a) || // a-z
    (code >= 0x41 && code <= 0x5a) || // A-Z
    (code >= 0x30 && code <= 0x39) || // 0-9
    code === 0x2d || // -
    code === 0x5f || // _
    code === 0x2e // .
  );
}

const WORD_ENDS = new Set([...'\'"`\\,;&|<>(){}[]#$'].map((character) => character.charCodeAt(0)));
const endsWord = (code: number): boolean => isSpace(code) || WORD_ENDS.has(code);
