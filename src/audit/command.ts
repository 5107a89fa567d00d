import { boundText } from '../output/escape.js';
import type { ProcessSummary } from '../process/types.js';

/** A program whose first arguments name what it runs. */
interface Interpreter {
  names: RegExp;
  /** Options whose value is the next argument. */
  valued: readonly string[];
  /** What an option says that it runs: with these the option and, where `named`, its value are part of the command. */
  runs: readonly { option: RegExp; named: boolean }[];
}

/** From the programs' own manuals: python(1), node(1), bash(1), java(1), ruby(1), perl(1), php(1). */
const INTERPRETERS: readonly Interpreter[] = [
  {
    names: /^(?:python|pypy)[\d.]*t?$/,
    valued: ['-W', '-X', '-Q', '--check-hash-based-pycs'],
    runs: [
      { option: /^-[a-zA-Z]*m$/, named: true },
      { option: /^-[a-zA-Z]*c$/, named: false },
    ],
  },
  {
    names: /^(?:node|nodejs|bun)$/,
    valued: ['-r', '--require', '--import', '--loader', '--experimental-loader', '-C', '--conditions', '--input-type'],
    runs: [{ option: /^(?:-e|--eval|-p|--print|-pe)$/, named: false }],
  },
  {
    names: /^(?:ba|da|z|k|mk|a)?sh$/,
    valued: ['-o', '+o', '-O', '+O', '--rcfile', '--init-file'],
    runs: [{ option: /^-[a-zA-Z]*c$/, named: false }],
  },
  {
    names: /^java$/,
    valued: [
      '-cp',
      '-classpath',
      '--class-path',
      '-p',
      '--module-path',
      '--add-modules',
      '--add-opens',
      '--add-exports',
    ],
    runs: [
      { option: /^-jar$/, named: true },
      { option: /^(?:-m|--module)$/, named: true },
    ],
  },
  { names: /^ruby[\d.]*$/, valued: ['-I', '-r', '-C', '-E'], runs: [{ option: /^-[a-z]*e$/, named: false }] },
  { names: /^perl[\d.]*$/, valued: ['-I'], runs: [{ option: /^-[a-zA-Z]*[eE]$/, named: false }] },
  {
    names: /^php[\d.]*$/,
    valued: ['-c', '-d', '-z'],
    runs: [
      { option: /^(?:-r|--run)$/, named: false },
      { option: /^(?:-f|--file)$/, named: true },
    ],
  },
  { names: /^dotnet$/, valued: [], runs: [] },
  // One program with many names: what it does is the first argument where it is not the name itself.
  { names: /^busybox$/, valued: [], runs: [] },
];

/** Looked at for a script; behind so many options there is none. */
const MAX_OPTIONS = 64;
const MAX_COMMAND = 256;

/**
 * What a process runs, without what varies from one run to the next: its program and, of an interpreter, the script, module or
 * jar (`python3.11 /opt/sync.py`, `java -jar app.jar`, `sh -c`). Undefined where nothing is known. At most 256 characters.
 */
export function commandOf({
  executable,
  args,
  name,
}: Pick<ProcessSummary, 'executable' | 'args' | 'name'>): string | undefined {
  const program = programOf(executable, args, name);
  if (program === undefined) return undefined;
  const interpreter = INTERPRETERS.find(({ names }) => names.test(program));
  const script = interpreter === undefined || args === undefined ? undefined : scriptOf(interpreter, program, args);
  return boundText(script === undefined ? program : `${program} ${script}`, MAX_COMMAND);
}

function programOf(
  executable: string | undefined,
  args: readonly string[] | undefined,
  name: string,
): string | undefined {
  // A title that a program gave itself may hold anything; the file that runs is sure.
  const path = executable?.replace(/ \(deleted\)$/, '') || args?.[0] || name;
  const base = path.slice(path.lastIndexOf('/') + 1);
  return base === '' ? undefined : base;
}

function scriptOf({ valued, runs }: Interpreter, program: string, args: readonly string[]): string | undefined {
  const own = args[0] === undefined ? '' : args[0].slice(args[0].lastIndexOf('/') + 1);
  // `/bin/wget` that is a link to busybox.
  if (program === 'busybox' && own !== program && own !== '') return own;
  for (let i = 1; i < args.length && i <= MAX_OPTIONS; i++) {
    const arg = args[i]!;
    const run = runs.find(({ option }) => option.test(arg));
    if (run !== undefined) {
      const value = args[i + 1];
      return run.named && value !== undefined ? `${arg} ${value}` : arg;
    }
    if (arg === '--') return args[i + 1];
    if (!arg.startsWith('-') && !arg.startsWith('+')) return arg;
    if (valued.includes(arg)) i++;
  }
  return undefined;
}

/** Tools that ask once for whoever runs them: who must change is the script that does. */
const TOOLS = /^(?:curl|wget|busybox wget|http|https|xh|lynx|nc|ncat|socat)$/;

/** Ancestors beyond it say little of who runs a client. */
const MAX_CALLERS = 3;

/** Between the commands of a caller and of what it calls. */
export const CALLED_BY = ' <- ';

/**
 * The command that stands for a client: as `commandOf`, and of a tool also that of the nearest script that runs it
 * (`curl <- bash ./makeCalls.sh`).
 */
export function clientCommand(process: ProcessSummary & { ancestors: readonly ProcessSummary[] }): string | undefined {
  const command = commandOf(process);
  if (command === undefined || !TOOLS.test(command)) return command;
  for (const ancestor of process.ancestors.slice(0, MAX_CALLERS)) {
    const caller = commandOf(ancestor);
    // `sh -c` and a login shell say nothing of themselves; a script, a module or a jar does.
    if (caller?.includes(' ') && !/ -\w+$/.test(caller)) return boundText(command + CALLED_BY + caller, MAX_COMMAND);
  }
  return command;
}

/** The commands that led to a process, the nearest first: `sh -c <- cron <- systemd`. Undefined where none is known. */
export function callersOf(ancestors: readonly ProcessSummary[]): string | undefined {
  const commands = ancestors.slice(0, MAX_CALLERS).flatMap((ancestor) => commandOf(ancestor) ?? []);
  return commands.length === 0 ? undefined : commands.join(CALLED_BY);
}
