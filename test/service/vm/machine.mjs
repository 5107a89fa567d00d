// Boots a machine under QEMU's software emulation (a host without KVM, such as a virtual machine, can do no better).
import { spawn } from 'node:child_process';
import process from 'node:process';
import { createInterface } from 'node:readline';

/** A step takes minutes at most; a machine that says nothing for longer hangs. */
const SILENCE_MS = 10 * 60_000;

const MACHINE = [
  ...['-nodefaults', '-no-user-config', '-display', 'none', '-nic', 'none'],
  ...['-machine', 'q35', '-accel', 'tcg,thread=multi', '-cpu', 'max,la57=off', '-smp', '2', '-m', '1024'],
  ...['-device', 'virtio-rng-pci'],
];
const COMMAND_LINE = [
  ...['console=ttyS0', 'quiet', 'panic=-1', 'mitigations=off', 'nokaslr', 'tsc=unstable'],
  ...['systemd.mask=serial-getty@ttyS0.service', 'systemd.show_status=0'],
];

/**
 * Boots `{ kernel, disks, console }` and passes on the lines that the test inside writes to the second serial port. What
 * is written to the disks is gone with the machine; `console` is a file for what the kernel says.
 * @returns {Promise<boolean>} whether every step passed, to the last
 */
export async function boot({ kernel, disks, console }) {
  const drives = disks.flatMap((path, index) => [
    ...['-drive', `if=none,id=d${index},file=${path.replaceAll(',', ',,')},format=raw,snapshot=on`],
    ...['-device', `virtio-blk-pci,drive=d${index}`],
  ]);
  const boot = ['-kernel', kernel.image, '-initrd', kernel.initrd, '-append', COMMAND_LINE.join(' ')];
  const serial = ['-serial', `file:${console.replaceAll(',', ',,')}`, '-serial', 'stdio'];
  const qemu = spawn('qemu-system-x86_64', [...MACHINE, ...boot, ...drives, ...serial], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = new Promise((resolve, reject) => {
    qemu.on('error', (error) => reject(new Error(`qemu-system-x86_64 could not be started: ${error.message}`)));
    qemu.on('close', resolve);
  });
  const kill = () => qemu.kill('SIGKILL');
  process.once('exit', kill);
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1));

  const seen = { plan: undefined, steps: 0, failed: 0 };
  let silence = setTimeout(kill, SILENCE_MS);
  for await (const raw of createInterface({ input: qemu.stdout })) {
    clearTimeout(silence);
    silence = setTimeout(kill, SILENCE_MS);
    const line = raw.replace(/[\0-\x08\x0b-\x1f\x7f]/g, '');
    process.stdout.write(`${line}\n`);
    if (/^(not )?ok \d+ /.test(line)) seen.steps++;
    if (line.startsWith('not ok ')) seen.failed++;
    const plan = /^1\.\.(\d+)$/.exec(line);
    if (plan !== null) seen.plan = Number(plan[1]);
  }
  clearTimeout(silence);
  await ended;
  process.off('exit', kill);
  if (seen.plan === undefined) process.stdout.write(`Bail out! The machine ended early; its console: ${console}\n`);
  return seen.failed === 0 && seen.plan === seen.steps && seen.steps > 0;
}
