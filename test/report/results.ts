import type { AuditResult, ClientResult } from '../../src/audit/types.js';

/** Text that would run, close its element or steer the page if it were taken for markup. */
export const HOSTILE = '</script><script>window.owned=1</script><img src=x onerror="window.owned=1">\x1b[31m\u202e"\'`';

export function client(fields: Partial<ClientResult>): ClientResult {
  return {
    id: 'c0ffee',
    executable: '/usr/bin/curl',
    command: 'curl',
    unit: 'backup.service',
    container_id: null,
    user: 'root',
    impact: 'breaks',
    severity: 'low',
    providers: ['alibaba'],
    reasons: [],
    counts: { requests: 1, verdicts: { normal_mode: 1 }, reasons: {}, statuses: { '200': 1 } },
    paths: [{ path: '/latest/meta-data/', requests: 1, normal_mode: 1, severity: 'low' }],
    paths_other: 0,
    first_seen: '2026-11-21T03:00:00.000Z',
    last_seen: '2026-11-21T15:00:00.000Z',
    processes: 1,
    hosts: 1,
    attribution: { connect: 1 },
    user_agents: [],
    callers: [],
    examples: [],
    sdks: [],
    root_causes: [],
    advice: [],
    ...fields,
  };
}

/** A day of a host with three kinds of clients, and whatever is to be different. */
export function result(fields: Partial<AuditResult> = {}): AuditResult {
  const hours = (at: (hour: number) => number): number[] => Array.from({ length: 24 }, (_, hour) => at(hour));
  return {
    schema_version: 1,
    host: 'web-7',
    started: '2026-11-21T00:00:00.000Z',
    ended: '2026-11-22T00:00:00.000Z',
    traced_seconds: 86_400,
    verdict: 'not_ready',
    verdict_reasons: ['2 clients would break: access without a token was seen'],
    coverage: { complete: true, reasons: [] },
    totals: {
      requests: 4_317,
      normal_mode: 1_442,
      hardened: 2_582,
      token_issue: 288,
      token_refused: 5,
      token_invalid: 0,
      foreign_probe: 0,
      unparsed: 0,
      blocked: 0,
      unattributed: 0,
      clients: 3,
      hosts: 1,
    },
    clients: [
      client({
        command: 'python3 /opt/report/upload.py',
        executable: '/usr/bin/python3.11',
        unit: 'report-upload.service',
        user: 'report',
        severity: 'critical',
        reasons: ['credential_path', 'fallback_after_token_refused'],
        counts: {
          requests: 293,
          verdicts: { normal_mode: 288, token_refused: 5 },
          reasons: { credential_path: 288 },
          statuses: { '200': 288, '403': 5 },
        },
        paths: [
          {
            path: '/latest/meta-data/ram/security-credentials/report-role',
            requests: 288,
            normal_mode: 288,
            severity: 'critical',
          },
        ],
        attribution: { connect: 293 },
        user_agents: ['AlibabaCloud (Linux; x86_64) Python/3.11.2 Credentials/0.3.5 TeaDSL/1'],
        callers: ['systemd'],
        examples: ['/usr/bin/python3 /opt/report/upload.py --bucket reports'],
        sdks: [
          {
            kind: 'pip',
            name: 'alibabacloud_credentials',
            version: '0.3.5',
            how: 'process',
            path: '/usr/lib/python3/dist-packages/alibabacloud_credentials-0.3.5.dist-info/METADATA',
            status: 'too_old',
            minimum: '0.3.6',
          },
        ],
        root_causes: [
          {
            code: 'falls_back',
            text: 'asks for a token, is refused or gets no answer, and then asks without one',
            requests: 288,
          },
        ],
        advice: [
          {
            id: 'raise-python',
            text: 'Raise alibabacloud_credentials to 0.3.6 or later, and stop its fallback.',
            commands: ['pip install --upgrade "alibabacloud_credentials>=0.3.6"', 'ALIBABA_CLOUD_IMDSV1_DISABLED=true'],
            source: 'https://www.alibabacloud.com/help/en/ecs/user-guide/view-instance-metadata',
          },
        ],
      }),
      client({
        command: 'curl',
        severity: 'low',
        counts: { requests: 1_154, verdicts: { normal_mode: 1_154 }, reasons: {}, statuses: { '200': 1_154 } },
        paths: [{ path: '/latest/meta-data/instance-id', requests: 1_154, normal_mode: 1_154, severity: 'low' }],
        examples: ['curl -s http://100.100.100.200/latest/meta-data/instance-id'],
        root_causes: [{ code: 'never_asks', text: 'never asks for a token', requests: 1_154 }],
        advice: [
          {
            id: 'curl',
            text: 'Ask for a token first, and send it along.',
            commands: [
              'TOKEN=$(curl -sf -X PUT -H "X-aliyun-ecs-metadata-token-ttl-seconds: 300" http://100.100.100.200/latest/api/token)\ncurl -s -H "X-aliyun-ecs-metadata-token: $TOKEN" http://100.100.100.200/latest/meta-data/instance-id',
            ],
          },
        ],
        last_seen: '2026-11-21T23:58:04.000Z',
      }),
      client({
        command: 'cloudmonitor-agent',
        executable: '/usr/local/cloudmonitor/bin/argusagent',
        unit: 'cloudmonitor.service',
        impact: 'none',
        severity: 'medium',
        counts: {
          requests: 2_870,
          verdicts: { hardened: 2_582, token_issue: 288 },
          reasons: {},
          statuses: { '200': 2_870 },
        },
        paths: [
          { path: '/latest/dynamic/instance-identity/document', requests: 2_582, normal_mode: 0, severity: 'medium' },
          { path: '/latest/api/token', requests: 288, normal_mode: 0, severity: 'low' },
        ],
      }),
    ],
    other: { requests: 0, normal_mode: 0 },
    timeline: {
      start: '2026-11-21T00:00:00.000Z',
      bucket_ms: 3_600_000,
      counts: {
        normal_mode: hours((hour) => 48 + (hour === 3 ? 290 : 0)),
        hardened: hours((hour) => 107 + ((hour * 7) % 5)),
        token_issue: hours(() => 12),
        token_refused: hours((hour) => (hour === 3 ? 5 : 0)),
      },
    },
    switches: [
      {
        provider: 'alibaba',
        text: 'Without a restart; new instances can be made so from the start.',
        commands: ['aliyun ecs ModifyInstanceMetadataOptions --RegionId REGION --InstanceId ID --HttpTokens required'],
        way_back: ['aliyun ecs ModifyInstanceMetadataOptions --RegionId REGION --InstanceId ID --HttpTokens optional'],
        source:
          'https://www.alibabacloud.com/help/en/ecs/developer-reference/api-ecs-2014-05-26-modifyinstancemetadataoptions',
      },
    ],
    inventory: [
      {
        kind: 'npm',
        name: '@alicloud/credentials',
        version: '2.3.1',
        path: '/srv/app/node_modules/@alicloud/credentials/package.json',
        minimum: '2.4.0',
        status: 'too_old',
        may_fall_back: true,
        advice: 'npm install @alicloud/credentials@^2.4.0',
        pids: [],
      },
    ],
    ...fields,
  };
}
