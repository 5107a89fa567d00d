// Builds the native library for packages: unlike that of a checkout, it needs only glibc, and an old one.
import { cpSync, existsSync, mkdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import process from 'node:process';
import { requirements } from './elf.mjs';
import { run } from './run.mjs';
import { sysroot } from './sysroot.mjs';

/**
 * Linked statically, in the order of their dependence, with Debian's packages of them and their licences (SPDX, as those
 * packages' copyright files have them for the libraries themselves).
 */
const LIBRARIES = [
  { file: 'libpcap.a', package: 'libpcap0.8-dev', license: 'BSD-3-Clause' },
  { file: 'libbpf.a', package: 'libbpf-dev', license: 'LGPL-2.1-only OR BSD-2-Clause' },
  { file: 'libelf.a', package: 'libelf-dev', license: 'GPL-2.0-or-later OR LGPL-3.0-or-later' },
  { file: 'libz.a', package: 'zlib1g-dev', license: 'Zlib' },
  { file: 'libzstd.a', package: 'libzstd-dev', license: 'BSD-3-Clause OR GPL-2.0-only' },
];

/** The compiler's prefix for another processor than this one; empty for this one. */
export function crossPrefix(arch, target) {
  return arch === process.arch ? '' : `${target.gnu}-`;
}

/** The compiler's own headers, then the sysroot's, and none of this machine's: a cross compiler would prefer its own glibc's. */
function headerOptions(gcc, system, target) {
  const own = run(gcc, ['-print-file-name=include']).trim();
  const folders = [own, join(system, 'usr/include', target.gnu), join(system, 'usr/include')];
  return ['-nostdinc', ...folders.flatMap((folder) => ['-isystem', folder])];
}

/**
 * Compiles in `work`, a copy of what is needed, so that neither a developer's build nor the checkout's path gets in.
 * @returns {{ path: string, libraries: object[] }} the library,
 *   and the Debian source packages that it holds, each with name, version, license, and the path of its copyright file
 * @throws Error also where it needs any library but glibc's
 */
export function buildLibrary({ root, arch, target, cache, work }) {
  const prefix = crossPrefix(arch, target);
  const gcc = `${prefix}gcc`;
  mkdirSync(work, { recursive: true });
  cpSync(join(root, 'native'), join(work, 'native'), { recursive: true });
  cpSync(join(root, 'binding.gyp'), join(work, 'binding.gyp'));

  const { path: system, sources } = sysroot(target, cache);
  const headers = headerOptions(gcc, system, target);
  const archives = LIBRARIES.map(({ file }) => join(system, 'usr/lib', target.gnu, file));
  const libpcap = join(work, 'libpcap_static.o');
  const warnings = ['-Wall', '-Wextra', '-Werror'];
  const source = ['-c', 'native/package/libpcap_static.c', '-o', libpcap];
  run(gcc, ['-O2', '-fPIC', ...warnings, ...headers, ...source], { cwd: work });

  const environment = {
    ...process.env,
    CC: gcc,
    CXX: `${prefix}g++`,
    LINK: `${prefix}g++`,
    AR: `${prefix}ar`,
    CFLAGS: headers.join(' '),
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
  const nodeHeaders = existsSync(join(home, 'include/node/common.gypi')) ? [`--nodedir=${home}`] : [];
  const gyp = createRequire(join(root, 'package.json')).resolve('node-gyp/bin/node-gyp.js');
  // Named by its path: Debian's link for -lpthread is absolute and would lead to this machine's.
  const threads = `${system}/lib/${target.gnu}/libpthread.so.0`;
  const definitions = ['--', `-Dstatic_libraries=${[libpcap, ...archives, threads].join(' ')}`, '-Dzstd=1'];
  for (const [step, further] of [
    ['configure', definitions],
    ['build', []],
  ]) {
    run(process.execPath, [gyp, step, '--loglevel=warn', `--arch=${arch}`, ...nodeHeaders, ...further], {
      cwd: work,
      env: environment,
    });
  }
  const path = join(work, 'build/Release/imds_capture.so');
  checkNeeds(path);
  return {
    path,
    libraries: LIBRARIES.map(({ package: name, license }) => ({
      ...sources[name],
      license,
      copyright: join(system, 'usr/share/doc', name, 'copyright'),
    })),
  };
}

function checkNeeds(path) {
  const { needed } = requirements(path);
  const foreign = needed.filter((name) => !/^(libc|libpthread|ld-linux-.*)\.so\.\d+$/.test(name));
  if (foreign.length > 0) throw new Error(`${path} needs ${foreign.join(', ')}: only glibc may be needed`);
}
