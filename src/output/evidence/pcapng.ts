import { version } from '../../version.js';
import { LINKTYPE_RAW, splitTime } from './pcap.js';
import type { DumpedPacket, PacketFormat } from './types.js';

/** Block types and option codes of pcapng (https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng-03.html, sections 3 and 4). */
const SECTION_HEADER = 0x0a0d0d0a;
const INTERFACE_DESCRIPTION = 1;
const ENHANCED_PACKET = 6;
const BYTE_ORDER_MAGIC = 0x1a2b3c4d;
const COMMENT = 1;
const USER_APPLICATION = 4;
const INTERFACE_NAME = 2;
const TIME_RESOLUTION = 9;
const PACKET_FLAGS = 2;

/** Bits 0 and 1 of the packet flags: as the host saw it. */
const DIRECTION_FLAGS = { ingress: 1, egress: 2 } as const;

/** What ends a list of options: code and length 0. */
const END = Buffer.alloc(4);

/** An option's length has 16 bits; a comment of a request stays far below, but for text that is all beyond ASCII. */
const MAX_TEXT_BYTES = 32 * 1024;

/** pcapng, little-endian, one interface, nanoseconds, with comments and directions. */
export const PCAPNG: PacketFormat = {
  fileHeader() {
    const section = Buffer.alloc(16);
    section.writeUInt32LE(BYTE_ORDER_MAGIC, 0);
    section.writeUInt16LE(1, 4);
    // The section's length is not known: all ones.
    section.fill(0xff, 8);
    const link = Buffer.alloc(8);
    link.writeUInt16LE(LINKTYPE_RAW, 0);
    return Buffer.concat([
      block(SECTION_HEADER, [
        section,
        text(USER_APPLICATION, `imds-tracer ${version}`),
        text(COMMENT, 'Connections with a request without a session token. Secrets and all bodies are blanked with *.'),
        END,
      ]),
      block(INTERFACE_DESCRIPTION, [
        link,
        text(INTERFACE_NAME, 'imds-tracer'),
        option(TIME_RESOLUTION, Buffer.from([9])),
        END,
      ]),
    ]);
  },

  packet({ time, direction, bytes, wireLength, comments }: DumpedPacket): Buffer {
    const fixed = Buffer.alloc(20);
    const { seconds, nanoseconds } = splitTime(time);
    const units = BigInt(seconds) * 1_000_000_000n + BigInt(nanoseconds);
    fixed.writeUInt32LE(Number((units >> 32n) & 0xffff_ffffn), 4);
    fixed.writeUInt32LE(Number(units & 0xffff_ffffn), 8);
    fixed.writeUInt32LE(bytes.length, 12);
    fixed.writeUInt32LE(wireLength >>> 0, 16);
    const flags = Buffer.alloc(4);
    flags.writeUInt32LE(DIRECTION_FLAGS[direction]);
    return block(ENHANCED_PACKET, [
      fixed,
      bytes,
      padding(bytes.length),
      ...comments.map((comment) => text(COMMENT, comment)),
      option(PACKET_FLAGS, flags),
      END,
    ]);
  },
};

function block(type: number, parts: readonly Buffer[]): Buffer {
  const length = parts.reduce((sum, part) => sum + part.length, 12);
  const head = Buffer.allocUnsafe(8);
  head.writeUInt32LE(type, 0);
  head.writeUInt32LE(length, 4);
  return Buffer.concat([head, ...parts, head.subarray(4)], length);
}

function option(code: number, value: Buffer): Buffer {
  const head = Buffer.allocUnsafe(4);
  head.writeUInt16LE(code, 0);
  head.writeUInt16LE(value.length, 2);
  return Buffer.concat([head, value, padding(value.length)]);
}

function text(code: number, value: string): Buffer {
  const bytes = Buffer.from(value);
  if (bytes.length <= MAX_TEXT_BYTES) return option(code, bytes);
  let end = MAX_TEXT_BYTES;
  // Not within a character: its continuation bytes begin with the bits 10.
  while ((bytes[end]! & 0xc0) === 0x80) end--;
  return option(code, Buffer.concat([bytes.subarray(0, end), Buffer.from('...')]));
}

const padding = (length: number): Buffer => Buffer.alloc(-length & 3);
