import { knownClient } from '../../advice/clients.js';
import type { Scan } from '../scan.js';
import { type Directory, pathIn } from '../walk.js';

/** `specifications/NAME-VERSION.gemspec`: RubyGems writes name and version there, and the file is a program, never read. */
export function readGem(scan: Scan, directory: Directory, name: string): undefined {
  if (directory.name !== 'specifications') return undefined;
  const match = /^(.{1,200}?)-(\d[^-]{0,100})(?:-[^-]+)*\.gemspec$/.exec(name);
  if (match !== null && knownClient('gem', match[1]!) !== undefined) {
    scan.add({ kind: 'gem', name: match[1]!, version: match[2]!, path: pathIn(directory, name) });
  }
  return undefined;
}
