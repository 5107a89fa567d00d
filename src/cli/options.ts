import { type Command, Option } from 'commander';
import leven from 'leven';
import type { SourceChoice } from '../capture/choose.js';
import type { EndpointAddress } from '../capture/types.js';
import { usageError } from '../errors.js';
import { PROVIDER_NAMES } from '../imds/providers.js';
import type { ProviderName } from '../imds/types.js';
import type { ListenAddress } from '../metrics/server.js';
import { escapeText } from '../output/escape.js';
import { JSON_FORMATS, type JsonFormat } from '../output/formats.js';
import type { RotationOptions } from '../output/numbered-files.js';
import { type ShipOptions, shipOptions } from '../ship/options.js';
import { SHIP_SCHEMES } from '../ship/url.js';
import { parseSize, SIZE } from '../sizes.js';
import { type ConfigValue, readConfigFile, unreadable } from './config-file.js';
import {
  COUNT,
  DURATION,
  LISTEN,
  parseCount,
  parseDuration,
  parseEndpoint,
  parseListen,
  parseRingSize,
} from './values.js';

const DEFAULT_CONFIG_FILE = '/etc/imds-tracer/config.yaml';

/** What `trace` runs with, from the command line, the configuration file and the defaults, in this order. */
export interface TraceOptions extends ShipOptions {
  provider: ProviderName[];
  endpoint: EndpointAddress[];
  source: SourceChoice;
  /** Network interface of the libpcap source. */
  networkInterface?: string;
  logDir: string;
  /** Of each of the two log files. */
  logRotation: RotationOptions;
  /** Schema of the JSON events. */
  format: JsonFormat;
  /** Packet file for the connections with a normal-mode request. */
  evidence?: string;
  durationMs?: number;
  ringSize?: number;
  /** Where `/metrics` and `/healthz` are. */
  metrics?: ListenAddress;
  lab: boolean;
  quiet: boolean;
}

type Values = Record<string, unknown>;

export interface OptionRow {
  /** Long name on the command line and key in the configuration file. */
  name: string;
  argument?: string;
  description: string;
  repeatable?: boolean;
  choices?: readonly string[];
  /** A value, for the sample configuration; without one it is the first choice. */
  example?: string;
  /** What a value looks like, for the schema. */
  form?: RegExp;
  /** Stays as it was at the start when the configuration is read again. */
  fixed?: boolean;
  /** Only on the command line. */
  notInFile?: boolean;
}

export const ROWS: readonly OptionRow[] = [
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
    example: '10.0.0.9:8080',
    repeatable: true,
    description: 'a further address to trace, judged by the first provider (repeatable)',
  },
  {
    name: 'source',
    fixed: true,
    argument: 'SOURCE',
    choices: ['auto', 'ebpf', 'pcap'],
    description: 'how packets are captured (default: auto, eBPF where this host can, else libpcap)',
  },
  {
    name: 'interface',
    fixed: true,
    argument: 'NAME',
    example: 'eth0',
    description: 'network interface for libpcap, or any (default: the one towards the endpoints)',
  },
  {
    name: 'log-dir',
    argument: 'DIR',
    example: '/var/log/imds',
    description: 'where the logs are written (default: /var/log/imds)',
  },
  {
    name: 'log-max-size',
    argument: 'BYTES',
    example: '50M',
    form: SIZE,
    description: 'a log file is rotated when it would grow beyond this size (default: 50M)',
  },
  {
    name: 'log-max-files',
    argument: 'NUMBER',
    example: '10',
    form: COUNT,
    description: 'how many rotated files are kept of each of the two logs (default: 10)',
  },
  {
    name: 'format',
    argument: 'SCHEMA',
    choices: JSON_FORMATS,
    description: 'schema of the JSON events (default: ecs, the Elastic Common Schema)',
  },
  {
    name: 'evidence',
    fixed: true,
    argument: 'FILE',
    example: '/var/log/imds/evidence.pcapng',
    description: 'also write the packets of normal-mode connections, without secrets, to a file .pcapng or .pcap',
  },
  {
    name: 'ship',
    argument: 'URL',
    example: 'syslog+tls://logs.example.com:6514?format=ecs',
    repeatable: true,
    description: `send every event to ${SHIP_SCHEMES.map((scheme) => `${scheme}://HOST`).join(', ')} (repeatable)`,
  },
  {
    name: 'spool-dir',
    argument: 'DIR',
    example: '/var/log/imds/spool',
    fixed: true,
    description: 'where events wait for the receivers of --ship (default: spool in the log directory)',
  },
  {
    name: 'spool-size',
    argument: 'BYTES',
    example: '256M',
    form: SIZE,
    fixed: true,
    description: 'so much may wait for each receiver; beyond it the oldest are dropped (default: 256M)',
  },
  {
    name: 'metrics',
    argument: '[HOST:]PORT',
    example: '9464',
    form: LISTEN,
    description: 'serve Prometheus metrics at /metrics and the state at /healthz there (HOST by default: 127.0.0.1)',
  },
  {
    name: 'duration',
    argument: 'TIME',
    example: '24h',
    form: DURATION,
    fixed: true,
    description: 'stop by itself after 90s, 10m, 24h, …',
  },
  {
    name: 'ring-size',
    argument: 'BYTES',
    example: '2M',
    form: SIZE,
    fixed: true,
    description: 'size of the ring buffer between kernel and tracer (default: 2M; 8M without CAP_SYS_NICE)',
  },
  { name: 'lab', fixed: true, description: 'also run the lab, so that events appear on any machine' },
  { name: 'quiet', description: 'show nothing in the terminal but errors' },
  {
    name: 'config',
    argument: 'FILE',
    notInFile: true,
    description: `configuration with the same names as these options (default: ${DEFAULT_CONFIG_FILE}, if there)`,
  },
];

/** What `replay` runs with: some of the options of `trace`, without a configuration file. */
export interface ReplayOptions extends Pick<TraceOptions, 'provider' | 'endpoint' | 'evidence' | 'format'> {
  logDir?: string;
  json: boolean;
}

const REPLAY_ROWS: readonly OptionRow[] = [
  ...ROWS.filter(({ name }) => ['provider', 'endpoint', 'evidence', 'format'].includes(name)),
  { name: 'json', description: 'write events to standard output as JSON, an object a line, instead of text lines' },
  { name: 'log-dir', argument: 'DIR', description: 'write the two log files there instead of text lines' },
];

/** What `audit` runs with: those options of `trace` that make sense for it, and its own. */
export interface AuditOptions extends Omit<TraceOptions, 'durationMs' | 'metrics' | keyof ShipOptions> {
  durationMs: number;
  out: string;
  allowSilent: boolean;
  skipInventory: boolean;
}

/** Options of `trace` that are of no use to an audit: it is not scraped, and ships nothing. */
const NOT_OF_AUDIT: ReadonlySet<string> = new Set(['metrics', 'ship', 'spool-dir', 'spool-size']);

const AUDIT_OWN_ROWS: readonly OptionRow[] = [
  { name: 'out', argument: 'DIR', description: 'where audit.json and audit.html are written; needed' },
  { name: 'allow-silent', description: 'that no request is seen at all does not count against the host' },
  { name: 'skip-inventory', description: 'do not look for installed clients at the end' },
];

/** The table of `audit`'s options. */
const AUDIT_ROWS: readonly OptionRow[] = [...AUDIT_OWN_ROWS, ...ROWS.filter(({ name }) => !NOT_OF_AUDIT.has(name))];

/** Adds the options of `audit` to a command. */
export const addAuditOptions = (command: Command): Command => addOptions(command, AUDIT_ROWS);

/** The same as `resolveTraceOptions` for `audit`; --duration and --out must be given. */
export function resolveAuditOptions(given: Values): AuditOptions {
  const { durationMs, metrics: _, ship: __, spoolDir: ___, spoolBytes: ____, ...options } = resolveTraceOptions(given);
  const own = new OptionValues(byName(given, AUDIT_OWN_ROWS), AUDIT_OWN_ROWS);
  const out = own.one('out');
  for (const [name, value] of [
    ['--duration', durationMs],
    ['--out', out],
  ] as const) {
    if (value === undefined) {
      throw usageError(
        'IMDS_BAD_VALUE',
        `${name} is needed`,
        'for example: imds-tracer audit --duration 24h --out /var/lib/imds-audit',
      );
    }
  }
  return {
    ...options,
    durationMs: durationMs!,
    out: out!,
    allowSilent: own.flag('allow-silent'),
    skipInventory: own.flag('skip-inventory'),
  };
}

/** Adds the options of `trace` to a command. */
export const addTraceOptions = (command: Command): Command => addOptions(command, ROWS);

/** Adds the options of `replay` to a command. */
export const addReplayOptions = (command: Command): Command => addOptions(command, REPLAY_ROWS);

function addOptions(command: Command, rows: readonly OptionRow[]): Command {
  for (const row of rows) {
    const choices = row.choices === undefined ? '' : `: ${row.choices.join(', ')}`;
    const option = new Option(
      row.argument ? `--${row.name} <${row.argument}>` : `--${row.name}`,
      row.description + choices,
    );
    if (row.repeatable)
      option.argParser((value: string, previous: string[] | undefined) => [...(previous ?? []), value]);
    command.addOption(option);
  }
  return command;
}

/** Rotation renames all of them. */
const MAX_LOG_FILES = 1000;

/** Options as commander collected them (camelCase keys) → checked values. Reads the configuration file. */
export function resolveTraceOptions(given: Values): TraceOptions {
  const commandLine = byName(given, ROWS);
  const values = new OptionValues(commandLine, ROWS, readConfig(commandLine['config'] as string | undefined));
  const duration = values.one('duration');
  const ringSize = values.one('ring-size');
  const source = (values.one('source') ?? 'auto') as SourceChoice;
  const networkInterface = values.one('interface');
  const evidence = values.one('evidence');
  const metrics = values.one('metrics');
  const logDir = values.one('log-dir') ?? '/var/log/imds';
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
    logDir,
    ...shipOptions(
      { ship: values.strings('ship'), spoolDir: values.one('spool-dir'), spoolSize: values.one('spool-size'), logDir },
      (name) => values.label(name),
    ),
    logRotation: {
      maxBytes: parseSize(values.one('log-max-size') ?? '50M', values.label('log-max-size')),
      maxFiles: parseCount(values.one('log-max-files') ?? '10', values.label('log-max-files'), MAX_LOG_FILES),
    },
    ...formatOption(values),
    ...(networkInterface === undefined ? {} : { networkInterface }),
    ...(evidence === undefined ? {} : { evidence }),
    ...(duration === undefined ? {} : { durationMs: parseDuration(duration, values.label('duration')) }),
    ...(ringSize === undefined ? {} : { ringSize: parseRingSize(ringSize, values.label('ring-size')) }),
    ...(metrics === undefined ? {} : { metrics: parseListen(metrics, values.label('metrics')) }),
    lab: values.flag('lab'),
    quiet: values.flag('quiet'),
  };
}

/** The same for `replay`, which reads no configuration file: that is about the host, not about somebody's packets. */
export function resolveReplayOptions(given: Values): ReplayOptions {
  const values = new OptionValues(byName(given, REPLAY_ROWS), REPLAY_ROWS);
  const logDir = values.one('log-dir');
  const evidence = values.one('evidence');
  const json = values.flag('json');
  if (values.one('format') !== undefined && !json && logDir === undefined) {
    throw usageError(
      'IMDS_BAD_VALUE',
      '--format is about JSON events, and text lines were asked for',
      'add --json, or --log-dir DIR',
    );
  }
  return {
    ...endpointOptions(values),
    ...formatOption(values),
    ...(logDir === undefined ? {} : { logDir }),
    ...(evidence === undefined ? {} : { evidence }),
    json,
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

const formatOption = (values: OptionValues): Pick<TraceOptions, 'format'> => ({
  format: (values.one('format') ?? 'ecs') as JsonFormat,
});

function endpointOptions(values: OptionValues): Pick<TraceOptions, 'provider' | 'endpoint'> {
  const providers = values.strings('provider');
  return {
    provider: providers.includes('all')
      ? [...PROVIDER_NAMES]
      : providers.length > 0
        ? ([...new Set(providers)] as ProviderName[])
        : ['alibaba'],
    endpoint: values.strings('endpoint').map((value) => parseEndpoint(value, values.label('endpoint'))),
  };
}

/** Values by option name, of the right types; what `given` has wins over the file. Each getter throws a usage error for what is not. */
class OptionValues {
  constructor(
    private readonly given: Values,
    rows: readonly OptionRow[],
    private readonly file: ReadonlyMap<string, ConfigValue> = new Map(),
  ) {
    for (const { name, choices, repeatable } of rows) {
      if (!repeatable) this.one(name);
      for (const value of choices ? this.strings(name) : []) {
        if (choices!.includes(value)) continue;
        throw usageError(
          'IMDS_BAD_VALUE',
          `${this.label(name)}: "${shown(value)}" is not known${suggestion(value, choices!)}`,
          `take one of: ${choices!.join(', ')}`,
        );
      }
    }
  }

  /** How messages name an option: by where its value comes from. */
  label(name: string): string {
    const at = this.given[name] === undefined ? this.file.get(name)?.at : undefined;
    return at === undefined ? `--${name}` : `${name} (${at})`;
  }

  strings(name: string): string[] {
    const value = this.#value(name);
    if (value === undefined) return [];
    return (Array.isArray(value) ? value : [value]).map(String);
  }

  one(name: string): string | undefined {
    const value = this.#value(name);
    if (value === undefined) return undefined;
    if (!Array.isArray(value)) return String(value);
    throw usageError('IMDS_BAD_VALUE', `${this.label(name)}: it takes one value, not a list`);
  }

  flag(name: string): boolean {
    const value = this.#value(name) ?? false;
    const flag = FLAGS.get(value);
    if (flag !== undefined) return flag;
    throw usageError('IMDS_BAD_VALUE', `${this.label(name)}: "${shown(value)}" is neither true nor false`);
  }

  #value(name: string): unknown {
    const value = this.given[name] ?? this.file.get(name)?.value;
    if (value === '') throw usageError('IMDS_BAD_VALUE', `${this.label(name)}: there is no value`);
    return value;
  }
}

const FLAGS: ReadonlyMap<unknown, boolean> = new Map<unknown, boolean>([
  [true, true],
  ['true', true],
  [false, false],
  ['false', false],
]);

const shown = (value: unknown): string => escapeText(String(value), 100);

/** Reads the configuration file; the default one may be missing, one that was named may not. */
function readConfig(named: string | undefined): ReadonlyMap<string, ConfigValue> {
  const file = named ?? DEFAULT_CONFIG_FILE;
  const values = readConfigFile(file);
  if (values === undefined) {
    if (named === undefined) return new Map();
    throw unreadable(file, 'there is no such file');
  }
  const known = ROWS.filter((row) => !row.notInFile).map((row) => row.name);
  for (const [key, { at }] of values) {
    if (known.includes(key)) continue;
    throw usageError(
      'IMDS_CONFIG_UNKNOWN_KEY',
      `the configuration has an unknown key at ${at}: "${shown(key)}"${suggestion(key, known)}`,
      `known keys: ${known.join(', ')}`,
    );
  }
  return values;
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
