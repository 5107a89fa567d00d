import { LruMap } from '../lru.js';
import type { RequestObservation } from './observation.js';

/** Requests within other requests: `inner` asked the same while `outer` waited for its answer. */
export interface ProxyMatch {
  inner: string;
  outer: string;
}

interface Span {
  client: string;
  process: string;
  start: number;
  end: number;
}

/** Recent requests that are kept, by what they ask for; the one that was asked for longest ago goes first. */
const MAX_KEYS = 512;
const MAX_SPANS = 8;
/** Longest text that is compared. */
const MAX_KEY = 512;

/**
 * Finds local proxies by time: a process that answers another's request must ask the service after it was asked and be answered
 * before it answers. By itself that can be chance; who uses the matches looks at how many of a client's requests match.
 */
export class ProxyFinder {
  readonly #recent = new LruMap<string, Span[]>(MAX_KEYS);

  /** Takes a request of a client, in the order of their answers, more or less; the matches that it makes. */
  observe(client: string, request: RequestObservation): ProxyMatch[] {
    const { latencyMs, time, method, path, process } = request;
    if (latencyMs === undefined || process?.entityId === undefined || path === undefined) return [];
    const key = `${request.host.id ?? request.host.name} ${method} ${path}`.slice(0, MAX_KEY);
    const span: Span = { client, process: process.entityId, start: time, end: time + latencyMs };
    const spans = this.#recent.get(key) ?? [];
    const matches: ProxyMatch[] = [];
    for (const other of spans) {
      if (other.process === span.process || other.client === span.client) continue;
      if (isWithin(other, span)) matches.push({ inner: other.client, outer: span.client });
      else if (isWithin(span, other)) matches.push({ inner: span.client, outer: other.client });
    }
    spans.push(span);
    if (spans.length > MAX_SPANS) spans.shift();
    this.#recent.set(key, spans);
    return matches;
  }
}

const isWithin = (inner: Span, outer: Span): boolean => inner.start > outer.start && inner.end < outer.end;
