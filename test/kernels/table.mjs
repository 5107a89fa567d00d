// What the runs gave, as a table and what is behind its numbers.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const read = (path) => (existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : undefined);

/**
 * What a run left in its folder. `done` is false where it ended before its tests did.
 */
export function readResults(name, results, minutes) {
  const doctor = read(join(results, 'doctor.json'));
  const tests = read(join(results, 'tests.json'));
  const cases = (tests?.testResults ?? []).flatMap(({ name: file, assertionResults, status, message }) =>
    assertionResults.length === 0 && status === 'failed'
      ? [{ file, status, fullName: 'the file', failureMessages: [message] }]
      : assertionResults.map((each) => ({ file, ...each })),
  );
  return { name, minutes, doctor, done: tests !== undefined, cases };
}

const count = ({ cases }, ...states) => cases.filter(({ status }) => states.includes(status)).length;
const SKIPPED = ['skipped', 'pending', 'todo'];

const COLUMNS = {
  System: ({ name }) => name,
  Kernel: ({ doctor }) => doctor?.checks.find(({ check }) => check === 'kernel')?.detail ?? '',
  'Source that `auto` takes': ({ doctor }) => doctor?.source.reason ?? '',
  Checks: ({ doctor }) =>
    doctor === undefined ? '' : `${doctor.checks.filter(({ ok }) => ok).length} of ${doctor.checks.length}`,
  Passed: (row) => (row.done ? count(row, 'passed') : 'not ended'),
  Failed: (row) => (row.done ? count(row, 'failed') : ''),
  Skipped: (row) => (row.done ? count(row, ...SKIPPED) : ''),
  Minutes: ({ minutes }) => minutes.toFixed(0),
};

/** Whether all tests of a row ran, and none failed. */
export const isFine = (row) => row.done && row.cases.length > 0 && count(row, 'failed') === 0;

export function formatTable(rows) {
  const line = (cells) => `| ${cells.join(' | ')} |\n`;
  const names = Object.keys(COLUMNS);
  const table = [names, names.map(() => '---'), ...rows.map((row) => names.map((name) => COLUMNS[name](row)))];
  const lists = rows.flatMap((row) => [
    ...(row.doctor?.checks ?? [])
      .filter(({ ok }) => !ok)
      .map(({ check, detail }) => `${row.name}: no ${check}: ${detail.split('\n', 1)[0]}\n`),
    ...row.cases
      .filter(({ status }) => SKIPPED.includes(status))
      .map(({ fullName }) => `${row.name}: skipped: ${fullName}\n`),
    ...row.cases
      .filter(({ status }) => status === 'failed')
      .map(({ file, fullName, failureMessages }) => {
        const [first = ''] = (failureMessages[0] ?? '').split('\n');
        return `${row.name}: failed: ${file}: ${fullName}: ${first}\n`;
      }),
  ]);
  return `${table.map(line).join('')}\n${lists.join('')}`;
}
