import type { LearnedSecrets } from './learned.js';
import { secretKind } from './secret-names.js';
import { looksLikeValue, REDACTED, redactText } from './secret-text.js';

/**
 * Which part of an option's value is secret: `all`; `password` what follows the first colon (`user:password`); `body`
 * all but a file's name (`@file`); `cookie` all but a file's name (no `=`).
 */
type Rule = 'all' | 'password' | 'body' | 'cookie';

interface Program {
  /** Single-letter options with a value: in a cluster such as `-sud x` the first of them takes the rest or the next word. */
  lettersWithValue: string;
  letters: Readonly<Record<string, Rule>>;
  /** The value of a letter only ever stands in the same word (`mysql -psecret`; `mysql -p secret` asks, and opens `secret`). */
  gluedOnly?: true;
  long: Readonly<Record<string, Rule>>;
}

const MYSQL: Program = { lettersWithValue: 'uhPDeSp', letters: { p: 'all' }, gluedOnly: true, long: {} };

/** Options whose name alone does not say that their value is secret. From the programs' manual pages. */
const PROGRAMS: ReadonlyMap<string, Program> = new Map(
  Object.entries({
    curl: {
      lettersWithValue: 'AbcCdDeEFHhKmoPQrtTuUwxXyYz',
      letters: { u: 'password', U: 'password', d: 'body', F: 'body', b: 'cookie', E: 'password' },
      long: {
        '--user': 'password',
        '--proxy-user': 'password',
        '--cert': 'password',
        '--pass': 'all',
        '--proxy-pass': 'all',
        '--oauth2-bearer': 'all',
        '--cookie': 'cookie',
        '--data': 'body',
        '--data-ascii': 'body',
        '--data-binary': 'body',
        '--data-raw': 'body',
        '--data-urlencode': 'body',
        '--json': 'body',
        '--form': 'body',
        '--form-string': 'body',
      },
    },
    wget: {
      lettersWithValue: 'oaeiBtOTwQPUlADRIX',
      letters: {},
      long: { '--post-data': 'body', '--body-data': 'body' },
    },
    sshpass: { lettersWithValue: 'pfdP', letters: { p: 'all' }, long: {} },
    mysql: MYSQL,
    mysqldump: MYSQL,
    mysqladmin: MYSQL,
    mariadb: MYSQL,
  } satisfies Record<string, Program>),
);

/** Reads the words of a command line in order and says which part of each is a secret option's value. */
class OptionReader {
  #program: Program | undefined;
  #pending: Rule | undefined;

  /** A new command begins: `;`, `|`, `$(` in a shell script. */
  reset(): void {
    this.#program = undefined;
    this.#pending = undefined;
  }

  /** Where the secret part of `word` begins; it reaches to the word's end. Undefined where there is none. */
  next(word: string): number | undefined {
    const rule = this.#pending;
    this.#pending = undefined;
    if (rule !== undefined) {
      const start = secretStart(rule, word, 0);
      if (start !== undefined || rule !== 'all') return start;
    }
    if (!word.startsWith('-') || word.length < 2) {
      this.#program = PROGRAMS.get(word.slice(word.lastIndexOf('/') + 1)) ?? this.#program;
      return undefined;
    }
    return word.startsWith('--') ? this.#long(word) : (this.#cluster(word) ?? this.#named(word));
  }

  #long(word: string): number | undefined {
    const equals = word.indexOf('=');
    const rule = this.#program?.long[equals < 0 ? word : word.slice(0, equals)];
    if (rule === undefined) return this.#named(word);
    if (equals >= 0) return secretStart(rule, word, equals + 1);
    this.#pending = rule;
    return undefined;
  }

  #cluster(word: string): number | undefined {
    const program = this.#program;
    if (program === undefined) return undefined;
    for (let i = 1; i < word.length; i++) {
      const letter = word[i]!;
      if (!program.lettersWithValue.includes(letter)) continue;
      const rule = program.letters[letter];
      if (rule === undefined) return undefined;
      if (i + 1 < word.length) return secretStart(rule, word, i + 1);
      if (!program.gluedOnly) this.#pending = rule;
      return undefined;
    }
    return undefined;
  }

  /** `--password x`, `-secret-key x`: an option whose name says it. With `=` redactText sees it by itself. */
  #named(word: string): undefined {
    if (word.length > 3 && word.length < 128 && /^-{1,2}[A-Za-z]/.test(word) && !/[=:]/.test(word)) {
      const kind = secretKind(word.replace(/^-+/, ''));
      if (kind !== undefined && this.#pending === undefined) this.#pending = 'all';
    }
  }
}

function secretStart(rule: Rule, word: string, from: number): number | undefined {
  if (from >= word.length) return undefined;
  switch (rule) {
    case 'all':
      return from === 0 && /^--?[A-Za-z]/.test(word) && !looksLikeValue(word) ? undefined : from;
    case 'password': {
      const colon = word.indexOf(':', from);
      return colon < 0 || colon + 1 === word.length ? undefined : colon + 1;
    }
    case 'body':
      return word[from] === '@' ? undefined : from;
    case 'cookie':
      return word.includes('=', from) ? from : undefined;
  }
}

/** A text that this does not match is no script with options of its own. */
const MAY_HOLD_OPTIONS = /\s-/;
/** Not what may stand between a dash and these words: a run of dashes would be looked at from each of them. */
const MAY_HOLD_SECRET_OPTION = /\b(?:curl|wget|sshpass|mysql|mariadb)|pass|token|secret|key|cookie|auth/i;

/**
 * Arguments of a process without their secrets, one for one. `cut` says that the last is the beginning of a longer one.
 * Linear in the length of all arguments.
 */
export function redactArgs(args: readonly string[], learned: LearnedSecrets, cut: boolean): string[] {
  const options = new OptionReader();
  const out: string[] = [];
  let valueFollows = false;
  for (let i = 0; i < args.length; i++) {
    const arg = args[i]!;
    const isCut = cut && i === args.length - 1;
    const start = options.next(arg);
    if (valueFollows && looksLikeValue(arg)) {
      out.push(REDACTED);
      valueFollows = false;
      continue;
    }
    const shown = start === undefined ? redactScript(arg) : arg.slice(0, start) + REDACTED;
    const redacted = redactText(shown, learned, isCut);
    valueFollows = redacted.valueFollows;
    out.push(redacted.text);
  }
  return out;
}

/** The options of the commands within a script (`sh -c "curl -u a:b …"`), whose words a shell would split. */
function redactScript(text: string): string {
  if (!MAY_HOLD_OPTIONS.test(text) || !MAY_HOLD_SECRET_OPTION.test(text)) return text;
  const options = new OptionReader();
  let out = '';
  let done = 0;
  for (const { start, end, beginsCommand } of shellWords(text)) {
    if (beginsCommand) options.reset();
    const word = text.slice(start, end);
    const secret = options.next(word);
    // `$TOKEN` and `$(…)` name a value; they are none.
    if (secret !== undefined && word[secret] !== '$') {
      out += text.slice(done, start + secret) + REDACTED;
      done = end;
    }
  }
  return done === 0 ? text : out + text.slice(done);
}

/** Words of a shell script, without the quotes around them; good enough to find options and their values. */
function* shellWords(text: string): Generator<{ start: number; end: number; beginsCommand: boolean }> {
  let beginsCommand = true;
  for (let at = 0; at < text.length; ) {
    const first = text.charCodeAt(at);
    if (separates(first)) {
      beginsCommand ||= first !== SPACE && first !== TAB;
      at++;
      continue;
    }
    const isQuoted = first === DOUBLE_QUOTE || first === SINGLE_QUOTE;
    const start = isQuoted ? at + 1 : at;
    let end = start;
    if (isQuoted) {
      while (end < text.length && text.charCodeAt(end) !== first) end++;
      at = end + 1;
    } else {
      let quote = 0;
      for (; end < text.length; end++) {
        const code = text.charCodeAt(end);
        if (quote !== 0) quote = code === quote ? 0 : quote;
        else if (code === DOUBLE_QUOTE || code === SINGLE_QUOTE) quote = code;
        else if (separates(code)) break;
      }
      at = end;
    }
    yield { start, end, beginsCommand };
    beginsCommand = false;
  }
}

const [TAB, SPACE, DOUBLE_QUOTE, SINGLE_QUOTE] = [0x09, 0x20, 0x22, 0x27] as const;

/** White space, and `&`, `(`, `)`, `;`, `|`. */
const separates = (code: number): boolean =>
  code === SPACE ||
  (code >= TAB && code <= 0x0d) ||
  code === 0x26 ||
  code === 0x28 ||
  code === 0x29 ||
  code === 0x3b ||
  code === 0x7c;
