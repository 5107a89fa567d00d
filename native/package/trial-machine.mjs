// The package of another processor on a kernel of its own, in an emulated machine: qemu-user has no bpf(2). The clean root and
// the package are the machine's initial file system in memory, so the kernel needs no driver but what is built in, and veth.

import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { run } from './run.mjs';
import { download } from './sysroot.mjs';

/** Debian 12's kernel, 6.1, by processor, and the machine that it runs in. */
const MACHINES = {
  arm64: {
    kernel: 'linux-image-arm64',
    command: ['qemu-system-aarch64', '-M', 'virt', '-cpu', 'cortex-a72'],
    package: 'qemu-system-arm',
    console: 'ttyAMA0',
  },
};

/** Processors that can be emulated here. */
export const EMULATED = Object.keys(MACHINES).filter((arch) => arch !== process.arch);

/** Some 40 s from power to prompt where two cores emulate it; the lab then starts a client a second. */
const TIMEOUT = 900_000;

/** The machine's whole life. Not to a terminal, for plain lines. */
const INIT = `#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for path in /run /tmp; do mount -t tmpfs tmp $path; done
mount -t cgroup2 cgroup /sys/fs/cgroup
ip link set lo up
insmod /veth.ko
uname -rm
{ imds-tracer doctor; echo "doctor ended with $?"; } | cat
{ imds-tracer trace --lab --duration 20s --log-dir /tmp/log; echo "trace ended with $?"; } | cat
sync
echo o > /proc/sysrq-trigger
sleep 60
`;

/** The kernel and its veth module, kept in `cache`. */
function kernel(arch, target, cache) {
  const made = join(cache, `kernel-${target.deb}`);
  if (existsSync(made)) return made;
  const work = mkdtempSync(join(tmpdir(), 'imds-kernel-'));
  try {
    const fetched = (name) => {
      const to = join(work, name);
      mkdirSync(to);
      download({ release: 'bookworm', security: true, packages: [name] }, target.deb, to);
      return join(to, readdirSync(to)[0]);
    };
    const depends = run('dpkg-deb', ['-f', fetched(MACHINES[arch].kernel), 'Depends']);
    const [name] = /linux-image-[\w.-]+/.exec(depends);
    const tree = join(work, 'tree');
    run('dpkg-deb', ['-x', fetched(name), tree]);
    const image = readdirSync(join(tree, 'boot')).find((file) => file.startsWith('vmlinuz-'));
    const part = `${made}.part`;
    mkdirSync(part, { recursive: true });
    cpSync(join(tree, 'boot', image), join(part, 'vmlinuz'));
    const release = image.slice('vmlinuz-'.length);
    cpSync(join(tree, 'lib/modules', release, 'kernel/drivers/net/veth.ko'), join(part, 'veth.ko'));
    run('mv', [part, made]);
    return made;
  } finally {
    rmSync(work, { recursive: true });
  }
}

/**
 * Boots `deb` in the clean root of `archive`; `{ status, output }`, with status 0 where `doctor` found all in order and the
 * lab's requests were traced without a loss.
 */
export function traceInMachine(arch, target, deb, archive, cache) {
  const { command, console, package: debian } = MACHINES[arch];
  const [program, ...options] = command;
  for (const [tool, name] of Object.entries({ [program]: debian, cpio: 'cpio' })) {
    if (spawnSync(tool, ['--version']).error) throw new Error(`${tool} is missing: apt-get install ${name}`);
  }
  const boot = kernel(arch, target, cache);
  const work = mkdtempSync(join(tmpdir(), 'imds-machine-'));
  try {
    const root = join(work, 'root');
    mkdirSync(root);
    run('tar', [
      '-C',
      root,
      '-xpf',
      archive,
      '--exclude=./usr/share/doc',
      '--exclude=./usr/share/locale',
      '--exclude=./var/cache/apt',
    ]);
    run('dpkg-deb', ['-x', deb, root]);
    cpSync(join(boot, 'veth.ko'), join(root, 'veth.ko'));
    writeFileSync(join(root, 'init'), INIT, { mode: 0o755 });
    const memory = join(work, 'initrd');
    run('sh', ['-c', 'find . | cpio -o -H newc --quiet > "$1"', 'sh', memory], { cwd: root });
    const fixed = ['-smp', '2', '-m', '2048', '-nographic', '-no-reboot', '-nic', 'none'];
    const files = ['-kernel', join(boot, 'vmlinuz'), '-initrd', memory];
    const append = `console=${console} rdinit=/init panic=-1 quiet`;
    const ran = spawnSync(program, [...options, ...fixed, ...files, '-append', append], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: TIMEOUT,
      maxBuffer: 64 << 20,
    });
    return judge(ran.stdout.replaceAll('\r', ''));
  } finally {
    rmSync(work, { recursive: true });
  }
}

function judge(said) {
  const count = (pattern) => said.match(pattern)?.length ?? 0;
  const last = /tracer-stopped .*/.exec(said)?.[0] ?? '';
  const fine =
    said.includes('doctor ended with 0') &&
    said.includes('trace ended with 0') &&
    count(/\[WARNING\] IMDSv1\(!\) \(pid:\d+:.* via:connect/g) > 0;
  if (!fine) return { status: 1, output: `    FAILED, the machine's console:\n${said}` };
  const lines = [
    `${/^\d\S+ \S+$/m.exec(said)[0]}: doctor: ${count(/^ok /gm)} checks in order`,
    `${/trace would use: (.*)/.exec(said)[1]}`,
    `trace --lab: ${count(/\] IMDS/g)} requests, ${count(/\[WARNING\]/g)} without a token, their processes named by the kernel's records`,
    last,
  ];
  return { status: 0, output: lines.map((line) => `    ${line}\n`).join('') };
}
