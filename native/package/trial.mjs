// npm run test:packages [-- NAME...]: the packages in build/packages, tried as their users would: installed, used, upgraded
// and removed in clean roots, another processor's under qemu-user and on a kernel of its own; and the whole build repeated
// elsewhere. As root. NAME: a trial or the beginning of its name, such as `deb`, `deb-arm64`, `reproducible`; default all.

import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { FORMATS } from './formats.mjs';
import { compareBuilds } from './reproducible.mjs';
import { cleanRoot, runIsolated, withRoot } from './roots.mjs';
import { run } from './run.mjs';
import { TARGETS } from './targets.mjs';
import { captureOfOneRequest } from './trial-capture.mjs';
import { EMULATED, traceInMachine } from './trial-machine.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, '../..');
const out = join(root, 'build/packages');
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

/** The names that package.mjs gives. */
const FILES = {
  deb: (target) => `imds-tracer_${version}_${target.deb}.deb`,
  rpm: (target) => `imds-tracer-${version}-1.${target.rpm}.rpm`,
  tarball: (_, arch) => `imds-tracer-${version}-linux-${arch}.tar.xz`,
};

/** The same files as a package of a higher version, for an upgrade. */
function makeNewer(kind, arch, target, work) {
  const tree = join(work, 'tree');
  run('dpkg-deb', ['-x', join(out, FILES.deb(target)), tree]);
  const folder = join(work, 'newer');
  mkdirSync(join(work, 'format'));
  mkdirSync(folder);
  const context = { tree, work: join(work, 'format'), out: folder, version: `${version}.1`, arch, target };
  return FORMATS[kind]({ ...context, maintainer: 'Nobody <nobody@localhost>', epoch: 1_700_000_000 });
}

/** What a base system's own packages would provide to rpm: the root is Debian's, and its rpm database empty. */
function makeBase(work) {
  const spec = `Name: base
Version: 1
Release: 1
Summary: stands for the base system of a root that rpm has not made
License: none
BuildArch: noarch
Provides: /bin/sh, glibc = 2.31, libstdc++ = 10.2, libgcc = 10.2
%description
None.
%files
`;
  const file = join(work, 'base.spec');
  writeFileSync(file, spec);
  run('rpmbuild', ['--define', `_rpmdir ${work}`, '--define', `_topdir ${work}`, '--quiet', '-bb', file]);
  return join(work, 'noarch/base-1-1.noarch.rpm');
}

function packageOf(kind, arch) {
  const file = join(out, FILES[kind](TARGETS[arch], arch));
  if (!existsSync(file)) throw new Error(`${file} is missing: npm run package -- ${arch}`);
  return file;
}

async function tryPackage(kind, arch) {
  const target = TARGETS[arch];
  const file = packageOf(kind, arch);
  const archive = await cleanRoot(arch, target, join(out, 'cache'));
  return await withRoot(archive, async (clean) => {
    const work = mkdtempSync(join(tmpdir(), 'imds-trial-'));
    try {
      const given = join(work, 'given');
      mkdirSync(given);
      cpSync(kind === 'tarball' ? file : makeNewer(kind, arch, target, work), join(given, 'newer'));
      if (kind === 'rpm') cpSync(makeBase(work), join(given, 'base.rpm'));
      writeFileSync(join(given, 'request.pcap'), captureOfOneRequest());
      const native = arch === process.arch ? '1' : '0';
      return await runIsolated(arch, target, join(here, 'trial.sh'), [clean, kind, file, given, version, native]);
    } finally {
      rmSync(work, { recursive: true });
    }
  });
}

async function traceEmulated(arch) {
  const target = TARGETS[arch];
  const cache = join(out, 'cache');
  return traceInMachine(arch, target, packageOf('deb', arch), await cleanRoot(arch, target, cache), cache);
}

/** By name; each gives `{ status, output }`. */
const TRIALS = {
  ...Object.fromEntries(
    Object.keys(TARGETS).flatMap((arch) =>
      Object.keys(FILES).map((kind) => [`${kind}-${arch}`, () => tryPackage(kind, arch)]),
    ),
  ),
  ...Object.fromEntries(EMULATED.map((arch) => [`machine-${arch}`, () => traceEmulated(arch)])),
  reproducible: () => compareBuilds(root, Object.keys(TARGETS)),
};

async function main(wanted) {
  if (process.getuid() !== 0) throw new Error('packages are installed into roots: run as root');
  const names = Object.keys(TRIALS).filter(
    (name) => wanted.length === 0 || wanted.some((start) => name.startsWith(start)),
  );
  if (names.length === 0) throw new Error(`no trial ${wanted.join(', ')}: there are ${Object.keys(TRIALS).join(', ')}`);
  let failed = 0;
  for (const name of names) {
    const { status, output } = await TRIALS[name]();
    process.stdout.write(`${status === 0 ? 'ok' : 'not ok'} ${name}\n${output}`);
    if (status !== 0) failed += 1;
  }
  if (failed > 0) throw new Error(`${failed} of ${names.length} trials failed`);
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`test:packages: ${error.message}\n`);
  process.exit(1);
}
