import type { WireCounters } from './counters.js';
import { TCP_ACK, TCP_FIN, TCP_SYN, type TcpSegment } from './ip.js';
import { MAX_STREAM_BYTES, MAX_STREAM_SEGMENTS, SEGMENT_OVERHEAD, SEQUENCE_WINDOW } from './limits.js';

/** Where and when a run of bytes was sent. */
export interface Origin {
  /** Sequence number of the run's first byte, signed. */
  seq: number;
  /** What the sender had received when it sent this: the segment's acknowledgment, if it had one. */
  ack: number | undefined;
  time: number;
  /** The run begins where a segment began, so probably where the sender's write did. */
  segmentStart: boolean;
}

/** Takes the bytes of one direction, in order and each once. */
export interface StreamSink {
  /** The stream begins; `midStream`: without its SYN, so bytes may have gone before. */
  begin(midStream: boolean): void;
  /** `bytes[from..to)`; the view and the origin are only valid during the call. */
  data(bytes: Buffer, from: number, to: number, origin: Origin): void;
  /** So many bytes never came. */
  gap(bytes: number, time: number): void;
}

interface HeldSegment {
  seq: number;
  end: number;
  ack: number | undefined;
  time: number;
  segmentStart: boolean;
  /** Fewer bytes than `end - seq` when the packet was cut. */
  bytes: Buffer;
}

/** Whether a segment belongs to another connection than a stream's: another first number, or bytes after the end. */
function isOfAnother(segment: TcpSegment, ended: boolean, started: boolean, first: number, next: number): boolean {
  if (!started) return ended && segment.payloadLength > 0;
  if ((segment.flags & TCP_SYN) !== 0) return ((segment.seq + 1) | 0) !== first;
  return ended && ((segment.seq + segment.payloadLength - next) | 0) > 0;
}

/** Of a stream whose connection is over: enough to tell its late segments from those of the next with the same key. */
export class StreamRemains {
  started = false;
  first = 0;
  next = 0;

  startsOver(segment: TcpSegment): boolean {
    return isOfAnother(segment, true, this.started, this.first, this.next);
  }
}

const NO_SINK: StreamSink = { begin: () => {}, data: () => {}, gap: () => {} };

/** One object for all deliveries, each of which ends before the next begins: a segment costs no allocation. */
const origin: Origin = { seq: 0, ack: undefined, time: 0, segmentStart: true };

/**
 * Puts one direction of a connection in order by sequence number (modulo 2^32).
 *
 * Where segments overlap, the byte seen first wins: bytes already delivered were taken by the receiver too, and Linux
 * keeps what waits in its out-of-order queue unless a later segment covers it whole (net/ipv4/tcp_input.c,
 * tcp_data_queue_ofo). Where the first attempt did not arrive, the receiver has the bytes of a later one, which may be others:
 * sent-heads.ts.
 */
export class TcpStream {
  /** Every byte up to the FIN was delivered or given up. */
  finished = false;
  /** Time of the packet that opened the hole which is waited for. */
  waitingSince: number | undefined;
  /** Bytes kept, bookkeeping included. */
  bufferedBytes = 0;

  #sink: StreamSink;
  readonly #counters: WireCounters;
  #started = false;
  /** Sequence numbers of the first byte, of the byte that is expected next, and of the FIN. */
  #first = 0;
  #next = 0;
  #fin: number | undefined;
  /** Sorted, disjoint, all behind `#next`. */
  #held: HeldSegment[] | undefined;
  /** Where the last segment out of the window ended. */
  #strayEnd: number | undefined;

  constructor(sink: StreamSink, counters: WireCounters) {
    this.#sink = sink;
    this.#counters = counters;
  }

  /** Whether the segment belongs to another connection with the same key. */
  startsOver(segment: TcpSegment): boolean {
    return isOfAnother(segment, this.finished, this.#started, this.#first, this.#next);
  }

  /** What is left to know of it once its connection is over. */
  leave(remains: StreamRemains): void {
    remains.started = this.#started;
    remains.first = this.#first;
    remains.next = this.#next;
  }

  /** Whether a RST with this number can be the peer's own (RFC 5961 section 3.2, with our wider window). */
  isNear(segment: TcpSegment): boolean {
    return !this.#started || Math.abs((segment.seq - this.#next) | 0) <= SEQUENCE_WINDOW;
  }

  push(segment: TcpSegment, time: number): void {
    if (this.finished) return;
    const syn = (segment.flags & TCP_SYN) !== 0;
    const fin = (segment.flags & TCP_FIN) !== 0;
    // A SYN takes a number itself; its payload (TCP Fast Open, RFC 7413) comes after it.
    const seq = syn ? (segment.seq + 1) | 0 : segment.seq;
    let length = segment.payloadLength;
    if (!this.#started) {
      // A bare ACK says little (a keep-alive probe's number is one too low): begin at bytes, SYN or FIN.
      if (length === 0 && !syn && !fin) return;
      this.#started = true;
      this.#first = seq;
      this.#next = seq;
      this.#sink.begin(!syn);
    } else if (syn && seq !== this.#first) {
      this.#counters.outOfWindow++;
      return;
    }
    if (length === 0 && !fin) return;
    if (Math.abs((seq - this.#next) | 0) > SEQUENCE_WINDOW && !this.#follow(seq, length, time)) return;

    if (fin && this.#fin === undefined && ((seq + length - this.#next) | 0) >= 0) this.#fin = (seq + length) | 0;
    // Nothing can come after the FIN.
    if (this.#fin !== undefined) length = Math.min(length, Math.max(0, (this.#fin - seq) | 0));
    const known = Math.max(0, (this.#next - seq) | 0);
    if (length > known) {
      const ack = (segment.flags & TCP_ACK) !== 0 ? segment.ack : undefined;
      const from = Math.min(segment.payloadStart + known, segment.payloadEnd);
      const to = Math.min(segment.payloadStart + length, segment.payloadEnd);
      const at = (seq + known) | 0;
      if (this.#held === undefined && at === this.#next) {
        this.#deliver(segment.data, from, to, (seq + length) | 0, ack, time, known === 0);
      } else {
        this.#hold(segment.data, from, to, at, (seq + length) | 0, ack, time, known === 0);
        this.#drain();
        while (this.bufferedBytes > MAX_STREAM_BYTES || (this.#held?.length ?? 0) > MAX_STREAM_SEGMENTS) {
          this.#skipHole(time);
        }
      }
    } else if (length > 0) {
      this.#counters.retransmissions++;
    }
    this.#settle(time);
  }

  /** Gives up the holes: what is missing becomes gaps, what waits behind them is delivered. */
  flush(time: number): void {
    while (this.#held !== undefined) this.#skipHole(time);
    if (this.#fin !== undefined && ((this.#fin - this.#next) | 0) > 0) this.#gapTo(this.#fin, time);
    this.#settle(time);
  }

  /**
   * The receiver acknowledged all before `ack`: what is missing up to there will not come. One number too many is the FIN's,
   * if that was lost.
   */
  missedUntil(ack: number, time: number): void {
    if (this.lacks(ack)) this.#gapTo(ack, time);
  }

  /** Whether bytes before `ack`, which the receiver acknowledged, were not seen (yet). */
  lacks(ack: number): boolean {
    const missing = (ack - this.#next) | 0;
    return this.#started && !this.finished && missing > 1 && missing <= SEQUENCE_WINDOW;
  }

  /** Forgets what is kept and takes nothing any more; only what tells late segments from new ones stays in memory. */
  close(): void {
    this.finished = true;
    this.#sink = NO_SINK;
    this.#held = undefined;
    this.#counters.bufferedBytes -= this.bufferedBytes;
    this.bufferedBytes = 0;
    this.waitingSince = undefined;
  }

  /**
   * A segment far from the expected number is junk of another connection; but two that follow one another are a stream
   * that went on while more than the window was lost, and to ignore that for ever would hide requests.
   */
  #follow(seq: number, length: number, time: number): boolean {
    this.#counters.outOfWindow++;
    if (length === 0) return false;
    const follows = this.#strayEnd === seq;
    this.#strayEnd = (seq + length) | 0;
    if (!follows) return false;
    this.#fin = undefined;
    this.flush(time);
    this.#gapTo(seq, time);
    return true;
  }

  #settle(time: number): void {
    if (this.#fin !== undefined && ((this.#fin - this.#next) | 0) <= 0) this.close();
    else if (this.#held !== undefined || this.#fin !== undefined) this.waitingSince ??= time;
    else this.waitingSince = undefined;
  }

  #deliver(
    bytes: Buffer,
    from: number,
    to: number,
    end: number,
    ack: number | undefined,
    time: number,
    segmentStart: boolean,
  ): void {
    origin.seq = this.#next;
    origin.ack = ack;
    origin.time = time;
    origin.segmentStart = segmentStart;
    this.#next = (this.#next + (to - from)) | 0;
    if (to > from) this.#sink.data(bytes, from, to, origin);
    // The rest of a cut packet: it was received, so it will not be sent again.
    if (this.#next !== end) this.#gapTo(end, time);
  }

  /** Keeps the parts of [seq, end) that nothing kept covers. */
  #hold(
    bytes: Buffer,
    from: number,
    to: number,
    seq: number,
    end: number,
    ack: number | undefined,
    time: number,
    segmentStart: boolean,
  ): void {
    this.#held ??= [];
    const held = this.#held;
    let i = held.length;
    // From the end, as what comes late is mostly what comes last.
    while (i > 0 && ((held[i - 1]!.end - seq) | 0) > 0) i--;
    let at = seq;
    while (((end - at) | 0) > 0) {
      const other = held[i];
      const pieceEnd = other !== undefined && ((other.seq - end) | 0) < 0 ? other.seq : end;
      if (((pieceEnd - at) | 0) > 0) {
        const pieceFrom = Math.min(to, from + ((at - seq) | 0));
        const pieceTo = Math.min(to, from + ((pieceEnd - seq) | 0));
        // Not from Node's pool: one kept byte would keep 8 KiB.
        const copy = Buffer.allocUnsafeSlow(pieceTo - pieceFrom);
        bytes.copy(copy, 0, pieceFrom, pieceTo);
        held.splice(i, 0, { seq: at, end: pieceEnd, ack, time, segmentStart: segmentStart && at === seq, bytes: copy });
        this.#charge(copy.length + SEGMENT_OVERHEAD);
        i++;
      }
      if (other === undefined || pieceEnd === end) break;
      if (((other.end - at) | 0) > 0) at = other.end;
      i++;
    }
    if (held.length === 0) this.#held = undefined;
  }

  #drain(): void {
    const held = this.#held;
    if (held === undefined) return;
    let count = 0;
    while (count < held.length && held[count]!.seq === this.#next) {
      const segment = held[count++]!;
      this.#charge(-(segment.bytes.length + SEGMENT_OVERHEAD));
      this.#deliver(
        segment.bytes,
        0,
        segment.bytes.length,
        segment.end,
        segment.ack,
        segment.time,
        segment.segmentStart,
      );
    }
    // Another hole may be open behind the one that was filled: it has its own time to be filled in.
    if (count > 0) this.waitingSince = undefined;
    if (count === held.length) this.#held = undefined;
    else if (count > 0) held.splice(0, count);
  }

  #skipHole(time: number): void {
    const first = this.#held?.[0];
    if (first === undefined) return;
    this.#gapTo(first.seq, time);
    this.#drain();
  }

  #gapTo(seq: number, time: number): void {
    const bytes = (seq - this.#next) >>> 0;
    if (bytes === 0) return;
    this.#next = seq;
    this.#counters.gaps++;
    this.#counters.gapBytes += bytes;
    this.#sink.gap(bytes, time);
  }

  #charge(bytes: number): void {
    this.bufferedBytes += bytes;
    this.#counters.bufferedBytes += bytes;
  }
}
