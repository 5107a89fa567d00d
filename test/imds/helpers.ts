import { Judge } from '../../src/imds/judge.js';
import { endpointsFor, providerNamed } from '../../src/imds/providers.js';
import type { Endpoint, Judgement, ProviderName } from '../../src/imds/types.js';
import type { RequestHead, ResponseHead } from '../../src/wire/types.js';

export type Headers = readonly (readonly [name: string, value: string])[];

export interface Sent {
  method?: string;
  target?: string;
  version?: string;
  headers?: Headers;
  /** The Host header; null for none. */
  host?: string | null;
  time?: number;
}

/** The first endpoint of these providers. */
export const endpointOf = (...providers: ProviderName[]): Endpoint => endpointsFor(providers)[0]!;

/** A GET for the instance-id with the right Host, but for what is given. */
export function head(endpoint: Endpoint, sent: Sent = {}): RequestHead {
  const host = sent.host === undefined ? endpoint.address : sent.host;
  const headers = [...(host === null ? [] : [['Host', host] as const]), ...(sent.headers ?? [])];
  return {
    time: sent.time ?? 1_000,
    method: sent.method ?? 'GET',
    target: sent.target ?? '/latest/meta-data/instance-id',
    version: sent.version ?? '1.1',
    headers: headers.map(([name, value]) => ({ name, value })),
    headBytes: 100,
  };
}

export const answer = (status: number): ResponseHead => ({ time: 1_001, status, version: '1.1', headers: [] });

/** Judges one request on its own; `status` 0 for no answer. */
export function judge(endpoint: Endpoint, sent: Sent = {}, status = 200): Judgement {
  const one = new Judge();
  return one.finish(one.begin(head(endpoint, sent), endpoint), status === 0 ? undefined : answer(status));
}

/** A well formed token request of the provider, its header names as its documents write them. */
export function tokenRequest(name: ProviderName, ttl = '21600', more: Headers = []): Sent {
  const { tokenPath, ttlHeader } = providerNamed(name);
  return { method: 'PUT', target: tokenPath, headers: [[ttlHeader, ttl], ...more] };
}
