import { knownClient } from '../../advice/clients.js';
import { readWhole, withFile } from '../files.js';
import type { Scan } from '../scan.js';
import { type Directory, inDirectory, pathIn } from '../walk.js';

/** Metadata of packages with long descriptions; the fields stand before them. */
const MAX_METADATA = 4 * 1024 * 1024;

/** `NAME-VERSION.dist-info` and `.egg-info`, whose names have `-` written as `_` (PEP 427), older ones not. */
const FOLDER = /^([A-Za-z\d][\w.-]*?)(?:-(\d[^-]*))?(?:-py\d[\d.]*)?\.(?:dist|egg)-info$/;

/**
 * What pip, setuptools or a distribution's package installed: `*.dist-info/METADATA`, `*.egg-info/PKG-INFO`,
 * `*.egg/EGG-INFO/PKG-INFO`, and `*.egg-info` that is a file itself.
 */
export function readPip(scan: Scan, directory: Directory, name: string): undefined {
  const isFile = name.endsWith('.egg-info');
  const folder = isFile
    ? name
    : directory.name === 'EGG-INFO'
      ? `${directory.parent.slice(0, -4)}.egg-info`
      : directory.name;
  const match = FOLDER.exec(folder.slice(0, 300));
  if (match === null || knownClient('pip', match[1]!) === undefined) return undefined;
  const path = pathIn(directory, name);
  withFile(scan, inDirectory(directory, name), path, (file) => {
    const bytes = readWhole(scan, file, MAX_METADATA, path);
    if (bytes === undefined) return;
    const fields = headers(bytes.toString('latin1'));
    const installed = fields.get('name') ?? match[1]!;
    if (knownClient('pip', installed) === undefined) return;
    scan.add({ kind: 'pip', name: installed, version: fields.get('version') ?? match[2] ?? null, path });
  });
  return undefined;
}

/** The fields before the first empty line (core metadata specification), by name in lower case, the first of each. */
function headers(text: string): Map<string, string> {
  const fields = new Map<string, string>();
  for (const line of text.slice(0, 64 * 1024).split(/\r?\n/)) {
    if (line === '') break;
    const colon = line.indexOf(':');
    const field = line.slice(0, colon).toLowerCase();
    if (colon > 0 && !fields.has(field)) fields.set(field, line.slice(colon + 1).trim());
  }
  return fields;
}
