// A machine under QEMU's software emulation (a host without KVM, such as a virtual machine, can do no better).
import { spawn } from 'node:child_process';
import process from 'node:process';
import { createInterface } from 'node:readline';

const MACHINE = [
  ...['-nodefaults', '-no-user-config', '-display', 'none', '-nic', 'none'],
  ...['-machine', 'q35', '-accel', 'tcg,thread=multi', '-cpu', 'max,la57=off', '-smp', '2'],
  ...['-device', 'virtio-rng-pci'],
];
const COMMAND_LINE = [
  ...['console=ttyS0', 'quiet', 'panic=-1', 'mitigations=off', 'nokaslr', 'tsc=unstable'],
  // Else a kernel that gets no processor while it waits for its timer's first interrupts panics ("IO-APIC + timer doesn't work").
  'no_timer_check',
];

/** A path within an option of QEMU's. */
export const escaped = (path) => path.replaceAll(',', ',,');

/**
 * Boots `kernel` and resolves when the machine is off. It is killed where it says nothing for `silenceMs`.
 * @param {object} machine
 * @param {{ image: string, initrd: string }} machine.kernel
 * @param {number} machine.memory in MiB
 * @param {readonly string[]} machine.devices further options of QEMU's
 * @param {readonly string[]} machine.commandLine for the kernel, further words
 * @param {string} machine.console a file for what the kernel says
 * @param {(line: string) => void} machine.onLine is given what the machine writes to its second serial port, without
 *   control characters
 */
export async function runMachine({ kernel, memory, devices, commandLine = [], console, silenceMs, onLine }) {
  const boot = ['-kernel', kernel.image, '-initrd', kernel.initrd];
  const append = ['-append', [...COMMAND_LINE, ...commandLine].join(' ')];
  const serial = ['-serial', `file:${escaped(console)}`, '-serial', 'stdio'];
  const qemu = spawn(
    'qemu-system-x86_64',
    [...MACHINE, '-m', String(memory), ...boot, ...append, ...devices, ...serial],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const ended = new Promise((resolve, reject) => {
    qemu.on('error', (error) => reject(new Error(`qemu-system-x86_64 could not be started: ${error.message}`)));
    qemu.on('close', resolve);
  });
  const kill = () => qemu.kill('SIGKILL');
  const exit = () => process.exit(1);
  process.once('exit', kill);
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, exit);

  let silence = setTimeout(kill, silenceMs);
  for await (const raw of createInterface({ input: qemu.stdout })) {
    clearTimeout(silence);
    silence = setTimeout(kill, silenceMs);
    onLine(raw.replace(/[\0-\x08\x0b-\x1f\x7f]/g, ''));
  }
  clearTimeout(silence);
  await ended;
  process.off('exit', kill);
  for (const signal of ['SIGINT', 'SIGTERM']) process.off(signal, exit);
}
