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
import { run } from '../../../native/package/run.mjs';
import { MIRROR } from './systems.mjs';

const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';
/**
 * What reaches the disks (ext4 asks for its checksum by name, which is no dependency of the module), and what the test and
 * the service use. All are loaded at the start: the index from which they could be loaded on demand is not made.
 */
const MODULES = ['virtio_pci', 'virtio_blk', 'crc32c_generic', 'ext4', 'veth', 'tcp_diag', 'af_packet', 'virtio_rng'];

/** Fetches and unpacks a suite's kernel where it is not there: `{ release, image, initrd }`, the latter two paths. */
export function prepareKernel(suite, folder) {
  const home = join(folder, suite);
  if (!existsSync(join(home, 'release'))) fetchKernel(suite, folder);
  const release = readFileSync(join(home, 'release'), 'utf8').trim();
  const modules = join(home, 'lib/modules', release);
  const initrd = join(home, 'initrd');
  makeInitrd(home, modules, initrd);
  return { release, image: join(home, `boot/vmlinuz-${release}`), initrd };
}

function fetchKernel(suite, folder) {
  const apt = join(folder, `apt-${suite}`);
  const part = join(folder, `${suite}.part`);
  for (const path of ['lists/partial', 'archives/partial', 'parts']) mkdirSync(join(apt, path), { recursive: true });
  rmSync(part, { recursive: true, force: true });
  mkdirSync(part, { recursive: true });
  const sources = join(apt, 'sources.list');
  writeFileSync(sources, `deb [signed-by=${KEYRING} arch=amd64] ${MIRROR} ${suite} main\n`);
  const settings = {
    'Dir::Etc::sourcelist': sources,
    'Dir::Etc::sourceparts': join(apt, 'parts'),
    'Dir::State::lists': join(apt, 'lists'),
    'Dir::Cache': apt,
    'APT::Sandbox::User': 'root',
  };
  const options = ['-qq', ...Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`])];
  run('apt-get', [...options, 'update']);
  // Neither the cloud kernel nor the real-time one.
  const plain = /^linux-image-\d+\.\d+\.\d+[-+.0-9a-z]*-amd64$/;
  const other = /-(cloud|rt|dbg|unsigned)(-|$)/;
  const names = run('apt-cache', [...options, 'pkgnames', 'linux-image-']).split('\n');
  const [name] = names
    .filter((candidate) => plain.test(candidate) && !other.test(candidate))
    .sort((a, b) => b.localeCompare(a, 'en', { numeric: true }));
  if (name === undefined) throw new Error(`${MIRROR} has no kernel in ${suite}`);
  run('apt-get', [...options, 'download', name], { cwd: part });
  const [file] = readdirSync(part);
  const tree = join(part, 'tree');
  run('dpkg-deb', ['-x', join(part, file), tree]);
  // Trixie's lie below /usr.
  if (!existsSync(join(tree, 'lib'))) symlinkSync('usr/lib', join(tree, 'lib'));
  const [release] = readdirSync(join(tree, 'lib/modules'));
  keepModules(tree, release);
  writeFileSync(join(tree, 'release'), `${release}\n`);
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
  const paths = new Set(MODULES.flatMap((name) => withDependencies(all, name)));
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

/**
 * busybox, the modules, and a first program that mounts the disks: the root, and on /run/payload the test with
 * its units, which are put where systemd looks for those of this boot only (/run), so that the root holds nothing of them.
 */
function makeInitrd(home, modules, initrd) {
  const tree = join(home, 'initrd.tree');
  rmSync(tree, { recursive: true, force: true });
  for (const folder of ['bin', 'dev', 'proc', 'sys', 'new', 'modules'])
    mkdirSync(join(tree, folder), { recursive: true });
  const busybox = run('sh', ['-c', 'command -v busybox']).trim();
  cpSync(busybox, join(tree, 'bin/busybox'));
  symlinkSync('busybox', join(tree, 'bin/sh'));
  const paths = [...new Set(MODULES.flatMap((name) => withDependencies(modules, name)))];
  paths.forEach((path, index) => {
    cpSync(join(modules, path), join(tree, 'modules', `${String(index).padStart(2, '0')}-${basename(path)}`));
  });
  writeFileSync(join(tree, 'init'), INIT);
  chmodSync(join(tree, 'init'), 0o755);
  run('sh', ['-c', `cd "$1" && find . | busybox cpio -o -H newc 2>/dev/null >"$2"`, 'sh', tree, initrd]);
  rmSync(tree, { recursive: true, force: true });
}

const INIT = `#!/bin/sh
B=/bin/busybox
fail() { echo "init: $*"; $B sleep 1; $B poweroff -f; }
$B mount -t proc proc /proc; $B mount -t sysfs sys /sys; $B mount -t devtmpfs dev /dev
for module in /modules/*; do $B insmod "$module" || echo "init: $module was refused"; done
$B mount -t ext4 /dev/vda /new || fail "no root"
$B mount -t tmpfs -o mode=755 run /new/run
$B mkdir -p /new/run/payload /new/run/systemd/system
$B mount -t ext4 -o ro /dev/vdb /new/run/payload || fail "no payload"
$B cp -a /new/run/payload/units/. /new/run/systemd/system/
for folder in proc sys dev; do $B mount -o move /$folder /new/$folder; done
exec $B switch_root /new /sbin/init
`;
