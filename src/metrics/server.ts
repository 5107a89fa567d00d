import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { performance } from 'node:perf_hooks';
import { bracketed } from '../addresses.js';
import { type TracerError, usageError } from '../errors.js';
import { CONTENT_TYPE, formatMetrics } from './exposition.js';
import type { Metric } from './types.js';

/** Where it listens. */
export interface ListenAddress {
  /** An address, or a name that resolves to one. */
  host: string;
  port: number;
}

/** What answers are made from. */
export interface MetricsContent {
  metrics(): Iterable<Metric>;
  /** Why the tracer is not well; undefined if all is well. */
  problem(): string | undefined;
}

/** With more, one is closed of the address that has most. A receiver takes one. */
const MAX_CONNECTIONS = 16;
const MAX_HEADER_BYTES = 4096;
const REQUEST_MS = 5_000;
/** How long a connection may be idle, or not take an answer. */
const IDLE_MS = 10_000;
const CHECK_MS = 1_000;
const MAX_REQUESTS_PER_CONNECTION = 1_000;
/** More answers wait for the next second: whoever asks without a pause must not take the time that tracing needs. */
const MAX_ANSWERS_A_SECOND = 20;

interface Answer {
  status: number;
  type: string;
  body: string;
}

const TEXT = 'text/plain; charset=utf-8';

/**
 * `/metrics` and `/healthz` over HTTP. There is nothing in it but counters, and no way to change anything; nevertheless
 * whoever can reach it may be hostile: connections, heads and waits are bounded, bodies are not read.
 */
export class MetricsServer {
  #server: Server | undefined;
  #address: ListenAddress | undefined;
  #secondBegan = Number.NEGATIVE_INFINITY;
  #answersInSecond = 0;
  /** From the oldest on. */
  readonly #connections = new Set<Socket>();
  /** That have a request whose answer waits. */
  readonly #waiting = new WeakSet<Socket>();

  /** `requestMs`: what a request's head may take. */
  constructor(
    private readonly content: MetricsContent,
    private readonly requestMs = REQUEST_MS,
  ) {}

  /** Where it listens now; undefined if it does not. */
  get address(): ListenAddress | undefined {
    return this.#address;
  }

  /**
   * Listens there and no longer elsewhere; undefined: nowhere. Rejects with a usage error where that can't be done, and
   * goes on where it was.
   */
  async listen(address: ListenAddress | undefined): Promise<void> {
    if (same(address, this.#address)) return;
    const before = this.#address;
    // First the old one goes: the new one may be the same port on more addresses.
    this.close();
    if (address === undefined) return;
    try {
      await this.#open(address);
    } catch (error) {
      // What was possible a moment ago; where it is not, the first error is the one to tell.
      if (before !== undefined) await this.#open(before).catch(() => undefined);
      throw error;
    }
  }

  /** Ends all connections. */
  close(): void {
    this.#server?.close();
    this.#server?.closeAllConnections();
    this.#server = undefined;
    this.#address = undefined;
  }

  async #open(address: ListenAddress): Promise<void> {
    // Only where it is asked for: Node's HTTP takes some 3 MiB.
    const { createServer } = await import('node:http');
    const server = createServer(
      {
        maxHeaderSize: MAX_HEADER_BYTES,
        headersTimeout: this.requestMs,
        requestTimeout: this.requestMs,
        keepAliveTimeout: IDLE_MS,
        connectionsCheckingInterval: Math.min(CHECK_MS, this.requestMs),
      },
      (request, response) => this.#heed(request, response),
    );
    server.on('connection', (socket) => this.#connected(socket));
    server.maxRequestsPerSocket = MAX_REQUESTS_PER_CONNECTION;
    server.setTimeout(IDLE_MS);
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error) => reject(cannotListen(address, error)));
      server.listen({ host: address.host, port: address.port }, resolve);
    });
    // Out of file descriptors, for one: the next accept may go well.
    server.on('error', () => undefined);
    // It keeps no process alive.
    server.unref();
    this.#server = server;
    this.#address = { host: address.host, port: (server.address() as AddressInfo).port };
  }

  /**
   * Refusing the newest would let whoever holds all connections keep a scrape, or a kubelet's probe, away. The address that
   * has most gives its oldest up.
   */
  #connected(socket: Socket): void {
    this.#connections.add(socket);
    socket.on('close', () => this.#connections.delete(socket));
    if (this.#connections.size <= MAX_CONNECTIONS) return;
    const byAddress = new Map<string | undefined, Socket[]>();
    for (const open of this.#connections) {
      const { remoteAddress } = open;
      byAddress.set(remoteAddress, [...(byAddress.get(remoteAddress) ?? []), open]);
    }
    const most = [...byAddress.values()].reduce((a, b) => (b.length > a.length ? b : a));
    this.#connections.delete(most[0]!);
    most[0]!.destroy();
  }

  /** One request at a time: who sends thousands without awaiting an answer would have each of them held in memory. */
  #heed(request: IncomingMessage, response: ServerResponse): void {
    const { socket } = request;
    if (socket.destroyed) return;
    if (this.#waiting.has(socket)) {
      socket.destroy();
      return;
    }
    this.#waiting.add(socket);
    response.on('close', () => this.#waiting.delete(socket));
    this.#answerInTurn(request, response);
  }

  #answerInTurn(request: IncomingMessage, response: ServerResponse): void {
    if (request.socket.destroyed) return;
    const now = performance.now();
    if (now - this.#secondBegan >= 1000) {
      this.#secondBegan = now;
      this.#answersInSecond = 0;
    }
    if (this.#answersInSecond < MAX_ANSWERS_A_SECOND) {
      this.#answersInSecond++;
      this.#answer(request, response);
    } else {
      setTimeout(() => this.#answerInTurn(request, response), this.#secondBegan + 1000 - now).unref();
    }
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const { status, type, body } = this.#answerTo(request);
    // A body that comes is not read.
    const hasBody =
      request.headers['content-length'] !== undefined || request.headers['transfer-encoding'] !== undefined;
    response.writeHead(status, {
      'Content-Type': type,
      'Content-Length': Buffer.byteLength(body),
      'Cache-Control': 'no-store',
      'X-Content-Type-Options': 'nosniff',
      ...(status === 405 && { Allow: 'GET, HEAD' }),
      ...(hasBody && { Connection: 'close' }),
    });
    response.end(request.method === 'HEAD' ? undefined : body);
  }

  #answerTo({ method, url = '' }: IncomingMessage): Answer {
    const path = url.split('?', 1)[0]!;
    const make = PAGES.get(path);
    if (make === undefined) return { status: 404, type: TEXT, body: 'there are /metrics and /healthz\n' };
    if (method !== 'GET' && method !== 'HEAD') return { status: 405, type: TEXT, body: 'only GET and HEAD\n' };
    return make(this.content);
  }
}

const PAGES: ReadonlyMap<string, (content: MetricsContent) => Answer> = new Map([
  ['/metrics', (content) => ({ status: 200, type: CONTENT_TYPE, body: formatMetrics(content.metrics()) })],
  [
    '/healthz',
    (content) => {
      const problem = content.problem();
      return { status: problem === undefined ? 200 : 503, type: TEXT, body: `${problem ?? 'ok'}\n` };
    },
  ],
]);

const same = (a: ListenAddress | undefined, b: ListenAddress | undefined): boolean =>
  a?.host === b?.host && a?.port === b?.port;

const cannotListen = ({ host, port }: ListenAddress, cause: Error): TracerError =>
  usageError(
    'IMDS_METRICS_ADDRESS',
    `--metrics: can't listen on ${bracketed(host)}:${port}: ${cause.message}`,
    'give an address of this host and a port that is free: --metrics 127.0.0.1:9464',
  );
