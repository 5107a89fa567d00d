import type { RequestHead } from '../wire/types.js';
import { DIFFERING_TTLS, type SeenHeaders, seenHeaders } from './headers.js';
import { HostNames } from './hosts.js';
import { isUnder, type JudgedPath, judgedPath, targetAuthority } from './paths.js';
import { FOREIGN_CLOUDS, PROVIDERS, type Provider, providerNamed, SHARED_ADDRESSES } from './providers.js';
import type { Reason } from './reasons.js';
import { severityOf } from './severity.js';
import type { Endpoint, Level, ProviderName, Severity, Verdict } from './types.js';

export const LEVELS: Readonly<Record<Verdict, Level>> = {
  normal_mode: 'WARNING',
  hardened: 'INFO',
  token_issue: 'INFO',
  token_refused: 'NOTICE',
  token_invalid: 'NOTICE',
  foreign_probe: 'INFO',
  unparsed: 'ERROR',
};

export const VERDICTS = Object.keys(LEVELS) as readonly Verdict[];

/** A count of 0 for every verdict. */
export const noneByVerdict = (): Record<Verdict, number> =>
  Object.fromEntries(VERDICTS.map((verdict) => [verdict, 0])) as Record<Verdict, number>;

/** What a request is by itself, before the service answers. */
export type Kind = 'token_request' | 'with_token' | 'without_token' | 'foreign';

/** What a request's head says. Holds no header value but the TTL. */
export interface HeadJudgement {
  readonly time: number;
  readonly provider: ProviderName;
  readonly kind: Kind;
  readonly severity: Severity;
  readonly reasons: readonly Reason[];
  /** A token request that the service refuses by its rules. */
  readonly illFormed: boolean;
  readonly tokenPresent: boolean;
  readonly ttlSeconds?: number;
}

type Outcome = { verdict: Verdict; reason?: Reason };

/** What each kind becomes with the answer's status, or without an answer. */
export const OUTCOMES: Readonly<Record<Kind, (status: number | undefined, head: HeadJudgement) => Outcome>> = {
  token_request: (status, { illFormed }) => {
    if (illFormed) return { verdict: 'token_refused' };
    if (status === undefined) return { verdict: 'token_issue', reason: 'no_response' };
    const granted = status >= 200 && status < 300;
    return granted ? { verdict: 'token_issue' } : { verdict: 'token_refused', reason: 'refused_by_service' };
  },
  with_token: (status) =>
    status === 401 ? { verdict: 'token_invalid', reason: 'token_expired_or_invalid' } : { verdict: 'hardened' },
  // Alibaba's hardened instances answer 403, those of AWS 401.
  without_token: (status) =>
    status === 401 || status === 403 ? { verdict: 'normal_mode', reason: 'blocked' } : { verdict: 'normal_mode' },
  foreign: () => ({ verdict: 'foreign_probe' }),
};

/** What an endpoint's requests are held against. */
export interface EndpointRules {
  /** Those that judge here; never empty. */
  providers: readonly Provider[];
  hosts: HostNames;
  /** Where several clouds share the address: how the others' requests look. */
  foreign?: { tokenPaths: readonly string[]; families: readonly string[]; hosts: HostNames };
}

export function rulesFor({ address, port, providers: names }: Endpoint): EndpointRules {
  const providers = names.map(providerNamed);
  const hostNames = providers.flatMap((provider) => provider.hostNames);
  const rules = { providers, hosts: new HostNames(address, port, hostNames) };
  if (!SHARED_ADDRESSES.has(address)) return rules;

  const others = PROVIDERS.filter((provider) => !providers.includes(provider));
  const clouds = [...others, ...FOREIGN_CLOUDS];
  return {
    ...rules,
    foreign: {
      tokenPaths: others.map((provider) => provider.tokenPath),
      families: clouds.flatMap((cloud) => cloud.families),
      hosts: new HostNames(address, port, [...hostNames, ...clouds.flatMap((cloud) => cloud.hostNames)]),
    },
  };
}

/** Judges a head before its answer. Linear in the size of the head; never throws. */
export function judgeHead(head: RequestHead, rules: EndpointRules): HeadJudgement {
  const seen = seenHeaders(head.headers);
  const judged = judgedPath(head.target);
  const provider = judgingProvider(rules.providers, seen, judged);
  const tokenPresent = seen.tokens.get(provider.name) === true;
  const kind = kindOf(rules, provider, seen, judged);

  const reasons: Reason[] = [];
  const hosts = kind === 'foreign' && rules.foreign ? rules.foreign.hosts : rules.hosts;
  if (hostMismatch(head, seen, hosts)) reasons.push('host_mismatch');
  if (seen.forwarded) reasons.push('forwarded_header');

  // A foreign path's severity would be that of another table, and a token request gives out no metadata.
  const severity = kind === 'foreign' || kind === 'token_request' ? 'low' : severityOf(judged.path);
  if (severity === 'critical') reasons.push('credential_path');

  if (kind === 'without_token') {
    if (seen.tokens.has(provider.name)) reasons.push('empty_token');
    if (seen.tokens.size > (seen.tokens.has(provider.name) ? 1 : 0)) reasons.push('wrong_provider_token');
  }
  const { time } = head;
  if (kind !== 'token_request') {
    return { time, provider: provider.name, kind, severity, reasons, illFormed: false, tokenPresent };
  }

  const refusal = tokenRequestRefusal(head.method, provider, seen);
  if (refusal) reasons.push(refusal);
  if (refusal === 'ttl_missing' && seen.ttls.size > 0 && !seen.ttls.has(provider.name)) {
    reasons.push('wrong_provider_token');
  }
  const ttlSeconds = decimal(seen.ttls.get(provider.name));
  return {
    time,
    provider: provider.name,
    kind,
    severity,
    reasons,
    tokenPresent,
    illFormed: refusal !== undefined || (provider.refusesForwardedToken && seen.forwardedFor),
    ...(ttlSeconds === undefined ? {} : { ttlSeconds }),
  };
}

/**
 * Who judges where several providers share the address: those whose token path it is, if any, and of them the first
 * that has the strongest clue; without a clue the first.
 */
function judgingProvider(providers: readonly Provider[], seen: SeenHeaders, judged: JudgedPath): Provider {
  if (providers.length === 1) return providers[0]!;
  const ofTokenPath = providers.filter((provider) => isTokenPath(provider, judged));
  const candidates = ofTokenPath.length > 0 ? ofTokenPath : providers;
  const ttl = (provider: Provider) => seen.ttls.has(provider.name);
  const token = (provider: Provider) => seen.tokens.get(provider.name) === true;
  const clues: readonly ((provider: Provider) => boolean)[] = [
    ...(ofTokenPath.length > 0 ? [ttl, token] : [token, ttl]),
    (provider) => seen.tokens.has(provider.name),
    (provider) => provider.families.some((family) => isUnder(judged.path, family)),
  ];
  for (const clue of clues) {
    const found = candidates.find(clue);
    if (found) return found;
  }
  return candidates[0]!;
}

function kindOf(rules: EndpointRules, provider: Provider, seen: SeenHeaders, judged: JudgedPath): Kind {
  if (isTokenPath(provider, judged)) return 'token_request';
  if (seen.tokens.get(provider.name) === true) return 'with_token';
  return isForeign(rules, seen, judged) ? 'foreign' : 'without_token';
}

/**
 * Plainly another cloud's. The path decides: a header of another cloud on a path that a provider here serves hides
 * nothing, nor does a path that servers may read in different ways.
 */
function isForeign({ providers, foreign }: EndpointRules, seen: SeenHeaders, judged: JudgedPath): boolean {
  if (!foreign || !judged.plain) return false;
  if (providers.some(({ name }) => seen.tokens.has(name) || seen.ttls.has(name))) return false;
  if (foreign.tokenPaths.includes(judged.path)) return true;
  const under = (family: string) => isUnder(judged.path, family);
  if (providers.some((provider) => provider.families.some(under))) return false;
  return seen.foreign || foreign.families.some(under);
}

/** A path that only seems to be the token path (`/latest/user-data/../api/token`) must not hide what it may be. */
const isTokenPath = (provider: Provider, judged: JudgedPath): boolean =>
  judged.plain && judged.path === provider.tokenPath;

function tokenRequestRefusal(method: string, provider: Provider, seen: SeenHeaders): Reason | undefined {
  if (method !== 'PUT') return 'wrong_method';
  const text = seen.ttls.get(provider.name);
  if (text === undefined || text === '') return 'ttl_missing';
  const seconds = decimal(text);
  const { min, max } = provider.ttl;
  return seconds !== undefined && seconds >= min && seconds <= max ? undefined : 'ttl_out_of_range';
}

/** A whole number of decimal digits, no sign; nothing where it is none or too great to be exact. */
function decimal(text: string | typeof DIFFERING_TTLS | undefined): number | undefined {
  if (text === undefined || text === DIFFERING_TTLS || !/^\d+$/.test(text)) return undefined;
  const value = Number(text);
  return Number.isSafeInteger(value) ? value : undefined;
}

/** RFC 9112 3.2: one Host, and in HTTP/1.1 it must be there; an absolute-form target's authority counts as well. */
function hostMismatch(head: RequestHead, seen: SeenHeaders, hosts: HostNames): boolean {
  if (seen.hostRepeated) return true;
  if (seen.host === undefined ? head.version !== '1.0' : !hosts.has(seen.host)) return true;
  const authority = targetAuthority(head.target);
  return authority !== undefined && !hosts.has(authority);
}
