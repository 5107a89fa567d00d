import { describe, expect, it } from 'vitest';
import { auditResult } from '../../src/audit/audit-json.js';
import { Clients } from '../../src/audit/clients.js';
import { CoverageNotes } from '../../src/audit/coverage.js';
import type { RequestObservation } from '../../src/audit/observation.js';
import type { ClientResult, InventoryEntry } from '../../src/audit/types.js';
import { Judge } from '../../src/imds/judge.js';
import { endpointsFor } from '../../src/imds/providers.js';
import type { ProviderName } from '../../src/imds/types.js';
import type { RequestHead } from '../../src/wire/types.js';
import { HOST, observation, process, sequence } from './support.js';

function resultOf(requests: readonly RequestObservation[], inventory: readonly InventoryEntry[] = []) {
  const clients = new Clients();
  for (const request of requests) clients.add(request);
  return auditResult({
    clients,
    coverage: new CoverageNotes(),
    host: HOST,
    started: 0,
    ended: 1,
    tracedMs: 1,
    allowSilent: false,
    providers: ['alibaba'],
    inventory,
  });
}

const only = (requests: readonly RequestObservation[], inventory: readonly InventoryEntry[] = []): ClientResult => {
  const { clients } = resultOf(requests, inventory);
  expect(clients).toHaveLength(1);
  return clients[0]!;
};

const codes = ({ root_causes }: ClientResult) => root_causes.map(({ code }) => code);
const ids = ({ advice }: ClientResult) => advice.map(({ id }) => id);

/** What the judge makes of heads of one process: each with the status of its answer. */
function judged(
  provider: ProviderName,
  ...heads: [method: string, target: string, headers: Record<string, string>, status: number][]
): RequestObservation[] {
  const judge = new Judge();
  const [endpoint] = endpointsFor([provider]);
  return heads.map(([method, target, headers, status], i) => {
    const time = 1_000_000 + i * 100;
    const head = {
      time,
      method,
      target,
      version: '1.1',
      headers: Object.entries({ Host: endpoint!.address, ...headers }).map(([name, value]) => ({ name, value })),
      headBytes: 100,
    } as unknown as RequestHead;
    const response = { time: time + 1, status, version: '1.1', headers: [] };
    const { verdict, severity, reasons, ttlSeconds } = judge.finish(
      judge.begin(head, endpoint!, 'p'),
      response as never,
      'p',
    );
    return observation({
      time,
      method,
      path: target,
      status,
      provider,
      verdict,
      severity,
      reasons,
      ...(ttlSeconds !== undefined && { ttlSeconds }),
    });
  });
}

const TTL = 'X-aliyun-ecs-metadata-token-ttl-seconds';
const TOKEN = 'X-aliyun-ecs-metadata-token';
const PATH = '/latest/api/token';
const META = '/latest/meta-data/';

describe('the root cause', () => {
  it.each<[string, Parameters<typeof judged>, string[], RegExp]>([
    ['never asks', ['alibaba', ['GET', META, {}, 200]], ['never_asks'], /never asks for a token/],
    [
      'TTL out of range',
      ['alibaba', ['PUT', PATH, { [TTL]: '0' }, 400], ['GET', META, {}, 200]],
      ['falls_back', 'token_ttl_out_of_range'],
      /\(0 s\)/,
    ],
    [
      'TTL that is no number',
      ['alibaba', ['PUT', PATH, { [TTL]: 'x' }, 400]],
      ['token_ttl_out_of_range'],
      /\(no number\)/,
    ],
    ['no TTL', ['alibaba', ['PUT', PATH, {}, 400]], ['token_ttl_missing'], /TTL header is missing/],
    ['wrong method', ['alibaba', ['GET', PATH, { [TTL]: '60' }, 405]], ['token_wrong_method'], /\(GET\)/],
    [
      'a proxy',
      ['alibaba', ['PUT', PATH, { [TTL]: '60', 'X-Forwarded-For': '10.0.0.1' }, 403]],
      ['token_forwarded'],
      /X-Forwarded-For/,
    ],
    [
      'a proxy that says Via',
      ['alibaba', ['PUT', PATH, { [TTL]: '60', Via: '1.1 x' }, 403]],
      ['token_forwarded_refused'],
      /status 403.*Via/,
    ],
    ['refused', ['alibaba', ['PUT', PATH, { [TTL]: '60' }, 503]], ['token_refused'], /\(status 503\)/],
    [
      'drops its token',
      ['alibaba', ['PUT', PATH, { [TTL]: '60' }, 200], ['GET', META, {}, 200]],
      ['drops_token'],
      /given a token and then asks without/,
    ],
    [
      'an empty token',
      ['alibaba', ['GET', META, { [TOKEN]: '' }, 200]],
      ['never_asks', 'empty_token'],
      /without a value/,
    ],
    [
      "another provider's token",
      ['alibaba', ['GET', META, { 'X-aws-ec2-metadata-token': 'x' }, 200]],
      ['never_asks', 'other_provider_token'],
      /another provider's token header/,
    ],
    [
      "another provider's TTL",
      ['alibaba', ['PUT', PATH, { 'X-aws-ec2-metadata-token-ttl-seconds': '60' }, 400]],
      ['token_other_provider_ttl'],
      /another provider's TTL header/,
    ],
    [
      'an old token',
      ['alibaba', ['GET', META, { [TOKEN]: 'old' }, 401], ['GET', META, { [TOKEN]: 'old' }, 401]],
      ['keeps_old_token', 'old_token'],
      /goes on with a token/,
    ],
    [
      'sent on',
      ['alibaba', ['GET', META, { 'X-Forwarded-For': '10.0.0.1' }, 200]],
      ['never_asks', 'sent_on'],
      /for somebody else/,
    ],
  ])('is found: %s', (_, args, expected, text) => {
    const client = only(judged(...args));
    expect(codes(client)).toEqual(expected);
    expect(client.root_causes.map(({ text }) => text).join('\n')).toMatch(text);
    expect(ids(client).length).toBeGreaterThan(0);
  });

  it('is none where tokens are used', () => {
    const client = only(judged('alibaba', ['PUT', PATH, { [TTL]: '60' }, 200], ['GET', META, { [TOKEN]: 'x' }, 200]));
    expect(client).toMatchObject({ impact: 'none', root_causes: [], advice: [] });
  });

  it('says that only some requests go without', () => {
    expect(codes(only(sequence('token_issue', 'hardened', 'normal_mode')))).toEqual(['sometimes_without']);
  });

  it('finds a local proxy by requests within requests', () => {
    const caller = process({ entityId: 'caller', pid: 10, executable: '/opt/app', args: ['/opt/app'] });
    const proxy = process({ entityId: 'proxy', pid: 11, executable: '/opt/node-agent', args: ['/opt/node-agent'] });
    const requests = Array.from({ length: 4 }, (_, i) => {
      const time = 1000 + i * 500;
      const path = `/latest/meta-data/${i}`;
      return [
        observation({ time: time + 2, latencyMs: 3, path, process: proxy }),
        observation({ time, latencyMs: 10, path, process: caller }),
      ];
    }).flat();
    const { clients } = resultOf(requests);
    const [agent, app] = ['/opt/node-agent', '/opt/app'].map(
      (path) => clients.find(({ executable }) => executable === path)!,
    );
    expect(codes(agent!)).toContain('asks_for_others');
    expect(codes(app!)).toContain('asks_through_proxy');
    expect(agent!.root_causes.at(-1)!.text).toContain('(app)');
    expect(agent!.advice.find(({ id }) => id === 'proxy')!.text).toContain('app');
  });

  it('takes no proxy for clients that ask side by side', () => {
    const requests = Array.from({ length: 8 }, (_, i) =>
      observation({
        time: 1000 + i,
        latencyMs: 10,
        process: process({ entityId: `p${i}`, executable: i % 2 === 0 ? '/opt/a' : '/opt/b' }),
      }),
    );
    for (const client of resultOf(requests).clients) expect(codes(client)).toEqual(['never_asks']);
  });
});

describe('the advice', () => {
  const item = (changes: Partial<InventoryEntry>): InventoryEntry => ({
    kind: 'npm',
    name: '@alicloud/credentials',
    version: '2.3.1',
    path: '/srv/app/node_modules/@alicloud/credentials/package.json',
    minimum: '2.4.0',
    status: 'too_old',
    may_fall_back: true,
    advice: '',
    pids: [],
    ...changes,
  });
  const node = process({ executable: '/usr/bin/node', args: ['node', '/srv/app/main.js'], pid: 77 });
  const { userAgent: _, ...silent } = observation({ process: node });

  it("for Alibaba Cloud's Node SDK is 2.4.0: the 2.3.1 that the vendor names uses no tokens", () => {
    const client = only([silent], [item({ pids: [77] })]);
    expect(client.sdks).toMatchObject([
      { name: '@alicloud/credentials', version: '2.3.1', how: 'inventory', status: 'too_old', minimum: '2.4.0' },
    ]);
    const [upgrade] = client.advice;
    expect(upgrade).toMatchObject({ id: 'upgrade', commands: ["npm install '@alicloud/credentials@^2.4.0'"] });
    expect(upgrade!.text).toContain('from 2.3.1 to 2.4.0');
    expect(client.advice.find(({ id }) => id === 'stop-fallback')!.commands).toEqual([
      'systemctl edit sync.service',
      '[Service]',
      'Environment=ALIBABA_CLOUD_IMDSV1_DISABLED=true',
      'systemctl restart sync.service',
    ]);
  });

  it('for an SDK that falls back is to forbid that, where its processes run', () => {
    const userAgent = 'AlibabaCloud (linux; amd64) Golang/1.21.0 Credentials/1.3.10 TeaDSL/1';
    const go = { executable: '/opt/app', args: ['/opt/app'], container: { id: 'c', runtime: 'docker' } };
    const client = only(
      sequence(
        { verdict: 'token_refused', reasons: ['refused_by_service'], status: 503, userAgent, process: process(go) },
        { reasons: ['fallback_after_token_refused'], userAgent, process: process(go) },
      ),
    );
    expect(client.sdks).toMatchObject([
      { kind: 'go', name: 'github.com/aliyun/credentials-go', version: '1.3.10', status: 'ok', how: 'user_agent' },
    ]);
    const stop = client.advice.find(({ id }) => id === 'stop-fallback')!;
    expect(stop.text).toContain('SetDisableIMDSv1(true)');
    expect(stop.commands.join()).toContain('docker run --env ALIBABA_CLOUD_IMDSV1_DISABLED=true');
    expect(ids(client)).not.toContain('upgrade');
  });

  it.each([
    [
      'AlibabaCloud (Linux; x86_64) Python/3.9.2 Credentials/0.3.2 TeaDSL/1',
      "pip install --upgrade 'alibabacloud-credentials>=0.3.6'",
    ],
    ['AlibabaCloud (Linux; amd64) Java/1.8 Credentials/0.3.4 TeaDSL/1', 'com.aliyun:credentials-java:0.3.10'],
    ['Boto3/1.9.0 Python/3.6.0 Linux/4.15 Botocore/1.12.0', "pip install --upgrade 'botocore>=1.13.25'"],
    ['AlibabaCloud (linux; x64) Node.js/v20.19.0 Core/2.3.1', "npm install '@alicloud/credentials@^2.4.0'"],
    ['aws-sdk-go/1.20.0 (go1.12; linux; amd64)', 'go get github.com/aws/aws-sdk-go@v1.25.38'],
  ])('for %s is to raise it', (userAgent, command) => {
    const client = only([observation({ userAgent, process: process({ executable: '/opt/x', args: ['/opt/x'] }) })]);
    expect(client.advice[0]).toMatchObject({ id: 'upgrade' });
    expect(client.advice[0]!.commands[0]).toBe(command);
  });

  it('for a curl line is the same line with a token', () => {
    const [first] = only([observation()]).advice;
    expect(first).toMatchObject({ id: 'rewrite-line' });
    expect(first!.commands.join('\n')).toContain(
      'X-aliyun-ecs-metadata-token: $TOKEN" http://100.100.100.200/latest/meta-data/',
    );
  });

  it('names the script that the inventory found and that runs the client', () => {
    const script = item({ kind: 'script', name: 'sync.sh', path: '/opt/sync.sh', version: null, minimum: null });
    const client = only([observation()], [script, { ...script, path: '/opt/other.sh' }]);
    expect(client.advice[0]).toMatchObject({ id: 'change-script', text: expect.stringContaining('/opt/sync.sh') });
    expect(client.sdks.filter(({ kind }) => kind === 'script')).toHaveLength(1);
  });
});
