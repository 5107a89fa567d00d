import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ProviderName } from '../../src/imds/types.js';
import { SERVICE_RULES } from '../../src/lab/rules.js';
import { originOf, SERVICE_MODES } from '../../src/lab/service.js';
import { openScene, type Scene } from '../e2e/support/scene.js';
import { until } from '../e2e/support/wait.js';

const PROVIDERS = Object.keys(SERVICE_RULES) as ProviderName[];

interface Answer {
  status: number;
  body: string;
}

/** The port is the provider's own, so that clouds that share an address don't answer for each other here. */
const portOf = (provider: ProviderName) => 8000 + PROVIDERS.indexOf(provider);
const origin = (provider: ProviderName) =>
  originOf({ address: SERVICE_RULES[provider].addresses[0]!, port: portOf(provider) });

describe.each(SERVICE_MODES)('in %s mode', (mode) => {
  let scene: Scene;

  beforeAll(async () => {
    const endpoints = PROVIDERS.map((provider) => ({
      provider,
      address: SERVICE_RULES[provider].addresses[0]!,
      port: portOf(provider),
    }));
    scene = await openScene({ mode, providers: [], endpoints });
  });
  afterAll(() => scene.close());

  async function ask(provider: ProviderName, path: string, ...args: string[]): Promise<Answer> {
    const { stdout } = await scene.runOk([
      'curl',
      '-s',
      '-m',
      '5',
      '-w',
      '\n%{http_code}',
      ...args,
      origin(provider) + path,
    ]);
    const end = stdout.lastIndexOf('\n');
    return { status: Number(stdout.slice(end + 1)), body: stdout.slice(0, end) };
  }
  const askToken = (provider: ProviderName, ttl: string, ...args: string[]) => {
    const { tokenPath, ttlHeader } = SERVICE_RULES[provider];
    return ask(provider, tokenPath, '-X', 'PUT', '-H', `${ttlHeader}: ${ttl}`, ...args);
  };

  describe.each(PROVIDERS)('%s', (provider) => {
    const rules = SERVICE_RULES[provider];
    const [shortest, longest] = rules.ttl;

    test('issues tokens that are then accepted, whatever the case of the header', async () => {
      const { status, body } = await askToken(provider, String(longest));
      expect(status).toBe(200);
      expect(body).toMatch(/^[A-Za-z0-9+/]{50,}={0,2}$/);
      for (const name of [rules.tokenHeader, rules.tokenHeader.toLowerCase(), rules.tokenHeader.toUpperCase()]) {
        expect(await ask(provider, rules.samplePath, '-H', `${name}: ${body}`)).toEqual({
          status: 200,
          body: rules.tree[rules.samplePath],
        });
      }
    });

    test.each([
      ['the shortest', String(shortest), 200],
      ['one less', String(shortest - 1), 400],
      ['one more than the longest', String(longest + 1), 400],
      ['negative', '-1', 400],
      ['hexadecimal', '0x3c', 400],
      ['no number', 'abc', 400],
      ['past all bounds', '9'.repeat(400), 400],
    ])('a lifetime that is %s', async (_, ttl, status) => {
      const answer = await askToken(provider, ttl);
      expect(answer.status).toBe(status);
      if (status === 400) expect(answer.body).toContain('Missing or Invalid Parameters');
    });

    test('a token request without a lifetime, through a proxy, or with another method is refused', async () => {
      expect((await ask(provider, rules.tokenPath, '-X', 'PUT')).status).toBe(400);
      expect((await askToken(provider, '60', '-H', 'X-Forwarded-For: 198.18.0.9')).status).toBe(403);
      expect((await ask(provider, rules.tokenPath)).status).toBe(405);
      expect((await ask(provider, rules.tokenPath, '-X', 'POST', '-H', `${rules.ttlHeader}: 60`)).status).toBe(405);
    });

    test('without a token, and with an empty one', async () => {
      const status = mode === 'normal' ? 200 : provider === 'aws' ? 401 : 403;
      expect((await ask(provider, rules.samplePath)).status).toBe(status);
      expect((await ask(provider, rules.samplePath, '-H', `${rules.tokenHeader};`)).status).toBe(status);
    });

    test('a token that was never issued is refused', async () => {
      expect((await ask(provider, rules.samplePath, '-H', `${rules.tokenHeader}: made-up`)).status).toBe(401);
    });

    test('leads to role credentials', async () => {
      const { body: token } = await askToken(provider, '60');
      let answer = '';
      for (const path of rules.credentialPaths) {
        const reply = await ask(provider, path.replace('{answer}', answer), '-H', `${rules.tokenHeader}: ${token}`);
        expect(reply.status).toBe(200);
        answer = reply.body;
      }
      expect(JSON.stringify(JSON.parse(answer))).toMatch(/lab-only-this-is-no-secret/);
    });
  });

  test('a token expires', async () => {
    const { body: token } = await askToken('alibaba', '1');
    const use = () => ask('alibaba', '/latest/meta-data/', '-H', `X-aliyun-ecs-metadata-token: ${token}`);
    expect((await use()).status).toBe(200);
    await until('the end of the token', async () => (await use()).status === 401, 5000);
  });

  test('tokens come with each kind of base64 padding', async () => {
    const tokens: string[] = [];
    for (let i = 0; i < 3; i += 1) tokens.push((await askToken('volcengine', '60')).body);
    expect(tokens.map((token) => token.replace(/^[^=]*/, '')).sort()).toEqual(['', '=', '==']);
  });

  test("another cloud's token is none", async () => {
    const { body: token } = await askToken('aws', '60');
    const reply = await ask('alibaba', '/latest/meta-data/', '-H', `X-aws-ec2-metadata-token: ${token}`);
    expect(reply.status).toBe(mode === 'normal' ? 200 : 403);
  });

  test.each([
    ['//latest//meta-data/instance-id', 200],
    ['/latest/Meta-Data/Instance-Id?', 200],
    ['/2016-01-01/meta-data/instance-id', 200],
    ['/latest/meta-data', 200],
    ['/latest/meta-data/ram', 200],
    ['/latest/meta-data/nothing-here', 404],
    ['/', 200],
  ])('%s is answered as real services do', async (path, status) => {
    const { body: token } = await askToken('alibaba', '60');
    const reply = await ask('alibaba', path, '--path-as-is', '-H', `X-aliyun-ecs-metadata-token: ${token}`);
    expect(reply.status).toBe(status);
  });
});

test('an address that clouds share is answered by the one the request is for', async () => {
  const scene = await openScene({ mode: 'hardened', providers: ['aws', 'naver', 'huawei'] });
  try {
    for (const provider of ['aws', 'naver', 'huawei'] as const) {
      const { tokenPath, ttlHeader } = SERVICE_RULES[provider];
      await scene.runOk(['curl', '-sf', '-X', 'PUT', '-H', `${ttlHeader}: 60`, `http://169.254.169.254${tokenPath}`]);
    }
    await scene.runOk([
      'curl',
      '-sf',
      '-X',
      'PUT',
      '-H',
      'X-aws-ec2-metadata-token-ttl-seconds: 60',
      'http://[fd00:ec2::254]/latest/api/token',
    ]);
    expect(
      scene.journal().map((entry) => entry.kind === 'request' && [entry.provider, entry.status, entry.server.address]),
    ).toEqual([
      ['aws', 200, '169.254.169.254'],
      ['naver', 200, '169.254.169.254'],
      ['huawei', 200, '169.254.169.254'],
      ['aws', 200, 'fd00:ec2::254'],
    ]);
  } finally {
    await scene.close();
  }
});
