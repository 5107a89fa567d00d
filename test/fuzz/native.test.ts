import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { describe, expect, it } from 'vitest';
import { packageRoot } from '../../src/package-root.js';
import { compileTarget, fuzz, keep, kept, missingFuzzer, TARGETS } from './targets.js';

/** A short run in the normal tests; `FUZZ_SECONDS=3600 npm run fuzz` for a long one, which also keeps what it finds. */
const seconds = Number(process.env['FUZZ_SECONDS'] ?? 1);
const long = process.env['FUZZ_SECONDS'] !== undefined;
const missing = missingFuzzer();
const build = join(packageRoot(), 'build/fuzz');

describe(`the native module, fuzzed${missing === undefined ? '' : ` (${missing})`}`, () => {
  it.skipIf(missing !== undefined).each(TARGETS)(
    '%s: no input makes it read or write out of bounds, hang or break its promises',
    (target) => {
      mkdirSync(build, { recursive: true });
      const program = compileTarget(target, join(build, target));
      expect(kept(target)).toBeGreaterThan(10);
      const found = join(build, `${target}.found`);
      const run = fuzz(program, target, seconds, found);
      if (long) process.stdout.write(`fuzz ${target}: ${run.executions} executions in ${seconds} s\n`);
      if (run.status !== 0) expect.fail(`${run.said}\nthe input is in ${found}`);
      // Fewer would mean that it did not even run through the kept inputs.
      expect(run.executions).toBeGreaterThan(kept(target));
      if (long) keep(program, target, found);
    },
    seconds * 1_000 + 300_000,
  );
});
