/** Text that may stand in a command for copying: printable ASCII. What else there is, a terminal or a shell may read otherwise. */
const PLAIN = /^[\x20-\x7e]*$/;
const SAFE_WORD = /^[\w@%+=:,./-]+$/;

export const isPlain = (text: string): boolean => PLAIN.test(text);

/** A word of a POSIX shell's command line that means exactly `text` (which must be plain). */
export function shellWord(text: string): string {
  if (SAFE_WORD.test(text)) return text;
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
