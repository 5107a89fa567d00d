import { lstatSync } from 'node:fs';
import { knownClient } from '../../advice/clients.js';
import { providerNamed } from '../../imds/providers.js';
import { fileHas, type OpenFile, withFile } from '../files.js';
import { readGoBuild } from '../go-build.js';
import type { Scan } from '../scan.js';
import { type Directory, inDirectory, pathIn } from '../walk.js';
import { MAX_SCRIPT, readScriptFile } from './script.js';

/** No ELF file is smaller than its header, no script that asks a service than its address. */
const MIN_SIZE = 24;
/** How far a program is searched for the name of a header. */
const MAX_PROGRAM = 128 * 1024 * 1024;
const ELF_MAGIC = 0x7f454c46;
const SCRIPT_MAGIC = 0x2321; // #!

/** A file that may be run: a Go program, another program that is known by its name, or a script. */
export function readExecutable(scan: Scan, directory: Directory, name: string): undefined {
  const entry = inDirectory(directory, name);
  let mode: number;
  let size: number;
  try {
    // Cheaper than to open it: nearly all files are no programs.
    ({ mode, size } = lstatSync(entry));
  } catch (error) {
    scan.failed(error, pathIn(directory, name));
    return undefined;
  }
  if ((mode & 0o111) === 0 || size < MIN_SIZE) return undefined;
  const path = pathIn(directory, name);
  withFile(scan, entry, path, (file) => {
    const magic = file.read(0, 4);
    if (magic.length < 4) return;
    if (magic.readUInt32BE(0) === ELF_MAGIC) readProgram(scan, file, name, path);
    else if (magic.readUInt16BE(0) === SCRIPT_MAGIC && file.size <= MAX_SCRIPT && !directory.library) {
      readScriptFile(scan, file, name, path);
    }
  });
  return undefined;
}

/** An ELF program that is open. */
export function readProgram(scan: Scan, file: OpenFile, name: string, path: string): void {
  for (const { path: module, version } of readGoBuild(file)?.modules ?? []) {
    if (knownClient('go', module) === undefined) continue;
    scan.add({ kind: 'go', name: module, version: version === '' ? null : version, path });
  }
  const program = knownClient('program', name);
  if (program !== undefined) {
    const capable = fileHas(file, [providerNamed(program.provider).tokenHeader], MAX_PROGRAM);
    scan.add({ kind: 'program', name, version: null, path, capable });
  }
}

const AWS_CLI = /\/aws-cli\/v2\/(\d[\w.]{0,50})\/dist$/;

/** AWS's own installer puts the second CLI, with a Python of its own, into a directory that tells the version. */
export function readAwsCli(scan: Scan, directory: Directory, name: string): undefined {
  const version = AWS_CLI.exec(directory.path)?.[1];
  if (version === undefined) return readExecutable(scan, directory, name);
  scan.add({ kind: 'program', name: 'aws-cli', version, path: pathIn(directory, name) });
  return undefined;
}
