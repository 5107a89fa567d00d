// npm run test:service [-- [--deb FILE] [SYSTEM...]]: the Debian package (by default that of `npm run package`) in virtual
// machines whose pid 1 is systemd, from its installation to its removal. Prints a line a step (TAP); ends with 1 where one
// failed. Needs root and some 7 minutes a system.
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { run } from '../../../native/package/run.mjs';
import { prepareKernel } from '../../vm/kernel.mjs';
import { checkHost } from '../../vm/needed.mjs';
import { boot, INIT, LOAD } from './machine.mjs';
import { makePayload } from './payload.mjs';
import { rootImage } from './root.mjs';
import { SYSTEMS } from './systems.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '../../..');
const cache = join(root, 'build/service-vm');

const NEEDED = ['qemu-system-x86_64', 'debootstrap', 'busybox', 'mke2fs', 'dpkg-deb', 'xz'];

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
    const kernel = prepareKernel({
      suite: kernelSuite,
      folder: join(root, 'build/vm/kernel'),
      machine: 'systemd',
      load: LOAD,
      init: INIT,
    });
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
  checkHost(...NEEDED);
  const built = packageToTest(values.deb);
  for (const name of wanted.length > 0 ? wanted : Object.keys(SYSTEMS).slice(0, 1)) {
    if (!(await test(name, built))) process.exitCode = 1;
  }
} catch (error) {
  process.stderr.write(`test:service: ${error.message}\n`);
  process.exitCode = 1;
}
