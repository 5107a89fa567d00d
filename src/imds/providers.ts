import type { EndpointAddress } from '../capture/types.js';
import type { Endpoint, ProviderName } from './types.js';

/** A metadata service with a session token. Header names, paths and host names are in lower case. */
export interface Provider {
  name: ProviderName;
  /** Canonical text; each answers on port 80. */
  addresses: readonly string[];
  /** A PUT there asks for a token. */
  tokenPath: string;
  tokenHeader: string;
  ttlHeader: string;
  /** Seconds, both ends included. */
  ttl: { min: number; max: number };
  /** The service refuses a token request that carries X-Forwarded-For. */
  refusesForwardedToken: boolean;
  /** First segments of the paths that the service answers, versions written as `latest`. */
  families: readonly string[];
  /** Names under which clients reach the address. */
  hostNames: readonly string[];
}

export const PROVIDERS: readonly Provider[] = [
  {
    // https://www.alibabacloud.com/help/en/ecs/user-guide/view-instance-metadata
    name: 'alibaba',
    addresses: ['100.100.100.200'],
    tokenPath: '/latest/api/token',
    tokenHeader: 'x-aliyun-ecs-metadata-token',
    ttlHeader: 'x-aliyun-ecs-metadata-token-ttl-seconds',
    ttl: { min: 1, max: 21_600 },
    refusesForwardedToken: true,
    families: ['/latest'],
    hostNames: [],
  },
  {
    // https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html
    name: 'aws',
    addresses: ['169.254.169.254', 'fd00:ec2::254'],
    tokenPath: '/latest/api/token',
    tokenHeader: 'x-aws-ec2-metadata-token',
    ttlHeader: 'x-aws-ec2-metadata-token-ttl-seconds',
    ttl: { min: 1, max: 21_600 },
    refusesForwardedToken: true,
    families: ['/latest'],
    // The resolver of a VPC knows the second name; cloud-init asks for the first.
    hostNames: ['instance-data', 'instance-data.ec2.internal'],
  },
  {
    // https://api.ncloud-docs.com/docs/en/compute-vmetadata-metadatav2
    name: 'naver',
    addresses: ['169.254.169.254'],
    tokenPath: '/latest/api/token',
    tokenHeader: 'x-ncp-metadata-token',
    ttlHeader: 'x-ncp-metadata-token-ttl-seconds',
    ttl: { min: 1, max: 21_600 },
    refusesForwardedToken: false,
    families: ['/latest'],
    hostNames: [],
  },
  {
    // https://support.huaweicloud.com/intl/en-us/usermanual-ecs/ecs_03_0166.html: OpenStack's and EC2's paths
    name: 'huawei',
    addresses: ['169.254.169.254'],
    tokenPath: '/meta-data/latest/api/token',
    tokenHeader: 'x-metadata-token',
    ttlHeader: 'x-metadata-token-ttl-seconds',
    ttl: { min: 60, max: 21_600 },
    refusesForwardedToken: false,
    families: ['/openstack', '/meta-data', '/latest'],
    hostNames: [],
  },
  {
    // https://www.volcengine.com/docs/6396/113780
    name: 'volcengine',
    addresses: ['100.96.0.96'],
    tokenPath: '/latest/api/token',
    tokenHeader: 'x-volc-ecs-metadata-token',
    ttlHeader: 'x-volc-ecs-metadata-token-ttl-seconds',
    ttl: { min: 1, max: 21_600 },
    refusesForwardedToken: false,
    families: ['/volcstack', '/latest'],
    hostNames: [],
  },
];

export const PROVIDER_NAMES: readonly ProviderName[] = PROVIDERS.map((provider) => provider.name);

/** How a request to another cloud's metadata service is known, where several clouds share an address. */
export interface ForeignCloud {
  name: string;
  families: readonly string[];
  /** Headers that are the same in every request; without `value` the name alone tells. */
  headers: readonly { name: string; value?: string }[];
  hostNames: readonly string[];
}

export const FOREIGN_CLOUDS: readonly ForeignCloud[] = [
  {
    // Libraries find out where they run with `GET /` and this header: google-auth-library's ping.
    name: 'google',
    families: ['/computemetadata'],
    headers: [{ name: 'metadata-flavor', value: 'google' }],
    hostNames: ['metadata', 'metadata.google.internal'],
  },
  { name: 'azure', families: ['/metadata'], headers: [{ name: 'metadata', value: 'true' }], hostNames: [] },
  {
    name: 'oracle',
    families: ['/opc'],
    headers: [{ name: 'authorization', value: 'bearer oracle' }],
    hostNames: [],
  },
  {
    name: 'yandex',
    families: ['/computemetadata'],
    headers: [{ name: 'metadata-flavor', value: 'google' }],
    hostNames: ['metadata.google.internal'],
  },
  { name: 'openstack', families: ['/openstack'], headers: [], hostNames: [] },
  { name: 'digitalocean', families: ['/metadata/v1', '/metadata/v1.json'], headers: [], hostNames: [] },
  { name: 'hetzner', families: ['/hetzner'], headers: [], hostNames: [] },
  { name: 'vultr', families: ['/v1', '/v1.json'], headers: [], hostNames: [] },
  { name: 'scaleway', families: ['/conf', '/user_data', '/vendor_data'], headers: [], hostNames: [] },
  {
    // Its /latest/meta-data can't be told from that of AWS: only the name can.
    name: 'tencent',
    families: [],
    headers: [{ name: 'host', value: 'metadata.tencentyun.com' }],
    hostNames: ['metadata.tencentyun.com'],
  },
  {
    name: 'ibm',
    families: ['/identity/v1', '/instance_identity/v1', '/metadata/v1'],
    headers: [{ name: 'metadata-flavor', value: 'ibm' }],
    hostNames: ['api.metadata.cloud.ibm.com'],
  },
  {
    name: 'linode',
    families: ['/v1'],
    headers: [{ name: 'metadata-token' }, { name: 'metadata-token-expiry-seconds' }],
    hostNames: [],
  },
];

/** Addresses that several clouds use. fd00:ec2::254, 100.100.100.200 and 100.96.0.96 are each one cloud's alone. */
export const SHARED_ADDRESSES: ReadonlySet<string> = new Set(['169.254.169.254']);

const METADATA_PORT = 80;

const BY_NAME: ReadonlyMap<ProviderName, Provider> = new Map(PROVIDERS.map((provider) => [provider.name, provider]));

/** The row of a provider. */
export const providerNamed = (name: ProviderName): Provider => BY_NAME.get(name)!;

/**
 * What to trace: the addresses of the providers, each once with all that judge there in the order given, then the
 * further addresses (canonical text), which the first provider judges.
 */
export function endpointsFor(names: readonly ProviderName[], extra: readonly EndpointAddress[] = []): Endpoint[] {
  const found = new Map<string, { address: string; port: number; providers: Set<ProviderName> }>();
  const add = (address: string, port: number, name: ProviderName) => {
    const key = `[${address}]:${port}`;
    const endpoint = found.get(key) ?? { address, port, providers: new Set() };
    endpoint.providers.add(name);
    found.set(key, endpoint);
  };
  for (const name of names) {
    for (const address of providerNamed(name).addresses) add(address, METADATA_PORT, name);
  }
  const [first] = names;
  if (first !== undefined) {
    for (const { address, port } of extra) add(address, port, first);
  }
  return [...found.values()].map((endpoint) => ({ ...endpoint, providers: [...endpoint.providers] }));
}
