import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { Command } from 'commander';
import { NOBODYS_ENDPOINT } from '../capture/choose.js';
import { openEbpf } from '../capture/ebpf.js';
import { ExitCode, TracerError } from '../errors.js';
import { escapeText } from '../output/escape.js';
import { packageRoot } from '../package-root.js';
import { type Change, DROP_INS, type DropIn, ServiceFiles } from '../service/install.js';
import { UNIT } from '../service/unit.js';
import { resolveTraceOptions, type TraceOptions } from './options.js';

/** What `systemctl show` is asked for, and what it is called here. */
const SHOWN = { ActiveState: 'state', StatusText: 'says', MainPID: 'process', NRestarts: 'restarts', Result: 'result' };

export function serviceCommand(): Command {
  const command = new Command('service').description('the systemd service: installs, removes and shows it').addHelpText(
    'after',
    `
Examples:
  sudo imds-tracer service install             write the unit, enable it, start it
  imds-tracer service status                   whether it runs, since when, what it has seen
  sudo imds-tracer service uninstall           stop it and remove the unit; the logs stay
  imds-tracer service install --root /mnt/img  into an image: it starts with the image's next boot

Exit status: 0 done (status: it runs, or with --root, it is enabled), 2 wrong usage or not permitted, 3 it does not run.`,
  );
  for (const { name, description, run } of ACTIONS) {
    command
      .command(name)
      .description(description)
      .option('--root <DIR>', 'the root of an image instead of this host')
      .exitOverride()
      .action(({ root }: { root?: string }) => {
        process.exitCode = run(root ?? '/');
      });
  }
  return command;
}

const ACTIONS: ReadonlyArray<{ name: string; description: string; run: (root: string) => number }> = [
  { name: 'install', description: 'writes the unit, enables it and, where systemd runs, starts it', run: install },
  { name: 'uninstall', description: 'stops the service and removes what install has written', run: uninstall },
  { name: 'status', description: 'says whether the service is installed, enabled and running', run: status },
];

function install(root: string): number {
  const change = files(root).install(neededDropIns(root));
  say(change, 'written', 'installed already');
  if (!systemdRuns(root)) {
    process.stdout.write('systemd does not run here: the service starts with the next boot\n');
    return ExitCode.done;
  }
  systemctl('daemon-reload');
  // An unchanged service goes on running: to start what runs is nothing to systemd.
  systemctl(change.paths.length > 0 ? 'restart' : 'start', UNIT);
  return status(root);
}

function uninstall(root: string): number {
  const service = files(root);
  if (systemdRuns(root) && service.look().unit !== undefined) systemctl('stop', UNIT);
  say(service.uninstall(), 'removed', 'was not installed');
  if (systemdRuns(root)) {
    systemctl('daemon-reload');
    // A unit that had failed would stay in the list without a file. There may be none: then it says so, and that is fine.
    spawnSync('systemctl', ['reset-failed', UNIT], { stdio: 'ignore' });
  }
  process.stdout.write('logs stay in /var/log/imds\n');
  return ExitCode.done;
}

function status(root: string): number {
  const { unit, enabled, outdated } = files(root).look();
  const lines = [
    `unit: ${unit ?? 'none (imds-tracer service install)'}`,
    `enabled: ${enabled ? 'yes' : 'no'}`,
    ...(outdated ? ['the unit is not what this program would install: run imds-tracer service install'] : []),
  ];
  let running = enabled;
  if (systemdRuns(root) && unit !== undefined) {
    const state = show();
    running = state.get('ActiveState') === 'active';
    for (const [property, title] of Object.entries(SHOWN)) lines.push(`${title}: ${state.get(property) ?? ''}`);
  }
  process.stdout.write(`${lines.map((line) => escapeText(line)).join('\n')}\n`);
  return running ? ExitCode.done : ExitCode.cannotCapture;
}

function files(root: string): ServiceFiles {
  const program = packageRoot();
  const read = (name: string): string => readFileSync(join(program, 'systemd', name), 'utf8');
  return new ServiceFiles(
    root,
    { node: process.execPath, root: program },
    {
      unit: read(UNIT),
      dropIns: Object.fromEntries(DROP_INS.map((name) => [name, read(name)])) as Record<DropIn, string>,
    },
  );
}

/** The settings beside the unit that this host and its configuration ask for; none for an image, which is not asked. */
function neededDropIns(root: string): ReadonlySet<DropIn> {
  if (root !== '/') return new Set();
  const options = resolveTraceOptions({});
  return new Set(DROP_INS.filter((name) => NEEDED[name](options)));
}

const NEEDED: Readonly<Record<DropIn, (options: TraceOptions) => boolean>> = {
  'libpcap.conf': ({ source }) => (source === 'auto' ? !ebpfWorks() : source === 'pcap'),
  'network.conf': ({ ship, metrics }) =>
    [...ship, ...(metrics === undefined ? [] : [metrics])].some(({ host }) => !LOOPBACK.test(host)),
  // Type=notify-reload came with systemd 253. An older one would not know it, and take the service for one that is never ready.
  'reload.conf': () => systemdRuns('/') && systemdVersion() >= 253,
};

const LOOPBACK = /^(localhost|127\.\d+\.\d+\.\d+|::1)$/;

function ebpfWorks(): boolean {
  try {
    openEbpf({ endpoints: [NOBODYS_ENDPOINT] }).close();
    return true;
  } catch (error) {
    if (error instanceof TracerError) return false;
    throw error;
  }
}

/** 0 where it is not told. Its first line: "systemd 252 (252.39-1~deb12u2)". */
function systemdVersion(): number {
  const { stdout } = spawnSync('systemctl', ['--version'], { encoding: 'utf8' });
  return Number(/^systemd (\d+)/.exec(stdout ?? '')?.[1] ?? 0);
}

function say({ paths }: Change, done: string, nothing: string): void {
  for (const path of paths) process.stdout.write(`${done}: ${path}\n`);
  if (paths.length === 0) process.stdout.write(`${nothing}\n`);
}

/** The way systemd's own tools tell (sd_booted(3)). */
const systemdRuns = (root: string): boolean => root === '/' && existsSync('/run/systemd/system');

function systemctl(...words: readonly string[]): void {
  const {
    status: code,
    error,
    stderr,
  } = spawnSync('systemctl', words, { encoding: 'utf8', stdio: ['ignore', 'inherit', 'pipe'] });
  if (code === 0) return;
  throw new TracerError(
    'IMDS_SERVICE_SYSTEMD',
    ExitCode.cannotCapture,
    `systemctl ${words.join(' ')} failed: ${escapeText(error?.message ?? stderr.trim())}`,
    `what it said at its start: journalctl -u ${UNIT}`,
  );
}

/** What systemd says of the unit, by property. */
function show(): Map<string, string> {
  const { stdout } = spawnSync('systemctl', ['show', UNIT, '-p', Object.keys(SHOWN).join(',')], { encoding: 'utf8' });
  return new Map((stdout ?? '').split('\n').map((line) => [line.split('=', 1)[0]!, line.slice(line.indexOf('=') + 1)]));
}
