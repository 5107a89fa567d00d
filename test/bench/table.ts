import { type Row, ratiosOf, spread } from './rows.js';

const HEADINGS = ['', 'tracer', 'yardstick', '', 'ratio min', 'median', 'max', 'goal', ''] as const;

/** The rows as a table for people: medians of the rounds, ratios with their spread. */
export function formatTable(rows: readonly Row[]): string {
  const cells = [HEADINGS, ...rows.map(cellsOf)];
  const widths = HEADINGS.map((_, column) => Math.max(...cells.map((row) => row[column]!.length)));
  const lines = cells.map((row) =>
    row
      .map((cell, column) => pad(cell, widths[column]!, column))
      .join('  ')
      .trimEnd(),
  );
  const notes = rows.flatMap(({ name, note }) => (note === undefined ? [] : [`  ${name}: ${note}`]));
  return [...lines, '', ...notes].join('\n');
}

/** The rows as a program reads them: every round. */
export const formatJson = (rows: readonly Row[]): string =>
  JSON.stringify(
    rows.map((row) => ({ ...row, ratios: ratiosOf(row), ratio: spread(ratiosOf(row)) })),
    undefined,
    2,
  );

function cellsOf(row: Row): string[] {
  const ratio = spread(ratiosOf(row));
  return [
    row.name,
    `${figures(spread(row.tracer).median)} ${row.unit}`,
    `${figures(spread(row.against).median)} ${row.unit}`,
    row.yardstick,
    figures(ratio.min),
    figures(ratio.median),
    figures(ratio.max),
    row.goal?.text ?? '',
    row.goal === undefined ? '' : row.goal.met ? 'ok' : 'MISSED',
  ];
}

/** Numbers to the right, words to the left. */
const pad = (text: string, width: number, column: number): string =>
  [1, 2, 4, 5, 6].includes(column) ? text.padStart(width) : text.padEnd(width);

/** Three figures, never in powers of ten. */
function figures(value: number): string {
  if (Math.abs(value) >= 100) return String(Math.round(value));
  return value.toFixed(Math.abs(value) >= 10 ? 1 : Math.abs(value) >= 1 ? 2 : 3);
}
