import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** This package as its package.json says. */
export interface OwnPackage {
  /** Where it lies, and all that it brings. */
  directory: string;
  version: string;
}

let own: OwnPackage | undefined;

/** Wherever this code was built to, the nearest package.json above it that has a version. */
export function ownPackage(): OwnPackage {
  own ??= find();
  return own;
}

export const packageRoot = (): string => ownPackage().directory;

function find(): OwnPackage {
  let directory = dirname(fileURLToPath(import.meta.url));
  for (;;) {
    const version = versionIn(join(directory, 'package.json'));
    if (version !== undefined) return { directory, version };
    if (directory === '/') throw new Error(`the package.json of imds-tracer is not above ${import.meta.url}`);
    directory = dirname(directory);
  }
}

/** Undefined where there is no such file, and for the one in dist/, which only says how Node is to read what is there. */
function versionIn(path: string): string | undefined {
  try {
    return (JSON.parse(readFileSync(path, 'utf8')) as { version?: string }).version;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
