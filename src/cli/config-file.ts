import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Node, YAMLMap } from 'yaml';
import { type TracerError, usageError } from '../errors.js';
import { escapeText } from '../output/escape.js';

const require = createRequire(import.meta.url);
/** Loaded for a file that is there: it takes as long as all else that a command loads. */
const yaml = (): typeof import('yaml') => require('yaml');

/** A value of the configuration, as it is written there: one text, or a list of texts. */
export interface ConfigValue {
  value: string | string[];
  /** Where it stands, for messages: `FILE:LINE`. */
  at: string;
}

/** Far more than all options take. */
const MAX_BYTES = 64 * 1024;
const MAX_SHOWN = 200;
/** Deeper than a list of texts makes no sense. The parser takes memory by the square of the depth: gigabytes for 60 KiB of `[`. */
const MAX_DEPTH = 8;

/**
 * Reads a configuration: a YAML mapping of names to texts or lists of texts, each once. All else that YAML can say is
 * refused, with its line: other structures, tags, and aliases, which can make gigabytes of a few lines. Numbers and words
 * such as `no` or `012` stay the texts that they are, so that a value means here what it means on the command line.
 * Undefined where there is no such file; throws a usage error for everything else.
 */
export function readConfigFile(file: string): Map<string, ConfigValue> | undefined {
  const source = readBounded(file);
  return source === undefined ? undefined : parseConfig(source, file);
}

function readBounded(file: string): string | undefined {
  let fd: number | undefined;
  try {
    // Without O_NONBLOCK, opening a FIFO could wait for ever.
    fd = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
    if (!fstatSync(fd).isFile()) throw new Error('it is no plain file');
    const bytes = Buffer.alloc(MAX_BYTES + 1);
    let length = 0;
    for (let read = -1; read !== 0 && length < bytes.length; length += read) {
      read = readSync(fd, bytes, length, bytes.length - length, null);
    }
    if (length > MAX_BYTES) throw new Error(`it has more than ${MAX_BYTES / 1024} KiB`);
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(0, length));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw unreadable(file, (error as Error).message);
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

export const unreadable = (file: string, why: string): TracerError =>
  usageError(
    'IMDS_CONFIG_UNREADABLE',
    `the configuration ${escapeText(file)} can't be read: ${why}`,
    'give a readable file with --config, or remove it to run with the defaults',
  );

function parseConfig(source: string, file: string): Map<string, ConfigValue> {
  const lines = new (yaml().LineCounter)();
  const place = (offset: number): string => `${escapeText(file)}:${lines.linePos(offset).line}`;
  const refuse = (offset: number, what: string): TracerError =>
    usageError('IMDS_CONFIG_INVALID', `the configuration is wrong at ${place(offset)}: ${escapeText(what, MAX_SHOWN)}`);

  const deep = lineOfDepth(source);
  if (deep !== undefined) {
    throw usageError(
      'IMDS_CONFIG_INVALID',
      `the configuration is wrong at ${escapeText(file)}:${deep}: it is nested too deeply`,
    );
  }
  const document = yaml().parseDocument(source, { schema: 'failsafe', lineCounter: lines, prettyErrors: false });
  const [fault] = [...document.errors, ...document.warnings];
  if (fault !== undefined) throw refuse(fault.pos[0], `it is no valid YAML: ${fault.message}`);
  const { contents } = document;
  const values = new Map<string, ConfigValue>();
  if (contents === null || (yaml().isScalar(contents) && contents.source === '')) return values;
  const offsetOf = (node: unknown): number => (node as Node | null)?.range?.[0] ?? 0;

  const textOf = (node: unknown, name: string): string => {
    if (yaml().isAlias(node)) throw refuse(offsetOf(node), `${name}: aliases have no meaning here`);
    if (!yaml().isScalar(node) || typeof node.value !== 'string')
      throw refuse(offsetOf(node), `${name}: its value is no text`);
    checkPlain(node);
    if (node.value === '') throw refuse(offsetOf(node), `${name}: there is no value`);
    return node.value;
  };
  const checkPlain = (node: Node & { tag?: string; anchor?: string }): void => {
    if (node.anchor !== undefined) throw refuse(offsetOf(node), 'anchors have no meaning here');
    if (node.tag !== undefined) throw refuse(offsetOf(node), `the tag ${node.tag} has no meaning here`);
  };

  if (!yaml().isMap(contents)) throw refuse(offsetOf(contents), 'it is no mapping of names to values');
  checkPlain(contents as YAMLMap);
  for (const { key, value } of contents.items) {
    const name = textOf(key, 'a name');
    const at = place(offsetOf(key));
    if (!yaml().isSeq(value)) {
      values.set(name, { value: textOf(value, name), at });
      continue;
    }
    checkPlain(value);
    values.set(name, { value: value.items.map((item) => textOf(item, name)), at });
  }
  return values;
}

/** What one line can open of block structures, and flow structures in all. */
const OPENS: ReadonlySet<string> = new Set(['[', '{', '-', '?', ':']);
const CLOSES: ReadonlySet<string> = new Set([']', '}']);

/** The line where the source is nested deeper than MAX_DEPTH: by brackets, or within a line. Linear. */
function lineOfDepth(source: string): number | undefined {
  let brackets = 0;
  let inLine = 0;
  let line = 1;
  for (const token of new (yaml().Lexer)().lex(source)) {
    if (token === '[' || token === '{') brackets++;
    else if (CLOSES.has(token)) brackets--;
    if (OPENS.has(token)) inLine++;
    else if (token.endsWith('\n')) inLine = 0;
    // In `[a: 1, b: 2]` nothing gets deeper by the second colon.
    else if (token === ',') inLine = brackets;
    if (brackets > MAX_DEPTH || inLine > MAX_DEPTH) return line;
    if (token.includes('\n')) line += token.split('\n').length - 1;
  }
  return undefined;
}
