import { describe, expect, it } from 'vitest';
import { endpointsFor, FOREIGN_CLOUDS, PROVIDER_NAMES, PROVIDERS } from '../../src/imds/providers.js';

// Written by hand from the vendors' documents, apart from the table under test.
const DOCUMENTED = [
  ['alibaba', '100.100.100.200', '/latest/api/token', 'X-aliyun-ecs-metadata-token', '-ttl-seconds', 1],
  ['aws', '169.254.169.254,fd00:ec2::254', '/latest/api/token', 'X-aws-ec2-metadata-token', '-ttl-seconds', 1],
  ['naver', '169.254.169.254', '/latest/api/token', 'X-NCP-METADATA-TOKEN', '-TTL-SECONDS', 1],
  ['huawei', '169.254.169.254', '/meta-data/latest/api/token', 'X-Metadata-Token', '-Ttl-Seconds', 60],
  ['volcengine', '100.96.0.96', '/latest/api/token', 'X-volc-ecs-metadata-token', '-ttl-seconds', 1],
] as const;

describe('the providers', () => {
  it.each(DOCUMENTED)('%s is as documented', (name, addresses, tokenPath, token, ttlSuffix, min) => {
    const row = PROVIDERS.find((provider) => provider.name === name);
    expect(row).toMatchObject({
      addresses: addresses.split(','),
      tokenPath,
      tokenHeader: token.toLowerCase(),
      ttlHeader: `${token}${ttlSuffix}`.toLowerCase(),
      ttl: { min, max: 21_600 },
    });
  });

  it('names them all, in the order of the table', () => {
    expect(PROVIDER_NAMES).toEqual(DOCUMENTED.map(([name]) => name));
  });

  it('keeps what is compared in lower case', () => {
    const compared = [
      ...PROVIDERS.flatMap((row) => [row.tokenPath, row.tokenHeader, row.ttlHeader, ...row.families, ...row.hostNames]),
      ...FOREIGN_CLOUDS.flatMap((row) => [
        ...row.families,
        ...row.hostNames,
        ...row.headers.flatMap(({ name, value }) => [name, value ?? '']),
      ]),
    ];
    expect(compared.filter((text) => text !== text.toLowerCase())).toEqual([]);
  });
});

describe('endpointsFor', () => {
  it('gives each address once, with those that judge there in the order given', () => {
    expect(endpointsFor(['huawei', 'aws', 'alibaba'])).toEqual([
      { address: '169.254.169.254', port: 80, providers: ['huawei', 'aws'] },
      { address: 'fd00:ec2::254', port: 80, providers: ['aws'] },
      { address: '100.100.100.200', port: 80, providers: ['alibaba'] },
    ]);
  });

  it('has the first provider judge further addresses', () => {
    expect(
      endpointsFor(
        ['volcengine', 'aws'],
        [
          { address: '10.0.0.1', port: 8080 },
          { address: '100.96.0.96', port: 8080 },
        ],
      ),
    ).toEqual([
      { address: '100.96.0.96', port: 80, providers: ['volcengine'] },
      { address: '169.254.169.254', port: 80, providers: ['aws'] },
      { address: 'fd00:ec2::254', port: 80, providers: ['aws'] },
      { address: '10.0.0.1', port: 8080, providers: ['volcengine'] },
      { address: '100.96.0.96', port: 8080, providers: ['volcengine'] },
    ]);
  });

  it('adds the first provider to an address that another has already', () => {
    const [, shared] = endpointsFor(['alibaba', 'aws'], [{ address: '169.254.169.254', port: 80 }]);
    expect(shared).toEqual({ address: '169.254.169.254', port: 80, providers: ['aws', 'alibaba'] });
  });

  it('names a provider twice as once, and nothing as nothing', () => {
    expect(endpointsFor(['alibaba', 'alibaba'])).toHaveLength(1);
    expect(endpointsFor([], [{ address: '10.0.0.1', port: 80 }])).toEqual([]);
  });
});
