import { knownClient } from '../../advice/clients.js';
import { readWhole, withFile } from '../files.js';
import type { Scan } from '../scan.js';
import { type Directory, inDirectory, pathIn } from '../walk.js';
import { member, parseJson, textMember } from './json.js';

const MAX_INSTALLED = 16 * 1024 * 1024;

/** `vendor/composer/installed.json`: of Composer 1 the list of packages itself, of Composer 2 an object that has it. */
export function readComposer(scan: Scan, directory: Directory, name: string): undefined {
  if (directory.name !== 'composer') return undefined;
  const path = pathIn(directory, name);
  withFile(scan, inDirectory(directory, name), path, (file) => {
    const bytes = readWhole(scan, file, MAX_INSTALLED, path);
    const installed = bytes === undefined ? undefined : parseJson(bytes);
    const packages = Array.isArray(installed) ? installed : member(installed, 'packages');
    if (!Array.isArray(packages)) return;
    for (const entry of packages) {
      const found = textMember(entry, 'name');
      if (found === undefined || knownClient('composer', found) === undefined) continue;
      scan.add({ kind: 'composer', name: found, version: textMember(entry, 'version') ?? null, path });
    }
  });
  return undefined;
}
