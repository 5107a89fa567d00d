import { MAX_OUTSTANDING } from './limits.js';

/** A request that waits for its response. */
export interface Exchange {
  id: number;
  method: 'HEAD' | 'CONNECT' | 'other';
  /** It asked for another protocol. */
  upgrade: boolean;
  /** What the client had received of the response stream when it began to send this; undefined if not known. */
  clientHad: number | undefined;
  /** Sequence number behind the request's head. */
  headEnd: number;
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
  #outstanding: Exchange[] = [];
  #missed = false;
  #pipelined = false;
  #lastClientHad: number | undefined;

  /** A request's head is whole. */
  sent(exchange: Exchange): void {
    // Nothing came between two requests, so the second did not wait for an answer.
    if (exchange.clientHad !== undefined) {
      if (exchange.clientHad === this.#lastClientHad) this.#pipelined = true;
      this.#lastClientHad = exchange.clientHad;
    }
    if (this.#outstanding.length >= MAX_OUTSTANDING) {
      this.#pipelined = true;
      this.missed();
    }
    if (this.#missed) this.#outstanding.length = 0;
    this.#outstanding.push(exchange);
  }

  /** The request that this response answers, no longer outstanding; undefined where that is not certain. */
  answer(start: ResponseStart): Exchange | undefined {
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
const canAnswer = (start: ResponseStart, exchange: Exchange): boolean =>
  (start.serverHad === undefined || ((start.serverHad - exchange.headEnd) | 0) >= 0) &&
  (exchange.clientHad === undefined || ((start.seq - exchange.clientHad) | 0) >= 0);
