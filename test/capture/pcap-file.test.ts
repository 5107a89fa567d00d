import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it, test } from 'vitest';
import { type FileProgress, openPcapFile } from '../../src/capture/pcap.js';
import type { CaptureStats, PacketRecord } from '../../src/capture/types.js';
import {
  ACK,
  block,
  CLIENT,
  connection,
  type Frame,
  GET,
  ipPacket,
  LINKS,
  type LinkName,
  onLink,
  PSH,
  pcap,
  pcapng,
  SERVER,
} from '../support/packets.js';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'imds-pcap-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

interface Read {
  packets: PacketRecord[];
  stats: CaptureStats;
  progress: FileProgress;
  description: string;
}

async function read(bytes: Buffer, endpoints = [SERVER]): Promise<Read> {
  const file = join(folder, 'capture');
  writeFileSync(file, bytes);
  const source = await openPcapFile({ file, endpoints });
  const packets: PacketRecord[] = [];
  try {
    for (;;) {
      const handed = await source.next(5_000, (record) => {
        if (record.type === 'packet') packets.push({ ...record, data: Buffer.from(record.data) });
      });
      if (handed < 0) break;
    }
    const stats = source.stats();
    expect(stats.packetsSeen).toBe(stats.packetsCaptured + stats.ringDropped + stats.packetsPassedOver);
    expect(stats.packetsCaptured).toBe(packets.length);
    return { packets, stats, progress: source.progress(), description: source.description };
  } finally {
    source.close();
  }
}

const REQUEST = GET('/latest/meta-data/');
const PACKETS = connection({ request: REQUEST });
const V6 = connection({
  client: { address: 'fd00::5', port: 41_000 },
  server: { address: 'fd00:ec2::254', port: 80 },
  request: REQUEST,
});
const V6_ENDPOINT = { address: 'fd00:ec2::254', port: 80 };
const capture = (link: LinkName, packets = PACKETS): Buffer => pcap(LINKS[link].type, onLink(link, packets));

/** What a whole connection gives: everything but the two bare acknowledgments. */
function expectConnection({ packets, stats }: Read, expected = PACKETS, client = CLIENT, server = SERVER): void {
  const matter = expected.filter((_, i) => i !== 2 && i !== 7);
  expect(stats.packetsPassedOver).toBe(2);
  expect(packets.map(({ data }) => data.toString('hex'))).toEqual(matter.map(({ ip }) => ip.toString('hex')));
  expect(packets.map(({ direction }) => direction)).toEqual([
    'egress',
    'ingress',
    'egress',
    'ingress',
    'egress',
    'ingress',
  ]);
  for (const [i, packet] of packets.entries()) {
    expect(packet).toMatchObject({
      cookie: 0n,
      localAddress: client.address,
      localPort: client.port,
      remoteAddress: server.address,
      remotePort: server.port,
      wireLength: matter[i]!.ip.length,
    });
    expect(packet.time).toBeCloseTo(matter[i]!.time, 3);
  }
}

describe('link types', () => {
  test.each(Object.keys(LINKS) as LinkName[])('%s, IPv4 and IPv6', async (link) => {
    expectConnection(await read(capture(link)));
    const sixth = await read(capture(link, V6), [V6_ENDPOINT]);
    expectConnection(sixth, V6, { address: 'fd00::5', port: 41_000 }, V6_ENDPOINT);
  });

  it('names one that it can’t read', async () => {
    await expect(read(pcap(105, [{ time: 0, bytes: Buffer.alloc(80) }]))).rejects.toMatchObject({
      code: 'IMDS_E_LINK_TYPE',
      exitStatus: 2,
      message: expect.stringContaining('IEEE802_11 (105)'),
    });
  });
});

describe('whose packets', () => {
  const to = (address: string, port: number) =>
    onLink('raw', connection({ request: REQUEST, server: { address, port } }));

  it('are those of the endpoints: address and port', async () => {
    const others = [...to('100.100.100.201', 80), ...to('100.100.100.200', 8080), ...to('10.0.0.1', 80)];
    expectConnection(await read(pcap(101, [...others, ...onLink('raw', PACKETS)])));
  });

  it('are found among hundreds of endpoints', async () => {
    const many = Array.from({ length: 1000 }, (_, i) => ({ address: `10.9.${i >> 8}.${i & 255}`, port: 80 + (i % 3) }));
    expectConnection(await read(capture('raw'), [...many, SERVER]));
  });

  it('are also behind IPv6 extension headers', async () => {
    const extension = {
      type: 0,
      bytes: Buffer.concat([Buffer.from([43, 0]), Buffer.alloc(6), Buffer.from([6, 0]), Buffer.alloc(6)]),
    };
    const ip = ipPacket({
      from: { address: 'fd00::5', port: 9 },
      to: V6_ENDPOINT,
      flags: PSH | ACK,
      payload: 'x',
      extension,
    });
    const { packets } = await read(pcap(101, [{ time: 1, bytes: ip }]), [V6_ENDPOINT]);
    expect(packets).toMatchObject([{ localAddress: 'fd00::5', localPort: 9, data: ip }]);
  });

  it('include first fragments, which the pipeline counts as refused, and no later ones', async () => {
    const first = ipPacket({ from: CLIENT, to: SERVER, payload: 'GET / HT', fragment: 0x2000 });
    const later = ipPacket({ from: CLIENT, to: SERVER, payload: 'TP/1.1', fragment: 0x0004 });
    const { packets } = await read(
      pcap(
        101,
        [first, later].map((bytes) => ({ time: 1, bytes })),
      ),
    );
    expect(packets.map(({ data }) => data)).toEqual([first]);
  });

  it('are not cut headers that contradict themselves', async () => {
    const broken = [0, 1, 4, 12, 16, 19, 20, 23, 33, 39].map((length) => ({
      time: 1,
      bytes: PACKETS[3]!.ip.subarray(0, length),
    }));
    const shortHeader = Buffer.from(PACKETS[3]!.ip);
    shortHeader[0] = 0x41;
    const shortOffset = Buffer.from(PACKETS[3]!.ip);
    shortOffset[32] = 0x10;
    const { packets, progress } = await read(
      pcap(101, [...broken, { time: 1, bytes: shortHeader }, { time: 1, bytes: shortOffset }]),
    );
    expect(progress.packets).toBe(12);
    // With the ports there, but not all of the TCP header: handed over, so that the pipeline can say so.
    expect(packets.map(({ data }) => data.length)).toEqual([33, 39]);
  });
});

describe('packets seen on several interfaces', () => {
  const twice = (link: LinkName, gap: number): Frame[] =>
    onLink(link, PACKETS).flatMap((frame) => [frame, { ...frame, time: frame.time + gap }]);

  test.each(['sll', 'sll2'] as const)('count once (%s)', async (link) => {
    expectConnection(await read(pcap(LINKS[link].type, twice(link, 0.02))));
  });

  it('are kept where they are retransmissions: later, or with another identification', async () => {
    const again = ipPacket({
      from: CLIENT,
      to: SERVER,
      seq: 1001,
      ack: 5001,
      flags: PSH | ACK,
      payload: REQUEST,
      id: 77,
    });
    const frames = [
      ...PACKETS.slice(0, 4),
      { time: PACKETS[3]!.time, ip: again },
      { time: PACKETS[3]!.time + 250, ip: PACKETS[3]!.ip },
    ];
    const { packets } = await read(pcap(113, onLink('sll', frames)));
    expect(packets.map(({ data }) => data.length)).toEqual([
      40,
      40,
      40 + REQUEST.length,
      40 + REQUEST.length,
      40 + REQUEST.length,
    ]);
  });

  it('are kept on one interface, where nothing is shown twice', async () => {
    const { packets } = await read(pcap(1, twice('ethernet', 0.02)));
    expect(packets).toHaveLength(12);
  });

  it('count once where the host translates the client’s address', async () => {
    const outside = { address: '192.0.2.9', port: 61_000 };
    const translated = connection({ request: REQUEST, client: outside });
    // Sent: inside, then outside. Received: outside, then inside.
    const frames = PACKETS.flatMap((inside, i) =>
      i === 1 || i === 4 || i === 6 ? [translated[i]!, inside] : [inside, translated[i]!],
    );
    expectConnection(await read(pcap(276, onLink('sll2', frames))));
    // The port is used by the host itself afterwards: that is another connection.
    const own = connection({ request: GET('/own'), client: outside, time: PACKETS[0]!.time + 1000 }).map(
      ({ time, ip }) => {
        const other = Buffer.from(ip);
        other.writeUInt32BE(other.readUInt32BE(24) + 7, 24);
        other.writeUInt32BE(other.readUInt32BE(28) + 7, 28);
        return { time, ip: other };
      },
    );
    const { packets } = await read(pcap(276, onLink('sll2', [...frames, ...own])));
    expect(packets.filter(({ localPort }) => localPort === outside.port)).toHaveLength(6);
  });
});

describe('file formats', () => {
  const frames = onLink('ethernet', PACKETS);
  const exact = PACKETS.map((packet, i) => ({ ...packet, time: packet.time + i / 1000 + 0.0005 }));

  test.each([
    ['microseconds, little-endian', pcap(1, frames)],
    ['microseconds, big-endian', pcap(1, frames, { bigEndian: true })],
    ['nanoseconds, little-endian', pcap(1, frames, { nanoseconds: true })],
    ['nanoseconds, big-endian', pcap(1, frames, { nanoseconds: true, bigEndian: true })],
    ['pcapng', pcapng([{ linkType: 1 }], frames)],
    ['pcapng, big-endian', pcapng([{ linkType: 1 }], frames, { bigEndian: true })],
    ['pcapng, nanoseconds', pcapng([{ linkType: 1, resolution: 9 }], frames)],
    ['pcapng, picoseconds and an offset', pcapng([{ linkType: 1, resolution: 12, offset: 1_699_000_000 }], frames)],
    ['pcapng, seconds by powers of two', pcapng([{ linkType: 1, resolution: 0x80 | 30 }], frames)],
    [
      'pcapng with blocks of other kinds',
      pcapng([{ linkType: 1 }], frames, { between: block(false, 0xbad, (out) => out.u32(1)) }),
    ],
    ['gzip', gzipSync(pcap(1, frames))],
    [
      'gzip of several members',
      Buffer.concat([gzipSync(pcap(1, frames).subarray(0, 100)), gzipSync(pcap(1, frames).subarray(100))]),
    ],
    ['gzip of pcapng', gzipSync(pcapng([{ linkType: 1 }], frames))],
    ['zstd', execFileSync('zstd', ['-c', '-q'], { input: pcap(1, frames) })],
  ])('%s', async (_, bytes) => {
    const result = await read(bytes);
    expectConnection(result);
    expect(result.progress).toMatchObject({ packets: 8, bytesRead: bytes.length, bytesTotal: bytes.length });
    expect(result.progress.problem).toBeUndefined();
    expect(result.progress.firstTime).toBeCloseTo(PACKETS[0]!.time, 3);
    expect(result.progress.lastTime).toBeCloseTo(PACKETS[7]!.time, 3);
  });

  it('keep nanoseconds', async () => {
    const { packets } = await read(pcap(1, onLink('ethernet', exact), { nanoseconds: true }));
    expect(packets[1]!.time - packets[0]!.time).toBeCloseTo(1.001, 3);
  });

  it('pcapng: interfaces that differ in link type and snap length, sections that differ in byte order', async () => {
    const [a, b, c] = [0, 1, 2].map((i) =>
      connection({ request: REQUEST, client: { address: '10.0.0.5', port: 50_000 + i } }),
    );
    const first = pcapng(
      [
        { linkType: 1, snapLength: 96_000 },
        { linkType: 276, snapLength: 262_144, resolution: 9 },
      ],
      [...onLink('ethernet', a!), ...onLink('sll2', b!).map((frame) => ({ ...frame, on: 1 }))],
    );
    const second = pcapng([{ linkType: 101 }], onLink('raw', c!), { bigEndian: true });
    const { packets, progress } = await read(Buffer.concat([first, second]));
    expect(progress.problem).toBeUndefined();
    expect(
      [50_000, 50_001, 50_002].map((port) => packets.filter(({ localPort }) => localPort === port).length),
    ).toEqual([6, 6, 6]);
    for (const { time } of packets) expect(Math.abs(time - PACKETS[0]!.time)).toBeLessThan(10);
  });

  it('pcapng: packets of a link type that can’t be read are counted, the others read', async () => {
    const odd = { time: 1, bytes: Buffer.alloc(60), on: 1 };
    const { packets, progress } = await read(pcapng([{ linkType: 1 }, { linkType: 105 }], [odd, ...frames, odd]));
    expect(packets).toHaveLength(6);
    expect(progress).toMatchObject({ packets: 10, unreadablePackets: 2 });
    expect(progress.problem).toBe("2 packets have the link type IEEE802_11 (105), which can't be read");
  });

  it('pcapng: simple packets have the time of the packet before', async () => {
    const simple = block(false, 3, (out) =>
      out
        .u32(PACKETS[3]!.ip.length)
        .raw(Buffer.concat([PACKETS[3]!.ip, Buffer.alloc(4)]).subarray(0, Math.ceil(PACKETS[3]!.ip.length / 4) * 4)),
    );
    const bytes = Buffer.concat([pcapng([{ linkType: 101 }], onLink('raw', PACKETS.slice(0, 1))), simple]);
    const { packets } = await read(bytes);
    expect(packets[1]!.data).toEqual(PACKETS[3]!.ip);
    expect(packets[1]!.time).toBe(packets[0]!.time);
  });
});

describe('packets that were cut', () => {
  it('are handed over with their length on the wire', async () => {
    const frames = onLink('ethernet', PACKETS).map((frame) => ({ ...frame, cut: Math.min(frame.bytes.length, 68) }));
    const { packets, stats } = await read(pcap(1, frames));
    expect(packets.map(({ data, wireLength }) => [data.length, wireLength])).toEqual([
      [40, 40],
      [40, 40],
      [54, 40 + REQUEST.length],
      [54, PACKETS[4]!.ip.length],
      [40, 40],
      [40, 40],
    ]);
    expect(stats.truncated).toBe(2);
  });

  it('are not those of which only padding is missing', async () => {
    const frames = onLink('padded', PACKETS.slice(0, 1)).map((frame) => ({ ...frame, cut: 54 }));
    expect((await read(pcap(1, frames))).stats.truncated).toBe(0);
  });

  it('are those of more than 64 KiB', async () => {
    const ip = ipPacket({
      from: { address: 'fd00::5', port: 9 },
      to: V6_ENDPOINT,
      flags: PSH | ACK,
      payload: Buffer.alloc(100_000),
    });
    ip.writeUInt16BE(0, 4); // as segmentation offload leaves it
    const { packets, stats } = await read(pcap(101, [{ time: 1, bytes: ip }]), [V6_ENDPOINT]);
    expect(packets).toMatchObject([{ wireLength: ip.length, data: { length: 65_536 } }]);
    expect(stats.truncated).toBe(1);
  });
});

describe('damaged and hostile files', () => {
  const whole = pcap(1, onLink('ethernet', PACKETS));
  const wholeNg = pcapng([{ linkType: 1 }], onLink('ethernet', PACKETS));

  test.each([
    ['an empty file', Buffer.alloc(0), /it is empty/],
    ['two bytes', Buffer.from([1, 2]), /shorter than any/],
    ['text', Buffer.from('GET / HTTP/1.1\r\n\r\n this is no capture'), /no pcap or pcapng file/],
    ['half a header', whole.subarray(0, 20), /no pcap or pcapng file/],
    ['half a section header', wholeNg.subarray(0, 20), /ends in the middle/],
    ['a section without byte order', Buffer.concat([wholeNg.subarray(0, 8), Buffer.alloc(40)]), /byte-order magic/],
    ['gzip of text', gzipSync(Buffer.from('something else entirely, and long enough')), /no pcap or pcapng file/],
    ['damaged gzip', Buffer.concat([gzipSync(whole).subarray(0, 12), Buffer.alloc(80, 0xff)]), /gzip/],
  ])('%s is refused with exit status 2', async (_, bytes, words) => {
    await expect(read(bytes)).rejects.toMatchObject({
      code: 'IMDS_FILE_FORMAT',
      exitStatus: 2,
      message: expect.stringMatching(words),
    });
  });

  it('a missing file and a directory are refused', async () => {
    await expect(openPcapFile({ file: join(folder, 'none'), endpoints: [SERVER] })).rejects.toMatchObject({
      code: 'IMDS_FILE_UNREADABLE',
      exitStatus: 2,
    });
    await expect(openPcapFile({ file: folder, endpoints: [SERVER] })).rejects.toMatchObject({
      code: 'IMDS_FILE_UNREADABLE',
      message: expect.stringContaining('directory'),
    });
  });

  test.each([
    ['pcap', whole],
    ['pcapng', wholeNg],
    ['gzip', gzipSync(whole)],
  ])('%s that ends anywhere gives the packets before, and says so', async (_, bytes) => {
    for (let end = 60; end < bytes.length; end += 7) {
      let result: Read;
      try {
        result = await read(bytes.subarray(0, end));
      } catch (error) {
        expect(error).toMatchObject({ exitStatus: 2 });
        continue;
      }
      const { packets, progress } = result;
      expect(packets.length).toBeLessThanOrEqual(6);
      const read8 = progress.packets === 8;
      if (!read8 && progress.problem === undefined) {
        // Cut between two packets: that is a whole file.
        expect([whole, wholeNg].some((file) => isBoundary(file, end))).toBe(true);
      }
      for (const [i, packet] of packets.entries())
        expect(packet.data).toEqual(PACKETS.filter((_, n) => n !== 2 && n !== 7)[i]!.ip);
    }
  });

  it('lengths that lie are no packets and take no memory', async () => {
    const lie = Buffer.from(whole);
    lie.writeUInt32LE(0xfffffff0, 24 + 8);
    const before = process.memoryUsage.rss();
    const { progress, packets } = await read(lie);
    expect(packets).toHaveLength(0);
    expect(progress.problem).toMatch(/4294967280/);
    const lieNg = Buffer.from(wholeNg);
    lieNg.writeUInt32LE(0xfffffff0, 28 + 4);
    expect((await read(lieNg)).progress.problem).toMatch(/damaged/);
    const skipped = Buffer.concat([wholeNg, block(false, 0xbad, (out) => out.u32(1))]);
    skipped.writeUInt32LE(0xfffffff0, wholeNg.length + 4);
    expect((await read(skipped)).progress).toMatchObject({ packets: 8, problem: expect.stringMatching(/middle/) });
    expect(process.memoryUsage.rss() - before).toBeLessThan(64 * 1024 * 1024);
  });

  it('a snap length of 4 GiB takes no memory', async () => {
    const before = process.memoryUsage.rss();
    expectConnection(await read(pcap(1, onLink('ethernet', PACKETS), { snapLength: 0xffffffff })));
    expect(process.memoryUsage.rss() - before).toBeLessThan(64 * 1024 * 1024);
  });
});

function isBoundary(file: Buffer, end: number): boolean {
  const isNg = file.readUInt32LE(0) === 0x0a0d0d0a;
  let at = isNg ? 0 : 24;
  while (at < end && at < file.length) at += isNg ? file.readUInt32LE(at + 4) : 16 + file.readUInt32LE(at + 8);
  return at === end;
}

it('a file can be closed before its end', async () => {
  const many = Array.from({ length: 4_000 }, (_, i) =>
    onLink('ethernet', connection({ request: REQUEST, client: { address: '10.0.0.5', port: 1024 + i } })),
  ).flat();
  const file = join(folder, 'long');
  writeFileSync(file, pcap(1, many));
  const source = await openPcapFile({ file, endpoints: [SERVER] });
  expect(await source.next(1_000, () => {})).toBeGreaterThan(0);
  source.close();
  expect(await source.next(1_000, () => {})).toBe(-1);
});
