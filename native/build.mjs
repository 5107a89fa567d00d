// Builds build/Release/imds_capture.so with node-gyp, which also works where the network does not: the headers of the
// Node installation serve, for node-gyp wants them even though the library uses none.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');

// In the order of their dependence. Linked statically where the system has the archive; RHEL and its like have none of some.
// libelf has needed zstd since 0.189; compressed packet files are read where it is there.
const LIBRARIES = [
  { name: 'bpf', needed: true },
  { name: 'elf', needed: true },
  { name: 'z', needed: true },
  { name: 'zstd', needed: false },
];

function fail(message) {
  process.stderr.write(`build: ${message}\n`);
  process.exit(1);
}

/** Absolute path of a library's file as the compiler finds it; undefined if there is none. */
function findFile(file) {
  const result = spawnSync('gcc', [`-print-file-name=${file}`], { encoding: 'utf8' });
  if (result.error) fail(`gcc could not be started: ${result.error.message}`);
  const path = result.stdout.trim();
  return path.startsWith('/') ? path : undefined;
}

const libraries = LIBRARIES.map(({ name, needed }) => {
  const path = findFile(`lib${name}.a`) ?? findFile(`lib${name}.so`);
  if (!path && needed) fail(`lib${name} is not installed: run npm run setup`);
  return path;
}).filter((path) => path !== undefined);

const zstd = libraries.some((path) => path.includes('libzstd.')) ? 1 : 0;

const prefix = join(dirname(process.execPath), '..');
const offline = existsSync(join(prefix, 'include/node/common.gypi')) ? [`--nodedir=${prefix}`] : [];
const gyp = createRequire(import.meta.url).resolve('node-gyp/bin/node-gyp.js');

function nodeGyp(...args) {
  const { error, status, signal } = spawnSync(process.execPath, [gyp, ...args], {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  if (error) fail(`node-gyp could not be started: ${error.message}`);
  if (status !== 0) fail(`node-gyp ${args[0]} failed with exit status ${status ?? signal}`);
}

nodeGyp(
  'configure',
  '--loglevel=warn',
  ...offline,
  '--',
  `-Dstatic_libraries=${libraries.join(' ')}`,
  `-Dzstd=${zstd}`,
);
nodeGyp('build', '--loglevel=warn', ...offline);
