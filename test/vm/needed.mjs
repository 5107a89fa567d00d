import { existsSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';

/** By program: the Debian package that brings it. */
const PACKAGES = {
  'qemu-system-x86_64': 'qemu-system-x86',
  debootstrap: 'debootstrap',
  busybox: 'busybox-static',
  mke2fs: 'e2fsprogs',
  'dpkg-deb': 'dpkg',
  xz: 'xz-utils',
};

/** Throws where this host can't make and boot machines. */
export function checkHost(...programs) {
  if (process.getuid() !== 0) throw new Error('the machines need root: run it with sudo');
  if (process.arch !== 'x64') throw new Error('the virtual machines are x86-64: run it on such a machine');
  const folders = (process.env.PATH ?? '').split(':');
  const missing = programs.filter((name) => !folders.some((folder) => existsSync(join(folder, name))));
  if (missing.length > 0)
    throw new Error(`missing: apt-get install ${missing.map((name) => PACKAGES[name]).join(' ')}`);
}
