import { knownClient } from '../../advice/clients.js';
import { providerNamed } from '../../imds/providers.js';
import { fileHas, readWhole, withFile } from '../files.js';
import type { Scan } from '../scan.js';
import { type Directory, inDirectory, pathIn } from '../walk.js';

const MAX_SOURCE = 1024 * 1024;

/**
 * A data source, `cloudinit/sources/DataSource….py`: what it can do is seen by the name of the token header in it, whatever
 * the version, for distributions bring that code into older ones.
 */
export function readDataSource(scan: Scan, directory: Directory, name: string): undefined {
  const source = name.slice(0, -'.py'.length);
  const known = knownClient('cloud-init', source);
  if (known === undefined || directory.name !== 'sources') return undefined;
  const path = pathIn(directory, name);
  withFile(scan, inDirectory(directory, name), path, (file) => {
    const capable = fileHas(file, [providerNamed(known.provider).tokenHeader], MAX_SOURCE);
    scan.add({ kind: 'cloud-init', name: source, version: null, path, capable });
  });
  return undefined;
}

/** `cloudinit/version.py`. */
export function readCloudInitVersion(scan: Scan, directory: Directory, name: string): undefined {
  if (directory.name !== 'cloudinit') return undefined;
  const path = pathIn(directory, name);
  withFile(scan, inDirectory(directory, name), path, (file) => {
    const text = readWhole(scan, file, MAX_SOURCE, path)?.toString('latin1') ?? '';
    const version = /^__VERSION__ = "([\w.+~-]{1,100})"/m.exec(text)?.[1];
    if (version !== undefined) scan.cloudInit.set(`${scan.root}\0${directory.path}`, version);
  });
  return undefined;
}
