import type { ProviderName } from '../imds/types.js';

/**
 * What the emulated service of each cloud answers. Written from the vendors' documents and on purpose apart from the
 * tables that the tracer judges by: an emulation that shared them could not show them to be wrong.
 */
export interface ServiceRules {
  addresses: readonly string[];
  tokenPath: string;
  tokenHeader: string;
  ttlHeader: string;
  /** Accepted lifetimes in seconds, both ends included. */
  ttl: readonly [number, number];
  /** Status of a request without a token in hardened mode. */
  refusal: 401 | 403;
  /** Something harmless that every client asks. */
  samplePath: string;
  /** How one gets to role credentials: `{answer}` is the answer to the path before. */
  credentialPaths: readonly string[];
  /** Path to content. A folder lists what is below it. All of it is invented. */
  tree: Readonly<Record<string, string>>;
}

const ROLE = 'lab-role';
const UPDATED = '2026-01-01T00:00:00Z';
const EXPIRES = '2099-12-31T23:59:59Z';
const NO_SECRET = 'lab-only-this-is-no-secret';

const json = (value: unknown): string => `${JSON.stringify(value, undefined, 2)}\n`;

const awsCredentials = json({
  Code: 'Success',
  LastUpdated: UPDATED,
  Type: 'AWS-HMAC',
  AccessKeyId: 'ASIALABEXAMPLE000000',
  SecretAccessKey: NO_SECRET,
  Token: NO_SECRET,
  Expiration: EXPIRES,
});

const USER_DATA = '#!/bin/sh\necho this is the lab\n';
const PUBLIC_KEY = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILabLabLabLabLabLabLabLabLabLabLabLabLabLab lab\n';

export const SERVICE_RULES: Readonly<Record<ProviderName, ServiceRules>> = {
  alibaba: {
    addresses: ['100.100.100.200'],
    tokenPath: '/latest/api/token',
    tokenHeader: 'X-aliyun-ecs-metadata-token',
    ttlHeader: 'X-aliyun-ecs-metadata-token-ttl-seconds',
    ttl: [1, 21600],
    refusal: 403,
    samplePath: '/latest/meta-data/instance-id',
    credentialPaths: [
      '/latest/meta-data/ram/security-credentials/',
      '/latest/meta-data/ram/security-credentials/{answer}',
    ],
    tree: {
      '/latest/meta-data/hostname': 'imds-lab',
      '/latest/meta-data/image-id': 'lab_1_x64_20G_alibase.vhd',
      '/latest/meta-data/instance-id': 'i-lab0000000000000000',
      '/latest/meta-data/instance/instance-type': 'ecs.lab.large',
      '/latest/meta-data/mac': '00:16:3e:00:00:01',
      '/latest/meta-data/private-ipv4': '198.18.0.1',
      '/latest/meta-data/public-keys/0/openssh-key': PUBLIC_KEY,
      [`/latest/meta-data/ram/security-credentials/${ROLE}`]: json({
        AccessKeyId: 'STS.LabExample0000000000',
        AccessKeySecret: NO_SECRET,
        Expiration: EXPIRES,
        SecurityToken: NO_SECRET,
        LastUpdated: UPDATED,
        Code: 'Success',
      }),
      '/latest/meta-data/region-id': 'cn-lab',
      '/latest/meta-data/zone-id': 'cn-lab-a',
      '/latest/dynamic/instance-identity/document': json({
        'instance-id': 'i-lab0000000000000000',
        'region-id': 'cn-lab',
        'owner-account-id': '0000000000000000',
      }),
      '/latest/dynamic/instance-identity/pkcs7': 'bGFi',
      '/latest/user-data': USER_DATA,
      '/latest/vendor-data': '#cloud-config\n',
    },
  },
  aws: {
    addresses: ['169.254.169.254', 'fd00:ec2::254'],
    tokenPath: '/latest/api/token',
    tokenHeader: 'X-aws-ec2-metadata-token',
    ttlHeader: 'X-aws-ec2-metadata-token-ttl-seconds',
    ttl: [1, 21600],
    refusal: 401,
    samplePath: '/latest/meta-data/instance-id',
    credentialPaths: [
      '/latest/meta-data/iam/security-credentials/',
      '/latest/meta-data/iam/security-credentials/{answer}',
    ],
    tree: {
      '/latest/meta-data/ami-id': 'ami-00000000000000000',
      '/latest/meta-data/hostname': 'imds-lab.internal',
      [`/latest/meta-data/iam/security-credentials/${ROLE}`]: awsCredentials,
      '/latest/meta-data/instance-id': 'i-00000000000000000',
      '/latest/meta-data/instance-type': 'lab.large',
      '/latest/meta-data/placement/region': 'lab-east-1',
      '/latest/meta-data/public-keys/0/openssh-key': PUBLIC_KEY,
      '/latest/dynamic/instance-identity/document': json({ instanceId: 'i-00000000000000000', region: 'lab-east-1' }),
      '/latest/user-data': USER_DATA,
    },
  },
  naver: {
    addresses: ['169.254.169.254'],
    tokenPath: '/latest/api/token',
    tokenHeader: 'X-NCP-METADATA-TOKEN',
    ttlHeader: 'X-NCP-METADATA-TOKEN-TTL-SECONDS',
    ttl: [1, 21600],
    refusal: 403,
    samplePath: '/latest/meta-data/instance-id',
    credentialPaths: [
      '/latest/meta-data/iam/security-credentials/',
      '/latest/meta-data/iam/security-credentials/{answer}',
    ],
    tree: {
      '/latest/meta-data/hostname': 'imds-lab',
      [`/latest/meta-data/iam/security-credentials/${ROLE}`]: awsCredentials,
      '/latest/meta-data/instance-id': '00000001',
      '/latest/user-data': USER_DATA,
    },
  },
  huawei: {
    addresses: ['169.254.169.254'],
    tokenPath: '/meta-data/latest/api/token',
    tokenHeader: 'X-Metadata-Token',
    ttlHeader: 'X-Metadata-Token-Ttl-Seconds',
    ttl: [60, 21600],
    refusal: 403,
    samplePath: '/latest/meta-data/instance-id',
    credentialPaths: ['/openstack/latest/securitykey'],
    tree: {
      '/latest/meta-data/hostname': 'imds-lab',
      '/latest/meta-data/instance-id': '00000000-0000-4000-8000-000000000000',
      '/latest/user-data': USER_DATA,
      '/openstack/latest/meta_data.json': json({ uuid: '00000000-0000-4000-8000-000000000000', name: 'imds-lab' }),
      '/openstack/latest/securitykey': json({
        credential: {
          access: 'LABEXAMPLE0000000000',
          secret: NO_SECRET,
          securitytoken: NO_SECRET,
          expires_at: EXPIRES,
        },
      }),
      '/openstack/latest/user_data': USER_DATA,
    },
  },
  volcengine: {
    addresses: ['100.96.0.96'],
    tokenPath: '/latest/api/token',
    tokenHeader: 'X-volc-ecs-metadata-token',
    ttlHeader: 'X-volc-ecs-metadata-token-ttl-seconds',
    ttl: [1, 21600],
    refusal: 403,
    samplePath: '/latest/instance_id',
    credentialPaths: [
      '/volcstack/latest/iam/security_credentials/',
      '/volcstack/latest/iam/security_credentials/{answer}',
    ],
    tree: {
      '/latest/hostname': 'imds-lab',
      '/latest/instance_id': 'i-lab000000000000',
      '/latest/user_data': USER_DATA,
      [`/volcstack/latest/iam/security_credentials/${ROLE}`]: json({
        AccessKeyId: 'AKTPLabExample',
        SecretAccessKey: NO_SECRET,
        SessionToken: NO_SECRET,
        ExpiredTime: EXPIRES,
      }),
    },
  },
};

export const isProviderName = (name: string): name is ProviderName => Object.hasOwn(SERVICE_RULES, name);
