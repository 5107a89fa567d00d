import { STATUS_CODES } from 'node:http';
import { createServer, isIPv6, type Server, type Socket } from 'node:net';
import type { ProviderName } from '../imds/types.js';
import type { JournalEntry } from './journal.js';
import { headerOf, type ReadRequest, RequestReader, type Unreadable } from './request-reader.js';
import { SERVICE_RULES, type ServiceRules } from './rules.js';
import { TokenStore } from './tokens.js';
import { MetadataTree, servicePath } from './tree.js';

/** `normal`: a token is optional. `hardened`: it is required. */
export type ServiceMode = 'normal' | 'hardened';
export const SERVICE_MODES: readonly ServiceMode[] = ['normal', 'hardened'];

/** An address at which a cloud's service is emulated. */
export interface LabEndpoint {
  provider: ProviderName;
  address: string;
  port: number;
}

/** `http://ADDRESS[:PORT]`, as clients would write it. */
export function originOf({ address, port }: { address: string; port: number }): string {
  const host = isIPv6(address) ? `[${address}]` : address;
  return port === 80 ? `http://${host}` : `http://${host}:${port}`;
}

export interface ServiceOptions {
  mode: ServiceMode;
  /** Several providers may share an address; a request is then answered by the one it is plainly for, else by the first. */
  endpoints: readonly LabEndpoint[];
  /** Called for each thing received, before it is answered. */
  journal?: (entry: JournalEntry) => void;
}

interface Answer {
  status: number;
  body: string;
  allow?: string;
}

/** One cloud's service: its rules and the state they need. */
interface Cloud {
  name: ProviderName;
  rules: ServiceRules;
  tree: MetadataTree;
  tokens: TokenStore;
}

/** Resolves once every address is listened on. Runs until the process ends. */
export async function startService(options: ServiceOptions): Promise<void> {
  const byAddress = new Map<string, LabEndpoint[]>();
  for (const endpoint of options.endpoints) {
    const key = originOf(endpoint);
    byAddress.set(key, [...(byAddress.get(key) ?? []), endpoint]);
  }
  let connections = 0;
  const nextConnection = () => connections++;
  for (const endpoints of byAddress.values()) {
    const { address, port } = endpoints[0]!;
    const server = serve(endpoints, options, nextConnection);
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      // A burst of short connections must not be turned away; the kernel lowers it to net.core.somaxconn.
      server.listen({ host: address, port, backlog: 4096 }, resolve);
    });
  }
}

/** A connection on which nothing happens is closed after so many milliseconds. */
const IDLE_TIMEOUT = 60_000;

function serve(
  endpoints: readonly LabEndpoint[],
  { mode, journal }: ServiceOptions,
  nextConnection: () => number,
): Server {
  const { address, port } = endpoints[0]!;
  const clouds = endpoints.map(({ provider }): Cloud => {
    const rules = SERVICE_RULES[provider];
    return { name: provider, rules, tree: new MetadataTree(rules.tree), tokens: new TokenStore() };
  });

  return createServer({ allowHalfOpen: true, noDelay: true }, (socket: Socket) => {
    const { remoteAddress, remotePort } = socket; // asked now: a closed socket no longer knows
    const known = remoteAddress !== undefined && remotePort !== undefined;
    const connection = {
      connection: nextConnection(),
      server: { address, port },
      ...(known ? { client: { address: remoteAddress, port: remotePort } } : {}),
    };
    let seq = 0;
    const reader = new RequestReader((what: ReadRequest | Unreadable) => {
      const place = { time: Date.now(), seq: seq++, ...connection };
      if (what.kind === 'unparsed') {
        journal?.({ ...place, ...what });
        socket.end(responseHead(400, 0, ['Connection: close']));
        return;
      }
      const cloud = cloudFor(what, clouds);
      const answer = answerTo(what, cloud, mode, place.time);
      journal?.({ ...place, ...what, provider: cloud.name, status: answer.status });
      const last = isLast(what);
      socket.write(response(what, answer, last), 'latin1');
      if (last) {
        reader.close();
        socket.end();
      }
    });
    socket.on('data', (chunk: Buffer) => {
      reader.push(chunk);
      // A client that sends and never reads must not fill this process's memory.
      if (socket.writableNeedDrain) socket.pause();
    });
    socket.on('drain', () => socket.resume());
    socket.on('end', () => {
      reader.end();
      socket.end();
    });
    socket.on('error', () => socket.destroy()); // a reset: what was received before it is in the journal
    socket.setTimeout(IDLE_TIMEOUT, () => socket.destroy());
  });
}

const isLast = (request: ReadRequest): boolean =>
  request.version === '1.0'
    ? headerOf(request, 'connection')?.toLowerCase() !== 'keep-alive'
    : headerOf(request, 'connection')?.toLowerCase() === 'close';

function response(request: ReadRequest, { status, body, allow }: Answer, last: boolean): string {
  const headers = [
    `Content-Type: ${body.startsWith('{') ? 'application/json' : 'text/plain'}`,
    ...(allow === undefined ? [] : [`Allow: ${allow}`]),
    ...(last ? ['Connection: close'] : []),
  ];
  const early = headerOf(request, 'expect') === '100-continue' ? 'HTTP/1.1 100 Continue\r\n\r\n' : '';
  return early + responseHead(status, body.length, headers) + (request.method === 'HEAD' ? '' : body);
}

const responseHead = (status: number, length: number, headers: readonly string[]): string =>
  [`HTTP/1.1 ${status} ${STATUS_CODES[status]}`, ...headers, `Content-Length: ${length}`, '\r\n'].join('\r\n');

function cloudFor(request: ReadRequest, clouds: readonly Cloud[]): Cloud {
  const path = servicePath(request.target);
  const named = (header: string) => headerOf(request, header.toLowerCase()) !== undefined;
  return (
    clouds.find(({ rules }) => named(rules.tokenHeader) || named(rules.ttlHeader)) ??
    clouds.find(({ rules }) => path === rules.tokenPath) ??
    clouds.find(({ tree }) => tree.get(path) !== undefined) ??
    clouds[0]!
  );
}

const BAD_TTL: Answer = { status: 400, body: 'Missing or Invalid Parameters\n' };
const FORBIDDEN: Answer = { status: 403, body: 'Forbidden\n' };
const UNAUTHORIZED: Answer = { status: 401, body: 'Unauthorized\n' };
const NOT_FOUND: Answer = { status: 404, body: 'Not Found\n' };

/**
 * The documented rules: method and X-Forwarded-For come before the TTL on the token path; elsewhere a token that was
 * sent is verified in either mode, and one that was not sent (or is empty) is missed only in hardened mode.
 */
function answerTo(request: ReadRequest, { rules, tree, tokens }: Cloud, mode: ServiceMode, now: number): Answer {
  const header = (name: string) => headerOf(request, name.toLowerCase());
  const path = servicePath(request.target);
  if (path === rules.tokenPath) {
    if (request.method !== 'PUT') return { status: 405, body: 'Method Not Allowed\n', allow: 'PUT' };
    if (header('X-Forwarded-For') !== undefined) return FORBIDDEN;
    const ttl = header(rules.ttlHeader) ?? '';
    const seconds = /^\d{1,10}$/.test(ttl) ? Number(ttl) : 0;
    if (seconds < rules.ttl[0] || seconds > rules.ttl[1]) return BAD_TTL;
    return { status: 200, body: tokens.issue(seconds, now) };
  }
  const token = header(rules.tokenHeader) ?? '';
  if (token === '' && mode === 'hardened') return rules.refusal === 401 ? UNAUTHORIZED : FORBIDDEN;
  if (token !== '' && !tokens.isValid(token, now)) return UNAUTHORIZED;
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    return { status: 405, body: 'Method Not Allowed\n', allow: 'GET, HEAD' };
  }
  const body = tree.get(path);
  return body === undefined ? NOT_FOUND : { status: 200, body };
}
