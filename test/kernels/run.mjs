// npm run test:kernels [-- [--all] [--files PATH,...] [SYSTEM...]]: capture and end-to-end tests of this checkout, as it is
// built, on this machine's kernel and on others in virtual machines. Ends with a table of what each gives; exit status 1 where a
// test failed. Needs root; see docs/kernels.md.
import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { prepareKernel } from '../vm/kernel.mjs';
import { checkHost } from '../vm/needed.mjs';
import { copyCheckout, INIT, LOAD, runInMachine } from './machine.mjs';
import { SYSTEMS } from './systems.mjs';
import { formatTable, isFine, readResults } from './table.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '../..');
const build = join(root, 'build/kernels');

/** Everything that depends on the kernel. */
const ALL = ['test/capture', 'test/e2e', 'test/native'];
/** What is run where no `--all` asks for more: on an emulated processor all takes hours. */
const CORE = [
  ...['test/capture/ebpf.test.ts', 'test/capture/layout.test.ts', 'test/addresses.test.ts'],
  ...['verdicts', 'wire', 'attribution', 'mass', 'burst', 'less'].map((name) => `test/e2e/${name}.test.ts`),
];

async function runOn(name, files) {
  const system = SYSTEMS[name];
  const results = join(build, name);
  rmSync(results, { recursive: true, force: true });
  mkdirSync(results, { recursive: true });
  process.stdout.write(`# ${name}\n`);
  const begun = performance.now();
  if (system.suite === undefined) runHere(results, files);
  else {
    const kernel = prepareKernel({
      suite: system.suite,
      folder: join(root, 'build/vm/kernel'),
      machine: 'tests',
      load: LOAD,
      init: INIT,
    });
    const checkout = join(build, `${name}-checkout`);
    copyCheckout(root, checkout);
    await runInMachine({
      kernel,
      system,
      root,
      checkout,
      results,
      console: join(results, 'console'),
      files,
      onLine: (line) => process.stdout.write(`${line}\n`),
    });
  }
  return readResults(name, results, (performance.now() - begun) / 60_000);
}

function runHere(results, files) {
  const node = (args, stdout) =>
    spawnSync(process.execPath, args, { cwd: root, encoding: 'utf8', stdio: ['ignore', stdout, 'inherit'] });
  writeFileSync(join(results, 'doctor.json'), node(['dist/cli/main.js', 'doctor', '--json'], 'pipe').stdout);
  const reporters = ['--reporter=verbose', '--reporter=json', `--outputFile.json=${join(results, 'tests.json')}`];
  node(['node_modules/vitest/vitest.mjs', 'run', ...reporters, ...files], 'inherit');
}

try {
  const { values, positionals: wanted } = parseArgs({
    options: { all: { type: 'boolean' }, files: { type: 'string' } },
    allowPositionals: true,
  });
  const unknown = wanted.find((name) => !(name in SYSTEMS));
  if (unknown !== undefined) throw new Error(`no system ${unknown}: there are ${Object.keys(SYSTEMS).join(', ')}`);
  checkHost('qemu-system-x86_64', 'busybox', 'dpkg-deb', 'xz');
  const files = values.files?.split(',') ?? (values.all ? ALL : CORE);
  const rows = [];
  for (const name of wanted.length > 0 ? wanted : Object.keys(SYSTEMS)) rows.push(await runOn(name, files));
  process.stdout.write(`\n${formatTable(rows)}`);
  if (!rows.every(isFine)) process.exitCode = 1;
} catch (error) {
  process.stderr.write(`test:kernels: ${error.message}\n`);
  process.exitCode = 1;
}
