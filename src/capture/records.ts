import { captureError } from '../errors.js';
import { DecodedConnect, DecodedProcess } from './connect-record.js';
import { DecodedExchange, decodedPassed } from './exchange-record.js';
import { Constants, Layout } from './layout.js';
import { DecodedPacket } from './packet-record.js';
import type {
  CaptureRecord,
  ConnectRecord,
  ExchangeRecord,
  HeadRecord,
  PacketRecord,
  PassedRecord,
  ProcessRecord,
  TimeRecord,
} from './types.js';

type Decode = (batch: Buffer, at: number, length: number, words: Int32Array) => CaptureRecord;

const KINDS: ReadonlyMap<number, { size: number; decode: Decode }> = new Map([
  [Constants.recordConnect as number, { size: Layout.connect.size as number, decode: decodeConnect }],
  [Constants.recordProcess, { size: Layout.ancestor.size, decode: decodeProcess }],
  [Constants.recordPacket, { size: Layout.packet.size, decode: decodePacket }],
  [Constants.recordHead, { size: Layout.head.size, decode: decodeHead }],
  [Constants.recordExchange, { size: Layout.exchange.size, decode: decodeExchange }],
  [Constants.recordPassed, { size: Layout.passed.size, decode: decodePassed }],
  [Constants.recordTime, { size: Layout.header.size, decode: decodeTime }],
]);

/**
 * Decodes the records of a batch (native/record.h) and calls `onRecord` for each, in order, to the end or until `enough`
 * says so after one. Byte fields of a record are views into `batch`. Returns how many records and bytes were read. A record
 * that contradicts itself ends the batch with IMDS_E_RECORD.
 */
export function decodeBatch(
  given: Buffer,
  onRecord: (record: CaptureRecord) => void,
  enough: () => boolean = () => false,
): { count: number; bytes: number } {
  let count = 0;
  let at = 0;
  const batch = given.byteOffset % Int32Array.BYTES_PER_ELEMENT === 0 ? given : alignedCopy(given);
  const words = new Int32Array(batch.buffer, batch.byteOffset, Math.floor(batch.length / Int32Array.BYTES_PER_ELEMENT));
  const total = batch.length;
  while (at < total) {
    const left = total - at;
    if (left < Layout.header.size) throw malformed('cut header');
    const length = batch.readUInt32LE(at + Layout.header.length);
    const kind = KINDS.get(batch.readUInt16LE(at + Layout.header.type));
    if (!kind) throw malformed('unknown type');
    if (length < kind.size || length > left || length % 8 !== 0) throw malformed(`length ${length} of ${left}`);
    onRecord(kind.decode(batch, at, length, words));
    at += length;
    count++;
    if (enough()) break;
  }
  return { count, bytes: at };
}

function alignedCopy(bytes: Buffer): Buffer {
  const copy = Buffer.allocUnsafeSlow(bytes.length);
  bytes.copy(copy);
  return copy;
}

const malformed = (what: string) =>
  captureError('IMDS_E_RECORD', `The native module delivered a malformed record: ${what}`, 'Rebuild it: npm run setup');

function decodeConnect(batch: Buffer, start: number, length: number): ConnectRecord {
  const bytes = batch.subarray(start, start + length);
  const contradiction = DecodedConnect.contradiction(bytes);
  if (contradiction !== undefined) throw malformed(contradiction);
  return new DecodedConnect(bytes, time(bytes));
}

function decodeProcess(batch: Buffer, start: number, length: number): ProcessRecord {
  const bytes = batch.subarray(start, start + length);
  return {
    type: 'process',
    time: time(bytes),
    process: new DecodedProcess(bytes, Layout.ancestor.process),
    argv: spanAt(bytes, Layout.ancestor.argv),
    argvTruncated: hasFlag(bytes, Constants.flagArgvTruncated),
  };
}

/** Records begin at multiples of 8, and so do a packet's 64-bit fields: it is read by whole words. */
function decodePacket(batch: Buffer, start: number, length: number, words: Int32Array): PacketRecord {
  const span = (start + Layout.packet.data) >> 2;
  const dataOffset = words[span + (Layout.spanWide.offset >> 2)]! >>> 0;
  const dataLength = words[span + (Layout.spanWide.length >> 2)]! >>> 0;
  if (dataOffset + dataLength > length) throw malformed(`${dataLength} bytes at ${dataOffset} of ${length}`);
  const first = start >> 2;
  return new DecodedPacket(
    batch,
    words,
    first,
    timeAt(words, first),
    start + dataOffset,
    start + dataOffset + dataLength,
  );
}

function decodeHead(batch: Buffer, start: number, length: number, words: Int32Array): HeadRecord {
  const bytes = batch.subarray(start, start + length);
  const at = Layout.head;
  const data = slice(
    bytes,
    bytes.readUInt32LE(at.data + Layout.spanWide.offset),
    bytes.readUInt32LE(at.data + Layout.spanWide.length),
  );
  const number = bytes.readUInt32LE(at.number);
  if (number >= Constants.heads) throw malformed(`head ${number}`);
  return { type: 'head', time: timeAt(words, start >> 2), number, data };
}

const exchange = new DecodedExchange();

function decodeExchange(batch: Buffer, start: number, length: number, words: Int32Array): ExchangeRecord {
  const first = start >> 2;
  exchange.read(batch, words, first, timeAt(words, first), timeAt(words, first, Layout.exchange.requestTime));
  if (
    exchange.bodyStart > start + length ||
    exchange.bodyEnd < exchange.bodyStart ||
    exchange.bodyEnd > start + length
  ) {
    throw malformed('an exchange that leaves its record');
  }
  return exchange;
}

function decodePassed(batch: Buffer, start: number, _length: number, words: Int32Array): PassedRecord {
  const first = start >> 2;
  return decodedPassed(batch, words, first, timeAt(words, first), timeAt(words, first, Layout.passed.lastUse));
}

function decodeTime(_batch: Buffer, start: number, _length: number, words: Int32Array): TimeRecord {
  return { type: 'time', time: timeAt(words, start >> 2) };
}

/** @param first of the record's words */
function timeAt(words: Int32Array, first: number, field: number = Layout.header.time): number {
  const at = first + (field >> 2);
  return milliseconds(words[at]! >>> 0, words[at + 1]! >>> 0);
}

/**
 * Nanoseconds as two halves, without a BigInt: 2^32 ns are 4294.967296 ms. Whole numbers until the last division, so that
 * a time of whole milliseconds stays one.
 */
const milliseconds = (low: number, high: number): number => high * 4294 + (high * 967_296 + low) / 1e6;

const time = (bytes: Buffer): number =>
  milliseconds(bytes.readUInt32LE(Layout.header.time), bytes.readUInt32LE(Layout.header.time + 4));

function hasFlag(bytes: Buffer, flag: number): boolean {
  return (bytes.readUInt16LE(Layout.header.flags) & flag) !== 0;
}

function spanAt(bytes: Buffer, at: number): Buffer {
  return slice(bytes, bytes.readUInt16LE(at + Layout.span.offset), bytes.readUInt16LE(at + Layout.span.length));
}

function slice(bytes: Buffer, offset: number, length: number): Buffer {
  if (offset + length > bytes.length) throw malformed(`${length} bytes at ${offset} of ${bytes.length}`);
  return bytes.subarray(offset, offset + length);
}
