// What the native library is compiled and linked against, fetched by apt-get without touching the machine's own packages:
// Debian 11's C library, glibc 2.31, so that the result does not ask for the newer symbol versions of the machine that
// builds (of what it offers, the library uses nothing above targets.mjs's GLIBC, which is checked), and Debian 12's static
// libraries. So the machine that builds gives the compiler and nothing else, and another processor's libraries come the
// same way as its own.
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { privateApt } from './apt.mjs';
import { run } from './run.mjs';

const MIRROR = 'http://deb.debian.org';

/** What is taken from which release. What becomes part of the library comes with the security updates. */
const PARTS = [
  { release: 'bullseye', security: false, packages: ['libc6', 'libc6-dev'] },
  {
    release: 'bookworm',
    security: true,
    packages: ['linux-libc-dev', 'libpcap0.8-dev', 'libbpf-dev', 'libelf-dev', 'zlib1g-dev', 'libzstd-dev'],
  },
];

/**
 * Downloads packages into the empty folder `to`.
 * @param {{ release: string, security: boolean, packages: string[] }} part as in PARTS
 */
export function download({ release, security, packages }, debArch, to) {
  const apt = join(to, 'apt');
  const sources = [{ url: `${MIRROR}/debian`, suite: release }];
  if (security) sources.push({ url: `${MIRROR}/debian-security`, suite: `${release}-security` });
  privateApt(apt, sources, debArch).download(packages, to);
  rmSync(apt, { recursive: true });
}

/** The source package of a .deb: `Source` is `NAME` or `NAME (VERSION)` where they differ from the binary's (deb-control(5)). */
function sourceOf(deb) {
  const field = (name) => run('dpkg-deb', ['-f', deb, name]).trim();
  const [, name, version] = /^(\S+)(?: \((\S+)\))?$/.exec(field('Source') || field('Package'));
  return [field('Package'), { name, version: version ?? field('Version') }];
}

/**
 * Made once and kept in `cache`; delete that for newer libraries.
 * @returns {{ path: string, sources: Record<string, { name: string, version: string }> }} the folder to give the compiler,
 *   and each package's source package
 * @throws Error where a package can't be had
 */
export function sysroot(target, cache) {
  const path = join(cache, `sysroot-${target.deb}`);
  const list = join(path, 'sources.json');
  if (!existsSync(list)) {
    const part = `${path}.part`;
    rmSync(part, { recursive: true, force: true });
    rmSync(path, { recursive: true, force: true });
    const sources = PARTS.flatMap((release) => unpackRelease(release, target, part));
    relink(part, target);
    writeFileSync(join(part, 'sources.json'), JSON.stringify(Object.fromEntries(sources)));
    renameSync(part, path);
  }
  return { path, sources: JSON.parse(readFileSync(list, 'utf8')) };
}

function unpackRelease(release, target, to) {
  const debs = join(to, 'debs');
  mkdirSync(debs, { recursive: true });
  download(release, target.deb, debs);
  const files = readdirSync(debs).map((name) => join(debs, name));
  for (const file of files) run('dpkg-deb', ['-x', file, to]);
  const sources = files.map(sourceOf);
  rmSync(debs, { recursive: true });
  return sources;
}

/** Debian's link to the dynamic linker is absolute and would lead out of the folder. */
function relink(path, target) {
  const loader = join(path, target.loader[0]);
  rmSync(loader, { force: true });
  mkdirSync(dirname(loader), { recursive: true });
  symlinkSync(target.loader[1], loader);
}
