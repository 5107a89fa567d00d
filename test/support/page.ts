import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../src/package-root.js';

/** What the pages of docs/ say in their tables, to be held against the code. */

export const page = (name: string): string => readFileSync(join(packageRoot(), 'docs', name), 'utf8');

/** The part of a page from a heading to the next of the same level. */
export function section(text: string, heading: string): string {
  const parts = text.split(/^## /m).filter((part) => part.startsWith(`${heading}\n`));
  if (parts.length !== 1) throw new Error(`${parts.length} headings "${heading}"`);
  return parts[0]!;
}

/** The table whose head begins with this cell. */
export function table(text: string, head: string): string {
  const parts = text.split(/\n(?!\|)/).filter((part) => part.includes(`| ${head} |`));
  if (parts.length !== 1) throw new Error(`${parts.length} tables "${head}"`);
  return parts[0]!;
}

/** The rows of all tables of a text, as cells, without heads and rulers. A bar within a cell is written `\|`. */
export function rows(text: string): string[][] {
  const lines = text.split('\n');
  return lines.flatMap((line, i) => {
    const isRuler = (at: number) => /^\|[ |:-]+\|$/.test(lines[at] ?? '');
    if (!line.startsWith('| ') || isRuler(i) || isRuler(i + 1)) return [];
    return [
      line
        .slice(1, -1)
        .split(/(?<!\\)\|/)
        .map((cell) => cell.trim()),
    ];
  });
}

export const quoted = (cell: string): string[] => [...cell.matchAll(/`([^`]+)`/g)].map(([, word]) => word!);

/** What the first column of a text's tables names. */
export const named = (text: string): string[] => rows(text).flatMap(([cell]) => quoted(cell!));
