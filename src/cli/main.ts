#!/usr/bin/env -S node --max-semi-space-size=2 --optimize-for-size --v8-pool-size=1
// The options of Node, for memory: nearly all that the tracer makes is garbage at once. Measured at 6,000 requests a second
// against Node's defaults but the small young generation: 20 MiB less at the peak, for some 15 % more CPU time.
import process from 'node:process';
import { Command, CommanderError } from 'commander';
import { ExitCode, TracerError } from '../errors.js';
import { escapeLines } from '../output/escape.js';
import { version } from '../version.js';
import { guardStreams } from './streams.js';

/** EX_SOFTWARE of sysexits.h: a fault of the tracer itself, told apart from every status that has a meaning. */
const EXIT_INTERNAL = 70;

/** In the order of the help. Loaded when needed: all of them together take as long as a small file's replay. */
const COMMANDS: ReadonlyMap<string, () => Promise<Command>> = new Map([
  ['trace', async () => (await import('./trace.js')).traceCommand()],
  ['audit', async () => (await import('./audit.js')).auditCommand()],
  ['replay', async () => (await import('./replay.js')).replayCommand()],
  ['report', async () => (await import('./report.js')).reportCommand()],
  ['inventory', async () => (await import('./inventory.js')).inventoryCommand()],
  ['lab', async () => (await import('./lab.js')).labCommand()],
  ['doctor', async () => (await import('./doctor.js')).doctorCommand()],
  ['service', async () => (await import('./service.js')).serviceCommand()],
]);

const VERSION_OPTIONS = ['-V', '--version'];

const program = new Command('imds-tracer')
  .description('Finds every process that asks the cloud metadata service without a session token.')
  .version(version, VERSION_OPTIONS.join(', '))
  .showHelpAfterError('(imds-tracer --help, or imds-tracer COMMAND --help, lists what there is)')
  .exitOverride()
  .addHelpText(
    'after',
    `
Examples:
  imds-tracer trace                          trace this host's requests to Alibaba Cloud's metadata service
  imds-tracer trace --provider aws           … to that of AWS
  imds-tracer trace --lab                    … and run sample clients in a private network namespace
  imds-tracer replay capture.pcapng          the same analysis over a packet file
  imds-tracer report /var/log/imds           what the logs say, of one host or of many
  imds-tracer audit --duration 24h --out DIR can this host be switched to tokens only, and if not, why
  imds-tracer inventory                      installed SDKs and scripts that go without a token
  imds-tracer doctor                         what this host can do
  grep WARNING /var/log/imds/imds-trace.*    every request without a token

Exit status: 0 done, 1 an audit or inventory found who goes without a token, 2 wrong usage, 3 this host can't capture,
4 done but something was lost or not attributable.`,
  );

async function run(): Promise<void> {
  const [, , first = ''] = process.argv;
  for (const load of needed(first)) program.addCommand((await load()).copyInheritedSettings(program));
  escapeErrors(program);
  await program.parseAsync();
}

/** What must be loaded to understand a command line that begins with this. */
function needed(first: string): Iterable<() => Promise<Command>> {
  const asked = COMMANDS.get(first);
  if (asked !== undefined) return [asked];
  if (VERSION_OPTIONS.includes(first)) return [];
  // It is the help that is asked for, or a mistake: both name all commands.
  return COMMANDS.values();
}

/** Commander repeats arguments as they are, and an argument can be a file's name that somebody else chose. */
function escapeErrors(command: Command): void {
  command.configureOutput({ writeErr: (text) => process.stderr.write(printable(text)) });
  for (const subcommand of command.commands) escapeErrors(subcommand);
}

/** Errors name paths and arguments, those of the system as they are: nothing in them may steer a terminal. */
const printable = (text: string): string => escapeLines(text, Number.POSITIVE_INFINITY);

/** Writes an error for people and gives its exit status. */
function report(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? ExitCode.done : ExitCode.usage;
  if (error instanceof TracerError) {
    const { message, code, remedy } = error;
    process.stderr.write(printable(`imds-tracer: ${message} [${code}]\n${remedy ? `  ${remedy}\n` : ''}`));
    return error.exitStatus;
  }
  const trace = error instanceof Error ? (error.stack ?? error.message) : String(error);
  process.stderr.write(`imds-tracer: internal error, please report it: ${printable(trace)}\n`);
  return EXIT_INTERNAL;
}

guardStreams();

// Node would open its debugger to every local user at this signal, which many daemons take for "reopen the log".
process.on('SIGUSR1', () => undefined);

// Node's own status for an uncaught error is 1, which means "normal mode found" here.
process.on('uncaughtException', (error) => process.exit(report(error)));

run().then(
  () => undefined,
  (error: unknown) => {
    process.exitCode = report(error);
  },
);
