import pc from 'picocolors';
import { escapeText, escapeWord } from '../output/escape.js';
import { count } from '../output/figures.js';
import type { InventoryItem, InventoryResult, Problem, ProblemReason, Status } from './types.js';

/** The worst first. */
const ORDER: readonly Status[] = ['too_old', 'unknown', 'ok'];

const PROBLEMS: Readonly<Record<ProblemReason, string>> = {
  not_permitted: 'not permitted to look at (not run as root, or the system forbids it)',
  unreadable: 'not readable',
  too_deep: 'nested too deep',
  too_large: 'too large to look into',
  limit_reached: 'beyond a limit: what follows was not looked at',
  file_system_skipped: 'on a network or FUSE file system, passed over by design (name one with --root to look at it)',
  stopped: 'left out, as it was stopped',
};

/** The inventory for people: the items, the worst first, then what could not be seen and how many of each there are. */
export function formatInventory(result: InventoryResult, colour: boolean): string {
  const colours = pc.createColors(colour);
  const paint: Readonly<Record<Status, (text: string) => string>> = {
    too_old: colours.red,
    unknown: colours.yellow,
    ok: colours.green,
  };
  const lines = ORDER.flatMap((status) =>
    result.items
      .filter((item) => item.status === status)
      .flatMap((item) => [
        `${paint[status](status.padEnd(7))}  ${heading(item)}`,
        `         ${where(item)}`,
        ...(item.advice === '' ? [] : [`         ${colours.dim(escapeText(item.advice))}`]),
      ]),
  );
  const problems = result.problems.map((problem) => `${colours.yellow('not seen')} ${problemText(problem)}`);
  return `${[...lines, ...problems, summary(result)].join('\n')}\n`;
}

/** Each value is bounded and printable: names, versions and paths are other people's. */
function heading({ kind, name, version, minimum, status, may_fall_back }: InventoryItem): string {
  const what =
    kind === 'script'
      ? [kind, escapeText(name)]
      : [kind, escapeText(name), version === null ? '(version not known)' : escapeWord(version)];
  const needs = minimum === null || status === 'ok' ? [] : [`(tokens from ${escapeWord(minimum)} on)`];
  const falls = status === 'ok' && may_fall_back ? ['(may fall back)'] : [];
  return [...what, ...needs, ...falls].join(' ');
}

function where({ root, path, container_id: container, in_use: use, pids }: InventoryItem): string {
  const place = `${root === '/' ? '' : escapeText(root)}${escapeText(path)}`;
  const within = container === null ? '' : ` in container ${escapeWord(container, 64)}`;
  const words = use === 'running' ? 'in use by' : 'perhaps in use by';
  return `${place}${within}${use === null ? '' : `, ${words} pid ${pids.join(', ')}`}`;
}

const problemText = ({ reason, count, example }: Problem): string =>
  `${count}× ${PROBLEMS[reason]}: ${escapeText(example, 300)}${count > 1 ? ', …' : ''}`;

function summary({ items, complete, scanned }: InventoryResult): string {
  const of = (status: Status): number => items.filter((item) => item.status === status).length;
  return (
    `${items.length} clients: ${of('too_old')} too old, ${of('unknown')} unknown, ${of('ok')} ok` +
    ` | ${count(scanned.files)} files, ${count(scanned.directories)} directories,` +
    ` ${scanned.processes} processes${complete ? '' : ' | not complete'}`
  );
}
