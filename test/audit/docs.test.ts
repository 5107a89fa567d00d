import { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { switchAdvice } from '../../src/advice/switch.js';
import { COVERAGE } from '../../src/audit/coverage.js';
import { ROOT_CAUSES } from '../../src/audit/root-cause.js';
import { IMPACTS } from '../../src/audit/verdict.js';
import { addAuditOptions, addTraceOptions } from '../../src/cli/options.js';
import { named, page, section } from '../support/page.js';

const PAGE = page('audit.md');
const options = (command: Command): string[] => command.options.map(({ long }) => long!);

describe('docs/audit.md', () => {
  it('has every impact, root cause and code of coverage', () => {
    expect(named(section(PAGE, 'Clients'))).toEqual(Object.keys(IMPACTS));
    expect(named(section(PAGE, 'Root causes'))).toEqual(Object.keys(ROOT_CAUSES));
    expect(named(section(PAGE, 'Coverage'))).toEqual(Object.keys(COVERAGE));
  });

  it('has the options that `trace` has not', () => {
    const own = options(addAuditOptions(new Command())).filter(
      (name) => !options(addTraceOptions(new Command())).includes(name),
    );
    expect(
      named(section(PAGE, 'Options'))
        .map((option) => option.split(' ')[0]!)
        .sort(),
    ).toEqual([...own, '--duration'].sort());
  });

  it("has the vendors' commands as the advice has them", () => {
    const commands = switchAdvice(['alibaba', 'aws']).flatMap(({ commands }) => commands);
    for (const command of commands) expect(PAGE).toContain(command);
  });
});
