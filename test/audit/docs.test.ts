import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { switchAdvice } from '../../src/advice/switch.js';
import { COVERAGE } from '../../src/audit/coverage.js';
import { ROOT_CAUSES } from '../../src/audit/root-cause.js';
import { IMPACTS } from '../../src/audit/verdict.js';
import { addAuditOptions, addTraceOptions } from '../../src/cli/options.js';

const PAGE = readFileSync(fileURLToPath(new URL('../../docs/audit.md', import.meta.url)), 'utf8');

/** The first column of the tables of a section. */
function named(heading: string): string[] {
  const section = PAGE.split(/^## /m).find((part) => part.startsWith(`${heading}\n`))!;
  const cells = [...section.matchAll(/^\| (`[^|]*) \|/gm)].map(([, cell]) => cell!);
  return cells.flatMap((cell) => [...cell.matchAll(/`([^`]+)`/g)].map(([, word]) => word!.split(' ')[0]!));
}

const options = (command: Command): string[] => command.options.map(({ long }) => long!);

describe('docs/audit.md', () => {
  it('has every impact, root cause and code of coverage', () => {
    expect(named('Clients')).toEqual(Object.keys(IMPACTS));
    expect(named('Root causes')).toEqual(Object.keys(ROOT_CAUSES));
    expect(named('Coverage')).toEqual(Object.keys(COVERAGE));
  });

  it('has the options that `trace` has not', () => {
    const own = options(addAuditOptions(new Command())).filter(
      (name) => !options(addTraceOptions(new Command())).includes(name),
    );
    expect([...named('Options')].sort()).toEqual([...own, '--duration'].sort());
  });

  it("has the vendors' commands as the advice has them", () => {
    const commands = switchAdvice(['alibaba', 'aws']).flatMap(({ commands }) => commands);
    for (const command of commands) expect(PAGE).toContain(command);
  });
});
