import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Judge } from '../../src/imds/judge.js';
import { FOREIGN_CLOUDS, PROVIDER_NAMES, PROVIDERS, providerNamed } from '../../src/imds/providers.js';
import { REASONS } from '../../src/imds/reasons.js';
import type { Verdict } from '../../src/imds/types.js';
import { LEVELS } from '../../src/imds/verdict.js';
import { answer, endpointOf, type Headers, head, judge, type Sent, tokenRequest } from './helpers.js';

const alibaba = endpointOf('alibaba');
const aws = endpointOf('aws');
const ALIBABA_TOKEN = 'X-aliyun-ecs-metadata-token';
const ALIBABA_TTL = 'X-aliyun-ecs-metadata-token-ttl-seconds';
const AWS_TOKEN = 'X-aws-ec2-metadata-token';
const TOKEN = 'AQAEAL3k-secret-token_without==padding';

it('has a level for every verdict, as documented', () => {
  expect(LEVELS).toEqual({
    normal_mode: 'WARNING',
    hardened: 'INFO',
    token_issue: 'INFO',
    token_refused: 'NOTICE',
    token_invalid: 'NOTICE',
    foreign_probe: 'INFO',
    unparsed: 'ERROR',
  });
});

describe.each(PROVIDER_NAMES)('%s', (name) => {
  const endpoint = endpointOf(name);
  const { tokenHeader, ttlHeader, tokenPath, ttl } = providerNamed(name);
  const withToken: Headers = [[tokenHeader, TOKEN]];

  it.each<[verdict: Verdict, sent: Sent, status: number, reasons: string[]]>([
    ['normal_mode', {}, 200, []],
    ['normal_mode', {}, 0, []],
    ['normal_mode', {}, 404, []],
    ['normal_mode', {}, 401, ['blocked']],
    ['normal_mode', {}, 403, ['blocked']],
    ['normal_mode', { method: 'PUT' }, 405, []],
    ['normal_mode', { headers: [[tokenHeader, '']] }, 200, ['empty_token']],
    ['hardened', { headers: withToken }, 200, []],
    ['hardened', { headers: withToken }, 404, []],
    ['hardened', { headers: withToken }, 403, []],
    ['hardened', { headers: withToken }, 0, []],
    ['hardened', { method: 'POST', target: '/', headers: withToken }, 200, []],
    ['token_invalid', { headers: withToken }, 401, ['token_expired_or_invalid']],
    ['token_issue', tokenRequest(name), 200, []],
    ['token_issue', tokenRequest(name), 0, ['no_response']],
    ['token_issue', tokenRequest(name, String(ttl.min)), 200, []],
    ['token_issue', tokenRequest(name, '21600', withToken), 200, []],
    ['token_refused', tokenRequest(name), 400, ['refused_by_service']],
    ['token_refused', tokenRequest(name), 401, ['refused_by_service']],
    ['token_refused', tokenRequest(name), 500, ['refused_by_service']],
    ['token_refused', tokenRequest(name), 302, ['refused_by_service']],
    ['token_refused', tokenRequest(name, String(ttl.min - 1)), 400, ['ttl_out_of_range']],
    ['token_refused', tokenRequest(name, '21601'), 0, ['ttl_out_of_range']],
    ['token_refused', { method: 'PUT', target: tokenPath }, 400, ['ttl_missing']],
    ['token_refused', { method: 'PUT', target: tokenPath, headers: [[ttlHeader, '']] }, 400, ['ttl_missing']],
    ['token_refused', { ...tokenRequest(name), method: 'GET' }, 405, ['wrong_method']],
    ['token_refused', { ...tokenRequest(name), method: 'GET' }, 200, ['wrong_method']],
    ['token_refused', { method: 'GET', target: tokenPath }, 0, ['wrong_method']],
    ['token_refused', { method: 'HEAD', target: tokenPath }, 405, ['wrong_method']],
    ['token_refused', { method: 'POST', target: tokenPath }, 405, ['wrong_method']],
    ['token_refused', { method: 'put', target: tokenPath, headers: [[ttlHeader, '60']] }, 405, ['wrong_method']],
    ['token_refused', { method: 'GET', target: tokenPath, headers: withToken }, 405, ['wrong_method']],
  ])('%s: %j answered %i', (verdict, sent, status, reasons) => {
    expect(judge(endpoint, sent, status)).toMatchObject({ provider: name, verdict, level: LEVELS[verdict], reasons });
  });

  it('takes its own token only', () => {
    for (const other of PROVIDERS.filter((provider) => provider.name !== name)) {
      const judgement = judge(endpoint, { headers: [[other.tokenHeader, TOKEN]] });
      expect(judgement).toMatchObject({
        verdict: 'normal_mode',
        reasons: ['wrong_provider_token'],
        tokenPresent: false,
      });
    }
  });

  it('takes its own TTL only', () => {
    for (const other of PROVIDERS.filter((provider) => provider.name !== name)) {
      const sent = { method: 'PUT', target: tokenPath, headers: [[other.ttlHeader, '60']] as const };
      const reasons = ['ttl_missing', 'wrong_provider_token'];
      expect(judge(endpoint, sent)).toMatchObject({ verdict: 'token_refused', reasons });
    }
  });

  it('compares the header names without regard to case', () => {
    for (const change of [
      (s: string) => s.toUpperCase(),
      (s: string) => s.replace(/(?<=^|-)[a-z]/g, (c) => c.toUpperCase()),
    ]) {
      expect(judge(endpoint, { headers: [[change(tokenHeader), TOKEN]] }).verdict).toBe('hardened');
      expect(judge(endpoint, { ...tokenRequest(name), headers: [[change(ttlHeader), '60']] }).verdict).toBe(
        'token_issue',
      );
    }
  });

  it('judges the paths of its other dialects as its own', () => {
    for (const family of providerNamed(name).families) {
      expect(judge(endpoint, { target: `${family}/x`, headers: [['Metadata-Flavor', 'Google']] }).verdict).toBe(
        'normal_mode',
      );
    }
  });

  it('says ERROR of what is no request', () => {
    for (const reason of ['non_http', 'gap', 'head_too_large', 'evicted'] as const) {
      expect(new Judge().unparsed(endpoint, { time: 1, reason, bytes: 9 })).toEqual({
        provider: name,
        verdict: 'unparsed',
        level: 'ERROR',
        severity: 'low',
        reasons: [reason],
        tokenPresent: false,
      });
    }
  });
});

describe('the token header', () => {
  it.each<[what: string, sent: Sent]>([
    ['the TTL header, which begins like it', { headers: [[ALIBABA_TTL, '60']] }],
    ['a longer name', { headers: [[`${ALIBABA_TOKEN}s`, TOKEN]] }],
    ['a name that ends like it', { headers: [[`Not-${ALIBABA_TOKEN}`, TOKEN]] }],
    ['a name with a space', { headers: [[`${ALIBABA_TOKEN} `, TOKEN]] }],
    ['in the query', { target: `/latest/meta-data/instance-id?${ALIBABA_TOKEN}:%20${TOKEN}` }],
    ['in the path', { target: `/latest/meta-data/${ALIBABA_TOKEN}:${TOKEN}` }],
    ['in the User-Agent', { headers: [['User-Agent', `curl ${ALIBABA_TOKEN}: ${TOKEN}`]] }],
    ['in another header', { headers: [['X-Other', `\r\n${ALIBABA_TOKEN}: ${TOKEN}`]] }],
    ['in Connection', { headers: [['Connection', ALIBABA_TOKEN]] }],
    ['with only blanks', { headers: [[ALIBABA_TOKEN, ' \t ']] }],
    [
      'twice empty',
      {
        headers: [
          [ALIBABA_TOKEN, ''],
          [ALIBABA_TOKEN.toLowerCase(), ''],
        ],
      },
    ],
    ['with non-ASCII letters', { headers: [[ALIBABA_TOKEN.replace('e', '\xea'), TOKEN]] }],
    [
      'named like a property of objects',
      {
        headers: [
          ['__proto__', TOKEN],
          ['constructor', TOKEN],
        ],
      },
    ],
  ])('is not there: %s', (_what, sent) => {
    expect(judge(alibaba, sent)).toMatchObject({ verdict: 'normal_mode', level: 'WARNING', tokenPresent: false });
  });

  // A service that looks at the first one only answers in normal mode, whatever stands in the second.
  it.each<[what: string, values: [string, string]]>([
    ['before one', ['', TOKEN]],
    ['after one', [TOKEN, '']],
  ])('does not hide normal mode behind an empty one %s with a value', (_what, values) => {
    expect(judge(alibaba, { headers: values.map((value) => [ALIBABA_TOKEN, value]) })).toMatchObject({
      verdict: 'normal_mode',
      reasons: ['empty_token'],
      tokenPresent: false,
    });
  });

  it.each<[what: string, headers: Headers]>([
    ['of one character', [[ALIBABA_TOKEN, '0']]],
    ['with bytes that are no UTF-8', [[ALIBABA_TOKEN, '\xff\xfe']]],
    [
      "beside another provider's",
      [
        [ALIBABA_TOKEN, TOKEN],
        [AWS_TOKEN, TOKEN],
      ],
    ],
  ])('is there: %s', (_what, headers) => {
    expect(judge(alibaba, { headers })).toMatchObject({ verdict: 'hardened', reasons: [], tokenPresent: true });
  });
});

describe('the TTL', () => {
  it.each<[value: string, seconds: number | undefined, reasons: string[]]>([
    ['21600', 21_600, []],
    [' 60\t', 60, []],
    ['0060', 60, []],
    ['0', 0, ['ttl_out_of_range']],
    ['21601', 21_601, ['ttl_out_of_range']],
    ['4294967356', 4_294_967_356, ['ttl_out_of_range']], // 60 modulo 2^32
    ['18446744073709551676', undefined, ['ttl_out_of_range']], // 60 modulo 2^64
    ['9'.repeat(60_000), undefined, ['ttl_out_of_range']],
    ['-60', undefined, ['ttl_out_of_range']],
    ['+60', undefined, ['ttl_out_of_range']],
    ['0x3c', undefined, ['ttl_out_of_range']],
    ['6e1', undefined, ['ttl_out_of_range']],
    ['60.0', undefined, ['ttl_out_of_range']],
    ['60,60', undefined, ['ttl_out_of_range']],
    ['6 0', undefined, ['ttl_out_of_range']],
    ['60s', undefined, ['ttl_out_of_range']],
    ['\u0666\u0660', undefined, ['ttl_out_of_range']],
    ['Infinity', undefined, ['ttl_out_of_range']],
    ['', undefined, ['ttl_missing']],
    ['  ', undefined, ['ttl_missing']],
  ])('%s', (value, seconds, reasons) => {
    const judgement = judge(alibaba, tokenRequest('alibaba', value));
    expect(judgement).toMatchObject({ verdict: reasons.length > 0 ? 'token_refused' : 'token_issue', reasons });
    expect(judgement.ttlSeconds).toBe(seconds);
  });

  it('is taken from several headers only where they agree', () => {
    const ttls = (...values: string[]) =>
      judge(alibaba, { ...tokenRequest('alibaba'), headers: values.map((value) => [ALIBABA_TTL, value] as const) });
    expect(ttls('60', '60')).toMatchObject({ verdict: 'token_issue', ttlSeconds: 60 });
    for (const differing of [ttls('60', '61'), ttls('60', ''), ttls('60', '61', '60'), ttls('60', '61', '61')]) {
      expect(differing).toMatchObject({ verdict: 'token_refused', reasons: ['ttl_out_of_range'] });
      expect(differing.ttlSeconds).toBeUndefined();
    }
  });

  it('belongs to token requests alone', () => {
    expect(
      judge(alibaba, {
        headers: [
          [ALIBABA_TTL, '60'],
          [ALIBABA_TOKEN, TOKEN],
        ],
      }).ttlSeconds,
    ).toBeUndefined();
  });
});

describe('the token path', () => {
  it.each([
    '//latest//api/token/',
    '/LATEST/api/Token',
    '/2016-01-01/api/token?x',
    '/%6catest/api/token',
    'http://100.100.100.200/latest/api/token',
  ])('is read as servers do: %s', (target) => {
    expect(judge(alibaba, { ...tokenRequest('alibaba'), target }).verdict).toBe('token_issue');
    expect(judge(alibaba, { target }, 405)).toMatchObject({ verdict: 'token_refused', reasons: ['wrong_method'] });
  });

  it.each(['/latest/api/token/x', '/latest/api/tokens', '/latest/api', '/x/latest/api/token', '/?/latest/api/token'])(
    'is not %s',
    (target) => {
      expect(judge(alibaba, { target }).verdict).toBe('normal_mode');
    },
  );

  it.each([
    '/latest/user-data/../api/token',
    '/latest/user-data/..%2f../latest/api/token',
    '/latest/api/token#/../../user-data',
  ])('hides nothing that only seems to be it: %s', (target) => {
    expect(judge(alibaba, { target }).verdict).toBe('normal_mode');
  });
});

describe('forwarding', () => {
  it.each(['X-Forwarded-For', 'x-forwarded-for', 'Forwarded', 'VIA'])('%s is said', (name) => {
    expect(judge(alibaba, { headers: [[name, '']] }).reasons).toEqual(['forwarded_header']);
    expect(
      judge(alibaba, {
        headers: [
          [name, '10.0.0.1'],
          [ALIBABA_TOKEN, TOKEN],
        ],
      }).reasons,
    ).toEqual(['forwarded_header']);
  });

  it.each(['X-Forwarded-Fo', 'X-Forwarded-For-X', 'X-Forwarded-Host', 'Viable'])('%s is not', (name) => {
    expect(judge(alibaba, { headers: [[name, '10.0.0.1']] }).reasons).toEqual([]);
  });

  it.each([
    ['alibaba', 'X-Forwarded-For', 'token_refused'],
    ['aws', 'X-Forwarded-For', 'token_refused'],
    ['naver', 'X-Forwarded-For', 'token_issue'],
    ['huawei', 'X-Forwarded-For', 'token_issue'],
    ['volcengine', 'X-Forwarded-For', 'token_issue'],
    ['alibaba', 'Via', 'token_issue'],
    ['aws', 'Forwarded', 'token_issue'],
  ] as const)('on a token request to %s with %s: %s', (name, header, verdict) => {
    const judgement = judge(endpointOf(name), tokenRequest(name, '60', [[header, '']]));
    expect(judgement).toMatchObject({ verdict, reasons: ['forwarded_header'] });
  });
});

describe('host_mismatch', () => {
  it.each<[what: string, sent: Sent, mismatch: boolean]>([
    ['the address', {}, false],
    ['with port', { host: '100.100.100.200:80' }, false],
    ['with blanks', { host: ' 100.100.100.200 ' }, false],
    ['another name', { host: 'rebind.example' }, true],
    ['another port', { host: '100.100.100.200:81' }, true],
    ['empty', { host: '' }, true],
    ['none, HTTP/1.1', { host: null }, true],
    ['none, HTTP/1.0', { host: null, version: '1.0' }, false],
    ['another name, HTTP/1.0', { host: 'rebind.example', version: '1.0' }, true],
    ['twice', { headers: [['HOST', '100.100.100.200']] }, true],
    ['absolute-form', { target: 'http://100.100.100.200:80/latest' }, false],
    ['absolute-form to another', { target: 'http://rebind.example/latest' }, true],
    ['absolute-form with user information', { target: 'http://100.100.100.200@rebind.example/' }, true],
    ['a URL in the query', { target: '/latest?u=http://rebind.example/' }, false],
    ['the name of another cloud', { host: 'instance-data' }, true],
  ])('%s', (_what, sent, mismatch) => {
    expect(judge(alibaba, sent).reasons).toEqual(mismatch ? ['host_mismatch'] : []);
  });

  it('knows the names of AWS, and those of other clouds in their own requests only', () => {
    expect(judge(aws, { host: 'Instance-Data.' }).reasons).toEqual([]);
    const google: Sent = { target: '/computeMetadata/v1/', host: 'metadata.google.internal' };
    expect(judge(aws, google)).toMatchObject({ verdict: 'foreign_probe', reasons: [] });
    expect(judge(aws, { host: 'metadata.google.internal' }).reasons).toEqual(['host_mismatch']);
    expect(judge(aws, { ...google, host: 'rebind.example' }).reasons).toEqual(['host_mismatch']);
  });
});

describe('foreign_probe', () => {
  it.each<[what: string, sent: Sent]>([
    ['Google', { target: '/computeMetadata/v1/instance/?recursive=true', headers: [['Metadata-Flavor', 'Google']] }],
    [
      'Google, path alone',
      { target: '/computeMetadata/v1/instance/service-accounts/a@b.iam.gserviceaccount.com/token' },
    ],
    ['Google, header alone', { target: '/', headers: [['metadata-flavor', 'google']] }],
    ['Azure', { target: '/metadata/instance?api-version=2021-02-01', headers: [['Metadata', 'true']] }],
    ['Oracle', { target: '/opc/v2/instance/', headers: [['Authorization', 'Bearer Oracle']] }],
    ['OpenStack', { target: '/openstack/2018-08-27/meta_data.json' }],
    ['DigitalOcean', { target: '/metadata/v1.json' }],
    ['Hetzner', { target: '/hetzner/v1/metadata' }],
    ['Vultr', { target: '/v1.json' }],
    ['Scaleway', { target: '/conf?format=json' }],
    ['Tencent', { target: '/', host: 'metadata.tencentyun.com' }],
    ['IBM', { method: 'PUT', target: '/identity/v1/token?version=2022-03-01', headers: [['Metadata-Flavor', 'ibm']] }],
    ['Linode', { method: 'PUT', target: '/v1/token', headers: [['Metadata-Token-Expiry-Seconds', '3600']] }],
    [
      'Huawei',
      { method: 'PUT', target: '/meta-data/latest/api/token', headers: [['X-Metadata-Token-Ttl-Seconds', '60']] },
    ],
    ['Volcengine', { target: '/volcstack/latest/iam/security_credentials/role' }],
    ['absolute-form', { target: 'http://169.254.169.254/computeMetadata/v1' }],
  ])('at the shared address: %s', (_what, sent) => {
    for (const status of [0, 200, 401, 404]) {
      const judgement = judge(aws, sent, status);
      expect(judgement).toMatchObject({ verdict: 'foreign_probe', level: 'INFO', severity: 'low', reasons: [] });
    }
  });

  it.each(
    FOREIGN_CLOUDS.flatMap(({ name, headers }) =>
      headers.map((header) => [name, header.name, header.value ?? 'x'] as const),
    ),
  )("a header of %s hides nothing on a path of the provider's: %s: %s", (_name, name, value) => {
    for (const target of [
      '/latest/meta-data/iam/security-credentials/role',
      '/latest',
      '//2016-01-01/user-data',
      '/computeMetadata/../latest/user-data',
      '/latest%2fuser-data',
      '/%256catest/user-data',
      '/latest\\user-data',
      '/x;/latest/user-data',
      '/latest\0',
    ]) {
      const sent: Sent = name === 'host' ? { target, host: value } : { target, headers: [[name, value]] };
      expect(judge(aws, sent)).toMatchObject({ verdict: 'normal_mode', level: 'WARNING' });
    }
  });

  it.each([
    '/computeMetadata/v1/../../latest/meta-data/',
    '/computeMetadata/v1/%2E%2E/%2e%2e/latest/meta-data/',
    '/computeMetadata/v1/..%2f..%2flatest/meta-data/',
    '/computeMetadata/..\\latest',
    '/computeMetadata%00/',
    '/latest/x/../../computeMetadata/v1',
    '/?/computeMetadata/v1',
    '/computeMetadataX/v1',
    '/metadata-x',
  ])('is not what is read in several ways or only resembles: %s', (target) => {
    expect(judge(aws, { target }).verdict).toBe('normal_mode');
  });

  it.each<[what: string, headers: Headers]>([
    ['another value', [['Metadata-Flavor', 'Googles']]],
    ['another name', [['X-Metadata-Flavor', 'Google']]],
    ['a real bearer', [['Authorization', 'Bearer abc']]],
    [
      "the provider's token header, empty",
      [
        ['Metadata-Flavor', 'Google'],
        [AWS_TOKEN, ''],
      ],
    ],
  ])('is not told by %s', (_what, headers) => {
    expect(judge(aws, { target: '/', headers }).verdict).toBe('normal_mode');
  });

  it.each(['http:/latest/user-data', 'latest/user-data', 'a:latest/user-data'])(
    'is not told by a header where the target is no path to some and one of the provider to others: %s',
    (target) => {
      const judgement = judge(aws, { target, headers: [['Metadata-Flavor', 'Google']] });
      expect(judgement).toMatchObject({ verdict: 'normal_mode' });
    },
  );

  it("is none with the provider's token", () => {
    expect(judge(aws, { target: '/computeMetadata/v1', headers: [[AWS_TOKEN, TOKEN]] }).verdict).toBe('hardened');
  });

  it('exists only at addresses that clouds share', () => {
    const sent: Sent = { target: '/computeMetadata/v1', headers: [['Metadata-Flavor', 'Google']] };
    const ipv6 = { address: 'fd00:ec2::254', port: 80, providers: ['aws'] as const };
    for (const endpoint of [alibaba, endpointOf('volcengine'), ipv6]) {
      expect(judge(endpoint, sent).verdict).toBe('normal_mode');
    }
  });

  it('takes the AWS token request of a library for one where AWS does not judge', () => {
    const sent = tokenRequest('aws');
    expect(judge(endpointOf('huawei'), sent)).toMatchObject({ verdict: 'foreign_probe', reasons: [] });
    expect(judge(endpointOf('huawei'), { target: '/latest/meta-data/' }).verdict).toBe('normal_mode');
    expect(judge(endpointOf('huawei'), { target: '/openstack/latest/securitykey' })).toMatchObject({
      verdict: 'normal_mode',
      severity: 'critical',
      reasons: ['credential_path'],
    });
  });
});

describe('several providers at one address', () => {
  const shared = endpointOf('aws', 'naver', 'huawei');
  const NAVER = 'X-NCP-METADATA-TOKEN';
  it.each<[what: string, sent: Sent, provider: string, verdict: Verdict, reasons: string[]]>([
    ['no clue', {}, 'aws', 'normal_mode', []],
    ['a token', { headers: [[NAVER, TOKEN]] }, 'naver', 'hardened', []],
    ['an empty token', { headers: [[NAVER, '']] }, 'naver', 'normal_mode', ['empty_token']],
    [
      'a token before an empty one',
      {
        headers: [
          [AWS_TOKEN, ''],
          [NAVER, TOKEN],
        ],
      },
      'naver',
      'hardened',
      [],
    ],
    [
      'two tokens',
      {
        headers: [
          [NAVER, TOKEN],
          [AWS_TOKEN, TOKEN],
        ],
      },
      'aws',
      'hardened',
      [],
    ],
    ['a path', { target: '/openstack/latest/user_data' }, 'huawei', 'normal_mode', []],
    ['a token request of NAVER', tokenRequest('naver', '1'), 'naver', 'token_issue', []],
    ['a token request of Huawei', tokenRequest('huawei', '59'), 'huawei', 'token_refused', ['ttl_out_of_range']],
    ['a TTL before a token on the token path', tokenRequest('aws', '60', [[NAVER, TOKEN]]), 'aws', 'token_issue', []],
    [
      "Huawei's TTL on the token path of AWS",
      { ...tokenRequest('huawei'), target: '/latest/api/token' },
      'aws',
      'token_refused',
      ['ttl_missing', 'wrong_provider_token'],
    ],
    ["Alibaba's token", { headers: [[ALIBABA_TOKEN, TOKEN]] }, 'aws', 'normal_mode', ['wrong_provider_token']],
    ['Google', { target: '/computeMetadata/v1' }, 'aws', 'foreign_probe', []],
  ])('%s', (_what, sent, provider, verdict, reasons) => {
    expect(judge(shared, sent)).toMatchObject({ provider, verdict, reasons });
  });

  it('has the first given judge without a clue', () => {
    expect(judge(endpointOf('naver', 'aws')).provider).toBe('naver');
    expect(judge(endpointOf('huawei', 'aws'), { method: 'PUT', target: '/latest/api/token' })).toMatchObject({
      provider: 'aws',
      verdict: 'token_refused',
    });
  });
});

describe('severity and credential_path', () => {
  const role = '/latest/meta-data/Ram/security-credentials/role';
  it('are said with and without token', () => {
    expect(judge(alibaba, { target: role })).toMatchObject({ severity: 'critical', reasons: ['credential_path'] });
    expect(judge(alibaba, { target: role, headers: [[ALIBABA_TOKEN, TOKEN]] })).toMatchObject({
      verdict: 'hardened',
      severity: 'critical',
      reasons: ['credential_path'],
    });
    expect(judge(alibaba, { target: '/latest/meta-data/ram/security-credentials/' })).toMatchObject({
      severity: 'high',
      reasons: [],
    });
  });

  it('sorts the reasons', () => {
    const sent: Sent = {
      target: role,
      host: 'x',
      headers: [
        ['Via', 'y'],
        [AWS_TOKEN, TOKEN],
        [ALIBABA_TOKEN, ''],
      ],
    };
    expect(judge(alibaba, sent, 403).reasons).toEqual([
      'blocked',
      'credential_path',
      'empty_token',
      'forwarded_header',
      'host_mismatch',
      'wrong_provider_token',
    ]);
  });
});

it('keeps no header value, neither while it waits nor afterwards', () => {
  const one = new Judge();
  const sent: Sent = {
    host: `${TOKEN}.host`,
    headers: [
      [ALIBABA_TOKEN, TOKEN],
      [AWS_TOKEN, TOKEN],
      ['Authorization', TOKEN],
      ['X-Forwarded-For', TOKEN],
      [ALIBABA_TTL, TOKEN],
    ],
  };
  for (const request of [sent, { ...sent, method: 'PUT', target: '/latest/api/token' }]) {
    const pending = one.begin(head(alibaba, request), alibaba, 'process');
    expect(JSON.stringify(pending)).not.toContain('secret');
    expect(JSON.stringify(one.finish(pending, answer(200), 'process'))).not.toContain('secret');
  }
});

describe('any request', () => {
  const names = PROVIDERS.flatMap((provider) => [provider.tokenHeader, provider.ttlHeader]);
  const headerName = fc.oneof(
    fc.constantFrom(...names, 'host', 'via', 'metadata', 'metadata-flavor', '__proto__', ''),
    fc.constantFrom(...names).map((name) => name.toUpperCase()),
    fc.constantFrom(...names).map((name) => `${name}-`),
    fc.string({ unit: 'binary', maxLength: 20 }),
  );
  const value = fc.oneof(
    fc.constantFrom('', ' ', 'true', 'google', '60', '21601'),
    fc.string({ unit: 'binary', maxLength: 30 }),
  );
  const target = fc.oneof(
    fc.constantFrom(
      '/latest/meta-data/',
      '/latest/api/token',
      '/meta-data/latest/api/token',
      '/openstack/latest/securitykey',
    ),
    fc.string({ unit: 'binary', maxLength: 40 }),
    fc.webUrl(),
    fc
      .array(
        fc.constantFrom(
          '/',
          '..',
          '%2e',
          '%2f',
          'latest',
          'api',
          'token',
          'computeMetadata',
          '?',
          'http://',
          '@',
          '[',
          '#',
        ),
      )
      .map((pieces) => pieces.join('')),
  );
  const anyRequest = fc.record({
    time: fc.oneof(fc.double(), fc.nat(100_000)),
    method: fc.oneof(fc.constantFrom('GET', 'PUT'), fc.string({ maxLength: 8 })),
    target,
    version: fc.constantFrom('1.0', '1.1'),
    headers: fc.array(fc.record({ name: headerName, value }), { maxLength: 6 }),
    headBytes: fc.nat(),
  });
  const anyEndpoint = fc.constantFrom(
    ...PROVIDER_NAMES.map((name) => endpointOf(name)),
    endpointOf('aws', 'naver', 'huawei'),
    { address: 'fd00:ec2::254', port: 80, providers: ['aws'] as const },
  );
  const anyStatus = fc.option(fc.constantFrom(200, 302, 400, 401, 403, 404, 500), { nil: undefined });

  it('is judged without throwing, by the words of the interface, and never hardened without the token', () => {
    const one = new Judge({ rememberedProcesses: 3 });
    fc.assert(
      fc.property(
        anyRequest,
        anyEndpoint,
        anyStatus,
        fc.constantFrom(undefined, 'a', 'b', 'c', 'd'),
        (request, endpoint, status, process) => {
          const pending = one.begin(request, endpoint, process);
          const judgement = one.finish(pending, status === undefined ? undefined : answer(status), process);
          expect(judgement.level).toBe(LEVELS[judgement.verdict]);
          expect(judgement.reasons.every((reason) => reason in REASONS)).toBe(true);
          expect(judgement.reasons).toEqual([...new Set(judgement.reasons)].sort());
          expect(endpoint.providers).toContain(judgement.provider);

          const carriesToken = request.headers.some(
            (header) =>
              header.value.trim() !== '' &&
              endpoint.providers.some((name) => providerNamed(name).tokenHeader === header.name.toLowerCase()),
          );
          if (!carriesToken) {
            expect(['hardened', 'token_invalid']).not.toContain(judgement.verdict);
            expect(judgement.tokenPresent).toBe(false);
          }
        },
      ),
      { numRuns: 3_000 },
    );
  });

  it('costs time in proportion to its size', () => {
    // 64 KiB each: quadratic work would take minutes, and so run into the test's own limit.
    const fill = (name: string, text: string) =>
      Array.from({ length: Math.floor(65_536 / (name.length + text.length + 4)) }, () => [name, text] as const);
    const heads: Sent[] = [
      { headers: fill('a', '') },
      { headers: fill(ALIBABA_TOKEN, 'x') },
      { headers: tokenRequest('alibaba').headers!.concat(fill(ALIBABA_TTL, '1')) },
      { headers: fill('Host', '[::ffff:100.100.100.200]') },
      { headers: [['a'.repeat(65_536), 'b']] },
      { headers: [[ALIBABA_TOKEN, ' '.repeat(65_536)]] },
      { host: '['.repeat(65_536) },
      { target: `http://${'@'.repeat(65_536)}` },
    ];
    for (const sent of heads) expect(judge(alibaba, sent)).toBeDefined();
  });
});
