import { describe, expect, it } from 'vitest';
import { KNOWN_CLIENTS } from '../../src/advice/clients.js';
import { inventoryCommand } from '../../src/cli/inventory.js';
import { type InventoryItem, MAX_PIDS, type ProblemReason } from '../../src/inventory/types.js';
import { named, page, quoted, rows, table } from '../support/page.js';

const PAGE = page('inventory.md');

describe('docs/inventory.md', () => {
  it('has every known client with its minimum', () => {
    const documented = rows(table(PAGE, 'Kind')).map(([kind, names, provider, minimum, below]) => [
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
    expect(named(table(PAGE, 'Member'))).toEqual(Object.keys(members));
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
    expect(named(table(PAGE, 'Reason'))).toEqual(Object.keys(reasons));
  });

  it('has the options that there are', () => {
    const options = inventoryCommand().options.map(({ long }) => long);
    expect(named(table(PAGE, 'Option')).map((option) => option.split(' ')[0])).toEqual(options);
  });
});
