// What the binaries of a package ask of the machine that they run on, read by readelf, which reads every processor's.
import { closeSync, lstatSync, openSync, readdirSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { run } from './run.mjs';

/**
 * The highest symbol versions that a target has to offer: those of RHEL 8 (glibc 2.28, GCC 8's libstdc++). By the part of the
 * version's name before the number.
 */
export const CEILINGS = { GLIBC: '2.28', GLIBCXX: '3.4.25', CXXABI: '1.3.11', GCC: '7.0.0' };

/** Libraries that the packages' dependencies bring: glibc's, libstdc++, libgcc. */
const OFFERED = /^(libc|libm|libdl|libpthread|librt|ld-linux-[a-z0-9-]+|libstdc\+\+|libgcc_s)\.so\.\d+$/;

/** Of the names in `versions`, such as `GLIBC_2.28`, the highest of each kind. */
function highestOfEach(versions) {
  const highest = {};
  for (const version of versions) {
    const [, kind, number] = /^(\w+?)_([0-9.]+)$/.exec(version) ?? [];
    if (kind !== undefined && compareVersions(number, highest[kind] ?? '0') > 0) highest[kind] = number;
  }
  return highest;
}

function compareVersions(a, b) {
  return a.localeCompare(b, 'en', { numeric: true });
}

/**
 * @returns {{ needed: string[], highest: Record<string, string> }} shared libraries, and the highest symbol version of each
 *   kind, as `{ GLIBC: '2.28' }`
 */
export function requirements(path) {
  const text = run('readelf', ['-dVW', path]);
  const [, versions = ''] = text.split(/^Version needs section/m);
  return {
    needed: [...text.matchAll(/\(NEEDED\)\s.*\[(.+)\]/g)].map((match) => match[1]).sort(),
    highest: highestOfEach([...versions.matchAll(/Name: (\S+)/g)].map((match) => match[1])),
  };
}

/** The machine of an ELF file (`e_machine` of its header, little-endian); undefined for anything else. */
function machineOf(path) {
  const header = Buffer.alloc(20);
  const file = openSync(path);
  try {
    if (readSync(file, header, 0, header.length, 0) < header.length) return undefined;
  } finally {
    closeSync(file);
  }
  return header.readUInt32BE(0) === 0x7f454c46 ? header.readUInt16LE(18) : undefined;
}

function* files(folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* files(path);
    else if (lstatSync(path).isFile()) yield path;
  }
}

/**
 * Looks at every ELF file below `folder`.
 * @param {number} machine that they must be for
 * @returns {{ path: string, highest: Record<string, string> }[]}
 * @throws Error where one is for another processor, or needs what a target may not have
 */
export function checkBinaries(folder, machine) {
  const found = [];
  for (const path of files(folder)) {
    const is = machineOf(path);
    if (is === undefined) continue;
    if (is !== machine) throw new Error(`${path} is for machine ${is} (ELF e_machine), not ${machine}`);
    const { needed, highest } = requirements(path);
    const foreign = needed.filter((name) => !OFFERED.test(name));
    if (foreign.length > 0) throw new Error(`${path} needs ${foreign.join(', ')}, which a target may not have`);
    for (const [kind, version] of Object.entries(highest)) {
      const ceiling = CEILINGS[kind];
      if (ceiling !== undefined && compareVersions(version, ceiling) <= 0) continue;
      throw new Error(`${path} needs ${kind}_${version}; the packages promise ${ceiling ?? 'none of these'}`);
    }
    found.push({ path, highest });
  }
  return found;
}
