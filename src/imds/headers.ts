import type { HttpHeader } from '../wire/types.js';
import { FOREIGN_CLOUDS, PROVIDERS } from './providers.js';
import type { ProviderName } from './types.js';

/** What of a request's headers matters to its judgement. Holds no token. */
export interface SeenHeaders {
  /** Providers whose token header is there: `true` where it has a value; of several, each, as a service may look at any. */
  tokens: ReadonlyMap<ProviderName, boolean>;
  /** The TTL header's value; `differing` where there are several that differ, of which no number can be made. */
  ttls: ReadonlyMap<ProviderName, string | typeof DIFFERING_TTLS>;
  /** A constant header of another cloud is there. */
  foreign: boolean;
  /** X-Forwarded-For is there. */
  forwardedFor: boolean;
  /** It or another header with which proxies say that they send on. */
  forwarded: boolean;
  host?: string;
  hostRepeated: boolean;
}

export const DIFFERING_TTLS: unique symbol = Symbol('differing');

/** Most requests have neither token nor TTL, and hardly any more than one. */
const NONE: ReadonlyMap<ProviderName, never> = new Map<ProviderName, never>();

type Reader = (seen: SeenHeaders, value: string) => void;

const READERS: ReadonlyMap<string, readonly Reader[]> = readers();
const LONGEST = Math.max(...[...READERS.keys()].map((name) => name.length));

/** One pass over the headers; names compare without regard to case and as a whole (RFC 9110 5.1). */
export function seenHeaders(headers: readonly HttpHeader[]): SeenHeaders {
  const seen: SeenHeaders = {
    tokens: NONE,
    ttls: NONE,
    foreign: false,
    forwardedFor: false,
    forwarded: false,
    hostRepeated: false,
  };
  for (const { name, value } of headers) {
    if (name.length > LONGEST) continue;
    const found = READERS.get(name.toLowerCase());
    if (found !== undefined) for (const read of found) read(seen, value.trim());
  }
  return seen;
}

function readers(): Map<string, Reader[]> {
  const table = new Map<string, Reader[]>();
  const add = (name: string, reader: Reader) => table.set(name, [...(table.get(name) ?? []), reader]);

  for (const provider of PROVIDERS) {
    add(provider.tokenHeader, (seen, value) => {
      const all = value !== '' && seen.tokens.get(provider.name) !== false;
      seen.tokens = new Map(seen.tokens).set(provider.name, all);
    });
    add(provider.ttlHeader, (seen, value) => {
      const before = seen.ttls.get(provider.name);
      const all = before === undefined || before === value ? value : DIFFERING_TTLS;
      seen.ttls = new Map(seen.ttls).set(provider.name, all);
    });
  }
  for (const { name, value: wanted } of FOREIGN_CLOUDS.flatMap((cloud) => cloud.headers)) {
    add(name, (seen, value) => {
      if (wanted === undefined || value.toLowerCase() === wanted) seen.foreign = true;
    });
  }
  add('x-forwarded-for', (seen) => {
    seen.forwardedFor = true;
  });
  for (const name of ['x-forwarded-for', 'forwarded', 'via']) {
    add(name, (seen) => {
      seen.forwarded = true;
    });
  }
  add('host', (seen, value) => {
    if (seen.host !== undefined) seen.hostRepeated = true;
    seen.host = value;
  });
  return table;
}
