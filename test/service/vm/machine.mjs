// The machine whose pid 1 is systemd, and what the test in it says.
import process from 'node:process';
import { escaped, runMachine } from '../../vm/machine.mjs';

/** A step takes minutes at most; a machine that says nothing for longer hangs. */
const SILENCE_MS = 10 * 60_000;

const COMMAND_LINE = ['systemd.mask=serial-getty@ttyS0.service', 'systemd.show_status=0'];

/** What reaches the disks, and what the test and the service use. */
export const LOAD = [
  'virtio_pci',
  'virtio_blk',
  'crc32c_generic',
  'ext4',
  'veth',
  'tcp_diag',
  'af_packet',
  'virtio_rng',
];

/**
 * Mounts the disks: the root, and on /run/payload the test with its units, which are put where systemd looks for those of
 * this boot only (/run), so that the root holds nothing of them.
 */
export const INIT = `#!/bin/sh
B=/bin/busybox
fail() { echo "init: $*"; $B sleep 1; $B poweroff -f; }
$B mount -t proc proc /proc; $B mount -t sysfs sys /sys; $B mount -t devtmpfs dev /dev
for module in /modules/*; do $B insmod "$module" || echo "init: $module was refused"; done
$B mount -t ext4 /dev/vda /new || fail "no root"
$B mount -t tmpfs -o mode=755 run /new/run
$B mkdir -p /new/run/payload /new/run/systemd/system
$B mount -t ext4 -o ro /dev/vdb /new/run/payload || fail "no payload"
$B cp -a /new/run/payload/units/. /new/run/systemd/system/
for folder in proc sys dev; do $B mount -o move /$folder /new/$folder; done
exec $B switch_root /new /sbin/init
`;

/**
 * Boots `{ kernel, disks, console }` and passes on the lines that the test inside writes to the second serial port. What
 * is written to the disks is gone with the machine; `console` is a file for what the kernel says.
 * @returns {Promise<boolean>} whether every step passed, to the last
 */
export async function boot({ kernel, disks, console }) {
  const devices = disks.flatMap((path, index) => [
    ...['-drive', `if=none,id=d${index},file=${escaped(path)},format=raw,snapshot=on`],
    ...['-device', `virtio-blk-pci,drive=d${index}`],
  ]);
  const seen = { plan: undefined, steps: 0, failed: 0 };
  const onLine = (line) => {
    process.stdout.write(`${line}\n`);
    if (/^(not )?ok \d+ /.test(line)) seen.steps++;
    if (line.startsWith('not ok ')) seen.failed++;
    const plan = /^1\.\.(\d+)$/.exec(line);
    if (plan !== null) seen.plan = Number(plan[1]);
  };
  await runMachine({
    kernel,
    memory: 1024,
    devices,
    commandLine: COMMAND_LINE,
    console,
    silenceMs: SILENCE_MS,
    onLine,
  });
  if (seen.plan === undefined) process.stdout.write(`Bail out! The machine ended early; its console: ${console}\n`);
  return seen.failed === 0 && seen.plan === seen.steps && seen.steps > 0;
}
