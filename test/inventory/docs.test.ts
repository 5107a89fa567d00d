import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { KNOWN_CLIENTS } from '../../src/advice/clients.js';
import { inventoryCommand } from '../../src/cli/inventory.js';
import { type InventoryItem, MAX_PIDS, type ProblemReason } from '../../src/inventory/types.js';

const PAGE = readFileSync(fileURLToPath(new URL('../../docs/inventory.md', import.meta.url)), 'utf8');

/** The cells of the table with the given head. */
function table(head: string): string[][] {
  const lines = PAGE.split('\n');
  const from = lines.findIndex((line) => line.startsWith(`| ${head} |`));
  expect(from).toBeGreaterThan(0);
  const rows: string[][] = [];
  for (const line of lines.slice(from + 2)) {
    if (!line.startsWith('| ')) break;
    rows.push(
      line
        .slice(1, -1)
        .split(/(?<!\\)\|/)
        .map((cell) => cell.trim()),
    );
  }
  return rows;
}
const quoted = (cell: string): string[] => [...cell.matchAll(/`([^`]+)`/g)].map(([, word]) => word!);
const named = (head: string): string[] => table(head).flatMap(([cell]) => quoted(cell!));

describe('docs/inventory.md', () => {
  it('has every known client with its minimum', () => {
    const documented = table('Kind').map(([kind, names, provider, minimum, below]) => [
      quoted(kind!)[0],
      quoted(names!),
      quoted(provider!)[0],
      minimum,
      quoted(below!)[0],
    ]);
    expect(documented).toEqual(
      KNOWN_CLIENTS.map(({ kind, names, provider, minimum, below }) => [kind, names, provider, minimum ?? '', below]),
    );
  });

  it('has every member of an item', () => {
    const members = {
      kind: true,
      name: true,
      version: true,
      provider: true,
      path: true,
      root: true,
      container_id: true,
      minimum: true,
      status: true,
      may_fall_back: true,
      advice: true,
      in_use: true,
      pids: true,
    } satisfies Record<keyof InventoryItem, true>;
    expect(named('Member')).toEqual(Object.keys(members));
    expect(PAGE).toContain(`the first ${MAX_PIDS} |`);
  });

  it('has every reason why something was not seen', () => {
    const reasons = {
      not_permitted: true,
      unreadable: true,
      too_deep: true,
      too_large: true,
      limit_reached: true,
      file_system_skipped: true,
      stopped: true,
    } satisfies Record<ProblemReason, true>;
    expect(named('Reason')).toEqual(Object.keys(reasons));
  });

  it('has the options that there are', () => {
    const options = inventoryCommand().options.map(({ long }) => long);
    expect(named('Option').map((option) => option.split(' ')[0])).toEqual(options);
  });
});
