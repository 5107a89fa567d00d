import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MAX_CONNECTION_BYTES, MAX_KEPT_BYTES } from '../../../src/output/evidence/limits.js';
import { ACK, FIN, GET, OK, PSH } from '../../support/packets.js';
import { Dump, payloadOf, Talk } from './support.js';

/** Letters that stand in secrets and bodies only, so that a single byte of them in a dump is a leak. */
const SECRET_LETTERS = 'QZJW';
const secret = (length: number): string =>
  Array.from({ length }, (_, i) => SECRET_LETTERS[(i * 7 + (i >> 2)) % 4]!).join('');
const TOKEN = secret(40);
const leaks = (dump: Dump): string[] =>
  [...dump.payloads('egress'), ...dump.payloads('ingress')].filter((text) => /[QZJW]/.test(text));

const PLAIN = GET('/latest/meta-data/');
const HARDENED = GET('/latest/meta-data/', `x-aliyun-ecs-metadata-token: ${TOKEN}\r\n`);
const HARDENED_SHOWN = GET('/latest/meta-data/', `x-aliyun-ecs-metadata-token: ${'*'.repeat(40)}\r\n`);
const ok = (body: string): string => `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
const okShown = (body: string): string => ok('*'.repeat(body.length));

describe('which connections', () => {
  it('has those with a normal-mode request, whole and in order, and no other', () => {
    const dump = new Dump();
    new Talk(dump, 1).open().client(HARDENED).server(ok('Q')).close();
    new Talk(dump, 2).open().client(PLAIN).server(ok('i-Q')).close();
    const long = new Talk(dump, 3).open().client(HARDENED).server(ok('ZZ')).client(PLAIN).server(ok('J'));
    dump.pause();
    long.client(HARDENED).server(ok('W')).close();
    dump.finish();
    expect(dump.recorder).toMatchObject({ connections: 2, packets: 6 + 10, dropped: 0 });
    expect(dump.payloads('egress')).toEqual([PLAIN, HARDENED_SHOWN, PLAIN, HARDENED_SHOWN]);
    expect(dump.payloads('ingress')).toEqual(['i-Q', 'ZZ', 'J', 'W'].map(okShown));
    const times = dump.packets.map(({ time }) => time);
    expect(times.slice(0, 6)).toEqual([...times.slice(0, 6)].sort());
  });

  it('puts the finding on the packet that its request begins in, also where that ends the connection', () => {
    const dump = new Dump();
    const talk = new Talk(dump).open();
    talk
      .client(PLAIN.slice(0, 5), PLAIN.slice(5))
      .server(ok(''))
      .client(PLAIN + PLAIN)
      .server(ok('') + ok(''));
    // The server has closed; this last packet has a request, and the client's FIN.
    dump.take('ingress', { seq: talk.down, ack: talk.up, flags: FIN | ACK });
    dump.take('egress', { seq: talk.up, ack: talk.down + 1, flags: FIN | PSH | ACK, payload: PLAIN });
    dump.finish();
    const commented = dump.packets.map(({ comments }) => comments.length);
    //                        SYN   GE T…  200 2×  200 FIN last
    expect(commented).toEqual([0, 0, 1, 0, 0, 2, 0, 0, 1]);
    const comment = dump.packets[2]!.comments[0]!;
    expect(comment).toMatch(/^IMDSv1\(!\) \(pid:77:curl argv:curl -H Cookie: \[redacted\]\)/);
    expect(comment).toContain('verdict:normal_mode status:200');
  });

  it('writes nothing of a connection before the verdict on its requests', () => {
    const dump = new Dump();
    const talk = new Talk(dump).open().client(PLAIN);
    expect(dump.packets).toHaveLength(0);
    talk.server(ok(''));
    expect(dump.packets).toHaveLength(4);
    expect(dump.packets[2]!.comments[0]).toContain('status:200');
  });

  it('gives what comes late after the end, and forgets what no finding is about', () => {
    const dump = new Dump();
    const talk = new Talk(dump).open().client(PLAIN).server(ok('QQ')).close();
    dump.pause(0);
    dump
      .take('egress', { seq: 1001, ack: 5001, payload: PLAIN })
      .take('ingress', { seq: 5001, ack: talk.up, payload: ok('QQ') });
    dump.pause(0);
    expect(dump.payloads('egress')).toEqual([PLAIN, PLAIN]);
    expect(dump.payloads('ingress')).toHaveLength(2);
    expect(leaks(dump)).toEqual([]);
    expect(dump.recorder.keptBytes + dump.recorder.counters.bufferedBytes).toBe(0);
    new Talk(dump, 9).open().client(HARDENED).server(ok('QQ')).close();
    dump.finish();
    expect(dump.recorder.keptBytes + dump.recorder.counters.bufferedBytes).toBe(0);
  });

  it('has no part where it is not asked for', () => {
    const dump = new Dump(() => ({ begin: () => ({ request() {}, event() {}, packet() {}, ended() {} }), tick() {} }));
    new Talk(dump).open().client(PLAIN).server(ok('')).close();
    dump.finish();
    expect(dump.events).toHaveLength(1);
    expect(dump.packets).toEqual([]);
  });
});

describe('what is shown', () => {
  /** Runs one connection that also has a finding, and gives the dumped streams. */
  const shown = (act: (talk: Talk) => unknown): { up: string; down: string } => {
    const dump = new Dump();
    act(new Talk(dump).open());
    dump.finish();
    expect(leaks(dump)).toEqual([]);
    return { up: dump.stream('egress', 1001), down: dump.stream('ingress', 5001) };
  };
  const BODY = secret(30);

  it('blanks bodies of requests and responses, and keeps what is behind them', () => {
    const post = `POST /x HTTP/1.1\r\nContent-Length: 30\r\n\r\n`;
    const { up, down } = shown((talk) =>
      talk.client(post + BODY.slice(0, 9), BODY.slice(9) + PLAIN).server(ok(BODY), ok('Z')),
    );
    expect(up).toBe(post + '*'.repeat(30) + PLAIN);
    expect(down).toBe(okShown(BODY) + okShown('Z'));
  });

  it('keeps the sizes of chunks, not their extensions, content and trailers', () => {
    const head = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n';
    const chunks = `1e;n=${secret(5)}\r\n${BODY}\r\n2\r\n\r\n\r\n0\r\nT: ${BODY}\r\n\r\n`;
    const { down } = shown((talk) => talk.client(PLAIN + PLAIN).server(head, ...chunks, ok('Q')));
    expect(down).toBe(
      `${head}1e;${'*'.repeat(7)}\r\n${'*'.repeat(30)}\r\n2\r\n**\r\n0\r\n${'*'.repeat(33)}\r\n\r\n${okShown('Q')}`,
    );
  });

  it('knows that the answer to HEAD has no body', () => {
    const head = 'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n';
    const { down } = shown((talk) =>
      talk.client(PLAIN.replace('GET', 'HEAD')).server(head).client(PLAIN).server(ok('Q')),
    );
    expect(down).toBe(head + okShown('Q'));
  });

  it('blanks a body of unknown length, and finds the next response where the next request says it begins', () => {
    const head = 'HTTP/1.0 200 OK\r\n\r\n';
    // A body that looks like a response has no other chance.
    const body = `HTTP/1.1 200 OK\r\nServer: ${BODY}\r\n\r\n`;
    const { down } = shown((talk) => talk.client(PLAIN).server(head, body).client(PLAIN).server(ok('Q')));
    expect(down).toBe(head + '*'.repeat(body.length) + okShown('Q'));
  });

  it('blanks what is no HTTP, behind unsure framing, of tunnels and behind urgent data', () => {
    const unsure = 'POST /x HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n';
    const after = GET(`/${BODY}`);
    expect(shown((talk) => talk.client(PLAIN + unsure + after)).up).toBe(PLAIN + unsure + '*'.repeat(after.length));
    expect(shown((talk) => talk.client(PLAIN).server(ok('')).client(BODY)).up).toBe(PLAIN + '*'.repeat(30));
    const upgrade = GET('/latest/', 'Upgrade: x\r\n');
    const switched = 'HTTP/1.1 101 Switching Protocols\r\n\r\n';
    const tunnel = shown((talk) => talk.client(upgrade).server(switched, ok(BODY)).client(after));
    expect(tunnel.up).toBe(upgrade + '*'.repeat(after.length));
    expect(tunnel.down).toBe(switched + '*'.repeat(ok(BODY).length));
    const urgent = new Dump();
    const talk = new Talk(urgent).open().client(PLAIN).server(ok(''));
    urgent.take('egress', { seq: talk.up, ack: talk.down, flags: ACK | 0x20, payload: after }).finish();
    expect(urgent.payloads('egress')).toEqual([PLAIN, '*'.repeat(after.length)]);
  });

  it('goes on behind a loss with a segment that begins with a request line', () => {
    const dump = new Dump();
    const talk = new Talk(dump).open().client(PLAIN).server(ok('Q'));
    talk.up += HARDENED.length;
    talk.down += 200;
    dump.pause();
    talk.client(`x: ${BODY}\r\n\r\n`, PLAIN).server(ok('Z'));
    dump.pause();
    talk.client(HARDENED).close();
    dump.finish();
    expect(leaks(dump)).toEqual([]);
    expect(dump.payloads('egress')).toEqual([PLAIN, '*'.repeat(37), PLAIN, HARDENED_SHOWN]);
    expect(dump.payloads('ingress')).toEqual([okShown('Q'), okShown('Z')]);
  });

  it('blanks the bytes of a segment that differ from those that were read', () => {
    const dump = new Dump();
    const talk = new Talk(dump).open().client(PLAIN).server(ok(''));
    const forged = 'QZJWQZJW';
    dump.take('egress', { seq: 1001, ack: talk.down, payload: forged + PLAIN.slice(forged.length) });
    dump.take('egress', { seq: talk.up + 20_000_000, ack: talk.down, payload: HARDENED });
    talk.client(HARDENED);
    dump.finish();
    expect(dump.payloads('egress')).toEqual([
      PLAIN,
      '*'.repeat(8) + PLAIN.slice(8),
      '*'.repeat(HARDENED.length),
      HARDENED_SHOWN,
    ]);
  });

  it('blanks what was cut and the padding behind a packet, and has checksums that fit', () => {
    const dump = new Dump();
    const talk = new Talk(dump).open().client(PLAIN);
    dump.take('ingress', { seq: talk.down, ack: talk.up, payload: ok(BODY) }, undefined, 10);
    dump.finish();
    const answer = dump.packets.at(-1)!;
    expect(answer.wireLength - answer.bytes.length).toBe(10);
    expect(leaks(dump)).toEqual([]);
    for (const { bytes, wireLength } of dump.packets) {
      if (bytes.length === wireLength) expect(tcpSum(bytes)).toBe(0xffff);
    }
  });

  it('shows no byte of a secret, however the bytes are cut, reordered, repeated and overlapped', () => {
    const requests = fc.array(
      fc.constantFrom(
        PLAIN,
        HARDENED,
        GET(`/x?token=${TOKEN}&a=b`),
        GET('/', `Authorization: Bearer ${TOKEN}\r\nCookie: ${TOKEN}\r\n`),
        `POST / HTTP/1.1\r\nContent-Length: 40\r\n\r\n${TOKEN}`,
        `POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n28\r\n${TOKEN}\r\n0\r\n\r\n`,
      ),
      { minLength: 1, maxLength: 4 },
    );
    const random = fc.infiniteStream(fc.nat(1_000_000));
    fc.assert(
      fc.property(requests, random, fc.boolean(), (texts, numbers, lossy) => {
        const upTo = (bound: number): number => (numbers.next().value as number) % bound;
        const plain = new Dump();
        const torn = new Dump();
        for (const dump of [plain, torn]) new Talk(dump).open();
        let up = 1001;
        let down = 5001;
        for (const text of [PLAIN, ...texts]) {
          const answer = ok(secret(upTo(60)));
          const sides = [
            ['egress', up, down, text],
            ['ingress', down, up + text.length, answer],
          ] as const;
          for (const [direction, seq, ack, all] of sides) {
            plain.take(direction, { seq, ack, payload: all });
            for (const { from, to } of pieces(all.length, upTo)) {
              if (lossy && upTo(6) === 0) continue;
              torn.take(direction, { seq: seq + from, ack, payload: all.slice(from, to) });
            }
          }
          if (upTo(3) === 0) torn.pause();
          up += text.length;
          down += answer.length;
        }
        plain.finish();
        torn.finish();
        expect(leaks(plain)).toEqual([]);
        expect(leaks(torn)).toEqual([]);
        expect(plain.recorder.connections).toBe(1);
        if (lossy) return;
        // Nothing is missing: what is shown is the same, byte for byte.
        expect(torn.stream('egress', 1001)).toBe(plain.stream('egress', 1001));
        expect(torn.stream('ingress', 5001)).toBe(plain.stream('ingress', 5001));
      }),
      { numRuns: 400 },
    );
  });
});

describe('bounds', () => {
  it('keeps the youngest packets of a connection without a finding, and says how many went', () => {
    const dump = new Dump();
    const talk = new Talk(dump).open();
    for (let i = 0; i < 1000; i++) talk.client(HARDENED).server(ok('Q'.repeat(500)));
    expect(dump.recorder.keptBytes).toBeLessThan(MAX_CONNECTION_BYTES + 8192);
    talk.client(PLAIN).server(ok(''));
    expect(dump.recorder.dropped).toBeGreaterThan(1000);
    expect(dump.packets[0]!.comments).toEqual([
      `${dump.recorder.dropped} earlier packets of this connection were not kept`,
    ]);
    expect(dump.packets.length + dump.recorder.dropped).toBe(2004);
    expect(dump.payloads('egress').at(-1)).toBe(PLAIN);
    expect(leaks(dump)).toEqual([]);
  });

  it('keeps no more than its bound for all connections, whatever they send', () => {
    const dump = new Dump();
    const half = GET('/', `x: ${secret(1200)}`).slice(0, 1200);
    for (let port = 1; port <= 400; port++) {
      const talk = new Talk(dump, port).open();
      if (port % 2 === 0) talk.client(PLAIN).server(ok(''));
      for (let i = 0; i < 90; i++) talk.client(half);
      expect(dump.recorder.keptBytes + dump.recorder.counters.bufferedBytes).toBeLessThanOrEqual(MAX_KEPT_BYTES);
    }
    dump.finish();
    expect(dump.recorder.connections).toBe(200);
    expect(dump.recorder.keptBytes).toBe(0);
    expect(leaks(dump)).toEqual([]);
  });

  it('writes what waits for a hole or the end of a head that never comes, and blank', () => {
    const dump = new Dump();
    const talk = new Talk(dump).open().client(PLAIN).server(ok(''));
    talk.up += 5;
    for (let i = 0; i < 300; i++) talk.client(secret(1200));
    expect(dump.recorder.keptBytes + dump.recorder.counters.bufferedBytes).toBeLessThan(3 * MAX_CONNECTION_BYTES);
    talk.reset();
    dump.finish();
    expect(dump.packets).toHaveLength(305);
    expect(leaks(dump)).toEqual([]);
  });

  it('bounds the comments of a packet with many requests', () => {
    const dump = new Dump();
    const talk = new Talk(dump).open();
    talk.client('GET /latest/ HTTP/1.1\r\n\r\n'.repeat(2000)).server(OK.repeat(256));
    dump.pause();
    const comments = dump.packets.flatMap(({ comments }) => comments);
    expect(comments.length).toBeGreaterThan(50);
    expect(comments.join('').length).toBeLessThanOrEqual(65_536);
    talk.client(PLAIN).server(ok(''));
    dump.pause();
    expect(dump.packets.flatMap(({ comments }) => comments).length).toBe(comments.length + 1);
  });
});

describe('any packets at all', () => {
  it('are written once or not at all, never throw, and nothing is kept in the end', () => {
    const texts = [PLAIN, HARDENED, ok(secret(20)), PLAIN.slice(0, 30), 'HTTP/1.1 200 OK\r\n\r\n', 'x: y\r\n\r\n', ''];
    const packets = fc.array(
      fc.record({
        egress: fc.boolean(),
        port: fc.integer({ min: 1, max: 2 }),
        seq: fc.oneof(fc.integer({ min: 1001, max: 1400 }), fc.integer()),
        ack: fc.oneof(fc.integer({ min: 1001, max: 1400 }), fc.integer()),
        flags: fc.oneof(fc.constant(ACK), fc.constant(ACK), fc.integer({ min: 0, max: 0x3f })),
        payload: fc.oneof(fc.constantFrom(...texts), fc.string({ maxLength: 40 })),
        pause: fc.constantFrom(0, 0, 0, 900, 2_000, 70_000),
      }),
      { maxLength: 60 },
    );
    let written = 0;
    fc.assert(
      fc.property(packets, (all) => {
        const dump = new Dump();
        // In the middle of the first of these, the second has no finding yet.
        new Talk(dump, 1).open().client(PLAIN);
        new Talk(dump, 2).open();
        for (const { egress, port, pause, ...fields } of all) {
          dump.take(egress ? 'egress' : 'ingress', fields, port);
          if (pause > 0) dump.pause(pause);
        }
        dump.finish();
        expect(dump.packets.length + dump.recorder.dropped).toBeLessThanOrEqual(all.length + 5);
        expect(dump.packets.flatMap(({ bytes }) => [...payloadOf(bytes).matchAll(/[QZJW]{12}/g)])).toEqual([]);
        expect(dump.recorder.keptBytes).toBe(0);
        expect(dump.recorder.counters.bufferedBytes).toBe(0);
        written += dump.packets.length;
      }),
      { numRuns: 500 },
    );
    expect(written).toBeGreaterThan(1_000);
  });
});

/** Cuts anywhere, some overlapping, some twice, in any order. */
function pieces(length: number, upTo: (bound: number) => number): { from: number; to: number }[] {
  const cut: { from: number; to: number; rank: number }[] = [];
  for (let at = 0; at < length; ) {
    const to = Math.min(length, at + 1 + upTo(70));
    const from = Math.max(0, at - (upTo(3) === 0 ? upTo(30) : 0));
    for (let copies = upTo(5) === 0 ? 2 : 1; copies > 0; copies--) cut.push({ from, to, rank: cut.length + upTo(12) });
    at = to;
  }
  return cut.sort((a, b) => a.rank - b.rank);
}

/** Sum over pseudo-header and segment of an IPv4 packet: all ones where the checksum fits (RFC 9293 section 3.1). */
function tcpSum(bytes: Buffer): number {
  const segment = Buffer.concat([bytes.subarray(12, 20), Buffer.from([0, 6]), Buffer.alloc(2), bytes.subarray(20)]);
  segment.writeUInt16BE(bytes.length - 20, 10);
  let sum = 0;
  for (let i = 0; i < segment.length; i += 2) sum += (segment[i]! << 8) + (segment[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return sum;
}
