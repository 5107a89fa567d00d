// A packet file for the trials: one connection to the metadata address, a request without a token and its answer.
import { Buffer } from 'node:buffer';

const CLIENT = [10, 0, 0, 2];
const SERVICE = [100, 100, 100, 200];
const PORTS = [40000, 80];
const [SYN, ACK, PSH] = [0x02, 0x10, 0x08];
/** LINKTYPE_RAW: packets begin with the IP header. */
const RAW = 101;

/** One IPv4 packet with a TCP segment. Checksums are left zero, as a capture of offloaded traffic has them. */
function packet(fromClient, sequence, acknowledged, flags, text = '') {
  const payload = Buffer.from(text);
  const head = Buffer.alloc(40);
  head.writeUInt8(0x45, 0);
  head.writeUInt16BE(40 + payload.length, 2);
  head.writeUInt8(64, 8);
  head.writeUInt8(6, 9);
  Buffer.from(fromClient ? [...CLIENT, ...SERVICE] : [...SERVICE, ...CLIENT]).copy(head, 12);
  head.writeUInt16BE(PORTS[fromClient ? 0 : 1], 20);
  head.writeUInt16BE(PORTS[fromClient ? 1 : 0], 22);
  head.writeUInt32BE(sequence, 24);
  head.writeUInt32BE(acknowledged, 28);
  head.writeUInt8(0x50, 32);
  head.writeUInt8(flags, 33);
  head.writeUInt16BE(0xffff, 34);
  return Buffer.concat([head, payload]);
}

/** As classic pcap, little-endian, microseconds. */
export function captureOfOneRequest() {
  const request = 'GET /latest/meta-data/instance-id HTTP/1.1\r\nHost: 100.100.100.200\r\n\r\n';
  const answer = 'HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ni-12';
  const packets = [
    packet(true, 1000, 0, SYN),
    packet(false, 5000, 1001, SYN | ACK),
    packet(true, 1001, 5001, ACK),
    packet(true, 1001, 5001, PSH | ACK, request),
    packet(false, 5001, 1001 + request.length, PSH | ACK, answer),
  ];
  const header = Buffer.alloc(24);
  header.writeUInt32LE(0xa1b2c3d4, 0);
  header.writeUInt16LE(2, 4);
  header.writeUInt16LE(4, 6);
  header.writeUInt32LE(65535, 16);
  header.writeUInt32LE(RAW, 20);
  const records = packets.flatMap((bytes, index) => {
    const record = Buffer.alloc(16);
    record.writeUInt32LE(1_700_000_000, 0);
    record.writeUInt32LE(index * 1000, 4);
    record.writeUInt32LE(bytes.length, 8);
    record.writeUInt32LE(bytes.length, 12);
    return [record, bytes];
  });
  return Buffer.concat([header, ...records]);
}
