import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { WireCounters } from '../../src/wire/counters.js';
import { TCP_FIN, TCP_SYN } from '../../src/wire/ip.js';
import { MAX_STREAM_BYTES, MAX_STREAM_SEGMENTS, SEGMENT_OVERHEAD, SEQUENCE_WINDOW } from '../../src/wire/limits.js';
import { type Origin, StreamRemains, type StreamSink, TcpStream } from '../../src/wire/tcp.js';
import { segment } from './support.js';

class Bytes implements StreamSink {
  text = '';
  begun: boolean[] = [];
  origins: Origin[] = [];
  begin(midStream: boolean): void {
    this.begun.push(midStream);
  }
  data(bytes: Buffer, from: number, to: number, origin: Origin): void {
    this.text += bytes.toString('latin1', from, to);
    this.origins.push({ ...origin });
  }
  gap(bytes: number): void {
    this.text += `<${bytes}>`;
  }
}

function stream() {
  const sink = new Bytes();
  const counters = new WireCounters();
  return { sink, counters, tcp: new TcpStream(sink, counters) };
}

/** Pushes [sequence number, payload, flags, cut bytes] and gives what came out; `flush` at the end on demand. */
function run(pieces: readonly (readonly [number, string, number?, number?])[], flush = false) {
  const made = stream();
  for (const [seq, payload, flags = 0, cut = 0] of pieces) {
    made.tcp.push(segment({ seq, ack: 1, payload, flags, cut }), 1);
  }
  if (flush) made.tcp.flush(2);
  return made;
}

describe('one direction of a connection', () => {
  it.each<[string, string, readonly (readonly [number, string, number?, number?])[]]>([
    [
      'in order',
      'abcdef',
      [
        [0, '', TCP_SYN],
        [1, 'abc'],
        [4, 'def'],
      ],
    ],
    [
      'out of order',
      'abcdef',
      [
        [0, '', TCP_SYN],
        [4, 'def'],
        [1, 'abc'],
      ],
    ],
    [
      'three holes',
      'abcdefgh',
      [
        [0, '', TCP_SYN],
        [7, 'gh'],
        [3, 'cd'],
        [5, 'ef'],
        [1, 'ab'],
      ],
    ],
    [
      'sent twice',
      'abc',
      [
        [0, '', TCP_SYN],
        [1, 'abc'],
        [1, 'abc'],
      ],
    ],
    [
      'sent again together with more',
      'abcdef',
      [
        [0, '', TCP_SYN],
        [1, 'abc'],
        [1, 'abcdef'],
      ],
    ],
    [
      'overlap with what was delivered: the first stays',
      'abcEF',
      [
        [0, '', TCP_SYN],
        [1, 'abc'],
        [2, 'XXEF'],
      ],
    ],
    [
      'overlap with what waits: the first stays',
      'XCDEFX',
      [
        [0, '', TCP_SYN],
        [2, 'CDEF'],
        [1, 'XXXXXX'],
      ],
    ],
    [
      'overlap with two that wait',
      '1B34E6',
      [
        [0, '', TCP_SYN],
        [2, 'B'],
        [5, 'E'],
        [1, '123456'],
      ],
    ],
    [
      'inside what waits',
      'abcd',
      [
        [0, '', TCP_SYN],
        [2, 'bcd'],
        [3, 'X'],
        [1, 'a'],
      ],
    ],
    [
      'over the end of what waits',
      'abcdX',
      [
        [0, '', TCP_SYN],
        [2, 'bcd'],
        [3, 'XXX'],
        [1, 'a'],
      ],
    ],
    [
      'across 2^32',
      'abcdef',
      [
        [0xfffffffd, '', TCP_SYN],
        [1, 'def'],
        [0xfffffffe, 'abc'],
      ],
    ],
    [
      'across 2^31',
      'abcdef',
      [
        [0x7ffffffd, '', TCP_SYN],
        [0x80000001, 'def'],
        [0x7ffffffe, 'abc'],
      ],
    ],
    [
      'bytes with the SYN (TCP Fast Open)',
      'abcdef',
      [
        [0, 'abc', TCP_SYN],
        [4, 'def'],
      ],
    ],
    [
      'SYN sent again without its bytes',
      'abcdef',
      [
        [0, 'abc', TCP_SYN],
        [0, '', TCP_SYN],
        [1, 'abcdef'],
      ],
    ],
    [
      'bytes behind the FIN',
      'abc',
      [
        [0, '', TCP_SYN],
        [1, 'abc', TCP_FIN],
        [4, 'def'],
      ],
    ],
    [
      'FIN before the bytes',
      'abc',
      [
        [0, '', TCP_SYN],
        [3, 'c', TCP_FIN],
        [1, 'ab'],
      ],
    ],
    [
      'from the middle',
      'def',
      [
        [400, 'def'],
        [397, 'abc'],
      ],
    ],
    [
      'keep-alive probe',
      'abcdef',
      [
        [0, '', TCP_SYN],
        [1, 'abc'],
        [3, 'X'],
        [4, 'def'],
      ],
    ],
    [
      'cut packet',
      'ab<3>fg',
      [
        [0, '', TCP_SYN],
        [1, 'ab', 0, 3],
        [6, 'fg'],
      ],
    ],
    [
      'cut to nothing',
      '<3>d',
      [
        [0, '', TCP_SYN],
        [1, '', 0, 3],
        [4, 'd'],
      ],
    ],
    [
      'cut packet that waited',
      'abc<2>f',
      [
        [0, '', TCP_SYN],
        [2, 'bc', 0, 2],
        [6, 'f'],
        [1, 'a'],
      ],
    ],
    [
      'cut packet sent again',
      'ab<2>e',
      [
        [0, '', TCP_SYN],
        [1, 'ab', 0, 2],
        [2, 'bcde'],
      ],
    ],
  ])('%s', (_, text, pieces) => {
    expect(run(pieces).sink.text).toBe(text);
  });

  it('says whether the beginning was seen', () => {
    expect(
      run([
        [0, '', TCP_SYN],
        [1, 'a'],
      ]).sink.begun,
    ).toEqual([false]);
    expect(
      run([
        [5, 'a'],
        [6, 'b'],
      ]).sink.begun,
    ).toEqual([true]);
    expect(run([[5, '']]).sink.begun).toEqual([]);
  });

  it('tells where segments begin, and with which numbers', () => {
    const { sink } = run([
      [0, '', TCP_SYN],
      [1, 'ab'],
      [2, 'bc'],
      [4, 'd'],
    ]);
    expect(sink.origins).toMatchObject([
      { seq: 1, ack: 1, segmentStart: true },
      { seq: 3, segmentStart: false },
      { seq: 4, segmentStart: true },
    ]);
  });

  it('waits for a hole, and gives it up on demand', () => {
    const { tcp, sink, counters } = run([
      [0, '', TCP_SYN],
      [1, 'a'],
      [4, 'd'],
      [7, 'g', TCP_FIN],
    ]);
    expect(sink.text).toBe('a');
    expect(tcp.waitingSince).toBe(1);
    expect(counters.bufferedBytes).toBe(2 * (SEGMENT_OVERHEAD + 1));
    tcp.flush(2);
    expect(sink.text).toBe('a<2>d<2>g');
    expect(tcp).toMatchObject({ finished: true, waitingSince: undefined, bufferedBytes: 0 });
    expect(counters).toMatchObject({ bufferedBytes: 0, gaps: 2, gapBytes: 4 });
  });

  it('tells of bytes missing before a FIN', () => {
    expect(
      run(
        [
          [0, '', TCP_SYN],
          [1, 'a'],
          [9, '', TCP_FIN],
        ],
        true,
      ).sink.text,
    ).toBe('a<7>');
  });

  it('takes nothing behind a FIN, and keeps nothing', () => {
    const late = run([
      [0, '', TCP_SYN],
      [3, 'c', TCP_FIN],
      [1, 'abXYZ'],
    ]);
    expect(late.sink.text).toBe('abc');
    const early = run([
      [0, '', TCP_SYN],
      [5, 'XYZ'],
      [1, 'abc', TCP_FIN],
    ]);
    expect(early.sink.text).toBe('abc');
    expect(early.tcp).toMatchObject({ finished: true, bufferedBytes: 0 });
    expect(early.counters.bufferedBytes).toBe(0);
  });

  it('gives up the first hole when more segments wait than the bound', () => {
    const pieces = Array.from({ length: MAX_STREAM_SEGMENTS + 1 }, (_, i) => [2 + 2 * i, 'x'] as const);
    const { sink, tcp } = run([[0, '', TCP_SYN], ...pieces]);
    expect(sink.text).toBe('<1>x');
    expect(tcp.bufferedBytes).toBe(MAX_STREAM_SEGMENTS * (SEGMENT_OVERHEAD + 1));
  });

  it('gives up the first hole when more bytes wait than the bound', () => {
    const big = 'x'.repeat(60_000);
    const { sink, tcp } = run([
      [0, '', TCP_SYN],
      ...Array.from({ length: 6 }, (_, i) => [2 + 60_001 * i, big] as const),
    ]);
    expect(sink.text.startsWith('<1>x')).toBe(true);
    expect(tcp.bufferedBytes).toBeLessThanOrEqual(MAX_STREAM_BYTES);
  });

  it('ignores and counts what is far from the expected number', () => {
    const { sink, counters, tcp } = run([
      [0, '', TCP_SYN],
      [1, 'a'],
      [SEQUENCE_WINDOW * 4, 'junk'],
      [-SEQUENCE_WINDOW * 4, 'junk'],
      [900, '', TCP_SYN],
      [2, 'b'],
    ]);
    expect(sink.text).toBe('ab');
    expect(counters.outOfWindow).toBe(3);
    expect(tcp.bufferedBytes).toBe(0);
  });

  it('goes on behind a loss of more than the window', () => {
    const far = SEQUENCE_WINDOW * 2;
    expect(
      run([
        [0, '', TCP_SYN],
        [1, 'a'],
        [far, 'bc'],
        [far + 2, 'de'],
        [far + 4, 'f'],
      ]).sink.text,
    ).toBe(`a<${far + 2 - 2}>def`);
  });

  it('knows a segment of another connection', () => {
    const { tcp } = run([
      [0, '', TCP_SYN],
      [1, 'a'],
    ]);
    expect(tcp.startsOver(segment({ seq: 0, flags: TCP_SYN }))).toBe(false);
    expect(tcp.startsOver(segment({ seq: 77, flags: TCP_SYN }))).toBe(true);
    expect(tcp.startsOver(segment({ seq: 2, payload: 'b' }))).toBe(false);
    const remains = new StreamRemains();
    tcp.leave(remains);
    expect(remains.startsOver(segment({ seq: 1, payload: 'a' }))).toBe(false);
    expect(remains.startsOver(segment({ seq: 2, payload: 'b' }))).toBe(true);
  });

  it('gives the same bytes for any order, repetition and overlap, at any number', () => {
    const text = Array.from({ length: 300 }, (_, i) => String.fromCharCode(33 + (i % 90))).join('');
    const cuts = fc.uniqueArray(fc.integer({ min: 1, max: text.length - 1 }), { maxLength: 40 });
    fc.assert(
      fc.property(cuts, fc.integer(), fc.infiniteStream(fc.nat(1_000)), (points, isn, random) => {
        const ends = [...points.sort((a, b) => a - b), text.length];
        const pieces = ends.map((end, i) => {
          const overlap = random.next().value % 7;
          const from = Math.max(0, (ends[i - 1] ?? 0) - overlap);
          return { from, to: Math.min(text.length, end + (random.next().value % 7)), rank: random.next().value };
        });
        const order = [...pieces, ...pieces.filter((piece) => piece.rank % 3 === 0)].sort((a, b) => a.rank - b.rank);
        const { tcp, sink, counters } = stream();
        tcp.push(segment({ seq: isn, flags: TCP_SYN }), 1);
        for (const { from, to } of order) tcp.push(segment({ seq: isn + 1 + from, payload: text.slice(from, to) }), 1);
        tcp.push(segment({ seq: isn + 1 + text.length, flags: TCP_FIN }), 1);
        expect(sink.text).toBe(text);
        expect(tcp.finished).toBe(true);
        expect(counters).toMatchObject({ bufferedBytes: 0, gaps: 0 });
      }),
    );
  });
});
