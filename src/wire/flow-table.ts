import type { PassedRecord } from '../capture/types.js';
import { type Connection, ConnectionRemains, type Direction } from './connection.js';
import { WireCounters } from './counters.js';
import { FlowIndex, type FlowKey } from './flow-index.js';
import { TCP_FIN, TCP_RST, TCP_SYN, type TcpSegment } from './ip.js';
import { FLOW_IDLE_MS, FLOW_LINGER_MS, MAX_BUFFERED_BYTES, MAX_FLOWS, MAX_LINGERING_FLOWS } from './limits.js';
import { type Listed, RecencyList } from './recency-list.js';
import type { StreamRemains } from './tcp.js';

/** What the table keeps: a connection and whatever its owner knows of it. */
export interface Flow {
  readonly connection: Connection;
}

/**
 * Used again and again: of connections that are over thousands are kept for a while, and new objects for each would all be
 * moved about by the garbage collector before they die.
 */
class Entry<F extends Flow> implements Listed<Entry<F>> {
  before: Entry<F> | undefined = undefined;
  after: Entry<F> | undefined = undefined;

  /** The key, where it is a number: in a field of its own, as one that holds all kinds would need an object for each. */
  numberKey = Number.NaN;
  otherKey: string | bigint | undefined = undefined;
  /** Undefined once over, where nobody wants it any more. */
  flow: F | undefined = undefined;
  /** Time of a packet, at most REORDER_INTERVAL_MS before the last. */
  lastUse = Number.NaN;
  /** The connection is over; what is left of it is filled in. */
  over = false;
  readonly remains = new ConnectionRemains();

  /** @param list the order that it is in */
  constructor(public list: RecencyList<Entry<F>>) {}
}

/** An entry moves to the end of its order only when it has not for this long, in milliseconds. */
export const REORDER_INTERVAL_MS = 100;

/** How often `expire` looks, at most, in milliseconds: it may be called for each packet. */
export const SWEEP_INTERVAL_MS = 250;

/**
 * The connections that are followed, by a key of the caller's (socket cookie, or addresses). Bounded in number and in the
 * bytes they keep; the least recently used goes first, closed ones before all, and a connection that is put out while open
 * is counted in `evicted`. A packet costs a constant time, whatever the table holds.
 */
export class FlowTable<F extends Flow> {
  readonly counters = new WireCounters();
  /** Open connections put out by a bound. */
  evicted = 0;

  readonly #entries = new FlowIndex<Entry<F>>();
  readonly #open = new RecencyList<Entry<F>>();
  /** Over, but late retransmissions may come. */
  readonly #closed = new RecencyList<Entry<F>>();
  /** In no order, to be used again. */
  readonly #spare: Entry<F>[] = [];
  /** The open ones that keep bytes or wait for some. */
  readonly #keeping = new Set<Entry<F>>();
  readonly #keepsEnded: boolean;
  #lastSweep = Number.NEGATIVE_INFINITY;

  /** @param options.keepsEnded flows of connections that are over stay to be had; set it to false where none is asked for */
  constructor(options: { keepsEnded: boolean } = { keepsEnded: true }) {
    this.#keepsEnded = options.keepsEnded;
  }

  /** Connections in the table, those just closed included. */
  get size(): number {
    return this.#entries.size;
  }

  /** The flow that is followed under this key, if any. Does not count as use. */
  get(key: FlowKey): F | undefined {
    return this.#entries.get(key)?.flow;
  }

  /**
   * Hands a segment to its connection.
   * @param create makes the flow of a connection that begins with this segment, with `new Connection(sink, table.counters)`
   * @returns the flow, or undefined for a stray segment that can't begin one, or late for one that was not kept
   */
  push(key: FlowKey, direction: Direction, segment: TcpSegment, time: number, create: () => F): F | undefined {
    let entry = this.#entries.get(key);
    if (entry !== undefined && (entry.over ? entry.remains : entry.flow!.connection).startsOver(direction, segment)) {
      this.replace(key, time);
      entry = undefined;
    }
    if (entry === undefined) {
      if (!canBegin(segment)) return undefined;
      entry = this.#add(key, time, time);
      entry.flow = create();
      this.#open.add(entry);
    } else if (entry.over) {
      return entry.flow;
    } else if (isPast(entry.lastUse, time, REORDER_INTERVAL_MS)) {
      entry.lastUse = time;
      this.#open.remove(entry);
      this.#open.add(entry);
      this.#keeping.delete(entry);
    }
    const flow = entry.flow!;
    flow.connection.push(direction, segment, time);
    this.#settle(entry, flow.connection);
    while (this.counters.bufferedBytes > MAX_BUFFERED_BYTES) {
      const oldest = first(this.#keeping);
      if (oldest === undefined) break;
      this.#evict(oldest, time);
    }
    return flow;
  }

  /** Ends the connection that is followed under this key, if any: another has begun. */
  replace(key: FlowKey, time: number): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    const open = entry.over ? undefined : entry.flow;
    this.#remove(entry);
    open?.connection.end(time);
  }

  /** Notes what is left of a connection that was told of as a whole. */
  addPassed(key: FlowKey, passed: PassedRecord, time: number): void {
    if (this.#entries.get(key) !== undefined) return;
    const entry = this.#add(key, time, passed.lastUse);
    fill(entry.remains.egress, passed.clientFirst, passed.clientNext);
    fill(entry.remains.ingress, passed.serviceFirst, passed.serviceNext);
    // Where it would be, had it been followed: what is told of so late is mostly not long over.
    let before = this.#closed.last;
    while (before !== undefined && before.lastUse > passed.lastUse) before = before.before;
    this.#close(entry, before);
  }

  /**
   * Gives up overdue holes and forgets connections that were idle for too long; cheap to call often. Where that leads to so much
   * that `full` says so, the rest is for the next call.
   */
  expire(now: number, full: () => boolean = never): void {
    if (Math.abs(now - this.#lastSweep) < SWEEP_INTERVAL_MS) return;
    for (const entry of [...this.#keeping]) {
      if (full()) return;
      const { connection } = entry.flow!;
      if (!connection.waiting) continue;
      connection.giveUpHoles(now);
      if (connection.over || !keepsBytes(connection)) this.#settle(entry, connection);
    }
    for (let idle = this.#open.first; idle !== undefined; idle = this.#open.first) {
      if (!isPast(idle.lastUse, now, FLOW_IDLE_MS)) break;
      if (full()) return;
      const { connection } = idle.flow!;
      this.#remove(idle);
      connection.end(now, 'evicted');
    }
    for (let closed = this.#closed.first; closed !== undefined; closed = this.#closed.first) {
      if (!isPast(closed.lastUse, now, FLOW_LINGER_MS)) break;
      this.#remove(closed);
    }
    this.#lastSweep = now;
  }

  /** Ends every connection: the capture is over. False where `full` has said so before all were ended: call it again. */
  endAll(time: number, full: () => boolean = never): boolean {
    for (let entry = this.#open.first; entry !== undefined; entry = this.#open.first) {
      if (full()) return false;
      const { connection } = entry.flow!;
      this.#remove(entry);
      connection.end(time);
    }
    for (let entry = this.#closed.first; entry !== undefined; entry = this.#closed.first) this.#remove(entry);
    return true;
  }

  #settle(entry: Entry<F>, connection: Connection): void {
    if (connection.over) {
      connection.leave(entry.remains);
      if (!this.#keepsEnded) entry.flow = undefined;
      this.#open.remove(entry);
      this.#keeping.delete(entry);
      this.#close(entry, this.#closed.last);
      return;
    }
    if (keepsBytes(connection)) {
      this.#keeping.add(entry);
    } else if (this.#keeping.size > 0) {
      this.#keeping.delete(entry);
    }
  }

  /** An entry in the index, and in no order yet. */
  #add(key: FlowKey, time: number, lastUse: number): Entry<F> {
    if (this.size >= MAX_FLOWS) this.#makeRoom(time);
    const entry = this.#spare.pop() ?? new Entry(this.#open);
    if (typeof key === 'number') entry.numberKey = key;
    else entry.otherKey = key;
    entry.lastUse = lastUse;
    this.#entries.set(key, entry);
    return entry;
  }

  /** The entry is that of a connection that is over, and in no order: it comes behind `before`, or first. */
  #close(entry: Entry<F>, before: Entry<F> | undefined): void {
    entry.over = true;
    entry.list = this.#closed;
    this.#closed.insert(entry, before);
    if (this.#closed.size > MAX_LINGERING_FLOWS) this.#remove(this.#closed.first!);
  }

  #makeRoom(time: number): void {
    const closed = this.#closed.first;
    if (closed !== undefined) this.#remove(closed);
    else if (this.#open.first !== undefined) this.#evict(this.#open.first, time);
  }

  #evict(entry: Entry<F>, time: number): void {
    const { connection } = entry.flow!;
    this.#remove(entry);
    this.evicted++;
    connection.end(time, 'evicted');
  }

  #remove(entry: Entry<F>): void {
    this.#entries.delete(entry.otherKey ?? entry.numberKey);
    entry.otherKey = undefined;
    entry.list.remove(entry);
    this.#keeping.delete(entry);
    entry.flow = undefined;
    entry.over = false;
    entry.list = this.#open;
    if (this.#spare.length < MAX_LINGERING_FLOWS) this.#spare.push(entry);
  }
}

const never = (): boolean => false;

/** What is left of a stream by its numbers. */
function fill(remains: StreamRemains, first: number, next: number): void {
  remains.started = true;
  remains.first = first;
  remains.next = next;
}

const keepsBytes = (connection: Connection): boolean => connection.bufferedBytes > 0 || connection.waiting;

/** A bare ACK, or the late FIN or RST of a connection that is forgotten, begins nothing. */
const canBegin = (segment: TcpSegment): boolean =>
  segment.payloadLength > 0 || (segment.flags & (TCP_SYN | TCP_FIN | TCP_RST)) === TCP_SYN;

/** Packets' clocks can be set back, and a file's can say anything: an entry from far in the future is past too. */
const isPast = (lastUse: number, now: number, limit: number): boolean => Math.abs(now - lastUse) > limit;

function first<T>(values: Iterable<T>): T | undefined {
  for (const value of values) return value;
  return undefined;
}
