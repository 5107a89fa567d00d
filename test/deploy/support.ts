import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../src/package-root.js';

const ROOT = packageRoot();
export const DEPLOY = join(ROOT, 'deploy');

/** The text of a file below `deploy/`. */
export const deployed = (name: string): string => readFileSync(join(DEPLOY, name), 'utf8');

/** Where native/setup.mjs puts promtool, whose package would start a service. */
const UNPACKED = join(ROOT, 'build/prometheus/usr/bin');

/** Where a program is; undefined where it isn't. */
export const programPath = (name: string): string | undefined =>
  [...(process.env['PATH'] ?? '').split(':'), '/usr/sbin', '/sbin', UNPACKED]
    .map((folder) => join(folder, name))
    .find((path) => existsSync(path));
