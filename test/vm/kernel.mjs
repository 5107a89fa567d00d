// A kernel of Debian's, fetched by apt with settings of its own: those of this machine stay as they are.
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { privateApt } from '../../native/package/apt.mjs';
import { run } from '../../native/package/run.mjs';
import { MIRROR } from './mirror.mjs';

/**
 * What of a kernel is kept: what reaches disks (ext4 asks for its checksum by name, which is no dependency of the module) and
 * shared folders, and what the tests use.
 */
const KEPT = [
  ...['virtio_pci', 'virtio_blk', 'virtio_rng', 'crc32c_generic', 'ext4', '9pnet_virtio', '9p', 'overlay'],
  ...['veth', 'dummy', 'tcp_diag', 'af_packet', 'cls_cgroup', 'netprio_cgroup'],
];

/**
 * Fetches and unpacks a suite's kernel where it is not there: `{ release, image, initrd, modules }`, all but the first paths.
 * The initial file system, which is kept under the name `machine`, loads `load` (of the modules above, in order) and runs
 * `init`, a script for busybox' shell. The modules lie in a folder named by the release, with the index that modprobe reads.
 */
export function prepareKernel({ suite, folder, machine, load, init }) {
  const home = join(folder, suite);
  const kept = join(home, 'kept');
  if (!existsSync(kept) || readFileSync(kept, 'utf8') !== KEPT.join()) fetchKernel(suite, folder);
  const release = readFileSync(join(home, 'release'), 'utf8').trim();
  const modules = join(home, 'lib/modules');
  const initrd = join(home, `initrd-${machine}`);
  makeInitrd({ home, modules: join(modules, release), initrd, load, init });
  return { release, image: join(home, `boot/vmlinuz-${release}`), initrd, modules };
}

function fetchKernel(suite, folder) {
  const apt = join(folder, `apt-${suite}`);
  const part = join(folder, `${suite}.part`);
  for (const path of [apt, part]) rmSync(path, { recursive: true, force: true });
  mkdirSync(part, { recursive: true });
  const { packagesNamed, download } = privateApt(apt, [{ url: MIRROR, suite }], 'amd64');
  // Neither the cloud kernel nor the real-time one.
  const plain = /^linux-image-\d+\.\d+\.\d+[-+.0-9a-z]*-amd64$/;
  const other = /-(cloud|rt|dbg|unsigned)(-|$)/;
  const [name] = packagesNamed('linux-image-')
    .filter((candidate) => plain.test(candidate) && !other.test(candidate))
    .sort((a, b) => b.localeCompare(a, 'en', { numeric: true }));
  if (name === undefined) throw new Error(`${MIRROR} has no kernel in ${suite}`);
  download([name], part);
  const [file] = readdirSync(part);
  const tree = join(part, 'tree');
  run('dpkg-deb', ['-x', join(part, file), tree]);
  // Trixie's lie below /usr.
  if (!existsSync(join(tree, 'lib'))) symlinkSync('usr/lib', join(tree, 'lib'));
  const [release] = readdirSync(join(tree, 'lib/modules'));
  keepModules(tree, release);
  writeFileSync(join(tree, 'release'), `${release}\n`);
  writeFileSync(join(tree, 'kept'), KEPT.join());
  rmSync(join(folder, suite), { recursive: true, force: true });
  renameSync(tree, join(folder, suite));
  rmSync(part, { recursive: true, force: true });
  rmSync(apt, { recursive: true, force: true });
}

/** Only the modules above and what they need stay, uncompressed. */
function keepModules(tree, release) {
  const all = join(tree, 'lib/modules', release);
  run('busybox', ['depmod', '-b', tree, release]);
  const kept = `${all}.kept`;
  const paths = new Set(KEPT.flatMap((name) => withDependencies(all, name)));
  for (const path of paths) {
    const to = join(kept, path);
    mkdirSync(dirname(to), { recursive: true });
    cpSync(join(all, path), to);
    if (to.endsWith('.xz')) run('xz', ['-d', to]);
  }
  rmSync(all, { recursive: true });
  renameSync(kept, all);
  run('busybox', ['depmod', '-b', tree, release]);
}

/** Paths of a module and of those that it needs, the latter first; none for what is built in. */
function withDependencies(modules, name) {
  const lines = readFileSync(join(modules, 'modules.dep'), 'utf8').split('\n');
  const isIt = (line) =>
    basename(line.split(':', 1)[0])
      .replace(/\.ko(\.xz)?$/, '')
      .replaceAll('-', '_') === name;
  const line = lines.find(isIt);
  if (line === undefined) return [];
  const [own, needed] = line.split(':');
  return [...needed.trim().split(' ').filter(Boolean).reverse(), own];
}

/** busybox, the modules by number, and the first program. */
function makeInitrd({ home, modules, initrd, load, init }) {
  const tree = join(home, 'initrd.tree');
  rmSync(tree, { recursive: true, force: true });
  for (const folder of ['bin', 'dev', 'proc', 'sys', 'new', 'modules', 'shared', 'scratch'])
    mkdirSync(join(tree, folder), { recursive: true });
  const busybox = run('sh', ['-c', 'command -v busybox']).trim();
  cpSync(busybox, join(tree, 'bin/busybox'));
  symlinkSync('busybox', join(tree, 'bin/sh'));
  const paths = [...new Set(load.flatMap((name) => withDependencies(modules, name)))];
  paths.forEach((path, index) => {
    cpSync(join(modules, path), join(tree, 'modules', `${String(index).padStart(2, '0')}-${basename(path)}`));
  });
  writeFileSync(join(tree, 'init'), init);
  chmodSync(join(tree, 'init'), 0o755);
  run('sh', ['-c', `cd "$1" && find . | busybox cpio -o -H newc 2>/dev/null >"$2"`, 'sh', tree, initrd]);
  rmSync(tree, { recursive: true, force: true });
}
