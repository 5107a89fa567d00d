import type { PacketRecord } from '../../capture/types.js';
import { WireCounters } from '../../wire/counters.js';
import type { TcpPacket, TcpSegment } from '../../wire/ip.js';
import { TCP_SYN } from '../../wire/ip.js';
import type { LearnedSecrets } from '../learned.js';
import { redactEvent } from '../redact.js';
import { formatText } from '../text.js';
import type { RequestEvent } from '../types.js';
import { BLANK } from './blank-head.js';
import { writeTcpChecksum } from './checksum.js';
import { ConnectionMask } from './connection-mask.js';
import {
  CONNECTION_OVERHEAD,
  MAX_COMMENT_LENGTH,
  MAX_CONNECTION_BYTES,
  MAX_KEPT_BYTES,
  PACKET_OVERHEAD,
} from './limits.js';
import type { ConnectionEvidence, DumpedPacket, Evidence } from './types.js';

/** A packet that waits, as it was captured. */
interface KeptPacket extends TcpSegment {
  readonly time: number;
  readonly direction: PacketRecord['direction'];
  readonly version: TcpPacket['version'];
  readonly tcpStart: number;
  /** It is far from where its stream is. */
  stray: boolean;
}

/**
 * Dumps connections with a normal-mode request, whole as far as its bounds allow: packets are kept until the verdict on a
 * request of their connection is known, then written, blanked, in the order they came; or forgotten with their connection.
 * A packet with the first bytes of a request waits for the verdict on it, which becomes its comment.
 */
export class EvidenceRecorder implements Evidence {
  /** Packets of dumped connections that a bound kept from being written. */
  dropped = 0;
  packets = 0;
  connections = 0;
  /** @internal */
  readonly counters = new WireCounters();
  /** Of all connections. @internal */
  keptBytes = 0;
  /** Connections that keep something, the least recently used first. */
  readonly #keeping = new Set<KeptConnection>();
  /** Connections that are over and have packets to write or to forget. */
  readonly #over = new Set<KeptConnection>();

  /** @param write takes each packet once */
  constructor(
    private readonly write: (packet: DumpedPacket) => void,
    /** Shared with the other outputs. @internal */
    readonly learned: LearnedSecrets,
  ) {}

  begin(): ConnectionEvidence {
    return new KeptConnection(this);
  }

  tick(): void {
    for (const connection of this.#over) connection.release();
    this.#over.clear();
  }

  /** @internal */
  emit(packet: DumpedPacket): void {
    this.packets++;
    this.write(packet);
  }

  /** @internal */
  ending(connection: KeptConnection): void {
    this.#over.add(connection);
  }

  /** Sees to the bounds after a connection was used. @internal */
  used(connection: KeptConnection): void {
    this.#keeping.delete(connection);
    if (connection.keeps) this.#keeping.add(connection);
    while (this.keptBytes + this.counters.bufferedBytes > MAX_KEPT_BYTES) {
      const oldest = this.#keeping.values().next().value;
      if (oldest === undefined) return;
      oldest.release();
      this.#keeping.delete(oldest);
    }
  }

  /** @internal */
  forgotten(connection: KeptConnection): void {
    this.#keeping.delete(connection);
  }
}

class KeptConnection implements ConnectionEvidence {
  readonly #recorder: EvidenceRecorder;
  #queue: KeptPacket[] = [];
  #queueBytes = 0;
  /** What this connection has added to `keptBytes`. */
  #charged = 0;
  /** There is a finding. */
  #wanted = false;
  #over = false;
  #mask: ConnectionMask | undefined;
  /** How many requests that began at a time wait for their verdict. */
  readonly #pending = new Map<number, number>();
  /** By the time of the packet that they belong to. */
  readonly #comments = new Map<number, string[]>();
  #commentLength = 0;
  /** Packets forgotten before the finding. */
  #forgotten = 0;

  constructor(recorder: EvidenceRecorder) {
    this.#recorder = recorder;
  }

  get keeps(): boolean {
    return this.#queue.length > 0 || this.#mask !== undefined;
  }

  request(time: number): void {
    this.#pending.set(time, (this.#pending.get(time) ?? 0) + 1);
  }

  event(event: RequestEvent): void {
    const { time } = event;
    if (event.request !== undefined) {
      const waiting = this.#pending.get(time) ?? 0;
      if (waiting > 1) this.#pending.set(time, waiting - 1);
      else this.#pending.delete(time);
    }
    if (event.judgement.verdict === 'normal_mode') {
      this.#comment(time, formatText(redactEvent(event, this.#recorder.learned)).message);
      if (!this.#wanted) this.#want();
    }
    if (this.#wanted) this.#drain();
    this.#settle();
  }

  packet(record: PacketRecord, packet: TcpPacket): void {
    const kept = keep(record, packet);
    this.#queue.push(kept);
    this.#queueBytes += cost(kept);
    if (this.#wanted) {
      this.#place(kept);
      this.#drain();
    }
    while (this.#queueBytes > MAX_CONNECTION_BYTES) this.#takeFirst();
    // What is left belongs to packets that a bound has forced out.
    if (this.#queue.length === 0 && this.#pending.size === 0) this.#clearComments();
    if (this.#over) this.#recorder.ending(this);
    this.#settle();
  }

  ended(): void {
    this.#over = true;
    this.#recorder.ending(this);
  }

  /** Writes or forgets all packets and keeps nothing; what comes later of the connection is read as from its middle. */
  release(): void {
    while (this.#queue.length > 0) this.#takeFirst();
    this.#mask?.close();
    this.#mask = undefined;
    this.#pending.clear();
    this.#clearComments();
    this.#settle();
  }

  #want(): void {
    this.#wanted = true;
    this.#recorder.connections++;
    this.#recorder.dropped += this.#forgotten;
    for (const packet of this.#queue) this.#place(packet);
  }

  #place(packet: KeptPacket): void {
    this.#mask ??= new ConnectionMask(this.#recorder.learned, this.#recorder.counters);
    packet.stray = !this.#mask.push(packet.direction, packet, packet.time);
  }

  /** Writes the packets at the front that nothing can change any more. */
  #drain(): void {
    for (let first = this.#queue[0]; first !== undefined && !this.#waits(first); first = this.#queue[0]) {
      this.#takeFirst();
    }
  }

  #waits(packet: KeptPacket): boolean {
    const captured = packet.payloadEnd - packet.payloadStart;
    if (captured === 0 || packet.stray) return false;
    if (packet.direction === 'egress' && this.#pending.has(packet.time)) return true;
    return !this.#mask!.decided(packet.direction, (sequenceOf(packet) + captured) | 0);
  }

  #takeFirst(): void {
    const packet = this.#queue.shift();
    if (packet === undefined) return;
    this.#queueBytes -= cost(packet);
    if (this.#wanted) this.#write(packet);
    else this.#forgotten++;
  }

  #write(packet: KeptPacket): void {
    const { time, direction, version, data, tcpStart, payloadStart, payloadEnd, payloadLength } = packet;
    if (this.#mask === undefined) data.fill(BLANK, payloadStart, payloadEnd);
    else this.#mask.blank(direction, data, payloadStart, payloadEnd, sequenceOf(packet));
    const missing = payloadLength - (payloadEnd - payloadStart);
    writeTcpChecksum(data, version, tcpStart, missing === 0);
    this.#recorder.emit({
      time,
      direction,
      bytes: data,
      wireLength: data.length + missing,
      comments: this.#commentsOf(packet),
    });
  }

  #comment(time: number, text: string): void {
    if (this.#commentLength + text.length > MAX_COMMENT_LENGTH) return;
    this.#commentLength += text.length;
    const comments = this.#comments.get(time);
    if (comments === undefined) this.#comments.set(time, [text]);
    else comments.push(text);
  }

  #clearComments(): void {
    this.#comments.clear();
    this.#commentLength = 0;
  }

  #commentsOf(packet: KeptPacket): string[] {
    const comments: string[] = [];
    if (this.#forgotten > 0) comments.push(`${this.#forgotten} earlier packets of this connection were not kept`);
    this.#forgotten = 0;
    if (packet.direction === 'egress' && packet.payloadLength > 0) {
      for (const text of this.#comments.get(packet.time) ?? []) {
        this.#commentLength -= text.length;
        comments.push(text);
      }
      this.#comments.delete(packet.time);
    }
    return comments;
  }

  #settle(): void {
    const keeps = this.keeps;
    const bytes = keeps
      ? this.#queueBytes + this.#commentLength + (this.#mask?.bufferedBytes ?? 0) + CONNECTION_OVERHEAD
      : 0;
    this.#recorder.keptBytes += bytes - this.#charged;
    this.#charged = bytes;
    if (keeps) this.#recorder.used(this);
    else this.#recorder.forgotten(this);
  }
}

/** A copy, without the padding of the link that may follow the packet. */
function keep(record: PacketRecord, packet: TcpPacket): KeptPacket {
  const { version, tcpStart, payloadStart, payloadEnd, payloadLength, seq, ack, flags } = packet;
  const data = Buffer.allocUnsafeSlow(payloadEnd);
  record.data.copy(data, 0, 0, payloadEnd);
  const { time, direction } = record;
  return {
    time,
    direction,
    version,
    data,
    tcpStart,
    payloadStart,
    payloadEnd,
    payloadLength,
    seq,
    ack,
    flags,
    stray: false,
  };
}

const cost = (packet: KeptPacket): number => packet.data.length + PACKET_OVERHEAD;

/** Number of the payload's first byte: a SYN takes one itself. */
const sequenceOf = ({ seq, flags }: TcpSegment): number => ((flags & TCP_SYN) !== 0 ? (seq + 1) | 0 : seq);
