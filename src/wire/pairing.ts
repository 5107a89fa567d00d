import { MAX_OUTSTANDING } from './limits.js';

/** A request that waits for its response. */
export interface Outstanding {
  id: number;
  method: MethodKind;
  /** It asked for another protocol. */
  upgrade: boolean;
  /** What the client had received of the response stream when it began to send this; undefined if not known. */
  clientHad: number | undefined;
  /** Sequence number behind the request's head. */
  headEnd: number;
}

/** The methods that say something of the response's body. Not the method's own text, which would keep all of its head in memory. */
export type MethodKind = 'HEAD' | 'CONNECT' | 'other';
export const methodKind = (method: string): MethodKind =>
  method === 'HEAD' || method === 'CONNECT' ? method : 'other';

/**
 * What a request says about the response's body: `unknown` where it is not known which request it answers, `none` where
 * there is no body, `tunnel` where the connection is another protocol's from here on.
 */
export type ExpectedBody = 'unknown' | 'framed' | 'none' | 'tunnel';

/** What comes behind the head of a final response, or a 101, to a request (RFC 9112, section 6.3). */
export function expectedBody({ method, upgrade }: Outstanding, status: number): ExpectedBody {
  if ((method === 'CONNECT' && status >= 200 && status < 300) || (upgrade && status === 101)) return 'tunnel';
  if (status === 101) return 'unknown';
  return method === 'HEAD' || status === 204 || status === 304 ? 'none' : 'framed';
}

/** Where a response began: its first byte's sequence number, and what the server had received when it sent that. */
export interface ResponseStart {
  seq: number;
  serverHad: number | undefined;
}

/**
 * Finds the request that a response answers. As long as every byte was seen, that is the oldest one. Once something was
 * missed, only what the acknowledgment numbers prove counts: a client that does not pipeline sends a request when it has
 * read all that came before, so the response to it begins at the very number that the request acknowledged, and the server
 * had the whole head when it answered. A client that pipelines gets no more responses attributed then.
 */
export class Pairing {
  #outstanding: Outstanding[] = [];
  #missed = false;
  #pipelined = false;
  #lastClientHad: number | undefined;

  /** A request's head is whole. */
  sent(request: Outstanding): void {
    // Nothing came between two requests, so the second did not wait for an answer.
    if (request.clientHad !== undefined) {
      if (request.clientHad === this.#lastClientHad) this.#pipelined = true;
      this.#lastClientHad = request.clientHad;
    }
    if (this.#outstanding.length >= MAX_OUTSTANDING) {
      this.#pipelined = true;
      this.missed();
    }
    if (this.#missed) this.#outstanding.length = 0;
    this.#outstanding.push(request);
  }

  /** The request that this response answers, no longer outstanding; undefined where that is not certain. */
  answer(start: ResponseStart): Outstanding | undefined {
    if (!this.#missed) {
      const oldest = this.#outstanding[0];
      if (oldest !== undefined && canAnswer(start, oldest)) return this.#outstanding.shift();
      this.missed();
    }
    const last = this.#outstanding.at(-1);
    if (last === undefined || start.seq !== this.expected() || !canAnswer(start, last)) return undefined;
    this.#outstanding.length = 0;
    return last;
  }

  /** Every request has its response, and nothing was missed: no other response is due. */
  get settled(): boolean {
    return !this.#missed && this.#outstanding.length === 0;
  }

  /** Whether the response may be one to a request that was seen, or something was missed. */
  mayExplain(start: ResponseStart): boolean {
    const oldest = this.#outstanding[0];
    return this.#missed || (oldest !== undefined && canAnswer(start, oldest));
  }

  /** The number at which the response to the last request must begin, if that is certain. */
  expected(): number | undefined {
    return this.#pipelined ? undefined : this.#outstanding.at(-1)?.clientHad;
  }

  /** Requests or responses were missed. */
  missed(): void {
    this.#missed = true;
    if (this.#outstanding.length > 1) this.#outstanding = this.#outstanding.slice(-1);
  }
}

/** What must be so of any response to the request: sent with its head at hand, and not read before it was sent. */
export const canAnswer = (start: ResponseStart, request: Pick<Outstanding, 'headEnd' | 'clientHad'>): boolean =>
  (start.serverHad === undefined || ((start.serverHad - request.headEnd) | 0) >= 0) &&
  (request.clientHad === undefined || ((start.seq - request.clientHad) | 0) >= 0);
