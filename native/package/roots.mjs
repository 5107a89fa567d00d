// Clean roots to try packages in: Debian 11 (glibc 2.31) of a target's processor with what every Debian has, `ip` for the lab,
// `insmod` for a machine, and nothing else.

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readlinkSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { run } from './run.mjs';

const RELEASE = 'bullseye';
const MIRROR = 'http://deb.debian.org/debian';

/** How qemu-user runs a processor's programs; looked for where the root is of another processor. */
const QEMU = { arm64: '/usr/bin/qemu-aarch64-static', x64: '/usr/bin/qemu-x86_64-static' };

/** What is matched of the header of a program: ELF, 64 bits, little-endian, executable or shared object, this machine (binfmt_misc). */
function binfmt(target, interpreter) {
  const escaped = (bytes) => bytes.map((byte) => `\\x${byte.toString(16).padStart(2, '0')}`).join('');
  const magic = [0x7f, 0x45, 0x4c, 0x46, 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, target.machine, 0];
  const mask = [255, 255, 255, 255, 255, 255, 255, 0, 255, 255, 255, 255, 255, 255, 255, 255, 0xfe, 255, 255, 255];
  return `:imds-tracer-${target.deb}:M::${escaped(magic)}:${escaped(mask)}:${interpreter}:F`;
}

/**
 * Runs a shell script as root in a mount namespace of its own, so that nothing it mounts outlives it. For another processor
 * also in a process and a user namespace: there programs of that processor are qemu's (binfmt_misc is a user namespace's
 * own since Linux 6.7), and the machine's other users see nothing of it.
 * @returns {Promise<{ status: number, output: string }>} both outputs, in the order in which they came
 */
export async function runIsolated(arch, target, script, args) {
  const foreign = arch !== process.arch;
  const folder = mkdtempSync(join(tmpdir(), 'imds-trial-'));
  try {
    const gate = join(folder, 'gate');
    run('mkfifo', [gate]);
    const lines = [`read -r go < ${gate}`];
    if (foreign) {
      if (!existsSync(QEMU[arch])) throw new Error(`${QEMU[arch]} is missing: apt-get install qemu-user-static`);
      const handler = join(folder, 'binfmt');
      writeFileSync(handler, binfmt(target, QEMU[arch]));
      lines.push('mount -t proc proc /proc');
      lines.push('mount -t binfmt_misc none /proc/sys/fs/binfmt_misc');
      lines.push(`cat ${handler} > /proc/sys/fs/binfmt_misc/register`);
    }
    const inner = ['sh', '-c', `set -e\n${lines.join('\n')}\nexec bash "$@"`, 'sh', script, ...args];
    // A tracer is at home in the machine's own process namespace, where the kernel's process ids are.
    const spaces = ['--mount', ...(foreign ? ['--user', '--pid', '--fork', '--kill-child'] : [])];
    // Nothing of this machine's settings, which may name files that the root does not have.
    const env = {
      PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      LC_ALL: 'C.UTF-8',
      HOME: '/root',
    };
    const child = spawn('unshare', [...spaces, ...inner], { stdio: ['ignore', 'pipe', 'pipe'], env });
    const ended = once(child, 'close');
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text) => {
        output += text;
      });
    }
    if (foreign) await mapAll(child);
    writeFileSync(gate, 'go\n');
    const [status, signal] = await ended;
    return { status: status ?? `signal ${signal}`, output };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Maps every id onto itself, once the child is in its user namespace: a root holds files of several users. */
async function mapAll(child) {
  const space = (pid) => readlinkSync(`/proc/${pid}/ns/user`);
  while (child.exitCode === null && space(child.pid) === space('self')) await sleep(10);
  for (const map of ['uid_map', 'gid_map']) writeFileSync(`/proc/${child.pid}/${map}`, '0 0 65536\n');
}

/** debootstrap tries mknod first, which a user namespace may not; the nodes are there already, from the first stage. */
const SECOND_STAGE = `set -e
root=$1
mkdir -p "$root/usr/local/bin"
printf '#!/bin/sh\\n: > "$1"\\n' > "$root/usr/local/bin/mknod"
chmod 755 "$root/usr/local/bin/mknod"
mount -t proc proc "$root/proc"
chroot "$root" /debootstrap/debootstrap --second-stage
rm "$root/usr/local/bin/mknod"
`;

/**
 * A clean root as a tar file, made once and kept in `cache`.
 * @returns {Promise<string>} its path
 */
export async function cleanRoot(arch, target, cache) {
  const archive = join(cache, `root-${RELEASE}-${target.deb}.tar`);
  if (existsSync(archive)) return archive;
  mkdirSync(cache, { recursive: true });
  const work = mkdtempSync(join(tmpdir(), 'imds-root-'));
  try {
    const root = join(work, 'root');
    const foreign = arch !== process.arch;
    const options = [
      '--variant=minbase',
      '--include=iproute2,kmod',
      `--arch=${target.deb}`,
      ...(foreign ? ['--foreign'] : []),
    ];
    const log = run('debootstrap', [...options, RELEASE, root, MIRROR]);
    if (foreign) {
      const script = join(work, 'second-stage.sh');
      writeFileSync(script, SECOND_STAGE);
      const { status, output } = await runIsolated(arch, target, script, [root]);
      if (status !== 0) throw new Error(`debootstrap's second stage failed with ${status}:\n${log}${output}`);
    }
    run('tar', ['-C', root, '--numeric-owner', '-cf', `${archive}.part`, '.']);
    renameSync(`${archive}.part`, archive);
    return archive;
  } finally {
    rmSync(work, { recursive: true });
  }
}

/** Unpacks a clean root into a folder of its own, which is deleted after `action(root)`. */
export async function withRoot(archive, action) {
  const work = mkdtempSync(join(tmpdir(), 'imds-root-'));
  try {
    run('tar', ['-C', work, '--numeric-owner', '-xpf', archive]);
    return await action(work);
  } finally {
    // Not across what might be mounted there: nothing should be, as the trials' namespaces are gone.
    const removed = spawnSync('rm', ['-rf', '--one-file-system', work], { stdio: 'inherit' });
    if (removed.status !== 0) process.stderr.write(`${work} could not be removed\n`);
  }
}
