import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { escapeText } from '../output/escape.js';
import { type IsTraced, lookupUntraced, secureOptions } from './connect.js';
import { readHeadersFile } from './headers-file.js';
import { type Sender, ShipFailure } from './sender.js';
import type { OtlpTarget } from './target.js';

const compress = promisify(gzip);

/** From the request's first byte to the response's last. */
const EXCHANGE_MS = 30_000;
/** No answer of a receiver is longer that means anything here. */
const MAX_ANSWER_BYTES = 64 * 1024;
/** Informational answers (RFC 9110, section 15.2) that may come before it: none is asked for. */
const MAX_INFORMATION = 8;

/**
 * The statuses that say that the batch itself is at fault. The specification (OTLP/HTTP response) has more that must not be
 * tried again, 401 and 404 among them; but they are about the receiver's configuration, and who mends it wants the events.
 */
const REFUSED: readonly number[] = [400, 413, 415, 422];

/** Logs over OTLP/HTTP: POST of ExportLogsServiceRequest, as JSON between the two parts of `envelope`. */
export function openOtlpHttp(target: OtlpTarget, envelope: readonly [string, string], isTraced: IsTraced): Sender {
  const { host, port, secure, path, tls } = target;
  // Read for each connection. No proxy: an agent of our own knows none.
  const agent = secure
    ? new HttpsAgent({ keepAlive: true, maxSockets: 1, ...secureOptions({ host }, tls ?? {}) })
    : new HttpAgent({ keepAlive: true, maxSockets: 1 });
  const options = {
    agent,
    host,
    port,
    path,
    method: 'POST',
    lookup: lookupUntraced(port, isTraced),
  };
  let open: { destroy(): unknown } | undefined;
  return {
    holdMs: 0,
    maxRecords: 512,
    maxBytes: 1024 * 1024,
    broken: undefined,
    onBroken: () => undefined,
    async send(records) {
      const headers = target.headersFile === undefined ? {} : readHeadersFile(target.headersFile);
      const json = Buffer.from(`${envelope[0]}${records.join(',')}${envelope[1]}`);
      const body = target.gzip ? await compress(json) : json;
      const answer = await exchange((onResponse) => {
        const request = (secure ? httpsRequest : httpRequest)(
          {
            ...options,
            headers: {
              ...headers,
              'Content-Type': 'application/json',
              'Content-Length': body.length,
              ...(target.gzip && { 'Content-Encoding': 'gzip' }),
            },
          },
          onResponse,
        );
        open = request;
        request.end(body);
        return request;
      });
      return judge(answer, records.length);
    },
    finish: async () => true,
    destroy: () => {
      open?.destroy();
      agent.destroy();
    },
  };
}

interface Answer {
  status: number;
  retryAfter: string | undefined;
  body: string;
}

function exchange(
  start: (onResponse: (response: IncomingMessage) => void) => ReturnType<typeof httpRequest>,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = start((response) => {
      const pieces: Buffer[] = [];
      let bytes = 0;
      response.on('data', (piece: Buffer) => {
        bytes += piece.length;
        if (bytes <= MAX_ANSWER_BYTES) pieces.push(piece);
        else request.destroy(new Error('the answer is too long'));
      });
      response.on('error', reject);
      response.on('end', () => {
        clearTimeout(timer);
        resolve({
          status: response.statusCode ?? 0,
          retryAfter: response.headers['retry-after'],
          body: Buffer.concat(pieces).toString('utf8'),
        });
      });
    });
    let information = 0;
    request.on('information', () => {
      if (++information > MAX_INFORMATION)
        request.destroy(new Error('only informational answers come (HTTP status 1xx)'));
    });
    const timer = setTimeout(() => request.destroy(new Error('no answer within 30 s')), EXCHANGE_MS);
    request.on('error', reject);
    request.on('close', () => {
      clearTimeout(timer);
      reject(new Error('the receiver closed the connection'));
    });
  });
}

/** How many records the receiver says it will not keep; throws where it has not taken the batch. */
function judge({ status, retryAfter, body }: Answer, count: number): number {
  if (status >= 200 && status < 300) return Math.min(rejectedOf(body), count);
  const meaning = REFUSED.includes(status) ? 'refused' : 'again';
  const said = escapeText(body.slice(0, 200).trim(), 200);
  throw new ShipFailure(`HTTP status ${status}${said === '' ? '' : `: ${said}`}`, meaning, waitOf(retryAfter));
}

/** ExportLogsPartialSuccess.rejected_log_records. They must not be sent again. */
function rejectedOf(body: string): number {
  try {
    const { partialSuccess } = JSON.parse(body) as { partialSuccess?: { rejectedLogRecords?: unknown } };
    const rejected = Number(partialSuccess?.rejectedLogRecords ?? 0);
    return Number.isSafeInteger(rejected) && rejected > 0 ? rejected : 0;
  } catch {
    // An empty body, or protobuf: the status says that it was taken.
    return 0;
  }
}

/** RFC 9110, section 10.2.3: seconds or a date. In milliseconds. */
function waitOf(retryAfter: string | undefined): number {
  if (retryAfter === undefined) return 0;
  const ms = /^\d{1,9}$/.test(retryAfter) ? Number(retryAfter) * 1000 : Date.parse(retryAfter) - Date.now();
  return Number.isFinite(ms) && ms > 0 ? ms : 0;
}
