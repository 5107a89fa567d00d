// The C library to link against: Debian 11's, glibc 2.31, so that the result does not ask for the newer symbol versions of
// the machine that builds. Of what it offers, the library uses nothing above targets.mjs's GLIBC, which is checked.
import { existsSync, mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { run } from './run.mjs';

const SUITE =
  'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian bullseye main';

/**
 * Folder to give the linker as --sysroot; fetched by apt-get, which checks Debian's signature, without touching the
 * machine's own packages. Kept in `cache`.
 */
export function sysroot(target, cache) {
  const made = join(cache, `glibc-${target.deb}`);
  const loader = join(made, target.loader[0]);
  if (existsSync(loader)) return made;
  const apt = join(cache, `apt-${target.deb}`);
  rmSync(made, { recursive: true, force: true });
  for (const folder of ['lists/partial', 'cache/archives/partial', 'debs']) {
    mkdirSync(join(apt, folder), { recursive: true });
  }
  writeFileSync(join(apt, 'sources.list'), `${SUITE}\n`);
  writeFileSync(join(apt, 'status'), '');
  const settings = {
    'Dir::Etc::sourcelist': join(apt, 'sources.list'),
    'Dir::Etc::sourceparts': '/dev/null',
    'Dir::State::status': join(apt, 'status'),
    'Dir::State::lists': join(apt, 'lists'),
    'Dir::Cache': join(apt, 'cache'),
    'APT::Architecture': target.deb,
    'APT::Architectures': target.deb,
    'APT::Sandbox::User': '', // the folder is the caller's
    'Acquire::Languages': 'none',
  };
  const options = Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
  run('apt-get', [...options, '-q', 'update']);
  run('apt-get', [...options, '-q', 'download', 'libc6', 'libc6-dev'], { cwd: join(apt, 'debs') });
  for (const deb of readdirSync(join(apt, 'debs'))) run('dpkg-deb', ['-x', join(apt, 'debs', deb), made]);
  // Debian's link is absolute and would lead out of this folder.
  rmSync(loader, { force: true });
  mkdirSync(dirname(loader), { recursive: true });
  symlinkSync(target.loader[1], loader);
  rmSync(apt, { recursive: true, force: true });
  return made;
}
