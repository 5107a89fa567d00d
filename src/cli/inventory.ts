import process from 'node:process';
import { Command, Option } from 'commander';
import { ExitCode, type ExitStatus } from '../errors.js';
import { PROVIDER_NAMES } from '../imds/providers.js';
import type { ProviderName } from '../imds/types.js';
import { takeInventory } from '../inventory/take.js';
import { formatInventory } from '../inventory/text.js';
import type { InventoryResult, Scanned } from '../inventory/types.js';
import { escapeJson, escapeText } from '../output/escape.js';
import { count } from '../output/figures.js';
import { ProgressLine } from '../output/progress-line.js';
import { inColour } from '../output/terminal.js';
import { version } from '../version.js';
import { stopOnSignal } from './signals.js';
import { writeResult } from './streams.js';
import { parseDuration } from './values.js';

/** Of the JSON document; raised where a member changes its meaning. */
const SCHEMA_VERSION = 1;
const REDRAW_MS = 100;

interface InventoryCommandOptions {
  root: string;
  format: 'text' | 'json';
  provider?: (ProviderName | 'all')[];
  timeLimit: string;
}

export function inventoryCommand(): Command {
  return new Command('inventory')
    .description('finds installed metadata clients (SDKs, cloud-init, scripts) that need an upgrade')
    .option('--root <DIR>', 'where to look: this system with its containers, or a mounted image', '/')
    .addOption(new Option('--format <FORMAT>', 'for people or for programs').choices(['text', 'json']).default('text'))
    .addOption(
      new Option('--provider <NAME...>', 'only clients of this cloud (repeatable; default: all)').choices([
        ...PROVIDER_NAMES,
        'all',
      ]),
    )
    .option('--time-limit <TIME>', 'stop looking after 90s, 10m, …', '10m')
    .addHelpText(
      'after',
      `
Examples:
  imds-tracer inventory                       this system, its containers and what runs
  imds-tracer inventory --root /mnt/image     a mounted image
  imds-tracer inventory --provider alibaba --format json | jq '.items[] | select(.status == "too_old")'

Exit status: 0 nothing is too old, 1 something is, 2 wrong usage, 4 nothing is but not all could be seen.`,
    )
    .action(async (options: InventoryCommandOptions) => {
      const time = parseDuration(options.timeLimit, '--time-limit');
      const providers = options.provider?.flatMap((name) => (name === 'all' ? PROVIDER_NAMES : name));
      const abort = new AbortController();
      const stop = stopOnSignal(() => abort.abort());
      const progress = new ProgressLine(process.stderr, REDRAW_MS, 0);
      let result: InventoryResult;
      try {
        result = await takeInventory({
          root: options.root,
          limits: { time },
          signal: abort.signal,
          onProgress: (scanned, path) => progress.show(() => progressText(scanned, path)),
          ...(providers !== undefined && { providers }),
        });
      } finally {
        progress.clear();
        stop.release();
      }
      await writeResult(
        options.format === 'json' ? toJson(result, options.root) : formatInventory(result, inColour(process.stdout)),
      );
      process.exitCode = exitStatus(result);
    });
}

function exitStatus({ items, complete }: InventoryResult): ExitStatus {
  if (items.some(({ status }) => status === 'too_old')) return ExitCode.normalModeFound;
  return complete ? ExitCode.done : ExitCode.incomplete;
}

function toJson(result: InventoryResult, root: string): string {
  const document = {
    schema_version: SCHEMA_VERSION,
    tracer: version,
    taken: new Date().toISOString(),
    root,
    ...result,
  };
  return `${escapeJson(JSON.stringify(document, null, 2))}\n`;
}

const progressText = ({ files, directories, opened }: Readonly<Scanned>, path: string): string =>
  `inventory: ${count(files + directories)} files seen, ${count(opened)} looked into | ${escapeText(path, 200)}`;
