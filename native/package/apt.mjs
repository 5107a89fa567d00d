// apt-get with settings, sources and a package list of its own: those of the machine stay as they are, and are not read.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from './run.mjs';

const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';

/**
 * Reads the package lists of `sources`; apt-get checks Debian's signature.
 * @param {string} folder an empty one, or one that is not there, for what apt keeps; the caller's to remove
 * @param {readonly { url: string, suite: string }[]} sources
 * @param {string} arch Debian's name of the processor
 * @returns {{ packagesNamed: (prefix: string) => string[], download: (names: readonly string[], to: string) => void }} the
 *   names of packages that begin so, and what puts packages into a folder
 * @throws Error where a source can't be had
 */
export function privateApt(folder, sources, arch) {
  for (const path of ['lists/partial', 'cache/archives/partial']) mkdirSync(join(folder, path), { recursive: true });
  const list = join(folder, 'sources.list');
  writeFileSync(list, sources.map(({ url, suite }) => `deb [signed-by=${KEYRING}] ${url} ${suite} main\n`).join(''));
  writeFileSync(join(folder, 'status'), '');
  const settings = {
    'Dir::Etc::sourcelist': list,
    'Dir::Etc::sourceparts': '/dev/null',
    'Dir::Etc::preferences': '/dev/null',
    'Dir::Etc::preferencesparts': '/dev/null',
    'Dir::State::status': join(folder, 'status'),
    'Dir::State::lists': join(folder, 'lists'),
    'Dir::Cache': join(folder, 'cache'),
    'APT::Architecture': arch,
    'APT::Architectures': arch,
    'APT::Sandbox::User': '', // the folder is the caller's
    'Acquire::Languages': 'none',
  };
  const options = ['-qq', ...Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`])];
  run('apt-get', [...options, 'update']);
  return {
    packagesNamed: (prefix) =>
      run('apt-cache', [...options, 'pkgnames', prefix])
        .split('\n')
        .filter(Boolean),
    download: (names, to) => {
      run('apt-get', [...options, 'download', ...names], { cwd: to });
    },
  };
}
