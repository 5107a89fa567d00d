import type { Client } from './clients.js';
import type { AuditVerdict, Coverage, Impact, Totals } from './types.js';

/** A client's requests for tokens by how they ended, and those with a token that were refused for it, or not. */
export interface TokenCounts {
  hardened: number;
  granted: number;
  unanswered: number;
  refused: number;
  invalid: number;
}

export const NO_TOKENS: Readonly<TokenCounts> = { hardened: 0, granted: 0, unanswered: 0, refused: 0, invalid: 0 };

/** It asked for tokens, or used them, and got none that works. */
export const noTokenWorks = ({ hardened, granted, unanswered, refused, invalid }: TokenCounts): boolean =>
  hardened === 0 && (invalid > 0 || (granted <= 0 && refused + unanswered > 0));

/** What the switch does to a client, by what was seen of it. */
export function impactOf(client: Client): Impact {
  const { answered, unanswered, blocked, failed } = client.normal;
  if (answered + unanswered > 0) return 'breaks';
  if (blocked > 0) return 'broken';
  if (failed > 0) return 'fails_anyway';
  // A token request without an answer counts as an issue on the wire.
  const noResponse = client.reasons.get('no_response') ?? 0;
  const tokens: TokenCounts = {
    hardened: client.count('hardened'),
    granted: client.count('token_issue') - noResponse,
    unanswered: noResponse,
    refused: client.count('token_refused'),
    invalid: client.count('token_invalid'),
  };
  if (noTokenWorks(tokens)) return 'no_token';
  return client.count('unparsed') > 0 ? 'unknown' : 'none';
}

/** The order in which clients must be looked at. */
export const IMPACTS: Readonly<Record<Impact, { rank: number; text: string }>> = {
  breaks: { rank: 0, text: 'breaks with the switch' },
  broken: { rank: 1, text: 'is refused already' },
  fails_anyway: { rank: 2, text: 'asks without a token, for what is not there' },
  no_token: { rank: 3, text: 'gets no token' },
  unknown: { rank: 4, text: 'could not be read' },
  none: { rank: 5, text: 'goes on working' },
};

/**
 * `not_ready` where normal-mode access was seen, whatever else is missing; `ready` only where everything was seen and every
 * client that asks for tokens gets them.
 */
export function judgeAudit(
  totals: Totals,
  coverage: Coverage,
  impacts: readonly Impact[],
): { verdict: AuditVerdict; reasons: string[] } {
  const reasons: string[] = [];
  const count = (impact: Impact): number => impacts.filter((other) => other === impact).length;
  const say = (impact: Impact, text: (clients: string) => string): void => {
    const clients = count(impact);
    if (clients > 0) reasons.push(text(clients === 1 ? '1 client' : `${clients} clients`));
  };
  say('breaks', (clients) => `${clients} would break: access without a token was seen`);
  say('broken', (clients) => `${clients} asked without a token and is refused already: this host is switched, or was`);
  say('fails_anyway', (clients) => `${clients} asked without a token, and was answered with errors only`);
  say(
    'no_token',
    (clients) => `${clients} asked for tokens and got none that works: whether it needs one is not known`,
  );
  reasons.push(...coverage.reasons.map(({ text }) => text));
  if (totals.normal_mode > 0) return { verdict: 'not_ready', reasons };
  if (!coverage.complete || count('no_token') > 0) return { verdict: 'inconclusive', reasons };
  return { verdict: 'ready', reasons: [readyReason(totals)] };
}

const readyReason = ({ requests, clients }: Totals): string =>
  requests === 0
    ? 'no request was seen, which is allowed here'
    : `all of ${requests} requests of ${clients} clients were seen, and none goes without a token`;
