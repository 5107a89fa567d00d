import { knownClient, namesOf } from '../../advice/clients.js';
import { type OpenFile, withFile } from '../files.js';
import type { Scan } from '../scan.js';
import { type Directory, inDirectory, pathIn } from '../walk.js';
import { readZip, type ZipArchive, type ZipEntry } from '../zip.js';

/** Archives within archives: an ear has wars, these have jars, and one more for what a jar carries. */
const MAX_NESTING = 4;
/** Of an archive that is compressed within another and so has to be in memory. */
const MAX_NESTED = 64 * 1024 * 1024;
/** Of all of them within one file. */
const MAX_NESTED_TOTAL = 256 * 1024 * 1024;
const MAX_PROPERTIES = 64 * 1024;

const ARCHIVE = /\.(?:jar|war|ear|rar|hpi|jpi)$/;
const POM = /^META-INF\/maven\/([^/]{1,200})\/([^/]{1,200})\/pom\.properties$/;

/**
 * Artifacts whose file name alone tells what they are, for jars without `META-INF/maven`; a name of one word could be anybody's.
 */
const BY_ARTIFACT: ReadonlyMap<string, string> = new Map(
  namesOf('jar')
    .map((name) => [name.slice(name.indexOf(':') + 1), name] as const)
    .filter(([artifact]) => artifact.includes('-')),
);

/** A jar, war or ear: what its `pom.properties` say, those of libraries that were merged into it included, and its libraries. */
export function readJar(scan: Scan, directory: Directory, name: string): Promise<void> | undefined {
  const path = pathIn(directory, name);
  return withFile(scan, inDirectory(directory, name), path, (file) =>
    readArchive(scan, file, { path, name, nesting: 1, budget: { left: MAX_NESTED_TOTAL } }),
  );
}

interface Place {
  path: string;
  /** File name. */
  name: string;
  nesting: number;
  budget: { left: number };
}

/** Reads an archive that is open at a path. */
export async function readArchive(scan: Scan, file: OpenFile, place: Place): Promise<void> {
  const archive = readZip(scan, file, place.path);
  const found = new Set<string>();
  for (const entry of archive?.entries ?? []) {
    if (scan.over) return;
    const pom = entry.name.endsWith('/pom.properties') ? POM.exec(entry.name) : null;
    if (pom !== null) {
      const name = `${pom[1]}:${pom[2]}`;
      if (knownClient('jar', name) === undefined) continue;
      const bytes = await archive!.content(entry, MAX_PROPERTIES);
      const version = /^version\s*[=:]\s*(\S{1,100})/m.exec(bytes?.toString('latin1') ?? '')?.[1];
      found.add(name);
      scan.add({ kind: 'jar', name, version: version ?? byName(place.name)?.version ?? null, path: place.path });
    } else if (ARCHIVE.test(entry.name)) {
      await readNested(scan, archive!, entry, place);
    }
    if (scan.worked(place.path)) await scan.pause(place.path);
  }
  const named = byName(place.name);
  if (named !== undefined && !found.has(named.name)) scan.add({ kind: 'jar', ...named, path: place.path });
}

async function readNested(scan: Scan, archive: ZipArchive, entry: ZipEntry, place: Place): Promise<void> {
  const path = `${place.path}!/${entry.name}`;
  const inner: Place = {
    path,
    name: entry.name.slice(entry.name.lastIndexOf('/') + 1),
    nesting: place.nesting + 1,
    budget: place.budget,
  };
  const open = inner.nesting > MAX_NESTING ? undefined : await openNested(archive, entry, place.budget);
  if (open !== undefined) return readArchive(scan, open, inner);
  scan.problem(inner.nesting > MAX_NESTING ? 'too_deep' : 'too_large', path);
  const named = byName(inner.name);
  if (named !== undefined) scan.add({ kind: 'jar', ...named, path });
}

async function openNested(
  archive: ZipArchive,
  entry: ZipEntry,
  budget: { left: number },
): Promise<OpenFile | undefined> {
  if (entry.stored) return archive.file(entry);
  if (entry.size > MAX_NESTED || entry.size > budget.left) return undefined;
  budget.left -= entry.size;
  const bytes = await archive.content(entry, MAX_NESTED);
  if (bytes === undefined) return undefined;
  return {
    size: bytes.length,
    executable: false,
    read: (offset, length) => bytes.subarray(offset, offset + Math.max(length, 0)),
  };
}

/** What a file name says: `credentials-java-0.3.4.jar`. Sources and documentation are no libraries. */
function byName(name: string): { name: string; version: string } | undefined {
  const match = /^([A-Za-z][\w.-]{0,100}?)-(\d[\w.-]{0,60}?)\.jar$/.exec(name);
  const known = match === null ? undefined : BY_ARTIFACT.get(match[1]!);
  return known === undefined || /-(?:sources|javadoc|tests)$/.test(match![2]!)
    ? undefined
    : { name: known, version: match![2]! };
}
