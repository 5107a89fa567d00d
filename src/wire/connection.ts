import type { PacketRecord } from '../capture/types.js';
import type { WireCounters } from './counters.js';
import type { HeaderBlock } from './http-head.js';
import { type RequestOwner, RequestReader } from './http-requests.js';
import { type ResponseOwner, ResponseReader } from './http-responses.js';
import { TCP_ACK, TCP_RST, TCP_SYN, TCP_URG, type TcpSegment } from './ip.js';
import { HOLE_TIMEOUT_MS } from './limits.js';
import { canAnswer, type ExpectedBody, expectedBody, methodKind, Pairing, type ResponseStart } from './pairing.js';
import { StreamRemains, TcpStream } from './tcp.js';
import type { ConnectionSink, RequestHead, ResponseHead, UnparsedBytes } from './types.js';

export type Direction = PacketRecord['direction'];

/** A response that came before its request did, as far as the capture goes. */
interface EarlyResponse {
  head: ResponseHead;
  start: ResponseStart;
  /** No request is due an answer, so there is one that was not seen as such: unless the capture has it later. */
  unexplained: boolean;
}

/** What servers send of themselves to a client that has been silent for long (RFC 9110, 15.5.9). */
const REQUEST_TIMEOUT = 408;
const FIRST_ERROR = 400;

/** What an early response is charged for: heads are mostly shorter, and only one a connection is kept. */
const EARLY_RESPONSE_CHARGE = 2_048;

/** Of a connection that is over, of which there may be thousands whose late packets are awaited. */
export class ConnectionRemains {
  readonly egress = new StreamRemains();
  readonly ingress = new StreamRemains();

  /** As Connection has it. */
  startsOver(direction: Direction, segment: TcpSegment): boolean {
    return (direction === 'egress' ? this.egress : this.ingress).startsOver(segment);
  }
}

/**
 * One TCP connection with an endpoint: segments in, requests and responses out. Never throws, whatever the bytes are; what
 * it keeps is bounded and counted in `counters.bufferedBytes`, which its owner (flow-table.ts) sees to.
 */
export class Connection implements RequestOwner, ResponseOwner {
  /** The sink was told that it ended. */
  over = false;

  readonly #sink: ConnectionSink;
  readonly #counters: WireCounters;
  readonly #requests: RequestReader;
  readonly #responses: ResponseReader;
  readonly #egress: TcpStream;
  readonly #ingress: TcpStream;
  readonly #pairing = new Pairing();
  #early: EarlyResponse | undefined;
  #nextId = 0;
  /** The last acknowledgment by the service: what it had received of the requests. */
  #serverHas: number | undefined;

  constructor(sink: ConnectionSink, counters: WireCounters) {
    this.#sink = sink;
    this.#counters = counters;
    this.#requests = new RequestReader(this, counters);
    this.#responses = new ResponseReader(this, counters);
    this.#egress = new TcpStream(this.#requests, counters);
    this.#ingress = new TcpStream(this.#responses, counters);
  }

  /** Bytes kept: parts of heads, segments behind holes, bookkeeping included. */
  get bufferedBytes(): number {
    return (
      this.#requests.bufferedBytes +
      this.#responses.bufferedBytes +
      this.#egress.bufferedBytes +
      this.#ingress.bufferedBytes +
      (this.#early === undefined ? 0 : EARLY_RESPONSE_CHARGE)
    );
  }

  /** It waits for bytes that may never come: call `giveUpHoles` now and then. */
  get waiting(): boolean {
    return (
      this.#egress.waitingSince !== undefined ||
      this.#ingress.waitingSince !== undefined ||
      this.#early?.unexplained === true
    );
  }

  /**
   * Whether the segment begins another connection with the same key (the port is used again), or belongs to one whose
   * beginning was not seen: end this one and make a new one for it.
   */
  startsOver(direction: Direction, segment: TcpSegment): boolean {
    return (direction === 'egress' ? this.#egress : this.#ingress).startsOver(segment);
  }

  /** Once over: fills in all that its owner needs to keep of it. */
  leave(remains: ConnectionRemains): void {
    this.#egress.leave(remains.egress);
    this.#ingress.leave(remains.ingress);
  }

  /**
   * Takes a segment; its bytes are copied where they are kept.
   * @param direction `egress`: from the client to the service
   * @param time epoch milliseconds of the packet
   */
  push(direction: Direction, segment: TcpSegment, time: number): void {
    if (this.over) return;
    const egress = direction === 'egress';
    const stream = egress ? this.#egress : this.#ingress;
    if (!egress && (segment.flags & TCP_ACK) !== 0 && stream.isNear(segment)) this.#acknowledged(segment.ack);
    if ((segment.flags & TCP_RST) !== 0) {
      if (stream.isNear(segment)) this.end(time);
      return;
    }
    if ((segment.flags & TCP_URG) !== 0 && segment.payloadLength > 0) this.#urgent(egress, segment, time);
    if (egress && segment.payloadEnd > segment.payloadStart) {
      // A SYN takes a number itself.
      const seq = (segment.seq + ((segment.flags & TCP_SYN) !== 0 ? 1 : 0)) | 0;
      this.#requests.sent(segment.data, segment.payloadStart, segment.payloadEnd, seq, time);
    }
    stream.push(segment, time);
    this.giveUpHoles(time);
  }

  /** Goes on behind holes that were open for longer than HOLE_TIMEOUT_MS, and waits no longer for what explains a response. */
  giveUpHoles(now: number): void {
    if (isOverdue(this.#egress, now)) this.#egress.flush(now);
    if (isOverdue(this.#ingress, now)) this.#ingress.flush(now);
    if (this.#early?.unexplained && isLate(this.#early.head.time, now)) this.#tellUnexplained();
    if (this.#egress.finished && this.#ingress.finished) this.end(now);
  }

  /** The connection is over, or its owner (cause `evicted`) will not follow it any longer. Half a head is told of. */
  end(time: number, cause: 'closed' | 'evicted' = 'closed'): void {
    if (this.over) return;
    this.over = true;
    this.#egress.flush(time);
    this.#ingress.flush(time);
    // A request that was lost, and nothing sent behind it that would show the hole.
    if (this.#serverHas !== undefined) this.#egress.missedUntil(this.#serverHas, time);
    this.#egress.close();
    this.#ingress.close();
    this.#requests.end(cause === 'evicted' ? 'evicted' : 'non_http');
    this.#responses.skip();
    this.#tellUnexplained();
    this.#dropEarly();
    this.#sink.ended(time);
  }

  /** @internal */
  requestHead(head: RequestHead, block: HeaderBlock, clientHad: number | undefined, headEnd: number): void {
    const id = this.#nextId++;
    this.#pairing.sent({ id, method: methodKind(head.method), upgrade: block.upgrade, clientHad, headEnd });
    this.#sink.request(id, head);
    const early = this.#early;
    if (early === undefined) return;
    const answered = this.#pairing.answer(early.start) !== undefined;
    // Who goes on with the next request must not make it forgotten.
    if (!answered && !canAnswer(early.start, { clientHad, headEnd })) this.#tellUnexplained();
    this.#dropEarly();
    if (answered) this.#sink.response(id, early.head);
  }

  /** @internal */
  unparsed(what: UnparsedBytes): void {
    this.#pairing.missed();
    if (this.#early !== undefined) this.#early.unexplained = false;
    this.#sink.unparsed(this.#nextId++, what);
  }

  /** @internal */
  responseHead(head: ResponseHead, start: ResponseStart): ExpectedBody {
    const unexplained = this.#isUnexplained(head.status, start);
    const request = this.#pairing.answer(start);
    if (request === undefined) {
      this.#tellUnexplained();
      this.#dropEarly();
      this.#early = { head, start, unexplained };
      this.#counters.bufferedBytes += EARLY_RESPONSE_CHARGE;
      return 'unknown';
    }
    this.#sink.response(request.id, head);
    const body = expectedBody(request, head.status);
    if (body === 'tunnel') this.#requests.leaveHttp();
    return body;
  }

  /** @internal */
  expectedResponse(): number | undefined {
    return this.#pairing.expected();
  }

  /** @internal */
  responsesMissed(): void {
    this.#pairing.missed();
  }

  /** A head that has not arrived, or not as a whole, may lead to an error; an answer it can not have. */
  #isUnexplained(status: number, start: ResponseStart): boolean {
    if (status === REQUEST_TIMEOUT || this.#pairing.mayExplain(start)) return false;
    return status < FIRST_ERROR || (this.#pairing.settled && this.#requests.bufferedBytes === 0);
  }

  #acknowledged(ack: number): void {
    this.#serverHas = ack;
    this.#requests.acknowledged(ack);
  }

  /**
   * Urgent data: by default the receiver takes the urgent byte out of the stream (RFC 6093), so what it reads is not what we
   * read. No HTTP client sends any; someone who wants a header to be seen here and not there would.
   */
  #urgent(egress: boolean, segment: TcpSegment, time: number): void {
    if (egress) this.#requests.distrust(segment.payloadLength, time);
    else this.#responses.skip();
  }

  /**
   * The service has read a request where we read none: in what we took for a body, say. Servers differ in what they take for
   * one, and who knows how this one does can hide requests so.
   */
  #tellUnexplained(): void {
    if (!this.#early?.unexplained || this.#egress.waitingSince !== undefined) return;
    // A request that was lost, or comes late: told of as that.
    if (this.#serverHas !== undefined && this.#egress.lacks(this.#serverHas)) return;
    this.unparsed({ time: this.#early.head.time, reason: 'unexplained_response', bytes: 0 });
  }

  #dropEarly(): void {
    if (this.#early === undefined) return;
    this.#early = undefined;
    this.#counters.bufferedBytes -= EARLY_RESPONSE_CHARGE;
  }
}

/** Also where the packets' clock was set back by more than that. */
const isLate = (since: number, now: number): boolean => Math.abs(now - since) > HOLE_TIMEOUT_MS;

const isOverdue = (stream: TcpStream, now: number): boolean =>
  stream.waitingSince !== undefined && isLate(stream.waitingSince, now);
