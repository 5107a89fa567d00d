import { createServer, type IncomingMessage } from 'node:http';
import { Duplex } from 'node:stream';
import { MAX_HEAD_BYTES } from '../../src/wire/limits.js';

export interface NodeReading {
  /** `METHOD target version` and the headers, a line each, per request whose head Node's parser took. */
  requests: string[];
  /** Code of the parser's error that ended the reading, if one did. */
  error: string | undefined;
}

export const describeHead = (
  method: string,
  target: string,
  version: string,
  headers: readonly (readonly [string, string])[],
) => [`${method} ${target} ${version}`, ...headers.map(([name, value]) => `${name}: ${value}`)].join('\n');

/** What Node's own HTTP server reads from the bytes of a connection; it answers nothing, so nothing but an error stops it. */
export async function readWithNode(bytes: Buffer): Promise<NodeReading> {
  const requests: string[] = [];
  let error: string | undefined;
  const server = createServer({ maxHeaderSize: MAX_HEAD_BYTES, requireHostHeader: false });
  const take = (message: IncomingMessage): void => {
    const raw = message.rawHeaders;
    const headers = Array.from({ length: raw.length / 2 }, (_, i) => [raw[2 * i]!, raw[2 * i + 1]!] as const);
    requests.push(describeHead(message.method!, message.url!, message.httpVersion, headers));
    message.resume();
  };
  server.on('request', take);
  server.on('checkContinue', take);
  server.on('checkExpectation', take);
  server.on('connect', take);
  server.on('clientError', (failure: NodeJS.ErrnoException) => {
    error ??= failure.code ?? 'unknown';
  });
  const socket = new Duplex({ read: () => {}, write: (_chunk, _encoding, done) => done() });
  socket.on('error', () => {});
  server.emit('connection', socket);
  socket.push(bytes);
  // The parser runs in the stream's own ticks.
  for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve));
  socket.destroy();
  return { requests, error };
}
