import type { DumpedPacket, PacketFormat } from './types.js';

/** https://www.tcpdump.org/linktypes.html: IPv4 or IPv6, told apart by the version. */
export const LINKTYPE_RAW = 101;
/** libpcap's own limit for what it reads; no IP packet without jumbogram options is longer. */
const SNAP_LENGTH = 262_144;

/**
 * Classic pcap with microseconds, which every reader knows (https://www.tcpdump.org/manpages/pcap-savefile.5.html).
 * It has no place for comments and directions.
 */
export const PCAP: PacketFormat = {
  fileHeader() {
    const header = Buffer.alloc(24);
    header.writeUInt32LE(0xa1b2c3d4, 0);
    header.writeUInt16LE(2, 4);
    header.writeUInt16LE(4, 6);
    header.writeUInt32LE(SNAP_LENGTH, 16);
    header.writeUInt32LE(LINKTYPE_RAW, 20);
    return header;
  },

  packet({ time, bytes, wireLength }: DumpedPacket): Buffer {
    const block = Buffer.allocUnsafe(16 + bytes.length);
    const { seconds, nanoseconds } = splitTime(time);
    block.writeUInt32LE(seconds >>> 0, 0);
    block.writeUInt32LE(Math.floor(nanoseconds / 1000), 4);
    block.writeUInt32LE(bytes.length, 8);
    block.writeUInt32LE(wireLength >>> 0, 12);
    bytes.copy(block, 16);
    return block;
  },
};

/** Epoch milliseconds in whole seconds and the rest in nanoseconds; the times of a file can be anything. */
export function splitTime(time: number): { seconds: number; nanoseconds: number } {
  if (!(time > 0 && time < 2 ** 53)) return { seconds: 0, nanoseconds: 0 };
  const seconds = Math.floor(time / 1000);
  return { seconds, nanoseconds: Math.min(Math.round((time - seconds * 1000) * 1e6), 999_999_999) };
}
