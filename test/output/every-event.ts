import { Judge } from '../../src/imds/judge.js';
import { endpointsFor } from '../../src/imds/providers.js';
import type { Endpoint, ProviderName, Verdict } from '../../src/imds/types.js';
import { LearnedSecrets } from '../../src/output/learned.js';
import { redactEvent, type ShownEvent } from '../../src/output/redact.js';
import type { RequestEvent, TracerEvent } from '../../src/output/types.js';
import type { RequestHead } from '../../src/wire/types.js';
import { requestEvent, stats } from './events.js';

interface Case {
  provider?: ProviderName;
  method?: string;
  target?: string;
  headers?: Readonly<Record<string, string>>;
  /** None: no answer was seen. */
  status?: number;
}

const TOKEN = { 'X-aliyun-ecs-metadata-token': 'c2VjcmV0LXRva2Vu' };
const TTL = 'X-aliyun-ecs-metadata-token-ttl-seconds';

/** Requests that come to each verdict, by the rules themselves. */
const REQUESTS: Readonly<Record<Exclude<Verdict, 'unparsed'>, readonly Case[]>> = {
  normal_mode: [
    { status: 200 },
    { status: 403, headers: { 'X-Forwarded-For': '10.0.0.1' } },
    { target: '/latest/meta-data/ram/security-credentials/role?a=1', status: 200 },
    { target: '/latest/user-data', status: 404 },
    { target: '/latest/dynamic/instance-identity/document' },
    { method: 'BREW', target: '*', status: 400 },
    { target: 'http://metadata.example/latest/meta-data/', headers: { Host: '' }, status: 200 },
  ],
  hardened: [
    { headers: TOKEN, status: 200 },
    { headers: TOKEN, status: 403 },
    { headers: TOKEN },
    { provider: 'aws', headers: { 'X-aws-ec2-metadata-token': 'abc' }, status: 200 },
  ],
  token_issue: [
    { method: 'PUT', target: '/latest/api/token', headers: { [TTL]: '300' }, status: 200 },
    { method: 'PUT', target: '/latest/api/token', headers: { [TTL]: '300' } },
  ],
  token_refused: [
    { method: 'PUT', target: '/latest/api/token', headers: { [TTL]: '0' }, status: 400 },
    { method: 'GET', target: '/latest/api/token', headers: { [TTL]: '60' }, status: 405 },
    { method: 'PUT', target: '/latest/api/token', headers: { [TTL]: '0' } },
  ],
  token_invalid: [{ headers: TOKEN, status: 401 }],
  foreign_probe: [{ provider: 'aws', target: '/computeMetadata/v1', headers: { 'Metadata-Flavor': 'Google' } }],
};

const endpointOf = (provider: ProviderName): Endpoint => endpointsFor([provider])[0]!;

function judged({ provider = 'alibaba', method = 'GET', target = '/latest/meta-data/', headers, status }: Case) {
  const base = requestEvent();
  const endpoint = endpointOf(provider);
  const request: RequestHead = {
    ...base.request!,
    method,
    target,
    headers: Object.entries({ Host: endpoint.address, 'User-Agent': 'curl/7.88.1', ...headers }).map(
      ([name, value]) => ({ name, value }),
    ),
  };
  const judge = new Judge();
  const response = status === undefined ? undefined : { ...base.response!, status };
  const judgement = judge.finish(judge.begin(request, endpoint), response);
  const { response: _, ...rest } = base;
  const event: RequestEvent = { ...rest, endpoint, request, judgement };
  if (response !== undefined) event.response = response;
  return event;
}

function unparsed(): RequestEvent {
  const { request: _, response: __, ...base } = requestEvent();
  const what = { time: base.time, reason: 'gap', bytes: 107 } as const;
  return { ...base, unparsed: what, judgement: new Judge().unparsed(endpointOf('alibaba'), what) };
}

const process = requestEvent().attribution.process!;

/** Processes that are known in full, in part and not at all; another address family. */
const VARIANTS: readonly Partial<RequestEvent>[] = [
  {
    attribution: {
      how: 'procfs',
      detail: 'arguments_truncated',
      process: {
        ...process,
        argsTruncated: true,
        container: { id: 'c'.repeat(64), runtime: 'containerd' },
        podUid: '5f0f9f3c-8d7a-4a55-9a0e-6f1d2c3b4a59',
      },
    },
    response: { ...requestEvent().response!, accessKeyId: 'STS.Example0' },
  },
  {
    attribution: {
      how: 'connect',
      process: {
        pid: 7,
        name: 'x',
        entityId: 'e',
        ancestors: [],
        container: { id: 'd', runtime: 'unknown' },
        podUid: 'a1b2',
      },
    },
  },
  { attribution: { how: 'none', detail: 'exited' }, cookie: 0n },
  { family: 6, client: { address: 'fd00::1', port: 1 }, endpoint: { address: 'fd00:ec2::254', port: 80 } },
];

/** What a request, a file or a process may hold to break a format. */
export const HOSTILE = [
  'a\nb\r\nc',
  '\x1b[2J\x07\x00\x7f\x9b',
  '| CEF:0|x|y|z|1|n|10|',
  '\\ \\\\ \\= \\| = a=b msg=forged src=1.2.3.4',
  '"},{"a":"',
  '\u2028\u202e\ufeff\ud800 é 漢字 🙂',
  '',
  ' ',
  'x'.repeat(20_000),
] as const;

function hostile(text: string): RequestEvent {
  const base = requestEvent();
  // The wire layer gives bytes as latin1.
  const wire = Buffer.from(text, 'utf8').toString('latin1');
  return {
    ...base,
    request: {
      ...base.request!,
      method: wire,
      target: `/${wire}?${wire}`,
      headers: [
        { name: 'Host', value: wire },
        { name: 'User-Agent', value: wire },
      ],
    },
    attribution: {
      how: 'connect',
      detail: text,
      process: {
        pid: 1,
        name: text,
        args: [text, text],
        executable: text,
        entityId: text,
        user: { id: 4_294_967_295, name: text },
        unit: text,
        container: { id: text, runtime: text },
        podUid: text,
        ancestors: Array.from({ length: 20 }, () => ({ pid: 2, name: text, args: [text], executable: text })),
      },
    },
  };
}

const OWN: { [Kind in Exclude<TracerEvent['kind'], 'request'>]: TracerEvent & { kind: Kind } } = {
  'tracer-started': {
    kind: 'tracer-started',
    time: Date.parse('2026-11-21T03:03:00Z'),
    version: '0.1.0',
    source: 'ebpf',
    sourceDetail: 'eBPF at the cgroup hooks (CO-RE)',
    providers: ['alibaba', 'aws'],
    endpoints: endpointsFor(['alibaba', 'aws']),
  },
  'tracer-reloaded': {
    kind: 'tracer-reloaded',
    time: Date.parse('2026-11-21T03:03:30Z'),
    source: 'ebpf',
    providers: ['aws'],
    endpoints: endpointsFor(['aws']),
    changed: ['provider', 'log-max-size'],
    kept: ['ring-size'],
  },
  'tracer-stats': { kind: 'tracer-stats', time: Date.parse('2026-11-21T03:04:00Z'), stats },
  'capture-loss': { kind: 'capture-loss', time: Date.parse('2026-11-21T03:04:01Z'), lost: { ring: 2, log: 1 } },
  'tracer-stopped': { kind: 'tracer-stopped', time: Date.parse('2026-11-21T03:05:00Z'), stats },
};

const shown = (event: TracerEvent): ShownEvent => redactEvent(event, new LearnedSecrets());

/** Events of every kind and verdict, each with a name for the test. */
export const EVERY_EVENT: readonly (readonly [name: string, event: ShownEvent])[] = [
  ...Object.entries(REQUESTS).flatMap(([verdict, cases]) =>
    cases.map((about, i): [string, ShownEvent] => [`${verdict} ${i}`, shown(judged(about))]),
  ),
  ['unparsed', shown(unparsed())],
  ...VARIANTS.map((changes, i): [string, ShownEvent] => [`variant ${i}`, shown(requestEvent(changes))]),
  ...Object.entries(OWN).map(([kind, event]): [string, ShownEvent] => [kind, shown(event)]),
];

/** Requests in which every text from outside is one of HOSTILE; times that no clock shows. */
export const HOSTILE_EVENTS: readonly (readonly [name: string, event: ShownEvent])[] = [
  ...HOSTILE.map((text): [string, ShownEvent] => [JSON.stringify(text).slice(0, 40), shown(hostile(text))]),
  ...[Number.NaN, -1, 9e15].map((time): [string, ShownEvent] => [`time ${time}`, shown(requestEvent({ time }))]),
];
