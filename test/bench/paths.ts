import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Wherever this file is compiled to, the nearest package.json above it is ours. */
function packageRoot(): string {
  let directory = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(directory, 'package.json'))) directory = dirname(directory);
  return directory;
}

export const ROOT = packageRoot();

/** The command line as it is installed. */
export const TRACER = join(ROOT, 'dist/cli/main.js');
export const C_SOURCES = join(ROOT, 'test/bench/native');
export const C_PROGRAMS = join(ROOT, 'build/bench');
