import { crc32 } from 'node:zlib';

/**
 * Records of a spool file: 4 bytes length, 4 bytes CRC-32 of the payload (both little-endian), payload. So what a crash has
 * torn, or a disk has spoilt, is told from what was written.
 */
const HEADER_BYTES = 8;

/** A record's payload is at least one byte (a run of zeros is no record) and at most this many. */
export const MAX_RECORD_BYTES = 1024 * 1024;

/** The greatest number of bytes that a record takes in a file. */
export const MAX_FRAMED_BYTES = HEADER_BYTES + MAX_RECORD_BYTES;

/** The bytes to write for a payload of 1 to MAX_RECORD_BYTES bytes. */
export function frameRecord(payload: Buffer): Buffer {
  const framed = Buffer.allocUnsafe(HEADER_BYTES + payload.length);
  framed.writeUInt32LE(payload.length, 0);
  framed.writeUInt32LE(crc32(payload), 4);
  payload.copy(framed, HEADER_BYTES);
  return framed;
}

/** The payload of a record that `frameRecord` made. */
export const payloadOf = (framed: Buffer): Buffer => framed.subarray(HEADER_BYTES);

export interface ParsedRecords {
  payloads: Buffer[];
  /** Where the first record begins that was not taken. */
  end: number;
  /** What stands at `end`: nothing or the beginning of a record, a whole record beyond the limits, or no record. */
  rest: 'cut' | 'more' | 'damaged';
}

/** The records from the beginning of `bytes`, as many as the limits allow, but one at least. */
export function parseRecords(bytes: Buffer, maxRecords: number, maxBytes: number): ParsedRecords {
  const payloads: Buffer[] = [];
  let end = 0;
  while (bytes.length - end >= HEADER_BYTES) {
    const length = bytes.readUInt32LE(end);
    if (length === 0 || length > MAX_RECORD_BYTES) return { payloads, end, rest: 'damaged' };
    const next = end + HEADER_BYTES + length;
    if (next > bytes.length) break;
    if (payloads.length > 0 && (payloads.length >= maxRecords || next > maxBytes))
      return { payloads, end, rest: 'more' };
    const payload = bytes.subarray(end + HEADER_BYTES, next);
    if (crc32(payload) !== bytes.readUInt32LE(end + 4)) return { payloads, end, rest: 'damaged' };
    payloads.push(payload);
    end = next;
  }
  return { payloads, end, rest: 'cut' };
}

/** How many whole records stand in `bytes`, and where the last of them ends. */
export function scanRecords(bytes: Buffer): { records: number; end: number } {
  const { payloads, end } = parseRecords(bytes, Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY);
  return { records: payloads.length, end };
}
