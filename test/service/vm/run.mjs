// npm run test:service [-- [--deb FILE] [SYSTEM...]]: the Debian package (by default that of `npm run package`) in virtual
// machines whose pid 1 is systemd, from its installation to its removal. Prints a line a step (TAP); ends with 1 where one
// failed. Needs root and some 7 minutes a system.
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { run } from '../../../native/package/run.mjs';
import { prepareKernel } from './kernel.mjs';
import { boot } from './machine.mjs';
import { makePayload } from './payload.mjs';
import { rootImage } from './root.mjs';
import { SYSTEMS } from './systems.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '../../..');
const cache = join(root, 'build/service-vm');

/** By program: the Debian package that brings it. */
const NEEDED = {
  'qemu-system-x86_64': 'qemu-system-x86',
  debootstrap: 'debootstrap',
  busybox: 'busybox-static',
  mke2fs: 'e2fsprogs',
  'dpkg-deb': 'dpkg',
  xz: 'xz-utils',
};

function checkHost() {
  if (process.getuid() !== 0) throw new Error('debootstrap needs root: run it with sudo');
  if (process.arch !== 'x64') throw new Error('the virtual machines are x86-64: run it on such a machine');
  const folders = (process.env.PATH ?? '').split(':');
  const missing = Object.entries(NEEDED).filter(([name]) => !folders.some((folder) => existsSync(join(folder, name))));
  if (missing.length > 0) throw new Error(`missing: apt-get install ${missing.map(([, name]) => name).join(' ')}`);
}

/** Path and version of the package to test. */
function packageToTest(given) {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const path = given ?? join(root, 'build/packages', `imds-tracer_${version}_amd64.deb`);
  if (!existsSync(path)) throw new Error(`there is no ${path}: run \`npm run package\` first, or give --deb FILE`);
  return { path, version: run('dpkg-deb', ['-f', path, 'Version']).trim() };
}

async function test(name, built) {
  const { suite, kernel: kernelSuite } = SYSTEMS[name];
  const work = join(cache, 'run', name);
  rmSync(work, { recursive: true, force: true });
  mkdirSync(work, { recursive: true });
  try {
    const kernel = prepareKernel(kernelSuite, join(cache, 'kernel'));
    const disk = rootImage(suite, join(cache, 'root'));
    const payload = makePayload({ built, work });
    process.stdout.write(`# ${name}: Linux ${kernel.release}\n`);
    return await boot({ kernel, disks: [disk, payload], console: join(cache, `${name}.console`) });
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

try {
  const { values, positionals: wanted } = parseArgs({
    options: { deb: { type: 'string' } },
    allowPositionals: true,
  });
  const unknown = wanted.find((name) => !(name in SYSTEMS));
  if (unknown !== undefined) throw new Error(`no system ${unknown}: there are ${Object.keys(SYSTEMS).join(', ')}`);
  checkHost();
  const built = packageToTest(values.deb);
  for (const name of wanted.length > 0 ? wanted : Object.keys(SYSTEMS).slice(0, 1)) {
    if (!(await test(name, built))) process.exitCode = 1;
  }
} catch (error) {
  process.stderr.write(`test:service: ${error.message}\n`);
  process.exitCode = 1;
}
