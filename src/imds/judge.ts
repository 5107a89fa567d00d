import type { RequestHead, ResponseHead, UnparsedBytes } from '../wire/types.js';
import { type TokenRequest, TokenRequests } from './fallback.js';
import type { Reason } from './reasons.js';
import type { Endpoint, Judgement } from './types.js';
import { type EndpointRules, type HeadJudgement, judgeHead, LEVELS, OUTCOMES, rulesFor } from './verdict.js';

interface JudgedHead extends HeadJudgement {
  /** Of one that recurs: its judgements by the answer's status. They are shared, and must not be changed. */
  readonly answered?: Map<number | undefined, Judgement>;
}

/** A request that waits for its answer. */
export interface PendingJudgement extends JudgedHead {
  /** Of a token request itself; of one without token, the process's last token request before it. */
  readonly tokenRequest?: TokenRequest;
}

interface JudgedPaths {
  rules: EndpointRules;
  method: string;
  version: string;
  byPath: Map<string, JudgedHead>;
}

/** Different paths with the same header lines that are remembered. */
const MAX_PATHS = 64;

/**
 * Judges the requests of all connections, in the order of their events. Pure but for the memory of who asked for a
 * token. Never throws, whatever the wire layer read; linear in the size of a head.
 */
export class Judge {
  readonly #tokenRequests: TokenRequests;
  /** Endpoints are few and live as long as the tracer; reuse the same objects. */
  readonly #rules = new WeakMap<Endpoint, EndpointRules>();
  /** By the header lines of recurring heads what was made of them. */
  readonly #judgedBefore = new WeakMap<RequestHead['headers'], JudgedPaths>();

  constructor(options: { rememberedProcesses?: number } = {}) {
    this.#tokenRequests = new TokenRequests(options.rememberedProcesses);
  }

  /**
   * Judges a head, before its answer. `entityId` (of the process, ProcessInfo.entityId) where it is known already:
   * then a token request that is never answered counts for what the process does next.
   */
  begin(head: RequestHead, endpoint: Endpoint, entityId?: string): PendingJudgement {
    const judged = this.#judgeHead(head, endpoint);
    const tokenRequest = this.#tokenRequestOf(judged, entityId);
    return tokenRequest === undefined ? judged : { ...judged, tokenRequest };
  }

  /** Of heads that came before as far as it matters, the judgement but for the time is there already. */
  #judgeHead(head: RequestHead, endpoint: Endpoint): JudgedHead {
    const rules = this.#rulesOf(endpoint);
    const { headers, method, target, version, recurring } = head;
    // An absolute-form target is judged by its authority as well.
    if (!recurring || !target.startsWith('/')) return judgeHead(head, rules);
    let known = this.#judgedBefore.get(headers);
    // Others with the same header lines, which hardly ever come, are judged anew.
    if (known === undefined || known.rules !== rules || known.method !== method || known.version !== version) {
      known = { rules, method, version, byPath: new Map() };
      this.#judgedBefore.set(headers, known);
    }
    const query = target.indexOf('?');
    const path = query < 0 ? target : target.slice(0, query);
    let judged = known.byPath.get(path);
    if (judged === undefined) {
      judged = { ...judgeHead(head, rules), answered: new Map() };
      if (known.byPath.size < MAX_PATHS) known.byPath.set(path, judged);
      return judged;
    }
    const { provider, kind, severity, reasons, illFormed, tokenPresent, ttlSeconds, answered } = judged;
    const again = { time: head.time, provider, kind, severity, reasons, illFormed, tokenPresent, answered: answered! };
    return ttlSeconds === undefined ? again : { ...again, ttlSeconds };
  }

  /** The judgement, with the answer or, after the connection's end or the time-out, without. Call it once. */
  finish(pending: PendingJudgement, response: ResponseHead | undefined, entityId?: string): Judgement {
    const { provider, kind, severity, tokenPresent, ttlSeconds } = pending;
    const tokenRequest = pending.tokenRequest ?? this.#tokenRequestOf(pending, entityId);
    // What a process did before is no matter of the head.
    const answered = tokenRequest === undefined ? pending.answered : undefined;
    const known = answered?.get(response?.status);
    if (known !== undefined) return known;
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
    // Frozen, that others can tell a judgement that they will see again.
    if (answered !== undefined) Object.freeze(reasons);
    answered?.set(response?.status, judgement);
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
