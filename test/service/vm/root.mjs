// The root file system: Debian's smallest with systemd as pid 1, made once by debootstrap and only read afterwards.
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../../../native/package/run.mjs';
import { MIRROR } from '../../vm/mirror.mjs';

/** systemd; what the test makes a network and requests with; what loads modules. */
const PACKAGES = ['systemd', 'systemd-sysv', 'kmod', 'iproute2', 'python3', 'curl', 'procps'];
const SIZE = '3G';

/** Path of the disk image (ext4) of a suite, made where it is not there. */
export function rootImage(suite, folder) {
  const image = join(folder, `${suite}.ext4`);
  if (existsSync(image)) return image;
  mkdirSync(folder, { recursive: true });
  const tree = join(folder, suite);
  const part = `${image}.part`;
  rmSync(tree, { recursive: true, force: true });
  run('debootstrap', ['--variant=minbase', `--include=${PACKAGES.join(',')}`, suite, tree, MIRROR]);
  rmSync(join(tree, 'var/cache/apt/archives'), { recursive: true, force: true });
  rmSync(join(tree, 'var/lib/apt/lists'), { recursive: true, force: true });
  rmSync(part, { force: true });
  run('mke2fs', ['-q', '-t', 'ext4', '-d', tree, part, SIZE]);
  renameSync(part, image);
  rmSync(tree, { recursive: true, force: true });
  return image;
}
