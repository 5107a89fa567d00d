import process from 'node:process';
import { Command, Option } from 'commander';
import { ExitCode, type ExitStatus } from '../errors.js';
import { PROVIDER_NAMES } from '../imds/providers.js';
import type { ProviderName } from '../imds/types.js';
import { takeInventory } from '../inventory/take.js';
import { formatInventory } from '../inventory/text.js';
import type { InventoryResult, Scanned } from '../inventory/types.js';
import { escapeJson, escapeText } from '../output/escape.js';
import { version } from '../version.js';
import { stopOnSignal } from './signals.js';
import { parseDuration } from './values.js';

/** Of the JSON document; raised where a member changes its meaning. */
const SCHEMA_VERSION = 1;
const REDRAW_MS = 100;
const ERASE_LINE = '\r\x1b[K';

interface InventoryCommandOptions {
  root: string;
  format: 'text' | 'json';
  provider?: ProviderName[];
  timeLimit: string;
}

export function inventoryCommand(): Command {
  return new Command('inventory')
    .description('finds installed metadata clients (SDKs, cloud-init, scripts) that need an upgrade')
    .option('--root <DIR>', 'where to look: this system with its containers, or a mounted image', '/')
    .addOption(new Option('--format <FORMAT>', 'for people or for programs').choices(['text', 'json']).default('text'))
    .addOption(
      new Option('--provider <NAME...>', 'only clients of this cloud (repeatable; default: all)').choices(
        PROVIDER_NAMES,
      ),
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
      const abort = new AbortController();
      const stop = stopOnSignal(() => abort.abort());
      const progress = new ProgressLine();
      // A reader that goes away (`| head`) is no fault of the tracer's.
      process.stdout.on('error', () => undefined);
      let result: InventoryResult;
      try {
        result = await takeInventory({
          root: options.root,
          limits: { time },
          signal: abort.signal,
          onProgress: (scanned, path) => progress.show(scanned, path),
          ...(options.provider !== undefined && { providers: options.provider }),
        });
      } finally {
        progress.clear();
        stop.release();
      }
      const colour = process.stdout.isTTY === true && process.env['NO_COLOR'] === undefined;
      process.stdout.write(options.format === 'json' ? toJson(result, options.root) : formatInventory(result, colour));
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

/** Where it is, on the terminal's last line; nothing where standard error is no terminal. */
class ProgressLine {
  #shownAt = Number.NEGATIVE_INFINITY;
  #visible = false;

  show({ files, directories, opened }: Readonly<Scanned>, path: string): void {
    const now = performance.now();
    if (process.stderr.isTTY !== true || now - this.#shownAt < REDRAW_MS) return;
    this.#shownAt = now;
    this.#visible = true;
    const counts = `${(files + directories).toLocaleString('en-US')} files seen, ${opened.toLocaleString('en-US')} looked into`;
    const line = `inventory: ${counts} | ${escapeText(path, 200)}`;
    process.stderr.write(ERASE_LINE + line.slice(0, Math.max((process.stderr.columns || 80) - 1, 0)));
  }

  clear(): void {
    if (this.#visible) process.stderr.write(ERASE_LINE);
    this.#visible = false;
  }
}
