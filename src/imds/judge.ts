import type { RequestHead, ResponseHead, UnparsedBytes } from '../wire/types.js';
import { type TokenRequest, TokenRequests } from './fallback.js';
import type { Reason } from './reasons.js';
import type { Endpoint, Judgement } from './types.js';
import { type EndpointRules, type HeadJudgement, judgeHead, LEVELS, OUTCOMES, rulesFor } from './verdict.js';

/** A request that waits for its answer. */
export interface PendingJudgement extends HeadJudgement {
  /** Of a token request itself; of one without token, the process's last token request before it. */
  readonly tokenRequest?: TokenRequest;
}

/**
 * Judges the requests of all connections, in the order of their events. Pure but for the memory of who asked for a
 * token. Never throws, whatever the wire layer read; linear in the size of a head.
 */
export class Judge {
  readonly #tokenRequests: TokenRequests;
  /** Endpoints are few and live as long as the tracer; reuse the same objects. */
  readonly #rules = new WeakMap<Endpoint, EndpointRules>();

  constructor(options: { rememberedProcesses?: number } = {}) {
    this.#tokenRequests = new TokenRequests(options.rememberedProcesses);
  }

  /**
   * Judges a head, before its answer. `entityId` (of the process, ProcessInfo.entityId) where it is known already:
   * then a token request that is never answered counts for what the process does next.
   */
  begin(head: RequestHead, endpoint: Endpoint, entityId?: string): PendingJudgement {
    const judged = judgeHead(head, this.#rulesOf(endpoint));
    const tokenRequest = this.#tokenRequestOf(judged, entityId);
    return tokenRequest === undefined ? judged : { ...judged, tokenRequest };
  }

  /** The judgement, with the answer or, after the connection's end or the time-out, without. Call it once. */
  finish(pending: PendingJudgement, response: ResponseHead | undefined, entityId?: string): Judgement {
    const { provider, kind, severity, tokenPresent, ttlSeconds } = pending;
    const tokenRequest = pending.tokenRequest ?? this.#tokenRequestOf(pending, entityId);
    const { verdict, reason } = OUTCOMES[kind](response?.status, pending);
    const reasons: Reason[] = [...pending.reasons];
    if (reason) reasons.push(reason);
    if (tokenRequest && response && verdict === 'token_issue') tokenRequest.granted = true;
    if (kind === 'without_token' && tokenRequest) {
      reasons.push(tokenRequest.granted ? 'fallback_after_token_issue' : 'fallback_after_token_refused');
    }
    const level = LEVELS[verdict];
    const judgement: Judgement = { provider, verdict, level, severity, reasons: reasons.sort(), tokenPresent };
    if (ttlSeconds !== undefined) judgement.ttlSeconds = ttlSeconds;
    return judgement;
  }

  /** The judgement of bytes that are no request head. */
  unparsed(endpoint: Endpoint, what: UnparsedBytes): Judgement {
    return {
      provider: this.#rulesOf(endpoint).providers[0]!.name,
      verdict: 'unparsed',
      level: LEVELS.unparsed,
      severity: 'low',
      reasons: [what.reason],
      tokenPresent: false,
    };
  }

  #rulesOf(endpoint: Endpoint): EndpointRules {
    const known = this.#rules.get(endpoint);
    if (known) return known;
    const rules = rulesFor(endpoint);
    this.#rules.set(endpoint, rules);
    return rules;
  }

  #tokenRequestOf({ kind, time }: HeadJudgement, entityId: string | undefined): TokenRequest | undefined {
    if (entityId === undefined) return undefined;
    if (kind === 'token_request') return this.#tokenRequests.note(entityId, time);
    return kind === 'without_token' ? this.#tokenRequests.before(entityId, time) : undefined;
  }
}
