// The machine that runs tests of this checkout on another kernel: its root is this machine's own, read-only below an overlay
// in memory, so that Node, the checkout and what the tests use are there as they are here.
import { cpSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { escaped, runMachine } from '../vm/machine.mjs';

/** A test takes minutes at most; a machine that says nothing for longer hangs. */
const SILENCE_MS = 15 * 60_000;
const MEMORY = 4096;

export const LOAD = [
  ...['virtio_pci', '9pnet_virtio', '9p', 'overlay', 'virtio_rng'],
  ...['veth', 'dummy', 'tcp_diag', 'af_packet', 'cls_cgroup', 'netprio_cgroup'],
];

/** Where the first program finds what; `project` is a word of the kernel's command line. */
export const INIT = `#!/bin/sh
B=/bin/busybox
fail() { echo "init: $*"; $B sleep 1; $B poweroff -f; }
$B mount -t proc proc /proc; $B mount -t sysfs sys /sys; $B mount -t devtmpfs dev /dev
for module in /modules/*; do $B insmod "$module" || echo "init: $module was refused"; done
P=trans=virtio,version=9p2000.L,msize=512000,access=any
$B mount -t 9p -o ro,$P,cache=loose root /shared || fail "no root"
$B mount -t tmpfs -o size=75%,mode=755 scratch /scratch; $B mkdir /scratch/upper /scratch/work
$B mount -t overlay -o lowerdir=/shared,upperdir=/scratch/upper,workdir=/scratch/work root /new || fail "no overlay"
for folder in proc sys dev run tmp; do $B mkdir -p /new/$folder; done
$B mount -t tmpfs -o mode=755 run /new/run; $B mkdir -p /new/run/kernels; $B cp $B /new/run/busybox
$B mount -t 9p -o rw,$P results /new/run/kernels || fail "no folder for results"
for folder in proc sys dev; do $B mount -o move /$folder /new/$folder; done
exec $B switch_root /new /bin/sh /run/kernels/guest.sh
`;

/** Not in a copy of the checkout: what is reached where it is, what is not tested, and other runs' results. */
const LEFT_OUT = new Set(['node_modules', '.git', 'build']);

/** A copy of the checkout as it is now, so that edits and builds meanwhile change nothing. */
export function copyCheckout(root, to) {
  rmSync(to, { recursive: true, force: true });
  mkdirSync(join(to, 'node_modules'), { recursive: true });
  for (const name of readdirSync(root).filter((name) => !LEFT_OUT.has(name)))
    cpSync(join(root, name), join(to, name), { recursive: true, verbatimSymlinks: true });
  cpSync(join(root, 'build/Release'), join(to, 'build/Release'), { recursive: true });
}

/**
 * Boots `kernel` and runs the test files in it. What they and doctor give is then in the folder `results`.
 * @param {{ cgroup?: string, btf?: boolean }} system
 * @param {(line: string) => void} onLine progress
 */
export async function runInMachine({ kernel, system, root, checkout, results, console, files, onLine }) {
  cpSync(join(root, 'test/kernels/guest.sh'), join(results, 'guest.sh'));
  const settings = {
    project: root,
    checkout,
    node: process.execPath,
    cgroup: system.cgroup ?? 'v2',
    btf: system.btf === false ? 'hidden' : 'there',
    files: files.join(' '),
  };
  const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;
  writeFileSync(
    join(results, 'settings'),
    Object.entries(settings)
      .map(([name, value]) => `${name}=${quoted(value)}\n`)
      .join(''),
  );
  const share = (tag, path, options) => [
    ...['-fsdev', `local,id=${tag},path=${escaped(path)},multidevs=remap,${options}`],
    ...['-device', `virtio-9p-pci,fsdev=${tag},mount_tag=${tag}`],
  ];
  await runMachine({
    kernel,
    memory: MEMORY,
    devices: [
      // A kernel that panics is to end, not to begin again.
      '-no-reboot',
      ...share('root', '/', 'security_model=none,readonly=on'),
      ...share('results', results, 'security_model=none'),
    ],
    console,
    silenceMs: SILENCE_MS,
    onLine,
  });
}
