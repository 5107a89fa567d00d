import { openSync } from 'node:fs';
import { isIP } from 'node:net';
import { parseArgs } from 'node:util';
import { writeEntry } from './journal.js';
import { isProviderName } from './rules.js';
import { type LabEndpoint, SERVICE_MODES, type ServiceMode, startService } from './service.js';

/*
 * The emulated metadata service as a process of its own, to be run inside a lab's server namespace:
 *
 *   node service-main.js [--mode normal|hardened] [--journal FILE] PROVIDER=http://ADDRESS[:PORT] …
 *
 * Says `listening` on standard output when it is. Ends with its standard input, so that it never outlives the
 * process that started it, however that one ended.
 */

process.stdin.on('error', () => process.exit(0));
process.stdin.on('close', () => process.exit(0));
process.stdin.resume();

async function serve(): Promise<void> {
  const { values, positionals } = parseArgs({
    options: { mode: { type: 'string', default: 'normal' }, journal: { type: 'string' } },
    allowPositionals: true,
  });
  if (!isMode(values.mode)) throw new Error(`--mode is one of ${SERVICE_MODES.join(', ')}, not ${values.mode}`);
  const mode = values.mode;
  const endpoints = positionals.map(parseEndpoint);
  if (endpoints.length === 0) throw new Error('no PROVIDER=http://ADDRESS[:PORT] given');
  const fd = values.journal === undefined ? undefined : openSync(values.journal, 'a', 0o600);
  await startService({
    mode,
    endpoints,
    ...(fd === undefined ? {} : { journal: (entry) => writeEntry(fd, entry) }),
  });
  process.stdout.write('listening\n');
}

serve().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : error}\n`);
  process.exit(2);
});

function isMode(text: string): text is ServiceMode {
  return (SERVICE_MODES as readonly string[]).includes(text);
}

function parseEndpoint(text: string): LabEndpoint {
  const [, provider = '', origin = ''] = /^(\w+)=(http:\/\/.+)$/.exec(text) ?? [];
  const url = URL.canParse(origin) ? new URL(origin) : undefined;
  const address = url?.hostname.replace(/^\[|\]$/g, '') ?? '';
  if (!isProviderName(provider) || !url || isIP(address) === 0) {
    throw new Error(`not PROVIDER=http://ADDRESS[:PORT]: ${text}`);
  }
  return { provider, address, port: Number(url.port || 80) };
}
