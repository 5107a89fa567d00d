import { Connection, type Direction } from '../../src/wire/connection.js';
import { WireCounters } from '../../src/wire/counters.js';
import { TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN, type TcpSegment } from '../../src/wire/ip.js';
import type { ConnectionSink, RequestHead, ResponseHead, UnparsedBytes } from '../../src/wire/types.js';

export const latin1 = (text: string): Buffer => Buffer.from(text, 'latin1');

export interface SegmentFields {
  seq: number;
  ack?: number;
  flags?: number;
  payload?: Buffer | string;
  /** Payload bytes that the capture does not have, at the end. */
  cut?: number;
}

export function segment({ seq, ack, flags = 0, payload = '', cut = 0 }: SegmentFields): TcpSegment {
  const data = typeof payload === 'string' ? latin1(payload) : payload;
  return {
    data,
    payloadStart: 0,
    payloadEnd: data.length,
    payloadLength: data.length + cut,
    seq: seq | 0,
    ack: (ack ?? 0) | 0,
    flags: flags | (ack === undefined ? 0 : TCP_ACK),
  };
}

export type Told =
  | { kind: 'request'; id: number; head: RequestHead }
  | { kind: 'unparsed'; id: number; what: UnparsedBytes }
  | { kind: 'response'; id: number; head: ResponseHead }
  | { kind: 'ended'; time: number };

/** A sink that keeps all that it is told. */
export class Record implements ConnectionSink {
  readonly told: Told[] = [];
  request(id: number, head: RequestHead): void {
    this.told.push({ kind: 'request', id, head });
  }
  unparsed(id: number, what: UnparsedBytes): void {
    this.told.push({ kind: 'unparsed', id, what });
  }
  response(id: number, head: ResponseHead): void {
    this.told.push({ kind: 'response', id, head });
  }
  ended(time: number): void {
    this.told.push({ kind: 'ended', time });
  }
  /** One word or two for each thing told, for comparing. */
  get lines(): string[] {
    return this.told.map((one) => {
      if (one.kind === 'request') return `${one.id} ${one.head.method} ${one.head.target}`;
      if (one.kind === 'unparsed') return `${one.id} unparsed ${one.what.reason} ${one.what.bytes}`;
      if (one.kind === 'response') return `${one.id} ${one.head.status}`;
      return 'ended';
    });
  }
  get requests(): RequestHead[] {
    return this.told.flatMap((one) => (one.kind === 'request' ? [one.head] : []));
  }
  get responses(): ResponseHead[] {
    return this.told.flatMap((one) => (one.kind === 'response' ? [one.head] : []));
  }
}

export interface Packet {
  direction: Direction;
  segment: TcpSegment;
}

/** A connection with both ends' sequence numbers kept as two hosts would: each packet acknowledges all that came before it. */
export class Conversation {
  readonly record = new Record();
  readonly counters = new WireCounters();
  readonly connection = new Connection(this.record, this.counters);
  time = 1_000;
  clientNext: number;
  serverNext: number;

  constructor({ handshake = true, clientIsn = 1_000, serverIsn = 5_000 } = {}) {
    this.clientNext = (clientIsn + 1) | 0;
    this.serverNext = (serverIsn + 1) | 0;
    if (!handshake) return;
    this.push('egress', segment({ seq: clientIsn, flags: TCP_SYN }));
    this.push('ingress', segment({ seq: serverIsn, ack: this.clientNext, flags: TCP_SYN }));
  }

  push(direction: Direction, piece: TcpSegment): void {
    this.connection.push(direction, piece, this.time);
  }

  /** Makes the next packet of an end; it is not pushed, so it can be lost, late or sent twice. */
  make(direction: Direction, payload: Buffer | string, { flags = 0, cut = 0 } = {}): Packet {
    const egress = direction === 'egress';
    const made = segment({
      seq: egress ? this.clientNext : this.serverNext,
      ack: egress ? this.serverNext : this.clientNext,
      flags,
      payload,
      cut,
    });
    const length = made.payloadLength + ((flags & TCP_FIN) !== 0 ? 1 : 0);
    if (egress) this.clientNext = (this.clientNext + length) | 0;
    else this.serverNext = (this.serverNext + length) | 0;
    return { direction, segment: made };
  }

  deliver(...packets: Packet[]): this {
    for (const { direction, segment: piece } of packets) this.push(direction, piece);
    return this;
  }
  client(...payloads: (Buffer | string)[]): this {
    return this.deliver(...payloads.map((payload) => this.make('egress', payload)));
  }
  server(...payloads: (Buffer | string)[]): this {
    return this.deliver(...payloads.map((payload) => this.make('ingress', payload)));
  }
  lose(direction: Direction, payload: Buffer | string): this {
    this.make(direction, payload);
    return this;
  }
  finish(): this {
    return this.deliver(this.make('egress', '', { flags: TCP_FIN }), this.make('ingress', '', { flags: TCP_FIN }));
  }
  reset(direction: Direction): this {
    return this.deliver(this.make(direction, '', { flags: TCP_RST }));
  }
  get lines(): string[] {
    return this.record.lines;
  }
}

export const GET = (target: string, headers = ''): string =>
  `GET ${target} HTTP/1.1\r\nHost: 100.100.100.200\r\n${headers}\r\n`;
export const OK = (body = 'ok', status = '200 OK'): string =>
  `HTTP/1.1 ${status}\r\nContent-Length: ${body.length}\r\n\r\n${body}`;

/** The requests and whatever else a connection tells of a client's bytes, each array element a segment. */
export function read(...payloads: (Buffer | string)[]): Conversation {
  return new Conversation().client(...payloads);
}
