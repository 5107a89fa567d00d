import type { WireCounters } from '../../wire/counters.js';
import {
  type BodyFraming,
  beginsWithRequestLine,
  firstLine,
  parseHeaders,
  parseRequestLine,
  parseStatusLine,
} from '../../wire/http-head.js';
import { TCP_URG, type TcpSegment } from '../../wire/ip.js';
import { HOLE_TIMEOUT_MS } from '../../wire/limits.js';
import { type ExpectedBody, expectedBody, methodKind, Pairing, type ResponseStart } from '../../wire/pairing.js';
import { TcpStream } from '../../wire/tcp.js';
import type { LearnedSecrets } from '../learned.js';
import { blankRequestHead, blankResponseHead } from './blank-head.js';
import { type Following, type HeadRules, StreamMask } from './stream-mask.js';
import type { DumpedPacket } from './types.js';

type Direction = DumpedPacket['direction'];

/**
 * Decides, byte by byte, what may be shown of a connection's packets. Reads it as wire/connection.ts does, but where that
 * looks for every request there may be, this shows only what is certainly a head.
 */
export class ConnectionMask {
  readonly #counters: WireCounters;
  readonly #pairing = new Pairing();
  readonly #masks: Readonly<Record<Direction, StreamMask>>;
  readonly #streams: Readonly<Record<Direction, TcpStream>>;
  #requests = 0;
  /** Of the exchange at hand, where its first response head began: informational ones come before the final one. */
  #responseStart: ResponseStart | undefined;

  constructor(
    private readonly learned: LearnedSecrets,
    counters: WireCounters,
  ) {
    this.#counters = counters;
    this.#masks = {
      egress: new StreamMask(this.#requestRules, counters),
      ingress: new StreamMask(this.#responseRules, counters),
    };
    this.#streams = {
      egress: new TcpStream(this.#masks.egress, counters),
      ingress: new TcpStream(this.#masks.ingress, counters),
    };
  }

  /** What the masks remember; half heads and segments behind holes are in the counters. */
  get bufferedBytes(): number {
    return this.#masks.egress.bufferedBytes + this.#masks.ingress.bufferedBytes;
  }

  /**
   * Takes a segment; its bytes are copied where they are kept.
   * @returns whether it belongs to its stream; what is far from it will never be decided on, and so is blank
   */
  push(direction: Direction, segment: TcpSegment, time: number): boolean {
    // The receiver takes urgent bytes out of the stream (RFC 6093), so what it reads is not what is read here.
    if ((segment.flags & TCP_URG) !== 0 && segment.payloadLength > 0) this.#masks[direction].stop();
    // First what came long before: a response behind a hole must be read before the next request is.
    for (const stream of [this.#streams.egress, this.#streams.ingress]) {
      const since = stream.waitingSince;
      if (since !== undefined && Math.abs(time - since) > HOLE_TIMEOUT_MS) stream.flush(time);
    }
    const before = this.#counters.outOfWindow;
    this.#streams[direction].push(segment, time);
    return this.#counters.outOfWindow === before;
  }

  /** Whether nothing that comes can change what is shown of the bytes before `end`. */
  decided(direction: Direction, end: number): boolean {
    return this.#streams[direction].finished || this.#masks[direction].decided(end);
  }

  /** Blanks what may not be shown of `bytes[from..to)`, whose first byte has the number `seq`, in place. */
  blank(direction: Direction, bytes: Buffer, from: number, to: number, seq: number): void {
    this.#masks[direction].blank(bytes, from, to, seq);
  }

  /** Gives back what it keeps. */
  close(): void {
    for (const direction of ['egress', 'ingress'] as const) {
      this.#masks[direction].stop();
      this.#streams[direction].close();
    }
  }

  readonly #requestRules: HeadRules = {
    read: (head, { end, ack }) => {
      const line = parseRequestLine(firstLine(head));
      const block = line === undefined ? undefined : parseHeaders(head, line.version);
      if (line === undefined || block === undefined) return undefined;
      const { framing, upgrade } = block;
      const method = methodKind(line.method);
      this.#pairing.sent({ id: this.#requests++, method, upgrade, clientHad: ack, headEnd: end });
      return {
        shown: blankRequestHead(head, block.headers, this.learned),
        following: framing === 'none' ? 0 : framing === 'unsure' ? 'never' : framing,
      };
    },
    begins: (bytes, from, to) => beginsWithRequestLine(bytes, from, to),
    missed: () => this.#pairing.missed(),
  };

  readonly #responseRules: HeadRules = {
    read: (head, { seq, ack }) => {
      const line = parseStatusLine(firstLine(head));
      const block = line === undefined ? undefined : parseHeaders(head, line.version);
      if (line === undefined || block === undefined) return undefined;
      const { status } = line;
      const shown = blankResponseHead(head, this.learned);
      const start = this.#responseStart ?? { seq, serverHad: ack };
      if (status < 200 && status !== 101) {
        this.#responseStart = start;
        return { shown, following: 0 };
      }
      this.#responseStart = undefined;
      const request = this.#pairing.answer(start);
      const body = request === undefined ? 'unknown' : expectedBody(request, status);
      if (body === 'tunnel') this.#masks.egress.stop();
      return { shown, following: behindResponse(body, block.framing) };
    },
    // Behind bytes of which nothing is known, only where the last request says that the response to it must begin.
    begins: (bytes, from, to, { seq }) =>
      this.#pairing.expected() === seq && STATUS_LINE.test(bytes.toString('latin1', from, Math.min(to, from + 16))),
    missed: () => {
      this.#responseStart = undefined;
      this.#pairing.missed();
    },
  };
}

function behindResponse(body: ExpectedBody, framing: BodyFraming): Following {
  if (body === 'tunnel') return 'never';
  if (body === 'none') return 0;
  return body === 'unknown' || framing === 'none' || framing === 'unsure' ? 'unknown' : framing;
}

const STATUS_LINE = /^HTTP\/1\.\d +[1-9]\d\d/i;
