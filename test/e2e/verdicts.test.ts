import { afterAll, beforeAll, expect, test } from 'vitest';
import { describeOnKernel } from './support/kernel.js';
import { type Expectation, expectExactlyTheJournal } from './support/match.js';
import { requestText, sendRaw } from './support/raw.js';
import { clientScript, observe, openScene, pythonPath, type Scene } from './support/scene.js';
import { statsOf, type Tracer } from './support/tracer.js';

const ALIBABA = '100.100.100.200';
const SHARED = '169.254.169.254';
const ID = '/latest/meta-data/instance-id';
const TOKEN = '/latest/api/token';
const ROLES = '/latest/meta-data/ram/security-credentials/';

/** What is sent, and the event that it must become. `#` in a header stands for a granted token. */
interface Case {
  does: string;
  request: readonly [target: string, headers?: readonly string[], method?: string];
  wanted: Expectation;
}

const normal = (more: Partial<Expectation> = {}): Expectation => ({
  verdict: 'normal_mode',
  level: 'WARNING',
  severity: 'low',
  reasons: [],
  status: 200,
  ...more,
});
const refused = (status: number, ...reasons: string[]): Expectation => ({
  verdict: 'token_refused',
  level: 'NOTICE',
  severity: 'low',
  reasons,
  status,
});
const TTL = 'X-aliyun-ecs-metadata-token-ttl-seconds';

const NORMAL_MODE_CASES: readonly Case[] = [
  { does: 'a plain path', request: [ID], wanted: normal() },
  { does: 'role names', request: [ROLES], wanted: normal({ severity: 'high' }) },
  {
    does: 'role credentials',
    request: [`${ROLES}lab-role`],
    wanted: normal({ severity: 'critical', reasons: ['credential_path'] }),
  },
  {
    does: 'role credentials as a real client writes them',
    request: ['//latest/meta-data/Ram/security-credentials/lab-role?'],
    wanted: normal({ severity: 'critical', reasons: ['credential_path'] }),
  },
  {
    does: 'a dated version',
    request: ['/2016-01-01/meta-data/ram/security-credentials/lab-role'],
    wanted: normal({ severity: 'critical', reasons: ['credential_path'] }),
  },
  {
    does: 'an absolute URL, as through a proxy',
    request: [`http://${ALIBABA}/latest/user-data`],
    wanted: normal({ severity: 'high' }),
  },
  { does: 'user-data', request: ['/latest/user-data'], wanted: normal({ severity: 'high' }) },
  {
    does: 'the identity document',
    request: ['/latest/dynamic/instance-identity/document'],
    wanted: normal({ severity: 'medium' }),
  },
  { does: 'what is not there', request: ['/latest/meta-data/nothing'], wanted: normal({ status: 404 }) },
  {
    does: 'for somebody else',
    request: [ID, ['X-Forwarded-For: 198.18.0.9']],
    wanted: normal({ reasons: ['forwarded_header'] }),
  },
  {
    does: 'through a proxy that says so',
    request: [ID, ['Via: 1.1 squid']],
    wanted: normal({ reasons: ['forwarded_header'] }),
  },
  {
    does: 'an empty token',
    request: [ID, ['X-aliyun-ecs-metadata-token: ']],
    wanted: normal({ reasons: ['empty_token'] }),
  },
  {
    does: "another provider's token",
    request: [ID, ['X-aws-ec2-metadata-token: #']],
    wanted: normal({ reasons: ['wrong_provider_token'] }),
  },
  {
    does: 'with a token',
    request: [ID, ['X-aliyun-ecs-metadata-token: #']],
    wanted: { verdict: 'hardened', level: 'INFO', severity: 'low', reasons: [], status: 200 },
  },
  {
    does: 'role credentials with a token',
    request: [`${ROLES}lab-role`, ['X-aliyun-ecs-metadata-token: #']],
    wanted: { verdict: 'hardened', level: 'INFO', severity: 'critical', reasons: ['credential_path'], status: 200 },
  },
  {
    does: 'with a token that is none',
    request: [ID, ['X-aliyun-ecs-metadata-token: never-issued']],
    wanted: {
      verdict: 'token_invalid',
      level: 'NOTICE',
      severity: 'low',
      reasons: ['token_expired_or_invalid'],
      status: 401,
    },
  },
  {
    does: 'a token request with TTL 0',
    request: [TOKEN, [`${TTL}: 0`], 'PUT'],
    wanted: refused(400, 'ttl_out_of_range'),
  },
  {
    does: 'a token request with too long a TTL',
    request: [TOKEN, [`${TTL}: 21601`], 'PUT'],
    wanted: refused(400, 'ttl_out_of_range'),
  },
  { does: 'a token request without TTL', request: [TOKEN, [], 'PUT'], wanted: refused(400, 'ttl_missing') },
  {
    does: "a token request with another provider's TTL",
    request: [TOKEN, ['X-aws-ec2-metadata-token-ttl-seconds: 60'], 'PUT'],
    wanted: refused(400, 'ttl_missing', 'wrong_provider_token'),
  },
  {
    does: 'a token request for somebody else',
    request: [TOKEN, [`${TTL}: 60`, 'X-Forwarded-For: 198.18.0.9'], 'PUT'],
    wanted: refused(403, 'forwarded_header'),
  },
  { does: 'GET of the token path', request: [TOKEN, [`${TTL}: 60`]], wanted: refused(405, 'wrong_method') },
];

const HARDENED_CASES: readonly Case[] = [
  { does: 'without a token', request: [ID], wanted: normal({ reasons: ['blocked'], status: 403 }) },
  {
    does: 'role credentials without a token',
    request: [`${ROLES}lab-role`],
    wanted: normal({ severity: 'critical', reasons: ['blocked', 'credential_path'], status: 403 }),
  },
  {
    does: 'an empty token',
    request: [ID, ['X-aliyun-ecs-metadata-token:']],
    wanted: normal({ reasons: ['blocked', 'empty_token'], status: 403 }),
  },
  {
    does: 'with a token',
    request: [ID, ['X-aliyun-ecs-metadata-token: #']],
    wanted: { verdict: 'hardened', level: 'INFO', severity: 'low', reasons: [], status: 200 },
  },
  {
    does: 'with a token that is none',
    request: [ID, ['X-aliyun-ecs-metadata-token: never-issued']],
    wanted: {
      verdict: 'token_invalid',
      level: 'NOTICE',
      severity: 'low',
      reasons: ['token_expired_or_invalid'],
      status: 401,
    },
  },
];

/** Asks for a token with curl and gives it. */
async function grant(scene: Scene, tracer: Tracer, origin: string, ttlHeader: string): Promise<string> {
  const put = ['curl', '-s', '-f', '-X', 'PUT', '-H', `${ttlHeader}: 600`, `${origin}${TOKEN}`];
  return (await observe(scene, tracer, 1, () => scene.runOk(put))).result.stdout;
}

for (const [mode, cases] of [
  ['normal', NORMAL_MODE_CASES],
  ['hardened', HARDENED_CASES],
] as const) {
  describeOnKernel(`verdicts, with the service in ${mode} mode`, () => {
    let scene: Scene;
    let tracer: Tracer;
    let python: string;
    let token: string;

    beforeAll(async () => {
      scene = await openScene({ mode });
      tracer = await scene.startTracer();
      python = await pythonPath();
      token = await grant(scene, tracer, `http://${ALIBABA}`, TTL);
    });
    afterAll(() => scene?.close());

    test.each(cases)('$does: $wanted.verdict', async ({ request: [target, headers = [], method], wanted }) => {
      const text = requestText(
        target,
        headers.map((header) => header.replace('#', token)),
        method,
      );
      const { result, journal, events } = await observe(scene, tracer, 1, () =>
        sendRaw(scene, python, {
          address: ALIBABA,
          connections: [
            [
              ['send', text],
              ['answers', 1],
            ],
          ],
        }),
      );
      expect(journal).toMatchObject([{ status: wanted.status }]);
      expectExactlyTheJournal(events, journal, () => ({ ...wanted, pid: result.pid }));
    });

    test('the counters are those of the events', async () => {
      expect(await tracer.stop()).toMatchObject({ status: 0 });
      const counts: Record<string, number> = {};
      // All, not only this scene's: the counters are the tracer's.
      for (const { event, imds } of tracer.events()) {
        if (event.action === 'imds-request') counts[imds!.verdict!] = (counts[imds!.verdict!] ?? 0) + 1;
      }
      const { by_verdict, requests } = statsOf(tracer);
      expect(Object.fromEntries(Object.entries(by_verdict).filter(([, count]) => count > 0))).toEqual(counts);
      expect(requests).toBe(Object.values(counts).reduce((sum, count) => sum + count, 0));
    });
  });
}

describeOnKernel('fallback', () => {
  let scene: Scene;
  let tracer: Tracer;
  let python: string;

  beforeAll(async () => {
    scene = await openScene();
    tracer = await scene.startTracer();
    python = await pythonPath();
  });
  afterAll(() => scene?.close());

  test.each([
    ['refused', '0', 'fallback_after_token_refused'],
    ['granted', '60', 'fallback_after_token_issue'],
  ])('of a process that was %s a token, and of no other', async (_, ttl, reason) => {
    const { journal, events } = await observe(scene, tracer, 3, async () => {
      const asking = requestText(TOKEN, [`${TTL}: ${ttl}`], 'PUT');
      const connections = [asking, requestText(ID)].map((text) => [['send', text] as const, ['answers', 1] as const]);
      await sendRaw(scene, python, {
        address: ALIBABA,
        connections: connections.map((actions) => actions.map(([...a]) => a)),
      });
      await scene.runOk(['curl', '-s', `http://${ALIBABA}${ID}`]);
    });
    expect(journal).toHaveLength(3);
    expect(events.slice(1).map(({ imds }) => [imds!.verdict, imds!.reasons])).toEqual([
      ['normal_mode', [reason]],
      ['normal_mode', []],
    ]);
  });

  test('to role credentials, after a refusal for X-Forwarded-For', async () => {
    const { events } = await observe(scene, tracer, 2, () =>
      scene.runOk([
        'curl',
        '-s',
        '-o',
        '/dev/null',
        '-X',
        'PUT',
        '-H',
        `${TTL}: 60`,
        '-H',
        'X-Forwarded-For: 198.18.0.9',
        `http://${ALIBABA}${TOKEN}`,
        '--next',
        '-s',
        '-o',
        '/dev/null',
        `http://${ALIBABA}${ROLES}lab-role`,
      ]),
    );
    expect(events.map(({ imds }) => [imds!.verdict, imds!.severity, imds!.reasons])).toEqual([
      ['token_refused', 'low', ['forwarded_header']],
      ['normal_mode', 'critical', ['credential_path', 'fallback_after_token_refused']],
    ]);
  });
});

describeOnKernel('the role of an instance', () => {
  test('names the access key that a client was given, and nothing else of the answer', async () => {
    const scene = await openScene();
    try {
      const tracer = await scene.startTracer();
      const { events } = await observe(scene, tracer, 1, () =>
        scene.runOk(['curl', '-s', `http://${ALIBABA}${ROLES}lab-role`]),
      );
      expect(events[0]!.imds!.credential).toEqual({ access_key_id: 'STS.LabExample0000000000' });
    } finally {
      await scene.close();
    }
  });
});

describeOnKernel('several providers, and other endpoints', () => {
  let scene: Scene;
  let tracer: Tracer;
  let python: string;
  const extra = [
    { provider: 'alibaba', address: ALIBABA, port: 8080 },
    { provider: 'alibaba', address: '198.19.0.1', port: 9000 },
  ] as const;
  const untraced = { provider: 'alibaba', address: ALIBABA, port: 9090 } as const;

  beforeAll(async () => {
    scene = await openScene({
      providers: ['alibaba', 'aws', 'naver', 'huawei', 'volcengine'],
      endpoints: [...extra, untraced],
    });
    tracer = await scene.startTracer(extra.flatMap(({ address, port }) => ['--endpoint', `${address}:${port}`]));
    python = await pythonPath();
  });
  afterAll(() => scene?.close());

  interface Row {
    does: string;
    address: string;
    port?: number;
    text: string;
    wanted: Expectation;
    provider: string;
  }
  const at = (address: string, target: string, headers: string[] = [], method = 'GET') =>
    requestText(target, headers, method).replace(`Host: ${ALIBABA}`, `Host: ${address}`);
  const aws = 'X-aws-ec2-metadata-token';
  const rows: Row[] = [
    { does: 'aws, without', address: SHARED, text: at(SHARED, ID), wanted: normal(), provider: 'aws' },
    {
      does: 'aws, over IPv6',
      address: 'fd00:ec2::254',
      text: at('[fd00:ec2::254]', ID),
      wanted: normal(),
      provider: 'aws',
    },
    {
      does: 'aws, its token request',
      address: SHARED,
      text: at(SHARED, TOKEN, [`${aws}-ttl-seconds: 60`], 'PUT'),
      wanted: { verdict: 'token_issue', level: 'INFO', reasons: [] },
      provider: 'aws',
    },
    {
      does: 'aws, a token that is none',
      address: SHARED,
      text: at(SHARED, ID, [`${aws}: never-issued`]),
      wanted: { verdict: 'token_invalid', level: 'NOTICE' },
      provider: 'aws',
    },
    {
      does: 'huawei, its token request',
      address: SHARED,
      text: at(SHARED, '/meta-data/latest/api/token', ['X-Metadata-Token-Ttl-Seconds: 60'], 'PUT'),
      wanted: { verdict: 'token_issue', level: 'INFO', reasons: [] },
      provider: 'huawei',
    },
    {
      does: 'naver, a token that is none',
      address: SHARED,
      text: at(SHARED, ID, ['X-NCP-METADATA-TOKEN: never-issued']),
      wanted: { verdict: 'token_invalid' },
      provider: 'naver',
    },
    {
      does: 'google, at the shared address',
      address: SHARED,
      text: at(SHARED, '/computeMetadata/v1/instance/id', ['Metadata-Flavor: Google']),
      wanted: { verdict: 'foreign_probe', level: 'INFO', reasons: [], status: 404 },
      provider: 'aws',
    },
    {
      does: 'volcengine, without',
      address: '100.96.0.96',
      text: at('100.96.0.96', '/latest/instance_id'),
      wanted: normal(),
      provider: 'volcengine',
    },
    {
      does: '--endpoint with another port',
      address: ALIBABA,
      port: 8080,
      text: at(`${ALIBABA}:8080`, ID),
      wanted: normal(),
      provider: 'alibaba',
    },
    {
      does: '--endpoint with another address',
      address: '198.19.0.1',
      port: 9000,
      text: at('198.19.0.1:9000', ID),
      wanted: normal(),
      provider: 'alibaba',
    },
    {
      does: "a Host that is not the endpoint's",
      address: ALIBABA,
      text: at('evil.example', ID),
      wanted: normal({ reasons: ['host_mismatch'] }),
      provider: 'alibaba',
    },
  ];

  test.each(rows)('$does', async ({ address, port, text, wanted, provider }) => {
    const { result, journal, events } = await observe(scene, tracer, 1, () =>
      sendRaw(scene, python, {
        address,
        ...(port && { port }),
        connections: [
          [
            ['send', text],
            ['answers', 1],
          ],
        ],
      }),
    );
    expectExactlyTheJournal(events, journal, () => ({ ...wanted, pid: result.pid }));
    expect(events[0]).toMatchObject({
      cloud: { provider },
      imds: { provider },
      destination: { ip: address, port: port ?? 80 },
    });
  });

  test('another port of the same address is none of its business', async () => {
    const journaled = scene.journal().length;
    const written = tracer.requests().length;
    await scene.runOk(['curl', '-s', `http://${ALIBABA}:${untraced.port}${ID}`]);
    // What was sent later is written later.
    const { events } = await observe(scene, tracer, 1, () => scene.runOk(['curl', '-s', `http://${ALIBABA}${ID}`]));
    expect(scene.journal()).toHaveLength(journaled + 2);
    expect(tracer.requests()).toHaveLength(written + 1);
    expect(events.map(({ destination }) => destination!.port)).toEqual([80]);
  });
});

describeOnKernel('hardened instances', () => {
  test('of AWS answer 401 to what has no token, which is still normal mode', async () => {
    const scene = await openScene({ mode: 'hardened', providers: ['aws'] });
    try {
      const tracer = await scene.startTracer();
      const { journal, events } = await observe(scene, tracer, 2, () =>
        scene.runOk([
          'curl',
          '-s',
          `http://${SHARED}${ID}`,
          '--next',
          '-s',
          '-H',
          'X-aws-ec2-metadata-token: x',
          `http://${SHARED}${ID}`,
        ]),
      );
      const wanted: Expectation[] = [
        normal({ reasons: ['blocked'], status: 401 }),
        { verdict: 'token_invalid', level: 'NOTICE', reasons: ['token_expired_or_invalid'], status: 401 },
      ];
      expectExactlyTheJournal(events, journal, (_, index) => wanted[index]!);
    } finally {
      await scene.close();
    }
  });

  test('of Alibaba Cloud with its SDK: with a token, or blocked', async () => {
    const scene = await openScene({ mode: 'hardened' });
    try {
      const tracer = await scene.startTracer();
      const sdk = (name: string) => ['node', clientScript('alicloud.cjs'), name];
      const fine = await observe(scene, tracer, 4, () => scene.runOk(sdk('@alicloud/credentials')));
      expect(fine.events.map(({ imds }) => imds!.verdict)).toEqual([
        'token_issue',
        'hardened',
        'token_issue',
        'hardened',
      ]);
      const old = await observe(scene, tracer, 1, () => scene.run(sdk('alicloud-credentials-2.3.0')));
      expect(old.result.status).not.toBe(0);
      for (const { imds, log } of old.events) {
        expect(log.level).toBe('WARNING');
        expect(imds).toMatchObject({ verdict: 'normal_mode', reasons: expect.arrayContaining(['blocked']) });
      }
      await tracer.stop();
      expect(tracer.requests()).toHaveLength(scene.journal().length);
    } finally {
      await scene.close();
    }
  });
});
