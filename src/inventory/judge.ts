import { type KnownClient, knownClient, stopFallbackAdvice } from '../advice/clients.js';
import { providerNamed } from '../imds/providers.js';
import { decodeLatin1 } from '../text.js';
import type { Finding, InventoryItem, Status } from './types.js';
import { atLeast } from './versions.js';

/** Versions and names are words; what is longer is nobody's. */
const MAX_WORD = 200;
const MAX_PATH = 4096;

export interface Place {
  root: string;
  containerId: string | null;
}

/** What a finding means: status and advice by the table of known clients. */
export function judge(found: Finding, place: Place): InventoryItem {
  const client = found.kind === 'script' ? undefined : knownClient(found.kind, found.name);
  const version = found.version === null ? null : found.version.slice(0, MAX_WORD);
  const status = client === undefined ? scriptStatus(found) : clientStatus(client, found, version);
  return {
    kind: found.kind,
    name: (found.kind === 'script' || found.kind === 'program' ? decodeLatin1(found.name) : found.name).slice(
      0,
      MAX_WORD,
    ),
    provider: client?.provider ?? found.provider!,
    version,
    path: decodeLatin1(found.path.slice(0, MAX_PATH)),
    root: place.root,
    container_id: place.containerId,
    minimum: client?.minimum ?? null,
    status,
    may_fall_back: status === 'too_old' || (client?.fallsBack ?? true),
    advice: [
      ...(client === undefined ? scriptAdvice(found, status) : clientAdvice(client, version, status)),
      ...(found.path.endsWith(DELETED)
        ? ['Its file is gone or replaced, but a process still runs it: restart that.']
        : []),
    ].join(' '),
    in_use: null,
    pids: [],
  };
}

/** What /proc appends to the path of a file that is open and removed. */
export const DELETED = ' (deleted)';

function clientStatus(
  { minimum, below, capable: meaning }: KnownClient,
  { kind, capable }: Finding,
  version: string | null,
): Status {
  if (capable !== undefined) return capable ? (meaning ?? 'ok') : below;
  if (version === null || minimum === null) return 'unknown';
  const enough = atLeast(kind, version, minimum);
  return enough === undefined ? 'unknown' : enough ? 'ok' : below;
}

const scriptStatus = ({ capable }: Finding): Status => (capable === false ? 'too_old' : 'unknown');

function clientAdvice(client: KnownClient, version: string | null, status: Status): string[] {
  const stop = stopFallbackAdvice(client);
  if (status === 'ok') return stop === undefined ? [] : [stop];
  const advice: string[] = [];
  if (status === 'too_old') {
    advice.push(
      client.minimum === null
        ? 'It has no code that asks for a token: replace it by a version that has.'
        : `Raise it${version === null ? '' : ` from ${version}`} to ${client.minimum} or later.`,
    );
  } else if (client.minimum !== null) {
    advice.push(
      version === null
        ? `It uses tokens from ${client.minimum} on, and which version this is could not be seen.`
        : `${client.minimum} and later use tokens; whether ${version} does is not known: raise it, or trace it.`,
    );
  }
  if (client.note !== undefined) advice.push(client.note);
  if (stop !== undefined) advice.push(client.minimum === null ? stop : stop.replace(/^Set/, 'Then set'));
  return advice;
}

/** The two requests that a script has to make, by the provider's row. */
function scriptAdvice({ provider }: Finding, status: Status): string[] {
  const { addresses, tokenPath, tokenHeader, ttlHeader } = providerNamed(provider!);
  const base = `http://${addresses[0]}`;
  const rewrite =
    `TOKEN=$(curl -sS -X PUT -H '${ttlHeader}: 300' ${base}${tokenPath}), ` +
    `then each request with -H "${tokenHeader}: $TOKEN".`;
  return status === 'too_old'
    ? [`Ask for a token first: ${rewrite}`]
    : [`It names the address without a word of a token. If it asks there: ${rewrite}`];
}

/**
 * Packages of cloud-init below the minimum: whether the distribution brought the code in is seen in the data source that is
 * installed below the same root.
 */
export function settleCloudInit(items: readonly InventoryItem[]): void {
  const sources = new Map<string, InventoryItem | 'different'>();
  const key = ({ root, provider }: InventoryItem): string => `${provider} ${root}`;
  for (const item of items) {
    if (item.kind !== 'cloud-init') continue;
    const known = sources.get(key(item));
    sources.set(
      key(item),
      known === undefined || (known !== 'different' && known.status === item.status) ? item : 'different',
    );
  }
  for (const item of items) {
    if (item.kind !== 'package' || item.name !== 'cloud-init' || item.status !== 'unknown') continue;
    const source = sources.get(key(item));
    if (source === undefined || source === 'different') continue;
    item.status = source.status;
    item.advice =
      source.status === 'ok'
        ? 'Older than the minimum, but the data source that is installed asks for a token.'
        : source.advice;
  }
}
