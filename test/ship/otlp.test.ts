import { once } from 'node:events';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { formatEcs } from '../../src/output/ecs.js';
import { LearnedSecrets } from '../../src/output/learned.js';
import { redactEvent } from '../../src/output/redact.js';
import { formatText } from '../../src/output/text.js';
import type { TracerEvent } from '../../src/output/types.js';
import { otlpEnvelope, otlpRecord } from '../../src/ship/otlp-record.js';
import { Shipper } from '../../src/ship/shipper.js';
import { parseShipUrl } from '../../src/ship/url.js';
import { requestEvent, requestHead, stats } from '../output/events.js';
import { context, numberOf, sender } from './events.js';
import { makeCertificates } from './receivers.js';
import { until } from './support.js';

/** OpenTelemetry's own definitions, as protobufjs has generated code from them. */
interface Message {
  verify(value: object): string | null;
  fromObject(value: object): object;
  toObject(value: object, options: object): Record<string, unknown>;
  encode(value: object): { finish(): Uint8Array };
  decode(bytes: Uint8Array): object;
}
const { opentelemetry } = createRequire(import.meta.url)(
  '@opentelemetry/otlp-transformer/build/src/generated/root.js',
) as {
  opentelemetry: { proto: { collector: { logs: { v1: { ExportLogsServiceRequest: Message } } } } };
};
const Request = opentelemetry.proto.collector.logs.v1.ExportLogsServiceRequest;

interface Value {
  stringValue?: string;
  intValue?: string;
  boolValue?: boolean;
  doubleValue?: number;
  arrayValue?: { values?: Value[] };
  kvlistValue?: { values?: { key: string; value: Value }[] };
}
interface LogRecord {
  timeUnixNano: string;
  severityNumber: number;
  severityText: string;
  body: Value;
  attributes: { key: string; value: Value }[];
}

/** What a receiver understands of a body: through protobuf's wire format and back; throws for what no definition has. */
function decode(json: string): { resource: Record<string, unknown>; records: LogRecord[] } {
  const given = JSON.parse(json) as object;
  const wire = Request.encode(Request.fromObject(given)).finish();
  const back = Request.toObject(Request.decode(wire), { longs: String, enums: Number });
  // Whatever the definitions don't know is not there any more. An empty list and none are the same to protobuf.
  expect(back).toEqual(JSON.parse(json.replaceAll('{"values":[]}', '{}')));
  const [{ resource, scopeLogs }, ...more] = (
    back as { resourceLogs: { resource: object; scopeLogs: { logRecords: LogRecord[] }[] }[] }
  ).resourceLogs as [
    { resource: { attributes: { key: string; value: Value }[] }; scopeLogs: { logRecords: LogRecord[] }[] },
  ];
  expect(more).toEqual([]);
  return { resource: plain(resource.attributes), records: scopeLogs.flatMap(({ logRecords }) => logRecords) };
}

const plain = (pairs: { key: string; value: Value }[]): Record<string, unknown> =>
  Object.fromEntries(pairs.map(({ key, value }) => [key, plainValue(value)]));

function plainValue({ stringValue, intValue, boolValue, doubleValue, arrayValue, kvlistValue }: Value): unknown {
  if (intValue !== undefined) return Number(intValue);
  if (arrayValue !== undefined) return (arrayValue.values ?? []).map(plainValue);
  if (kvlistValue !== undefined) return plain(kvlistValue.values ?? []);
  return stringValue ?? boolValue ?? doubleValue;
}

const learned = new LearnedSecrets();
const shownOf = (event: TracerEvent) => redactEvent(event, learned);

describe('a log record', () => {
  const [before, behind] = otlpEnvelope(context);
  const decoded = (event: TracerEvent) => {
    const shown = shownOf(event);
    return decode(`${before}${otlpRecord(shown, context, formatText(shown))}${behind}`);
  };

  it('is what the definitions of OpenTelemetry say, with the fields of the ECS event', () => {
    const event = requestEvent();
    const { resource, records } = decoded(event);
    expect(resource).toEqual({
      'service.name': 'imds-tracer',
      'service.version': '0.1.0',
      'host.name': 'host-1',
      'host.id': 'id-1',
    });
    expect(records).toHaveLength(1);
    const [record] = records;
    expect(record).toMatchObject({ severityNumber: 13, severityText: 'WARNING', timeUnixNano: '1795230238120399902' });
    expect(record!.body.stringValue).toBe(formatText(shownOf(event)).message);
    const attributes = plain(record!.attributes);
    expect(attributes).toMatchObject({
      'event.action': 'imds-request',
      'http.response.status_code': 200,
      'imds.verdict': 'normal_mode',
      'imds.token_present': false,
      'process.args': ['curl', 'http://100.100.100.200/latest/meta-data/'],
      'imds.ancestors': [
        { pid: 1015, name: 'makeCalls.sh', args: ['/bin/bash', './makeCalls.sh'] },
        { pid: 978, name: 'zsh', args: ['-zsh'] },
      ],
    });
    const leaves = (value: unknown, path = ''): string[] =>
      typeof value === 'object' && value !== null && !Array.isArray(value)
        ? Object.entries(value).flatMap(([key, member]) => leaves(member, path === '' ? key : `${path}.${key}`))
        : value === undefined
          ? []
          : [path];
    const inRecord = /^(@timestamp|message|log\.level|host\..*|agent\..*)$/;
    expect(Object.keys(attributes).sort()).toEqual(
      leaves(formatEcs(shownOf(event), context))
        .filter((path) => !inRecord.test(path))
        .sort(),
    );
  });

  it('is valid for every kind of event and for hostile text', () => {
    const hostile = `\0\x1b[31m\u202e\ud800"\\${'\u{1f600}'.repeat(50)}`;
    const events: TracerEvent[] = [
      requestEvent({
        request: requestHead({ target: `/${hostile}`, headers: [{ name: 'User-Agent', value: hostile }] }),
      }),
      requestEvent({ time: Number.NaN }),
      requestEvent({ time: 1e300 }),
      { kind: 'tracer-stats', time: Date.now(), stats },
      { kind: 'capture-loss', time: Date.now(), lost: { ring: 5 } },
    ];
    for (const event of events) expect(decoded(event).records).toHaveLength(1);
  });
});

type Answer = (request: IncomingMessage, records: LogRecord[], response: ServerResponse) => void;

const directory = mkdtempSync(join(tmpdir(), 'imds-otlp-'));
const certificates = makeCertificates(directory);
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const cleanUp: (() => unknown)[] = [];
afterEach(async () => {
  for (const step of cleanUp.splice(0).reverse()) await step();
});

/** A receiver that decodes what comes; `answer` decides. */
async function receiver(answer: Answer, secure = false, port = 0): Promise<{ port: number; server: Server }> {
  const listener = (request: IncomingMessage, response: ServerResponse): void => {
    const pieces: Buffer[] = [];
    request.on('data', (piece: Buffer) => pieces.push(piece));
    request.on('end', () => {
      const body = Buffer.concat(pieces);
      const json = request.headers['content-encoding'] === 'gzip' ? gunzipSync(body) : body;
      answer(request, decode(json.toString()).records, response);
    });
  };
  const { cert, key, ca } = certificates;
  const server = secure
    ? createSecureServer(
        {
          cert: readFileSync(cert),
          key: readFileSync(key),
          ca: readFileSync(ca),
          requestCert: true,
          rejectUnauthorized: true,
        },
        listener,
      )
    : createServer(listener);
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  cleanUp.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, server };
}

let spools = 0;

function shipTo(url: string) {
  const said: string[] = [];
  const shipper = new Shipper({
    targets: [parseShipUrl(url)],
    spoolDir: join(directory, `spool-${spools++}`),
    spoolBytes: 16 * 1024 * 1024,
    context,
    endpoint: [],
    say: (message) => said.push(message),
  });
  cleanUp.push(() => shipper.close());
  return { shipper, said, send: sender(shipper) };
}

const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i);
const numbersOf = (records: LogRecord[]): number[] => records.map(({ body }) => numberOf(body.stringValue!)!);
const ok = (response: ServerResponse): unknown =>
  response.writeHead(200, { 'Content-Type': 'application/json' }).end('{}');

describe('OTLP over HTTP', () => {
  it('brings every event, once, to a receiver that is well', async () => {
    const got: number[] = [];
    const { port } = await receiver((request, records, response) => {
      expect(request).toMatchObject({ method: 'POST', url: '/v1/logs' });
      expect(request.headers).toMatchObject({ 'content-type': 'application/json', 'content-encoding': 'gzip' });
      got.push(...numbersOf(records));
      ok(response);
    });
    const { send, shipper } = shipTo(`otlp+http://127.0.0.1:${port}`);
    for (const i of range(0, 2000)) {
      send(i);
      // As the pipeline does after each batch.
      if (i % 100 === 99) await shipper.room();
    }
    await until(() => got.length >= 2000);
    expect(got).toEqual(range(0, 2000));
    expect(shipper.undelivered).toBe(0);
  });

  it('waits for a receiver that says 503, 429 or 401, as long as it asks for', async () => {
    const got: number[] = [];
    const times: number[] = [];
    const answers: [number, Record<string, string>][] = [
      [503, { 'Retry-After': '1' }],
      [429, { 'Retry-After': new Date(Date.now() + 3000).toUTCString() }],
      [401, {}],
    ];
    const { port } = await receiver((_, records, response) => {
      times.push(Date.now());
      const next = answers.shift();
      if (next !== undefined) return void response.writeHead(...next).end('not now');
      got.push(...numbersOf(records));
      ok(response);
    });
    const { send, said, shipper } = shipTo(`otlp+http://127.0.0.1:${port}`);
    send(1);
    await until(() => got.length > 0);
    expect(got).toEqual([1]);
    // No earlier than asked for.
    expect(times[1]! - times[0]!).toBeGreaterThanOrEqual(1000);
    await until(() => said.length === 2);
    expect(said[0]).toMatch(/HTTP status 503: not now; events wait in the spool$/);
    expect(said[1]).toMatch(/events arrive again$/);
    expect(shipper.undelivered).toBe(0);
  });

  it('gives up only the event that the receiver refuses', async () => {
    const got: number[] = [];
    const { port } = await receiver((_, records, response) => {
      const numbers = numbersOf(records);
      if (numbers.includes(77)) return void response.writeHead(400).end();
      got.push(...numbers);
      ok(response);
    });
    const { send, shipper } = shipTo(`otlp+http://127.0.0.1:${port}`);
    for (const i of range(0, 200)) send(i);
    await until(() => got.length >= 199);
    expect(got).toEqual(range(0, 200).filter((i) => i !== 77));
    expect(shipper.undelivered).toBe(1);
  });

  it('counts what the receiver says it has not kept, and does not send it again', async () => {
    let requests = 0;
    let seen = 0;
    const { port } = await receiver((_, records, response) => {
      requests++;
      seen += records.length;
      response.end(JSON.stringify({ partialSuccess: { rejectedLogRecords: '3', errorMessage: 'too old' } }));
    });
    const { send, shipper } = shipTo(`otlp+http://127.0.0.1:${port}`);
    for (const i of range(0, 10)) send(i);
    await until(() => seen >= 10);
    await until(() => shipper.undelivered === 3 * requests);
    expect(seen).toBe(10);
  });

  it('leaves a receiver that gives informational answers without an end, and takes one before the answer', async () => {
    const got: number[] = [];
    let asked = 0;
    const { port } = await receiver((request, records, response) => {
      const inform = (): void => {
        response.writeProcessing();
        if (!request.socket.destroyed) setImmediate(inform);
      };
      if (asked++ === 0) return inform();
      response.writeProcessing();
      got.push(...numbersOf(records));
      ok(response);
    });
    const { send, said } = shipTo(`otlp+http://127.0.0.1:${port}`);
    send(7);
    await until(() => got.length > 0);
    expect(got).toEqual([7]);
    expect(said[0]).toContain('only informational answers come');
  });

  it('goes on where the receiver was away, and the tracer as well', async () => {
    const got: number[] = [];
    const take: Answer = (_, records, response) => {
      got.push(...numbersOf(records));
      ok(response);
    };
    const first = await receiver(take);
    const url = `otlp+http://127.0.0.1:${first.port}?compression=none`;
    const { send, shipper, said } = shipTo(url);
    send(0);
    await until(() => got.length === 1);
    first.server.closeAllConnections();
    first.server.close();
    await once(first.server, 'close');
    for (const i of range(1, 50)) send(i);
    await until(() => said.length > 0);
    await shipper.close();
    expect(said.at(-1)).toMatch(/bytes of events wait in .* for the next start/);
    await receiver(take, false, first.port);
    spools--;
    const again = shipTo(url);
    again.send(50);
    await until(() => got.length >= 51);
    expect(got).toEqual(range(0, 51));
  });

  it('over TLS shows its certificate and headers, and speaks to none but the right receiver', async () => {
    const headers = join(directory, 'headers');
    writeFileSync(headers, '# for the test\nAuthorization: Bearer secret-word\n\nX-Scope-OrgID: tenant\r\n', {
      mode: 0o600,
    });
    const seen: IncomingMessage['headers'][] = [];
    const { port } = await receiver((request, _, response) => {
      seen.push(request.headers);
      ok(response);
    }, true);
    const { ca, cert, key } = certificates;
    const mine = `cert=${cert}&key=${key}&headers-file=${headers}`;
    const wrong = shipTo(`otlp+https://127.0.0.1:${port}?${mine}`);
    const otherName = shipTo(`otlp+https://127.0.0.1:${port}?ca=${ca}&${mine}&servername=other.example`);
    const right = shipTo(`otlp+https://127.0.0.1:${port}?ca=${ca}&${mine}`);
    for (const { send } of [wrong, otherName, right]) send(1);
    await until(() => seen.length > 0 && wrong.said.length > 0 && otherName.said.length > 0);
    expect(seen).toHaveLength(1);
    expect(seen[0]).toMatchObject({ authorization: 'Bearer secret-word', 'x-scope-orgid': 'tenant' });
    expect(wrong.said[0]).toMatch(/certificate/);
    expect(otherName.said[0]).toMatch(/other\.example/);
    expect([...wrong.said, ...otherName.said].join()).not.toContain('secret-word');
    chmodSync(headers, 0o644);
    expect(() => shipTo(`otlp+https://127.0.0.1:${port}?ca=${ca}&${mine}`)).toThrow(
      expect.objectContaining({ code: 'IMDS_SHIP_HEADERS', exitStatus: 2 }),
    );
  });
});
