import { beforeEach, describe, expect, it } from 'vitest';
import { Connection, type Direction } from '../../src/wire/connection.js';
import type { FlowKey } from '../../src/wire/flow-index.js';
import { FlowTable } from '../../src/wire/flow-table.js';
import { TCP_FIN, TCP_RST, TCP_SYN } from '../../src/wire/ip.js';
import {
  FLOW_IDLE_MS,
  FLOW_LINGER_MS,
  HOLE_TIMEOUT_MS,
  MAX_BUFFERED_BYTES,
  MAX_FLOWS,
  MAX_LINGERING_FLOWS,
} from '../../src/wire/limits.js';
import { GET, latin1, OK, Record, type SegmentFields, segment } from './support.js';

interface TestFlow {
  connection: Connection;
  record: Record;
}

let table: FlowTable<TestFlow>;
let created: TestFlow[];
beforeEach(() => {
  table = new FlowTable();
  created = [];
});

function push(
  key: FlowKey,
  fields: SegmentFields,
  time = 1_000,
  direction: Direction = 'egress',
): TestFlow | undefined {
  return table.push(key, direction, segment(fields), time, () => {
    const record = new Record();
    const flow = { record, connection: new Connection(record, table.counters) };
    created.push(flow);
    return flow;
  });
}

const HALF = 'GET /half HTTP/1.1\r\n';
const told = (): string[][] => created.map((flow) => flow.record.lines);

describe('the flow table', () => {
  it('keeps connections apart by key', () => {
    for (const [key, seq] of [
      [1n, 0],
      ['1', 500],
    ] as const)
      push(key, { seq, flags: TCP_SYN });
    push(1n, { seq: 1, payload: GET('/a') });
    push('1', { seq: 501, payload: GET('/b') });
    expect(told()).toEqual([['0 GET /a'], ['0 GET /b']]);
    expect(table.get(1n)).toBe(created[0]);
    expect(table.get(2n)).toBeUndefined();
    expect(table.size).toBe(2);
  });

  it('makes a new connection of a port that is used again at once', () => {
    push('k', { seq: 0, flags: TCP_SYN });
    push('k', { seq: 1, payload: HALF });
    push('k', { seq: 900, flags: TCP_SYN });
    push('k', { seq: 901, payload: GET('/b') });
    expect(told()).toEqual([['0 unparsed non_http 20', 'ended'], ['0 GET /b']]);
    push('k', { seq: 3_000, ack: 1, flags: TCP_SYN }, 1_000, 'ingress');
    expect(created).toHaveLength(2);
    push('k', { seq: 7_000, ack: 1, flags: TCP_SYN }, 1_000, 'ingress');
    expect(created).toHaveLength(3);
    expect(table.size).toBe(1);
  });

  it('does not take late packets of a closed connection for a new one, but new bytes', () => {
    push('k', { seq: 0, flags: TCP_SYN });
    push('k', { seq: 1, payload: GET('/a') });
    push('k', { seq: 1 + GET('/a').length, flags: TCP_RST });
    push('k', { seq: 1, payload: GET('/a') }, 1_100);
    push('k', { seq: 1 + GET('/a').length, flags: TCP_FIN }, 1_100);
    expect(told()).toEqual([['0 GET /a', 'ended']]);
    push('k', { seq: 1 + GET('/a').length, payload: GET('/b') }, 1_100);
    expect(told()).toEqual([['0 GET /a', 'ended'], ['0 GET /b']]);
  });

  it('begins nothing with a bare acknowledgment, FIN or RST', () => {
    for (const flags of [0, TCP_FIN, TCP_RST, TCP_RST | TCP_SYN])
      expect(push('k', { seq: 5, ack: 1, flags })).toBeUndefined();
    expect(table.size).toBe(0);
    expect(push('k', { seq: 5, payload: GET('/a') })).toBe(created[0]);
  });

  it('puts out the least recently used connection at the bound, and counts it', () => {
    for (let i = 0; i < MAX_FLOWS; i++) push(BigInt(i), { seq: 0, flags: TCP_SYN });
    push(0n, { seq: 1, payload: HALF }, 1_200);
    push(1n, { seq: 1, payload: HALF }, 1_200);
    push(0n, { seq: 1 + HALF.length, payload: 'A: b\r\n' }, 1_400);
    expect(table.evicted).toBe(0);
    for (let i = 0; i < MAX_FLOWS - 1; i++) push(BigInt(MAX_FLOWS + i), { seq: 0, flags: TCP_SYN }, 1_400);
    expect(table.size).toBe(MAX_FLOWS);
    expect(table.evicted).toBe(MAX_FLOWS - 1);
    expect(created[0]!.record.lines).toEqual([]);
    expect(created[1]!.record.lines).toEqual(['0 unparsed evicted 20', 'ended']);
    push(0n, { seq: 1 + HALF.length + 6, payload: '\r\n' }, 1_400);
    expect(created[0]!.record.lines).toEqual(['0 GET /half']);
  });

  it('takes no longer for the packets of a busy connection when it is full', () => {
    const busy = (flows: number): number => {
      table = new FlowTable();
      for (let i = 0; i < flows; i++) push(BigInt(i), { seq: 0, flags: TCP_SYN });
      push(5n, { seq: 1, payload: ' ' }); // no HTTP, so that nothing is kept
      const payload = latin1('a');
      const started = performance.now();
      for (let seq = 2; seq < 40_000; seq++) push(5n, { seq, payload });
      return performance.now() - started;
    };
    busy(10);
    // By the order of a Map alone it would be 20 times as long.
    expect(Math.min(busy(MAX_FLOWS), busy(MAX_FLOWS))).toBeLessThan(busy(10) * 6 + 5);
  });

  it('puts out closed connections before open ones, uncounted', () => {
    for (let i = 0; i < MAX_FLOWS; i++) push(BigInt(i), { seq: 0, flags: TCP_SYN });
    push(5n, { seq: 1, flags: TCP_RST });
    push(-1n, { seq: 0, flags: TCP_SYN });
    expect(table.evicted).toBe(0);
    expect(table.get(5n)).toBeUndefined();
    expect(table.get(0n)).toBe(created[0]);
    push(-2n, { seq: 0, flags: TCP_SYN });
    expect(table.evicted).toBe(1);
    expect(table.get(0n)).toBeUndefined();
  });

  it('remembers only so many closed connections, the last ones', () => {
    for (let i = 0; i <= MAX_LINGERING_FLOWS; i++) {
      push(i, { seq: 0, flags: TCP_SYN });
      push(i, { seq: 1, flags: TCP_RST });
    }
    expect(table.size).toBe(MAX_LINGERING_FLOWS);
    expect(table.get(0)).toBeUndefined();
    expect(table.get(1)).toBe(created[1]);
    expect(table.evicted).toBe(0);
  });

  it('bounds the bytes kept by all, and puts out only those that keep some', () => {
    push('idle', { seq: 0, flags: TCP_SYN });
    const part = `GET /x HTTP/1.1\r\nX: ${'x'.repeat(60_000)}`;
    let highest = 0;
    for (let i = 0; i < 700; i++) {
      push(`head${i}`, { seq: 0, flags: TCP_SYN });
      push(`head${i}`, { seq: 1, payload: part });
      highest = Math.max(highest, table.counters.bufferedBytes);
    }
    expect(highest).toBeGreaterThan(MAX_BUFFERED_BYTES / 2);
    expect(highest).toBeLessThanOrEqual(MAX_BUFFERED_BYTES);
    expect(table.evicted).toBeGreaterThan(100);
    expect(table.get('idle')).toBe(created[0]);
    expect(table.get('head0')).toBeUndefined();
    expect(created[1]!.record.lines).toEqual([`0 unparsed evicted ${part.length}`, 'ended']);
    expect(table.get('head699')).toBeDefined();
    table.endAll(2_000);
    expect(table.counters.bufferedBytes).toBe(0);
    expect(table.size).toBe(0);
  });

  it('forgets idle and closed connections in time', () => {
    push('a', { seq: 0, flags: TCP_SYN }, 1_000);
    push('a', { seq: 1, payload: HALF }, 1_000);
    push('b', { seq: 0, flags: TCP_SYN }, 2_000);
    push('c', { seq: 0, flags: TCP_SYN }, 2_000);
    push('c', { seq: 1, flags: TCP_RST }, 2_000);
    table.expire(2_000 + FLOW_LINGER_MS);
    expect(table.size).toBe(3);
    table.expire(3_000 + FLOW_LINGER_MS);
    expect(table.size).toBe(2);
    table.expire(1_001 + FLOW_IDLE_MS);
    expect(told()).toEqual([['0 unparsed evicted 20', 'ended'], [], ['ended']]);
    expect(table.size).toBe(1);
    expect(table.evicted).toBe(0);
    // A clock that was set back by more than that.
    table.expire(-FLOW_IDLE_MS);
    expect(table.size).toBe(0);
  });

  it('gives up holes when no packet comes any more', () => {
    push('a', { seq: 0, flags: TCP_SYN });
    push('a', { seq: 11, payload: GET('/a') });
    table.expire(1_000 + HOLE_TIMEOUT_MS);
    expect(told()).toEqual([[]]);
    table.expire(1_500 + HOLE_TIMEOUT_MS);
    expect(told()).toEqual([['0 unparsed gap 10', '1 GET /a']]);
    expect(table.counters.bufferedBytes).toBe(0);
  });

  it('ends a connection whose last bytes were given up', () => {
    push('a', { seq: 0, flags: TCP_SYN });
    push('a', { seq: 50, ack: 1, flags: TCP_SYN }, 1_000, 'ingress');
    push('a', { seq: 51, ack: 12, flags: TCP_FIN }, 1_000, 'ingress');
    push('a', { seq: 11, flags: TCP_FIN });
    expect(told()).toEqual([[]]);
    table.expire(1_500 + HOLE_TIMEOUT_MS);
    expect(told()).toEqual([['0 unparsed gap 10', 'ended']]);
    push('a', { seq: 11, flags: TCP_FIN }, 2_600);
    expect(told()).toHaveLength(1);
  });

  it('pairs requests and responses through one key', () => {
    push('a', { seq: 0, flags: TCP_SYN });
    push('a', { seq: 100, ack: 1, flags: TCP_SYN }, 1_000, 'ingress');
    push('a', { seq: 1, ack: 101, payload: GET('/a') });
    push('a', { seq: 101, ack: 1 + GET('/a').length, payload: OK() }, 1_000, 'ingress');
    expect(told()).toEqual([['0 GET /a', '0 200']]);
  });
});
