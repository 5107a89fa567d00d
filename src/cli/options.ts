import { readFileSync } from 'node:fs';
import { type Command, Option } from 'commander';
import leven from 'leven';
import { parse as parseYaml } from 'yaml';
import type { SourceChoice } from '../capture/choose.js';
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
  source: SourceChoice;
  /** Network interface of the libpcap source. */
  networkInterface?: string;
  logDir: string;
  /** Packet file for the connections with a normal-mode request. */
  evidence?: string;
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
    choices: ['auto', 'ebpf', 'pcap'],
    description: 'how packets are captured (default: auto, eBPF where this host can, else libpcap)',
  },
  {
    name: 'interface',
    argument: 'NAME',
    description: 'network interface for libpcap, or any (default: the one towards the endpoints)',
  },
  { name: 'log-dir', argument: 'DIR', description: 'where the logs are written (default: /var/log/imds)' },
  {
    name: 'evidence',
    argument: 'FILE',
    description: 'also write the packets of normal-mode connections, without secrets, to a file .pcapng or .pcap',
  },
  { name: 'duration', argument: 'TIME', description: 'stop by itself after 90s, 10m, 24h, …' },
  {
    name: 'ring-size',
    argument: 'BYTES',
    description: 'size of the ring buffer between kernel and tracer (default: 2M)',
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

/** What `replay` runs with: some of the options of `trace`, without a configuration file. */
export interface ReplayOptions extends Pick<TraceOptions, 'provider' | 'endpoint' | 'evidence'> {
  logDir?: string;
  json: boolean;
}

const REPLAY_ROWS: readonly OptionRow[] = [
  ...ROWS.filter(({ name }) => name === 'provider' || name === 'endpoint' || name === 'evidence'),
  { name: 'json', description: 'write events to standard output as JSON, an object a line, instead of text lines' },
  { name: 'log-dir', argument: 'DIR', description: 'write the two log files there instead of text lines' },
];

/** Adds the options of `trace` to a command. */
export const addTraceOptions = (command: Command): Command => addOptions(command, ROWS);

/** Adds the options of `replay` to a command. */
export const addReplayOptions = (command: Command): Command => addOptions(command, REPLAY_ROWS);

function addOptions(command: Command, rows: readonly OptionRow[]): Command {
  for (const row of rows) {
    const option = new Option(row.argument ? `--${row.name} <${row.argument}>` : `--${row.name}`, row.description);
    if (row.repeatable)
      option.argParser((value: string, previous: string[] | undefined) => [...(previous ?? []), value]);
    command.addOption(option);
  }
  return command;
}

/** Options as commander collected them (camelCase keys) → checked values. Reads the configuration file. */
export function resolveTraceOptions(given: Values): TraceOptions {
  const commandLine = byName(given, ROWS);
  const values = new OptionValues({ ...readConfig(commandLine['config'] as string | undefined), ...commandLine }, ROWS);
  const duration = values.one('duration');
  const ringSize = values.one('ring-size');
  const source = (values.one('source') ?? 'auto') as SourceChoice;
  const networkInterface = values.one('interface');
  const evidence = values.one('evidence');
  if (networkInterface !== undefined && source === 'ebpf') {
    throw usageError(
      'IMDS_BAD_VALUE',
      '--interface has no meaning with --source ebpf, which sees every interface',
      'leave one of them out, or take --source pcap',
    );
  }
  return {
    ...endpointOptions(values),
    source,
    logDir: values.one('log-dir') ?? '/var/log/imds',
    ...(networkInterface === undefined ? {} : { networkInterface }),
    ...(evidence === undefined ? {} : { evidence }),
    ...(duration === undefined ? {} : { durationMs: parseDuration(duration, '--duration') }),
    ...(ringSize === undefined ? {} : { ringSize: parseRingSize(ringSize, '--ring-size') }),
    lab: values.flag('lab'),
    quiet: values.flag('quiet'),
  };
}

/** The same for `replay`, which reads no configuration file: that is about the host, not about somebody's packets. */
export function resolveReplayOptions(given: Values): ReplayOptions {
  const values = new OptionValues(byName(given, REPLAY_ROWS), REPLAY_ROWS);
  const logDir = values.one('log-dir');
  const evidence = values.one('evidence');
  return {
    ...endpointOptions(values),
    ...(logDir === undefined ? {} : { logDir }),
    ...(evidence === undefined ? {} : { evidence }),
    json: values.flag('json'),
  };
}

/** From commander's keys to the options' names; those that were not given are left out. */
function byName(given: Values, rows: readonly OptionRow[]): Values {
  return Object.fromEntries(
    rows.flatMap((row) => {
      const value = given[camelCase(row.name)];
      return value === undefined ? [] : [[row.name, value]];
    }),
  );
}

function endpointOptions(values: OptionValues): Pick<TraceOptions, 'provider' | 'endpoint'> {
  const providers = values.strings('provider');
  return {
    provider: providers.includes('all')
      ? [...PROVIDER_NAMES]
      : providers.length > 0
        ? ([...new Set(providers)] as ProviderName[])
        : ['alibaba'],
    endpoint: values.strings('endpoint').map((value) => parseEndpoint(value, '--endpoint')),
  };
}

/** Values by option name, of the right types. Each getter throws a usage error for what is not. */
class OptionValues {
  constructor(
    private readonly values: Values,
    rows: readonly OptionRow[],
  ) {
    for (const { name, choices } of rows) {
      for (const value of choices ? this.strings(name) : []) {
        if (choices!.includes(value)) continue;
        throw usageError(
          'IMDS_BAD_VALUE',
          `--${name}: "${value}" is not known${suggestion(value, choices!)}`,
          `take one of: ${choices!.join(', ')}`,
        );
      }
    }
  }

  strings(name: string): string[] {
    const value = this.values[name];
    if (value === undefined) return [];
    return (Array.isArray(value) ? value : [value]).map((item) => text(item, name));
  }

  one(name: string): string | undefined {
    return this.values[name] === undefined ? undefined : text(this.values[name], name);
  }

  flag(name: string): boolean {
    const value = this.values[name] ?? false;
    if (typeof value === 'boolean') return value;
    throw usageError('IMDS_BAD_VALUE', `${name}: "${String(value)}" is neither true nor false`);
  }
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
