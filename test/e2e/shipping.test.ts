import { once } from 'node:events';
import { mkdtempSync, readFileSync } from 'node:fs';
import { createServer, type RequestListener } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import { type AddressInfo, createServer as createStreamServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { createServer as createTlsServer } from 'node:tls';
import { gunzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { makeCertificates } from '../ship/receivers.js';
import { CleanupStack } from './support/cleanup.js';
import { describeOnKernel, isInstalled, testWith } from './support/kernel.js';
import { openScene, type Scene } from './support/scene.js';
import { isRequest, startTracer } from './support/tracer.js';
import { until } from './support/wait.js';

/** Of this test alone (RFC 2544). */
const ADDRESS = '198.18.6.80';
const ENDPOINT = { provider: 'volcengine', address: ADDRESS, port: 80 } as const;
const PATHS = Array.from({ length: 20 }, (_, i) => `/latest/meta-data/shipped-${i}`);

/** The rest is tested on the modules in test/ship/. This is about the program as it is joined and installed. */
describeOnKernel('the built program ships each event', () => {
  let scene: Scene;
  let certificates: ReturnType<typeof makeCertificates>;
  const cleanup = new CleanupStack();

  beforeAll(async () => {
    scene = await openScene({ providers: [], endpoints: [ENDPOINT] });
    if (isInstalled('openssl')) certificates = makeCertificates(mkdtempSync(join(scene.folder, 'certificates-')));
  });
  afterEach(() => cleanup.run());
  afterAll(() => scene?.close());

  /** Listens on loopback; gives the port. */
  async function listening(server: Server): Promise<number> {
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    cleanup.defer('close the receiver', () => void server.close());
    return (server.address() as AddressInfo).port;
  }

  const tls = () => ({ cert: readFileSync(certificates.cert), key: readFileSync(certificates.key) });

  /** Twenty requests, all of which are to be in what `received` gives; nothing else may go wrong. */
  async function expectShipped(url: string, received: () => string): Promise<void> {
    const logDir = mkdtempSync(join(scene.folder, 'log-'));
    const args = ['--provider', 'volcengine', '--endpoint', ADDRESS, '--ship', url];
    const tracer = await startTracer({ logDir, args });
    cleanup.defer('kill the tracer', () => tracer.kill('SIGKILL'));
    for (const path of PATHS) await scene.runOk(['curl', '-s', '-o', '/dev/null', `http://${ADDRESS}${path}`]);
    await until(
      () => `all at the receiver; the tracer said:\n${tracer.stderr()}`,
      () => PATHS.every((path) => received().includes(path)),
    );
    expect((await tracer.stop()).status).toBe(0);
    const ids = tracer.events().flatMap((event) => (isRequest(event) ? [event.event.id] : []));
    expect(ids).toHaveLength(PATHS.length);
    for (const id of ids) expect(received()).toContain(id);
  }

  /** A receiver of OTLP, which answers that all is well. */
  function collector(create: (onRequest: RequestListener) => Server): { server: Server; received: () => string } {
    let bodies = '';
    const server = create((request, response) => {
      const parts: Buffer[] = [];
      request.on('data', (part: Buffer) => parts.push(part));
      request.on('end', () => {
        const body = Buffer.concat(parts);
        bodies += request.headers['content-encoding'] === 'gzip' ? gunzipSync(body).toString() : body.toString();
        response.setHeader('Content-Type', 'application/json').end('{}');
      });
    });
    return { server, received: () => bodies };
  }

  /** A receiver of whatever a stream brings. */
  function sink(create: (onSocket: (socket: Socket) => void) => Server): { server: Server; received: () => string } {
    let bytes = '';
    const server = create((socket) => {
      socket.setEncoding('utf8').on('data', (text: string) => {
        bytes += text;
      });
    });
    return { server, received: () => bytes };
  }

  test('by OTLP over HTTP', async () => {
    const { server, received } = collector(createServer);
    await expectShipped(`otlp+http://127.0.0.1:${await listening(server)}`, received);
  });

  testWith(['openssl'], 'by OTLP over HTTPS', async () => {
    const { server, received } = collector((onRequest) => createSecureServer(tls(), onRequest));
    const port = await listening(server);
    await expectShipped(`otlp+https://127.0.0.1:${port}?ca=${certificates.ca}`, received);
  });

  test('by syslog over TCP', async () => {
    const { server, received } = sink(createStreamServer);
    await expectShipped(`syslog+tcp://127.0.0.1:${await listening(server)}?format=ecs`, received);
  });

  testWith(['openssl'], 'by syslog over TLS', async () => {
    const { server, received } = sink((onSocket) => createTlsServer(tls(), onSocket));
    const port = await listening(server);
    await expectShipped(`syslog+tls://127.0.0.1:${port}?format=ecs&ca=${certificates.ca}`, received);
  });
});
