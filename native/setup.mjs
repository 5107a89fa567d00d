// Makes a checkout ready to run: system packages, npm dependencies, the native module, the TypeScript build.
// Plain JavaScript without dependencies, for it runs before anything is installed.
//
//   node native/setup.mjs [--if-needed] [--test]
//
// --if-needed  does only the steps whose results are missing or older than their sources
// --test       also what the tests use
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, utimesSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const ifNeeded = process.argv.includes('--if-needed');
const forTests = process.argv.includes('--test');

// What must be there, how to see it, and the packages that bring it with each package manager. `a|b`: the first that the
// release has. `a?`: only where it has it; the build then takes the shared library, or the test says that it is skipped.
const NEEDS = [
  { command: 'gcc', apt: 'gcc', dnf: 'gcc' },
  { file: 'sys/types.h', apt: 'libc6-dev', dnf: 'glibc-devel' },
  { command: 'make', apt: 'make', dnf: 'make' },
  { command: 'g++', apt: 'g++', dnf: 'gcc-c++' }, // node-gyp's make files name it
  { command: 'python3', apt: 'python3', dnf: 'python3' }, // node-gyp runs on it
  { command: 'clang', apt: 'clang', dnf: 'clang' },
  { file: 'bpf/libbpf.h', apt: 'libbpf-dev', dnf: 'libbpf-devel libbpf-static?' },
  { file: 'libelf.h', apt: 'libelf-dev', dnf: 'elfutils-libelf-devel elfutils-libelf-devel-static?' },
  { file: 'zlib.h', apt: 'zlib1g-dev', dnf: 'zlib-devel zlib-static?' },
  { file: 'zstd.h', apt: 'libzstd-dev', dnf: 'libzstd-devel libzstd-static?' },
  { file: 'pcap/pcap.h', apt: 'libpcap-dev', dnf: 'libpcap-devel' },
  { command: 'ip', apt: 'iproute2', dnf: 'iproute' },
  { command: 'curl', apt: 'curl', dnf: 'curl', test: true },
  { command: 'wget', apt: 'wget', dnf: 'wget', test: true },
  { command: 'tcpdump', apt: 'tcpdump', dnf: 'tcpdump', test: true },
  { command: 'tshark', apt: 'tshark', dnf: 'wireshark-cli', test: true },
  { command: 'zstd', apt: 'zstd', dnf: 'zstd', test: true },
  { command: 'logrotate', apt: 'logrotate', dnf: 'logrotate', test: true },
  { command: 'openssl', apt: 'openssl', dnf: 'openssl', test: true },
  { command: 'faketime', apt: 'faketime', dnf: 'libfaketime', test: true },
  { command: 'mkfs.ext4', apt: 'e2fsprogs', dnf: 'e2fsprogs', test: true },
  { command: 'chromium', apt: 'chromium?', dnf: 'chromium?', test: true }, // Ubuntu has none
  { clangLibrary: 'fuzzer', apt: 'libclang-rt-dev', dnf: 'compiler-rt?', test: true },
  { library: 'libasan', apt: 'libgcc-12-dev|libgcc-13-dev|libgcc-14-dev', dnf: 'libasan libubsan', test: true },
];

// What the tests take from Debian packages that would start a service if they were installed: unpacked below build/.
// rsyslog and syslog-ng can't be installed beside each other either. The libraries are those that nothing else brings.
const UNPACKED = [
  { command: 'promtool', packages: ['prometheus'], into: 'build/prometheus' },
  {
    command: 'rsyslogd',
    packages: ['rsyslog', 'rsyslog-gnutls', 'libestr0', 'libfastjson4'],
    into: 'build/rsyslog',
  },
  {
    command: 'syslog-ng',
    packages: ['syslog-ng-core', 'libivykis0', 'libnet1', 'libwrap0', 'libpcre3', 'libjson-c5'],
    into: 'build/syslog-ng',
  },
];

const INCLUDE_DIRS = ['/usr/include', `/usr/include/${multiarch()}`, '/usr/local/include'];

function multiarch() {
  return { x64: 'x86_64-linux-gnu', arm64: 'aarch64-linux-gnu' }[process.arch] ?? process.arch;
}

function clangArch() {
  return { x64: 'x86_64', arm64: 'aarch64' }[process.arch] ?? process.arch;
}

function onPath(command) {
  return (process.env.PATH ?? '')
    .split(':')
    .concat('/usr/sbin', '/sbin')
    .some((dir) => dir && existsSync(join(dir, command)));
}

function isThere(need) {
  if (need.command) return onPath(need.command);
  if (need.file) return INCLUDE_DIRS.some((dir) => existsSync(join(dir, need.file)));
  const probe = need.clangLibrary
    ? spawnSync('clang', [`-print-file-name=libclang_rt.${need.clangLibrary}-${clangArch()}.a`], { encoding: 'utf8' })
    : spawnSync('gcc', [`-print-file-name=${need.library}.so`], { encoding: 'utf8' });
  return probe.status === 0 && probe.stdout.trim().startsWith('/');
}

function run(command, args, env = {}) {
  const result = spawnSync(command, args, { cwd: root, stdio: 'inherit', env: { ...process.env, ...env } });
  if (result.error) fail(`${command} could not be started: ${result.error.message}`);
  if (result.status !== 0)
    fail(`${command} ${args.join(' ')} failed with exit status ${result.status ?? result.signal}`);
}

function fail(message) {
  process.stderr.write(`setup: ${message}\n`);
  process.exit(1);
}

function newestUnder(path) {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (!stat) return 0;
  if (!stat.isDirectory()) return stat.mtimeMs;
  return readdirSync(path).reduce((newest, name) => Math.max(newest, newestUnder(join(path, name))), 0);
}

/** True where `result` is missing or older than one of its sources. */
function stale(result, ...sources) {
  const made = statSync(join(root, result), { throwIfNoEntry: false })?.mtimeMs ?? 0;
  return made === 0 || sources.some((source) => newestUnder(join(root, source)) > made);
}

function installSystemPackages() {
  const missing = NEEDS.filter((need) => (forTests || !need.test) && !isThere(need));
  if (missing.length === 0) return;
  const manager = onPath('apt-get') ? 'apt' : onPath('dnf') ? 'dnf' : undefined;
  const wanted = missing
    .map((need) => need.command ?? need.file ?? need.library ?? `clang's ${need.clangLibrary}`)
    .join(', ');
  if (!manager)
    fail(`${wanted} missing, and neither apt-get nor dnf is here: install them with this system's package manager`);
  const packages = missing.flatMap((need) => need[manager].split(' '));
  const { command, prepare } = MANAGERS[manager];
  if (process.getuid() !== 0)
    fail(`${wanted} missing: run as root, or install them first: ${command.join(' ')} ${packages.join(' ')}`);
  prepare?.();
  const chosen = packages.flatMap((names) => choose(names, manager));
  process.stdout.write(`setup: installing ${chosen.join(' ')}\n`);
  const [program, ...args] = command;
  if (chosen.length > 0)
    run(program, [...args, ...extraRepositories(manager), ...chosen], { DEBIAN_FRONTEND: 'noninteractive' });
}

function output(command, args) {
  return spawnSync(command, args, { encoding: 'utf8' }).stdout ?? '';
}

const MANAGERS = {
  apt: {
    command: ['apt-get', 'install', '-y', '-q', '--no-install-recommends'],
    prepare: () => run('apt-get', ['update', '-q']),
    has: (name) => /Candidate: (?!\(none\))/.test(output('apt-cache', ['policy', name])),
  },
  dnf: {
    command: ['dnf', 'install', '-y'],
    has: (name) => output('dnf', ['-q', 'repoquery', ...extraRepositories('dnf'), name]).trim() !== '',
  },
};

/** Where RHEL and its like keep headers and static libraries, in a repository that is there but not enabled. */
const BUILDERS = /^(crb|powertools|codeready-builder-\S+-rpms|ol\d+_codeready_builder)\b/gm;
let builders;

function extraRepositories(manager) {
  if (manager !== 'dnf') return [];
  builders ??= [...output('dnf', ['-q', 'repolist', '--disabled']).matchAll(BUILDERS)].map((match) => match[1]);
  return builders.map((name) => `--enablerepo=${name}`);
}

/** One entry of NEEDS' packages as what to install: `a`, `a|b` or `a?`. */
function choose(names, manager) {
  const optional = names.endsWith('?');
  const all = names.replace(/\?$/, '').split('|');
  if (all.length === 1 && !optional) return all;
  const known = all.find(MANAGERS[manager].has);
  if (known === undefined && !optional) fail(`this release has none of ${all.join(', ')}`);
  return known === undefined ? [] : [known];
}

/** Tests say that they are skipped for what can't be had. */
function unpackTools() {
  if (!onPath('apt-get') || !onPath('dpkg-deb')) return;
  for (const { command, packages, into } of UNPACKED) {
    if (onPath(command) || existsSync(join(root, into))) continue;
    process.stdout.write(`setup: unpacking ${packages.join(' ')} into ${into}\n`);
    const folder = mkdtempSync(join(tmpdir(), 'imds-setup-'));
    spawnSync('apt-get', ['download', '-q', ...packages], { cwd: folder, stdio: 'inherit' });
    const archives = readdirSync(folder);
    if (archives.length === packages.length) {
      mkdirSync(join(root, into), { recursive: true });
      for (const archive of archives) run('dpkg-deb', ['--extract', join(folder, archive), join(root, into)]);
    }
    rmSync(folder, { recursive: true });
  }
}

/** Does a step whose result is missing or older than its sources, and notes on the result that it was looked at. */
function step(result, sources, args) {
  if (ifNeeded && !stale(result, ...sources)) return;
  run('npm', args);
  utimesSync(join(root, result), new Date(), new Date());
}

installSystemPackages();
if (forTests) unpackTools();
// Not `npm ci`: it refuses a lock file where the registry lacked another platform's optional package, which a mirror may.
step('node_modules/.package-lock.json', ['package-lock.json'], ['install', '--no-save', '--no-audit', '--no-fund']);
step('build/Release/imds_capture.so', ['native', 'binding.gyp'], ['run', '--silent', 'build:native']);
step(
  'dist/cli/main.js',
  ['src', 'tsconfig.json', 'tsconfig.build.json', 'native/bundle.mjs'],
  ['run', '--silent', 'build:ts'],
);
