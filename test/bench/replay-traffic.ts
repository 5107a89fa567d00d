/*
 * Packet files for the replay measurements: connections of eight packets, as a client that asks once leaves them.
 * On its own it writes one to standard output: node replay-traffic.js CONNECTIONS
 */
import { realpathSync } from 'node:fs';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

export const PACKETS_PER_CONNECTION = 8;

/** Connections that are open at the same time: their packets come by turns. */
const OPEN_AT_ONCE = 8;
const MS_BETWEEN_PACKETS = 0.05;
const FIRST_SECOND = 1_790_000_000;
/** Ports of one client before the next client comes. */
const PORTS = 28_000;

const FIN = 0x01;
const SYN = 0x02;
const PSH = 0x08;
const ACK = 0x10;

const PATHS = [
  'meta-data/instance-id',
  'meta-data/ram/security-credentials/EcsRole',
  'meta-data/ram/security-credentials/',
  'meta-data/region-id',
  'dynamic/instance-identity/document',
  'user-data',
] as const;
const AGENTS = ['curl/8.5.0', 'AlibabaCloud (Linux; amd64) Java/17 Credentials/0.3.10', 'Python-urllib/3.12'] as const;

/** The URI of a connection's request; no two are the same. */
export const uriOf = (connection: number): string => `/latest/${PATHS[connection % PATHS.length]}?n=${connection}`;

function request(connection: number): string {
  const token = connection % 2 === 0 ? '' : `X-aliyun-ecs-metadata-token: ${tokenOf(connection)}\r\n`;
  const agent = AGENTS[connection % AGENTS.length];
  return `GET ${uriOf(connection)} HTTP/1.1\r\nHost: 100.100.100.200\r\nUser-Agent: ${agent}\r\nAccept: */*\r\n${token}\r\n`;
}

/** Clients keep a token for hours: a new one every thousand connections. */
const tokenOf = (connection: number): string =>
  Buffer.from(`a-token-of-a-metadata-service-${Math.floor(connection / 1000)}`.padEnd(42, '.')).toString('base64');

const BODY = 'i-bp1234567890abcdefgh';
const RESPONSE =
  'HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nDate: Mon, 21 Sep 2026 14:13:20 GMT\r\nServer: openresty\r\n' +
  `Content-Length: ${BODY.length}\r\nConnection: close\r\n\r\n${BODY}`;

const FILE_HEADER_BYTES = 24;
/** Record header, Ethernet, IPv4, TCP. */
const HEADERS_BYTES = 16 + 14 + 20 + 20;

/** A classic pcap file of `connections`, in pieces of about a megabyte. */
export function* packetFile(connections: number): Generator<Buffer> {
  const header = Buffer.alloc(FILE_HEADER_BYTES);
  header.writeUInt32LE(0xa1b2c3d4, 0);
  header.writeUInt16LE(2, 4);
  header.writeUInt16LE(4, 6);
  header.writeUInt32LE(65_535, 16);
  header.writeUInt32LE(1, 20);
  yield header;
  let piece = Buffer.alloc(1 << 20);
  let used = 0;
  let packets = 0;
  for (let first = 0; first < connections; first += OPEN_AT_ONCE) {
    const end = Math.min(first + OPEN_AT_ONCE, connections);
    for (let step = 0; step < PACKETS_PER_CONNECTION; step++) {
      for (let connection = first; connection < end; connection++) {
        used += writePacket(piece, used, connection, step, packets++);
        if (used > piece.length - 4096) {
          yield piece.subarray(0, used);
          piece = Buffer.alloc(1 << 20);
          used = 0;
        }
      }
    }
  }
  yield piece.subarray(0, used);
}

/** Writes packet `step` of a connection at `at`; returns its length there. */
function writePacket(out: Buffer, at: number, connection: number, step: number, packet: number): number {
  const text = step === 3 ? request(connection) : step === 4 ? RESPONSE : '';
  const sent = request(connection).length;
  // SYN, SYN-ACK, ACK, request, response, FIN of the service, FIN of the client, ACK.
  const egress = [true, false, true, true, false, false, true, false][step]!;
  const flags = [SYN, SYN | ACK, ACK, PSH | ACK, PSH | ACK, FIN | ACK, FIN | ACK, ACK][step]!;
  const clientSeq = 1000 + [0, 0, 1, 1, 0, 0, 1 + sent, 0][step]!;
  const serverSeq = 5000 + [0, 0, 0, 0, 1, 1 + RESPONSE.length, 0, 2 + RESPONSE.length][step]!;
  const clientAck = 5000 + [0, 0, 1, 1, 0, 0, 2 + RESPONSE.length, 0][step]!;
  const serverAck = 1000 + [0, 1, 0, 0, 1 + sent, 1 + sent, 0, 2 + sent][step]!;

  const length = HEADERS_BYTES + text.length;
  out.fill(0, at, at + HEADERS_BYTES);
  const time = packet * MS_BETWEEN_PACKETS;
  out.writeUInt32LE(FIRST_SECOND + Math.floor(time / 1000), at);
  out.writeUInt32LE(Math.floor((time % 1000) * 1000), at + 4);
  out.writeUInt32LE(length - 16, at + 8);
  out.writeUInt32LE(length - 16, at + 12);
  out.writeUInt16BE(0x0800, at + 28);
  const ip = at + 30;
  out[ip] = 0x45;
  out.writeUInt16BE(length - 30, ip + 2);
  out[ip + 6] = 0x40;
  out[ip + 8] = 64;
  out[ip + 9] = 6;
  const client = 0x0a000001 + Math.floor(connection / PORTS);
  const port = 32_768 + (connection % PORTS);
  out.writeUInt32BE(egress ? client : 0x646464c8, ip + 12);
  out.writeUInt32BE(egress ? 0x646464c8 : client, ip + 16);
  const tcp = ip + 20;
  out.writeUInt16BE(egress ? port : 80, tcp);
  out.writeUInt16BE(egress ? 80 : port, tcp + 2);
  out.writeUInt32BE(egress ? clientSeq : serverSeq, tcp + 4);
  out.writeUInt32BE(flags === SYN ? 0 : egress ? clientAck : serverAck, tcp + 8);
  out[tcp + 12] = 0x50;
  out[tcp + 13] = flags;
  out.writeUInt16BE(64_240, tcp + 14);
  out.write(text, at + HEADERS_BYTES, 'latin1');
  return length;
}

/** As a program: stops when the reader does. */
async function main(): Promise<void> {
  for (const piece of packetFile(Number(process.argv[2]))) {
    if (!process.stdout.write(piece)) await new Promise((resolve) => process.stdout.once('drain', resolve));
  }
}

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) await main();
