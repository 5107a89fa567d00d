import { describe, expect, it } from 'vitest';
import { createEventContext } from '../../src/output/context.js';
import { formatEcs } from '../../src/output/ecs.js';
import { LearnedSecrets } from '../../src/output/learned.js';
import { redactEvent } from '../../src/output/redact.js';
import { formatText } from '../../src/output/text.js';
import type { TracerEvent } from '../../src/output/types.js';
import { eventOf, requestEvent, requestHead, stats } from './events.js';

const context = createEventContext({ hostName: 'web-1', hostId: 'abc', version: '0.1.0' });
// biome-ignore lint/suspicious/noExplicitAny: what a reader of the JSON has
const ecs = (event: TracerEvent): any =>
  JSON.parse(JSON.stringify(formatEcs(redactEvent(event, new LearnedSecrets()), context)));

describe('a request as an ECS event', () => {
  it('has every documented field', () => {
    const base = requestEvent();
    const process = {
      ...base.attribution.process!,
      container: { id: 'c'.repeat(64), runtime: 'containerd' },
      podUid: 'pod-1',
    };
    const event = requestEvent({
      request: requestHead({
        target: 'http://100.100.100.200/latest/meta-data/ram/security-credentials/role?x=1',
        headers: [
          { name: 'host', value: '100.100.100.200:80' },
          { name: 'USER-AGENT', value: 'curl/7.88.1' },
        ],
      }),
      response: { time: base.time + 1.25, status: 200, version: '1.1', headers: [], accessKeyId: 'STS.abc' },
      judgement: { ...base.judgement, severity: 'critical', reasons: ['credential_path'], ttlSeconds: 60 },
      attribution: { how: 'connect', detail: 'arguments_truncated', process },
    });
    const text = formatText(redactEvent(event, new LearnedSecrets()));
    expect(ecs(event)).toEqual({
      '@timestamp': '2026-11-21T03:03:58.120Z',
      log: { level: 'WARNING' },
      message: text.message,
      ecs: { version: '9.3.0' },
      event: {
        kind: 'event',
        category: ['network', 'web'],
        type: ['access'],
        action: 'imds-request',
        outcome: 'success',
        dataset: 'imds.trace',
        id: expect.any(String),
      },
      agent: { type: 'imds-tracer', version: '0.1.0' },
      cloud: { provider: 'alibaba' },
      host: { name: 'web-1', id: 'abc' },
      source: { ip: '172.16.0.10', port: 41234 },
      destination: { ip: '100.100.100.200', port: 80 },
      network: { transport: 'tcp', protocol: 'http', type: 'ipv4', direction: 'egress' },
      http: { version: '1.1', request: { method: 'GET', bytes: 97 }, response: { status_code: 200 } },
      url: {
        original: 'http://100.100.100.200/latest/meta-data/ram/security-credentials/role?x=1',
        path: '/latest/meta-data/ram/security-credentials/role',
        query: 'x=1',
        domain: '100.100.100.200',
      },
      user_agent: { original: 'curl/7.88.1' },
      process: {
        pid: 1016,
        name: 'curl',
        executable: '/usr/bin/curl',
        args: ['curl', 'http://100.100.100.200/latest/meta-data/'],
        args_count: 2,
        command_line: 'curl http://100.100.100.200/latest/meta-data/',
        start: '2026-11-21T03:03:58.100Z',
        entity_id: 'host-1016-1',
        user: { id: '0', name: 'root' },
        parent: {
          pid: 1015,
          name: 'makeCalls.sh',
          executable: '/usr/bin/bash',
          args: ['/bin/bash', './makeCalls.sh'],
          command_line: '/bin/bash ./makeCalls.sh',
        },
      },
      container: { id: 'c'.repeat(64), runtime: 'containerd' },
      orchestrator: { resource: { id: 'pod-1', type: 'pod' } },
      service: { name: 'ssh.service' },
      threat: {
        framework: 'MITRE ATT&CK',
        tactic: { id: ['TA0006'], name: ['Credential Access'] },
        technique: { id: ['T1552.005'], name: [expect.any(String)], reference: [expect.any(String)] },
      },
      imds: {
        provider: 'alibaba',
        mode: 'normal',
        verdict: 'normal_mode',
        severity: 'critical',
        reasons: ['credential_path'],
        token_present: false,
        ttl_seconds: 60,
        attribution: 'connect',
        attribution_detail: 'arguments_truncated',
        ancestors: [
          { pid: 1015, name: 'makeCalls.sh', args: ['/bin/bash', './makeCalls.sh'] },
          { pid: 978, name: 'zsh', args: ['-zsh'] },
        ],
        netns: 4026531840,
        socket_cookie: '20491',
        latency_ms: 1.25,
        credential: { access_key_id: 'STS.abc' },
      },
    });
  });

  it('leaves out what is not known, and never says null', () => {
    const {
      request: _,
      response: __,
      ...event
    } = requestEvent({
      cookie: 0n,
      unparsed: { time: 0, reason: 'gap', bytes: 3 },
      attribution: { how: 'none', detail: 'exited' },
    });
    const found = ecs(event);
    expect(JSON.stringify(found)).not.toContain('null');
    for (const name of ['http', 'url', 'user_agent', 'process', 'container', 'orchestrator', 'service', 'threat'])
      expect(found).not.toHaveProperty(name);
    expect(found.imds).not.toHaveProperty('socket_cookie');
    expect(found.network).toEqual({ transport: 'tcp', type: 'ipv4', direction: 'egress' });
    expect(found.event.outcome).toBe('unknown');
    expect(found.imds).toMatchObject({
      attribution: 'none',
      attribution_detail: 'exited',
      unparsed: { reason: 'gap', bytes: 3 },
    });
  });

  it.each([
    [200, 'success', ['access']],
    [404, 'failure', ['access']],
    [401, 'failure', ['access', 'denied']],
    [403, 'failure', ['access', 'denied']],
  ])('status %d is %s', (status, outcome, type) => {
    expect(ecs(requestEvent({ response: { time: 0, status, version: '1.1', headers: [] } })).event).toMatchObject({
      outcome,
      type,
    });
  });

  it.each([
    ['100.100.100.200', '100.100.100.200'],
    ['Metadata.example:8080', 'Metadata.example'],
    ['[fd00:ec2::254]:80', '[fd00:ec2::254]'],
    ['[broken', '[broken'],
    [':80', ':80'],
  ])('url.domain of %s is %s', (value, domain) => {
    expect(ecs(requestEvent({ request: requestHead({ headers: [{ name: 'Host', value }] }) })).url.domain).toBe(domain);
  });

  it('keeps values exact, whatever is in them', () => {
    const hostile = 'a\n"b\x1b[2J\u2028\u202e | verdict:hardened WARNING';
    const found = ecs(eventOf([hostile, '', 'é']));
    expect(found.process.args).toEqual([hostile, '', 'é']);
    expect(found.message).not.toContain('\n');
  });
});

describe("the tracer's own events", () => {
  it.each([
    [{ kind: 'tracer-stats', time: 0, stats }, 'INFO', 'metric', 'info', { stats }],
    [{ kind: 'tracer-stopped', time: 0, stats }, 'INFO', 'event', 'end', { stats }],
    [{ kind: 'capture-loss', time: 0, lost: { ring: 2 } }, 'ERROR', 'pipeline_error', 'info', { lost: { ring: 2 } }],
    [
      {
        kind: 'tracer-started',
        time: 0,
        version: '1',
        source: 'ebpf',
        sourceDetail: 'at the cgroup hooks',
        providers: ['aws'],
        endpoints: [{ address: '169.254.169.254', port: 80 }],
      },
      'INFO',
      'event',
      'start',
      {
        source: 'ebpf',
        source_detail: 'at the cgroup hooks',
        providers: ['aws'],
        endpoints: [{ ip: '169.254.169.254', port: 80 }],
      },
    ],
  ] as [TracerEvent, string, string, string, object][])('%#', (event, level, kind, type, imds) => {
    const found = ecs(event);
    expect(found.log.level).toBe(level);
    expect(found.event).toMatchObject({ kind, type: [type], action: event.kind, dataset: 'imds.trace' });
    expect(found.imds).toEqual(imds);
    expect(found['@timestamp']).toBe('1970-01-01T00:00:00.000Z');
  });
});
