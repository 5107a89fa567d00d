import { readFileSync } from 'node:fs';
import { type Command, Option } from 'commander';
import leven from 'leven';
import { parse as parseYaml } from 'yaml';
import type { EndpointAddress } from '../capture/types.js';
import { usageError } from '../errors.js';
import { PROVIDER_NAMES } from '../imds/providers.js';
import type { ProviderName } from '../imds/types.js';
import { parseDuration, parseEndpoint, parseRingSize } from './values.js';

export const DEFAULT_CONFIG_FILE = '/etc/imds-tracer/config.yaml';

/** What `trace` runs with, from the command line, the configuration file and the defaults, in this order. */
export interface TraceOptions {
  provider: ProviderName[];
  endpoint: EndpointAddress[];
  source: 'auto' | 'ebpf';
  logDir: string;
  durationMs?: number;
  ringSize?: number;
  lab: boolean;
  quiet: boolean;
}

type Values = Record<string, unknown>;

interface OptionRow {
  /** Long name on the command line and key in the configuration file. */
  name: string;
  argument?: string;
  description: string;
  repeatable?: boolean;
  choices?: readonly string[];
  /** Only on the command line. */
  notInFile?: boolean;
}

const ROWS: readonly OptionRow[] = [
  {
    name: 'provider',
    argument: 'NAME',
    repeatable: true,
    choices: [...PROVIDER_NAMES, 'all'],
    description: 'cloud whose metadata service is traced (repeatable; default: alibaba)',
  },
  {
    name: 'endpoint',
    argument: 'IP[:PORT]',
    repeatable: true,
    description: 'a further address to trace, judged by the first provider (repeatable)',
  },
  {
    name: 'source',
    argument: 'SOURCE',
    choices: ['auto', 'ebpf'],
    description: 'how packets are captured (default: auto)',
  },
  { name: 'log-dir', argument: 'DIR', description: 'where the logs are written (default: /var/log/imds)' },
  { name: 'duration', argument: 'TIME', description: 'stop by itself after 90s, 10m, 24h, …' },
  {
    name: 'ring-size',
    argument: 'BYTES',
    description: 'size of the ring buffer between kernel and tracer (default: 8M)',
  },
  { name: 'lab', description: 'also run the lab, so that events appear on any machine' },
  { name: 'quiet', description: 'show nothing in the terminal but errors' },
  {
    name: 'config',
    argument: 'FILE',
    notInFile: true,
    description: `configuration with the same names as these options (default: ${DEFAULT_CONFIG_FILE}, if there)`,
  },
];

/** Adds the options of `trace` to a command. */
export function addTraceOptions(command: Command): Command {
  for (const row of ROWS) {
    const option = new Option(row.argument ? `--${row.name} <${row.argument}>` : `--${row.name}`, row.description);
    if (row.repeatable)
      option.argParser((value: string, previous: string[] | undefined) => [...(previous ?? []), value]);
    command.addOption(option);
  }
  return command;
}

/** Options as commander collected them (camelCase keys) → checked values. Reads the configuration file. */
export function resolveTraceOptions(given: Values): TraceOptions {
  const commandLine = Object.fromEntries(
    ROWS.flatMap((row) => {
      const value = given[camelCase(row.name)];
      return value === undefined ? [] : [[row.name, value]];
    }),
  );
  const merged: Values = { ...readConfig(commandLine['config'] as string | undefined), ...commandLine };
  return fromValues(merged);
}

function fromValues(values: Values): TraceOptions {
  const strings = (name: string): string[] => {
    const value = values[name];
    if (value === undefined) return [];
    return (Array.isArray(value) ? value : [value]).map((item) => text(item, name));
  };
  const one = (name: string): string | undefined => (values[name] === undefined ? undefined : text(values[name], name));
  const flag = (name: string): boolean => {
    const value = values[name] ?? false;
    if (typeof value !== 'boolean')
      throw usageError('IMDS_BAD_VALUE', `${name}: "${String(value)}" is neither true nor false`);
    return value;
  };

  for (const row of ROWS) {
    if (!row.choices) continue;
    for (const value of strings(row.name)) {
      if (!row.choices.includes(value)) {
        throw usageError(
          'IMDS_BAD_VALUE',
          `--${row.name}: "${value}" is not known${suggestion(value, row.choices)}`,
          `take one of: ${row.choices.join(', ')}`,
        );
      }
    }
  }

  const providers = strings('provider');
  const duration = one('duration');
  const ringSize = one('ring-size');
  return {
    provider: providers.includes('all')
      ? [...PROVIDER_NAMES]
      : providers.length > 0
        ? ([...new Set(providers)] as ProviderName[])
        : ['alibaba'],
    endpoint: strings('endpoint').map((value) => parseEndpoint(value, '--endpoint')),
    source: (one('source') ?? 'auto') as TraceOptions['source'],
    logDir: one('log-dir') ?? '/var/log/imds',
    ...(duration === undefined ? {} : { durationMs: parseDuration(duration, '--duration') }),
    ...(ringSize === undefined ? {} : { ringSize: parseRingSize(ringSize, '--ring-size') }),
    lab: flag('lab'),
    quiet: flag('quiet'),
  };
}

function text(value: unknown, name: string): string {
  if (typeof value === 'string' && value !== '') return value;
  if (typeof value === 'number') return String(value);
  throw usageError('IMDS_BAD_VALUE', `${name}: ${JSON.stringify(value)} is no text`);
}

/** Reads the configuration file; the default one may be missing, one that was named may not. */
function readConfig(named: string | undefined): Values {
  const file = named ?? DEFAULT_CONFIG_FILE;
  let source: string;
  try {
    source = readFileSync(file, 'utf8');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (named === undefined && code === 'ENOENT') return {};
    throw usageError(
      'IMDS_CONFIG_UNREADABLE',
      `the configuration ${file} can't be read: ${(error as Error).message}`,
      'give a readable file with --config, or remove it to run with the defaults',
    );
  }
  let parsed: unknown;
  try {
    parsed = parseYaml(source, { maxAliasCount: 0 });
  } catch (error) {
    throw usageError('IMDS_CONFIG_INVALID', `the configuration ${file} is no valid YAML: ${(error as Error).message}`);
  }
  if (parsed === null || parsed === undefined) return {};
  if (typeof parsed !== 'object' || Array.isArray(parsed)) {
    throw usageError('IMDS_CONFIG_INVALID', `the configuration ${file} is no mapping of names to values`);
  }
  const known = ROWS.filter((row) => !row.notInFile).map((row) => row.name);
  for (const key of Object.keys(parsed)) {
    if (!known.includes(key)) {
      throw usageError(
        'IMDS_CONFIG_UNKNOWN_KEY',
        `the configuration ${file} has an unknown key "${key}"${suggestion(key, known)}`,
        `known keys: ${known.join(', ')}`,
      );
    }
  }
  return parsed as Values;
}

function suggestion(value: string, known: readonly string[]): string {
  let best: string | undefined;
  let bestDistance = 3;
  for (const candidate of known) {
    const distance = leven(value.slice(0, 64).toLowerCase(), candidate);
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best === undefined ? '' : ` (did you mean "${best}"?)`;
}

const camelCase = (name: string): string => name.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase());
