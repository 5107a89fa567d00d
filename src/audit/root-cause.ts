import type { RequestObservation } from './observation.js';

/** Why a client asks without a token, or does not get one. `detail` is what was seen of it: a method, a TTL, a status. */
export interface CauseRow {
  /** What was seen, for people; `details` are the different ones, at most a few. */
  text: (details: readonly string[]) => string;
}

const listed = (details: readonly string[]): string => (details.length === 0 ? '' : ` (${details.join(', ')})`);

/** The weightiest first. The names are part of the interface. */
export const ROOT_CAUSES = {
  drops_token: { text: () => 'is given a token and then asks without it' },
  falls_back: { text: () => 'asks for a token, is refused or gets no answer, and then asks without one' },
  never_asks: { text: () => 'never asks for a token' },
  sometimes_without: { text: () => 'uses tokens in some of its requests and asks without one in others' },
  empty_token: { text: () => "sends the token header without a value: it did not check the token request's answer" },
  other_provider_token: {
    text: () => "sends another provider's token header, which this service does not look at",
  },
  sent_on: {
    text: () => 'sends requests on for somebody else (X-Forwarded-For, Forwarded or Via is there), without a token',
  },
  token_forwarded: {
    text: () => 'is refused tokens because its token requests carry X-Forwarded-For: they come through a proxy',
  },
  token_forwarded_refused: {
    text: (details) =>
      `is refused tokens${listed(details)}, and its token requests carry X-Forwarded-For, Forwarded or Via: they come through a proxy`,
  },
  token_wrong_method: {
    text: (details) => `asks for tokens with another method than PUT${listed(details)}`,
  },
  token_ttl_missing: { text: () => 'asks for tokens without a lifetime: the TTL header is missing or empty' },
  token_other_provider_ttl: {
    text: () => "asks for tokens with another provider's TTL header, which this service does not look at",
  },
  token_ttl_out_of_range: {
    text: (details) => `asks for tokens with a lifetime that the service does not grant${listed(details)}`,
  },
  token_refused: { text: (details) => `is refused tokens by the service${listed(details)}` },
  keeps_old_token: {
    text: () => 'goes on with a token that the service has refused (401), instead of asking for a new one',
  },
  old_token: { text: () => 'sent a token that the service refused (401), expired or never issued' },
  asks_for_others: {
    text: (details) => `asks the same as other clients while they wait for its answer: a local proxy${listed(details)}`,
  },
  asks_through_proxy: { text: (details) => `is answered through a local proxy${listed(details)}` },
  unreadable: { text: (details) => `sent bytes that could not be read as requests${listed(details)}` },
} as const satisfies Record<string, CauseRow>;

export type RootCauseCode = keyof typeof ROOT_CAUSES;

/** Of one request: what it shows of a cause, if anything. Those about a client as a whole are found in its sums. */
export interface RequestCause {
  code: RootCauseCode;
  detail?: string;
}

/** By verdict and then by reason, the first that fits. */
const BY_REASON: Readonly<Record<string, readonly (readonly [reason: string | undefined, code: RootCauseCode])[]>> = {
  normal_mode: [
    ['fallback_after_token_issue', 'drops_token'],
    ['fallback_after_token_refused', 'falls_back'],
    ['empty_token', 'empty_token'],
    ['wrong_provider_token', 'other_provider_token'],
    ['forwarded_header', 'sent_on'],
  ],
  token_refused: [
    ['wrong_method', 'token_wrong_method'],
    ['wrong_provider_token', 'token_other_provider_ttl'],
    ['ttl_missing', 'token_ttl_missing'],
    ['ttl_out_of_range', 'token_ttl_out_of_range'],
  ],
  token_invalid: [[undefined, 'old_token']],
  unparsed: [[undefined, 'unreadable']],
};

const DETAILS: Readonly<Partial<Record<RootCauseCode, (request: RequestObservation) => string | undefined>>> = {
  token_wrong_method: ({ method }) => method,
  token_ttl_out_of_range: ({ ttlSeconds }) => (ttlSeconds === undefined ? 'no number' : `${ttlSeconds} s`),
  token_refused: ({ status }) => (status === undefined ? undefined : `status ${status}`),
  token_forwarded_refused: ({ status }) => (status === undefined ? undefined : `status ${status}`),
  unreadable: ({ reasons }) => reasons[0],
};

export function causeOf(request: RequestObservation): RequestCause | undefined {
  const { verdict, reasons } = request;
  const row = BY_REASON[verdict]?.find(([reason]) => reason === undefined || reasons.includes(reason));
  const code = row?.[1] ?? (verdict === 'token_refused' ? refusalOf(reasons) : undefined);
  if (code === undefined) return undefined;
  const detail = DETAILS[code]?.(request);
  return detail === undefined ? { code } : { code, detail };
}

/**
 * A well-formed token request that was refused. Where the service itself refused it, any of the proxies' headers may be why;
 * where it is refused by the provider's rules, it was X-Forwarded-For.
 */
function refusalOf(reasons: readonly string[]): RootCauseCode {
  if (!reasons.includes('forwarded_header')) return 'token_refused';
  return reasons.includes('refused_by_service') ? 'token_forwarded_refused' : 'token_forwarded';
}
