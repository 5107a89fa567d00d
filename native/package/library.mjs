// Builds the native library for packages: unlike that of a checkout, it needs only glibc, and an old one.
import { cpSync, existsSync, mkdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import process from 'node:process';
import { run } from './run.mjs';
import { sysroot } from './sysroot.mjs';
import { GLIBC } from './targets.mjs';

/** Linked statically, in the order of their dependence, with Debian's packages of them. */
const LIBRARIES = [
  { file: 'libpcap.a', package: 'libpcap-dev' },
  { file: 'libbpf.a', package: 'libbpf-dev' },
  { file: 'libelf.a', package: 'libelf-dev' },
  { file: 'libz.a', package: 'zlib1g-dev' },
  { file: 'libzstd.a', package: 'libzstd-dev' },
];

/** The compiler's prefix for another processor than this one; empty for this one. */
export function crossPrefix(arch, target) {
  return arch === process.arch ? '' : `${target.gnu}-`;
}

/**
 * Compiles in `work`, a copy of what is needed, so that neither a developer's build nor the checkout's path gets in.
 * @returns {{ path: string, glibc: string, libraries: { name: string, version: string }[] }} the library, the highest
 *   glibc version among its symbols, and the Debian source packages that it holds
 * @throws Error also where it needs a newer glibc than GLIBC or any library but glibc's
 */
export function buildLibrary({ root, arch, target, cache, work }) {
  const prefix = crossPrefix(arch, target);
  const gcc = `${prefix}gcc`;
  mkdirSync(work, { recursive: true });
  cpSync(join(root, 'native'), join(work, 'native'), { recursive: true });
  cpSync(join(root, 'binding.gyp'), join(work, 'binding.gyp'));

  const archives = LIBRARIES.map(({ file, package: name }) => {
    const path = run(gcc, [`-print-file-name=${file}`]).trim();
    if (!path.startsWith('/')) throw new Error(`${file} is not there: apt-get install ${name}:${target.deb}`);
    return path;
  });
  const libpcap = join(work, 'libpcap_static.o');
  run(gcc, ['-O2', '-fPIC', '-Wall', '-Wextra', '-Werror', '-c', 'native/package/libpcap_static.c', '-o', libpcap], {
    cwd: work,
  });

  const system = sysroot(target, cache);
  const environment = {
    ...process.env,
    CC: gcc,
    CXX: `${prefix}g++`,
    LINK: `${prefix}g++`,
    AR: `${prefix}ar`,
    LDFLAGS: [
      `--sysroot=${system}`,
      `-L${system}/usr/lib/${target.gnu}`,
      `-L${system}/lib/${target.gnu}`,
      '-Wl,--wrap=stdin,--wrap=stdout,--as-needed,--build-id=none',
      '-s',
    ].join(' '),
    // Clang's own variable for further options: the BPF objects' debug information names no folder of this machine.
    CCC_OVERRIDE_OPTIONS: '# +-fdebug-compilation-dir=.',
  };
  const home = join(dirname(process.execPath), '..');
  const headers = existsSync(join(home, 'include/node/common.gypi')) ? [`--nodedir=${home}`] : [];
  const gyp = createRequire(join(root, 'package.json')).resolve('node-gyp/bin/node-gyp.js');
  // Named by its path: Debian's link for -lpthread is absolute and would lead to this machine's.
  const threads = `${system}/lib/${target.gnu}/libpthread.so.0`;
  const definitions = ['--', `-Dstatic_libraries=${[libpcap, ...archives, threads].join(' ')}`, '-Dzstd=1'];
  for (const [step, further] of [
    ['configure', definitions],
    ['build', []],
  ]) {
    run(process.execPath, [gyp, step, '--loglevel=warn', `--arch=${arch}`, ...headers, ...further], {
      cwd: work,
      env: environment,
    });
  }
  const path = join(work, 'build/Release/imds_capture.so');
  return {
    path,
    glibc: checkNeeds(path, prefix),
    libraries: LIBRARIES.map((row) => debianSource(row.package, target)),
  };
}

/** dpkg-query's own notation. */
const FORMAT = ['source:Package', 'source:Version'].map((field) => `\${${field}}`).join(' ');

function debianSource(name, target) {
  const [source, version] = run('dpkg-query', ['-W', '-f', FORMAT, `${name}:${target.deb}`]).split(' ');
  return { name: source, version };
}

/** Highest glibc version that an ELF file asks for. */
export function highestGlibc(path, prefix = '') {
  const versions = run(`${prefix}objdump`, ['-T', path]).matchAll(/GLIBC_([0-9.]+)/g);
  return [...versions].map((match) => match[1]).reduce((a, b) => (compareVersions(a, b) >= 0 ? a : b), '0');
}

function compareVersions(a, b) {
  return a.localeCompare(b, 'en', { numeric: true });
}

function checkNeeds(path, prefix) {
  const glibc = highestGlibc(path, prefix);
  if (compareVersions(glibc, GLIBC) > 0) throw new Error(`${path} needs glibc ${glibc}; the packages promise ${GLIBC}`);
  const needed = [...run(`${prefix}objdump`, ['-p', path]).matchAll(/NEEDED\s+(\S+)/g)].map((match) => match[1]);
  const foreign = needed.filter((name) => !/^(libc|libpthread|ld-linux-.*)\.so\.\d+$/.test(name));
  if (foreign.length > 0) throw new Error(`${path} needs ${foreign.join(', ')}, which a target may not have`);
  return glibc;
}
