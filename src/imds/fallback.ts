import { LruMap } from '../lru.js';

/** A process's token request; `granted` turns true when the service's answer says so. */
export interface TokenRequest {
  readonly time: number;
  granted: boolean;
}

export const FALLBACK_WINDOW_MS = 60_000;

/**
 * The last token request of each process, by events' time. Bounded: the process of which was heard longest ago goes first.
 */
export class TokenRequests {
  readonly #last: LruMap<string, TokenRequest>;

  constructor(limit = 16_384) {
    this.#last = new LruMap(limit);
  }

  /** Notes a request, not granted as yet. `time` in epoch milliseconds. */
  note(entityId: string, time: number): TokenRequest {
    const request = { time, granted: false };
    const known = this.#last.get(entityId);
    if (known && known.time > time) return request;
    this.#last.set(entityId, request);
    return request;
  }

  /** The last request of the process in the 60 s up to `time`. */
  before(entityId: string, time: number): TokenRequest | undefined {
    const known = this.#last.get(entityId);
    return known && known.time <= time && time - known.time <= FALLBACK_WINDOW_MS ? known : undefined;
  }

  get size(): number {
    return this.#last.size;
  }
}
