/**
 * Untrusted text as part of one line: argvs, names, request targets, headers, units, hosts.
 *
 * What comes out has no control, format or other invisible character, no line or paragraph separator and no lone
 * surrogate, and none of the marks that give the line its structure. So a value can neither start a line, steer a
 * terminal, reorder what is read, nor pass for another part of the line. All else stays as it is, pipes, quotes,
 * parentheses and backslashes included: the exact value is in the JSON event.
 */

/**
 * The marks of the text line (text.ts), each broken by escaping its first character. `WARNING` is among them: a search
 * for the level must find the lines of that level only. ` argv:` ends a process's name; the key words count after a bar
 * and `verdict:` anywhere, because people search for it alone.
 */
export const MARKS: readonly string[] = [
  'WARNING',
  'IMDSv1\\(!\\)',
  'IMDSv2',
  'called by ->',
  '\\) -> \\(pid:',
  '\\(pid:',
  ' argv:',
  'Req details:',
  ', Host:',
  ', User-Agent:',
  'verdict:',
  '\\| (?:status|severity|unit|via|container|reasons|detail):',
];
const ANY_MARK = MARKS.join('|');

/**
 * Cc, Cf, Zl, Zp by general category; Cs matches lone surrogates only (the u flag reads pairs as one); default
 * ignorables add what draws nothing without being Cf: variation selectors, Hangul fillers.
 */
const UNPRINTABLE = '[\\p{Cc}\\p{Cf}\\p{Zl}\\p{Zp}\\p{Cs}\\p{Default_Ignorable_Code_Point}]';

const UNSAFE = new RegExp(`${UNPRINTABLE}|${ANY_MARK}`, 'gu');
/** Without the u flag and with anything beyond printable ASCII as a suspect: several times as fast, for nearly all values. */
const SUSPECT = new RegExp(`[^\\x20-\\x7e]|${ANY_MARK}`);
/** The same alone, for what is no part of a line. */
const INVISIBLE = new RegExp(UNPRINTABLE, 'gu');
/** For formats that have their own marks, and escapes of their own for line ends. */
const UNPRINTABLE_IN_LINES = new RegExp(`(?![\\n\\r])${UNPRINTABLE}`, 'gu');
const UNSAFE_IN_WORD = new RegExp(`${UNPRINTABLE}|${ANY_MARK}| `, 'gu');

/**
 * Words that need no escaping, as nearly all are: no mark is made of these characters alone (a test holds every mark against
 * it), and to look for one set of characters is several times as fast as to look for every mark.
 */
export const PLAIN_WORD = /^[A-HJ-VX-Za-z0-9/._?=&%~+-]*$/;

/** The values of one line are each bounded to this many characters (UTF-16 code units) unless said otherwise. */
const MAX_VALUE_LENGTH = 4096;

/**
 * `text`, cut to at most `limit` UTF-16 code units and marked with how many were cut, those cut before included. Never
 * splits a surrogate pair. The mark comes on top of `limit`.
 */
export function boundText(text: string, limit: number, cutBefore = 0): string {
  if (text.length <= limit && cutBefore <= 0) return text;
  const end = wholeCharacters(text, limit);
  return text.slice(0, end) + cutMark(text.length - end + cutBefore);
}

/** Text for a line. At most `limit` code units come out, and a mark of what was cut from the value. Linear time. */
export function escapeText(value: string, limit: number = MAX_VALUE_LENGTH): string {
  if (value.length <= limit && !SUSPECT.test(value)) return value;
  return escapeWith(value, limit, UNSAFE);
}

/** The same for a value that is one word of the line: spaces are escaped too. */
export function escapeWord(value: string, limit: number = MAX_VALUE_LENGTH): string {
  if (value.length <= limit && (PLAIN_WORD.test(value) || (!SUSPECT.test(value) && !value.includes(' ')))) return value;
  return escapeWith(value, limit, UNSAFE_IN_WORD);
}

/** Printable text in which line ends are as they were and no marks are escaped: for a format that escapes these itself. */
export function escapeLines(value: string, limit: number = MAX_VALUE_LENGTH): string {
  if (value.length <= limit && !/[^\n\r\x20-\x7e]/.test(value)) return value;
  return escapeWith(value, limit, UNPRINTABLE_IN_LINES);
}

/** Printable text without any bound, for a page that escapes its own marks. */
export const escapeInvisible = (value: string): string =>
  value.replace(INVISIBLE, (character) => hexEscape(character.codePointAt(0)!));

/** Characters that are invisible or steer a terminal, but stand as they are in JSON text: DEL, C1, format characters. */
const UNSAFE_IN_JSON = /[\x7f-\x9f\p{Cf}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/gu;

/**
 * JSON text that is safe to print, of the same value: outside of ASCII JSON has nothing but the inside of strings, where
 * `\uXXXX` stands for the character itself (RFC 8259, section 7).
 */
export function escapeJson(json: string): string {
  if (!/[^\x20-\x7e]/.test(json)) return json;
  return json.replace(UNSAFE_IN_JSON, (character) => {
    let escaped = '';
    for (let i = 0; i < character.length; i++) {
      escaped += `\\u${character.charCodeAt(i).toString(16).padStart(4, '0')}`;
    }
    return escaped;
  });
}

/** What stands in a JSON string as it is, and is safe to print: nearly all values. */
const PLAIN_IN_JSON = /^[\x20\x21\x23-\x5b\x5d-\x7e]*$/;

/** A JSON string that is safe to print, without the quotes around it. */
export const jsonInside = (value: string): string =>
  PLAIN_IN_JSON.test(value) ? value : escapeJson(JSON.stringify(value)).slice(1, -1);

function escapeWith(value: string, limit: number, unsafe: RegExp): string {
  const end = wholeCharacters(value, limit);
  const kept = end < value.length ? value.slice(0, end) : value;
  let out = '';
  let done = 0;
  unsafe.lastIndex = 0;
  for (let match = unsafe.exec(kept); match !== null; match = unsafe.exec(kept)) {
    const escaped = hexEscape(match[0].codePointAt(0)!);
    const room = limit - out.length;
    if (match.index - done + escaped.length > room) break;
    out += kept.slice(done, match.index) + escaped;
    done = match.index + (match[0].codePointAt(0)! > 0xffff ? 2 : 1);
    unsafe.lastIndex = done;
  }
  // What is left has no unsafe character, or is cut before the one that had no room.
  unsafe.lastIndex = done;
  const next = unsafe.exec(kept);
  const safeEnd = next === null ? kept.length : next.index;
  const stop = done + wholeCharacters(kept.slice(done, safeEnd), limit - out.length);
  out += kept.slice(done, stop);
  return stop < value.length ? out + cutMark(value.length - stop) : out;
}

const hexEscape = (codePoint: number): string =>
  codePoint <= 0xff ? `\\x${codePoint.toString(16).padStart(2, '0')}` : `\\u{${codePoint.toString(16)}}`;

const cutMark = (count: number): string => `...[+${count}]`;

/** The greatest length up to `limit` that does not end within a surrogate pair. */
function wholeCharacters(text: string, limit: number): number {
  if (text.length <= limit) return text.length;
  const end = Math.max(limit, 0);
  if (end === 0) return 0;
  const last = text.charCodeAt(end - 1);
  const next = text.charCodeAt(end);
  return last >= 0xd800 && last < 0xdc00 && next >= 0xdc00 && next < 0xe000 ? end - 1 : end;
}
