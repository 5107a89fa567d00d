import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../src/capture/native.js';

const ROOT = packageRoot();
export const DEPLOY = join(ROOT, 'deploy');

/** The text of a file below `deploy/`. */
export const deployed = (name: string): string => readFileSync(join(DEPLOY, name), 'utf8');

/** Where a program is; undefined where it isn't. */
export const programPath = (name: string): string | undefined =>
  [...(process.env['PATH'] ?? '').split(':'), '/usr/sbin', '/sbin']
    .map((folder) => join(folder, name))
    .find((path) => existsSync(path));
