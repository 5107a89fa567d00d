import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../src/package-root.js';
import { compileWith } from '../native/support.js';

const FOLDER = join(packageRoot(), 'test/fuzz');

/** The C that touches bytes from outside, a target each; `seconds` of a run without FUZZ_SECONDS. */
export const TARGETS = ['frame', 'record', 'packet_file', 'exchanges'] as const;
export type Target = (typeof TARGETS)[number];

/** The inputs that are kept: each covers code that the others do not. */
export const corpusOf = (target: Target): string => join(FOLDER, 'corpus', target);

/** Why nothing can be fuzzed here; undefined where it can. */
export function missingFuzzer(): string | undefined {
  const { status } = spawnSync(
    'sh',
    ['-c', 'echo "int LLVMFuzzerTestOneInput(void){return 0;}" | clang -xc -fsanitize=fuzzer,address - -o /dev/null'],
    { stdio: 'ignore' },
  );
  return status === 0 ? undefined : "needs clang's run-time library: apt-get install libclang-rt-dev";
}

/** Compiles a target with libFuzzer, ASan and UBSan. */
export function compileTarget(target: Target, output: string): string {
  return compileWith(
    'clang',
    join('test/fuzz/targets', `${target}.c`),
    output,
    '-O1',
    '-fsanitize=fuzzer,address,undefined',
    '-fno-sanitize-recover=all',
    // So short that an input reaches across its end.
    ...(target === 'exchanges' ? ['-DSTRETCH_BYTES=2048'] : []),
  );
}

export interface FuzzRun {
  /** The fuzzer's exit status: 0 without a finding. */
  status: number | null;
  executions: number;
  /** The end of what it said: of a finding, its stack. */
  said: string;
}

/** Fuzzes for so long, from the kept inputs; what is new goes to `found`, and an input that fails to `found` as well. */
export function fuzz(program: string, target: Target, seconds: number, found: string): FuzzRun {
  mkdirSync(found, { recursive: true });
  const { status, stderr } = spawnSync(
    program,
    [
      `-max_total_time=${seconds}`,
      '-max_len=4096',
      '-timeout=25',
      '-rss_limit_mb=2048',
      '-print_final_stats=1',
      `-artifact_prefix=${found}/`,
      found,
      corpusOf(target),
    ],
    { encoding: 'utf8', maxBuffer: 1 << 28 },
  );
  const executions = Number(/stat::number_of_executed_units: (\d+)/.exec(stderr)?.[1] ?? 0);
  return { status, executions, said: stderr.slice(-6_000) };
}

/** Adds to the kept inputs what covers more than they do, as few and as short as the fuzzer can make them. */
export function keep(program: string, target: Target, found: string): void {
  execFileSync(program, ['-merge=1', '-max_len=4096', corpusOf(target), found], { stdio: 'ignore' });
}

/** How many inputs are kept. */
export const kept = (target: Target): number => readdirSync(corpusOf(target)).length;
