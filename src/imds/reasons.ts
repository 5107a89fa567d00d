import type { UnparsedReason } from '../wire/types.js';

/** Every reason that an event may carry; the names are part of the interface. */
export const REASONS = {
  fallback_after_token_issue: 'the same process was granted a token in the last 60 s and now goes without',
  fallback_after_token_refused: 'the same process asked for a token in the last 60 s, got none, and now goes without',
  credential_path: "the path gives out the keys of the instance's role",
  wrong_provider_token: "carries the token or TTL header of another provider and not this one's",
  empty_token: 'the token header is there, without a value (of several, one)',
  blocked: 'normal mode, and the service refused it (401 or 403)',
  forwarded_header: 'carries X-Forwarded-For, Forwarded or Via: sent on for somebody else',
  host_mismatch: "Host, or the target's authority, is neither the endpoint's address nor a known name of it",
  wrong_method: 'on the token path, with another method than PUT',
  ttl_missing: 'a token request without TTL',
  ttl_out_of_range: "a token request whose TTL is no decimal number within the provider's range",
  refused_by_service: 'a token request that the service answered with a status other than 2xx',
  no_response: 'a token request whose answer was not seen',
  token_expired_or_invalid: 'the service refused the token (401)',
  non_http: 'the bytes are no HTTP/1.x request',
  gap: 'bytes of the head are missing: lost, cut, or from before the start',
  head_too_large: 'no end of the head within the bound',
  evicted: 'the connection was dropped from the full table before its head was whole',
  changed_on_resend:
    'bytes of a head were sent again, other than at first: which of them the service has read is not known',
  unexplained_response: 'the service has answered a request that was not seen as one: it may be hidden in a body',
} as const satisfies Record<UnparsedReason, string> & Record<string, string>;

export type Reason = keyof typeof REASONS;
