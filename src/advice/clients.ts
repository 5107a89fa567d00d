import type { ProviderName } from '../imds/types.js';

/** Where a client is installed from; says how its name is written and how its versions compare. */
export type ClientKind =
  | 'pip'
  | 'npm'
  /** Names are Maven's `group:artifact`. */
  | 'jar'
  | 'composer'
  | 'gem'
  /** Names are module paths. */
  | 'go'
  /** Packages of the distribution: dpkg and rpm. */
  | 'package'
  /** A data source of cloud-init, judged by what its code can do. */
  | 'cloud-init'
  /** A program that is unpacked, not installed by a package manager. */
  | 'program'
  /** A script or unit file that asks the metadata service itself. */
  | 'script';

/** How a client that uses tokens is kept from going without one when it gets none. */
export interface FallbackSwitch {
  /** Environment variable, and the value that forbids normal mode. */
  variable: string;
  value: string;
  /** The same as an option of the library or of its configuration file, as a person writes it there. */
  option?: string;
  /** Which versions heed it, where not all do that use tokens. */
  heeded?: string;
}

/** A library or program that asks a metadata service, and what is known of it. */
export interface KnownClient {
  kind: ClientKind;
  /** The same client under each of its names, as its package manager writes them, in lower case. */
  names: readonly string[];
  provider: ProviderName;
  /**
   * The first version that asks with a token by itself; null where none is known. Of a data source of cloud-init and of an
   * unpacked program the code decides: whether it has the name of the token header.
   */
  minimum: string | null;
  /** What a version below the minimum means: it goes without a token, or nobody has looked. */
  below: 'too_old' | 'unknown';
  /** What the header's name in a program's code means: `ok` unless it can be there for another part of the program. */
  capable?: 'unknown';
  /** With a version that is new enough, a token request that fails can end in a request without a token. */
  fallsBack: boolean;
  /** Absent where nothing stops it, or nothing is known that does. */
  stopFallback?: FallbackSwitch;
  /** What a person is to know beyond the versions: a whole sentence. */
  note?: string;
  /** Where each figure is from; `tried` is a run of the client against an emulated service. */
  sources: readonly string[];
}

const ALIBABA_FALLBACK: FallbackSwitch = { variable: 'ALIBABA_CLOUD_IMDSV1_DISABLED', value: 'true' };
const AWS_FALLBACK: FallbackSwitch = {
  variable: 'AWS_EC2_METADATA_V1_DISABLED',
  value: 'true',
  option: 'ec2_metadata_v1_disabled=true in ~/.aws/config',
  heeded: 'versions from October 2023 on, in Java from 2024 on',
};

const AWS_MINIMUM = 'https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/use-a-supported-sdk-version-for-imdsv2.html';
const AWS_SWITCH = 'https://docs.aws.amazon.com/sdkref/latest/guide/feature-imds-credentials.html';
const ALIBABA_MODES = 'https://www.alibabacloud.com/help/en/ecs/user-guide/view-instance-metadata';

const aws = (kind: ClientKind, names: readonly string[], minimum: string, note?: string): KnownClient => ({
  kind,
  names,
  provider: 'aws',
  minimum,
  below: 'too_old',
  fallsBack: true,
  stopFallback: AWS_FALLBACK,
  ...(note !== undefined && { note }),
  sources: [AWS_MINIMUM, AWS_SWITCH, 'https://github.com/aws/aws-sdk-go/pull/5015'],
});

/** Alibaba Cloud's older SDKs: they ask the service too, from which version with a token is not documented. */
const olderAlibaba = (kind: ClientKind, names: readonly string[], source: string): KnownClient => ({
  kind,
  names,
  provider: 'alibaba',
  minimum: null,
  below: 'unknown',
  fallsBack: true,
  note: 'It asks for role credentials itself, and its documents name no version that uses tokens: trace it.',
  sources: [source],
});

export const KNOWN_CLIENTS: readonly KnownClient[] = [
  {
    kind: 'pip',
    names: ['alibabacloud-credentials'],
    provider: 'alibaba',
    minimum: '0.3.6',
    below: 'too_old',
    fallsBack: true,
    stopFallback: { ...ALIBABA_FALLBACK, option: 'disable_imds_v1=True in the Config' },
    sources: ['https://github.com/aliyun/credentials-python#readme', ALIBABA_MODES],
  },
  {
    // The vendor's documents say 2.3.1.
    kind: 'npm',
    names: ['@alicloud/credentials'],
    provider: 'alibaba',
    minimum: '2.4.0',
    below: 'too_old',
    fallsBack: true,
    stopFallback: { ...ALIBABA_FALLBACK, option: 'disableIMDSv1: true in the Config' },
    note:
      'The 2.3.1 that the vendor names asks without a token, and where tokens are switched on it asks for them with GET ' +
      'and gets 405.',
    sources: ['tried', 'https://github.com/aliyun/credentials-nodejs/issues/111'],
  },
  {
    // By default from 0.3.8; the vendor's documents ask for 0.3.10.
    kind: 'jar',
    names: ['com.aliyun:credentials-java'],
    provider: 'alibaba',
    minimum: '0.3.10',
    below: 'too_old',
    fallsBack: true,
    stopFallback: { ...ALIBABA_FALLBACK, option: 'disableIMDSv1 in the Config' },
    sources: ['https://github.com/aliyun/credentials-java/pull/77', ALIBABA_MODES],
  },
  {
    kind: 'go',
    names: ['github.com/aliyun/credentials-go'],
    provider: 'alibaba',
    minimum: '1.3.10',
    below: 'too_old',
    fallsBack: true,
    stopFallback: { ...ALIBABA_FALLBACK, option: 'SetDisableIMDSv1(true) on the Config' },
    note: 'It falls back on every answer to the token request but 200.',
    sources: ['https://github.com/aliyun/credentials-go/pull/116', ALIBABA_MODES],
  },
  {
    kind: 'composer',
    names: ['alibabacloud/credentials'],
    provider: 'alibaba',
    minimum: '1.2.0',
    below: 'too_old',
    fallsBack: true,
    stopFallback: { ...ALIBABA_FALLBACK, option: "'disableIMDSv1' => true in the Config" },
    sources: ['https://github.com/aliyun/credentials-php#readme', ALIBABA_MODES],
  },
  olderAlibaba('pip', ['aliyun-python-sdk-core', 'aliyun-python-sdk-core-v3'], ALIBABA_MODES),
  olderAlibaba('jar', ['com.aliyun:aliyun-java-sdk-core'], ALIBABA_MODES),
  olderAlibaba('go', ['github.com/aliyun/alibaba-cloud-sdk-go'], ALIBABA_MODES),
  olderAlibaba('composer', ['alibabacloud/client'], ALIBABA_MODES),
  {
    kind: 'package',
    names: ['cloud-init'],
    provider: 'alibaba',
    minimum: '23.2.2',
    // Distributions carry the code back to older versions.
    below: 'unknown',
    fallsBack: true,
    note: 'Distributions bring the code into older versions too: the data source that is installed decides.',
    sources: [ALIBABA_MODES, 'https://github.com/canonical/cloud-init'],
  },
  {
    kind: 'cloud-init',
    names: ['datasourcealiyun'],
    provider: 'alibaba',
    minimum: '23.2.2',
    below: 'too_old',
    fallsBack: true,
    note: 'A package of the distribution that brings the code into an older version will do as well.',
    sources: [ALIBABA_MODES, 'https://github.com/canonical/cloud-init'],
  },
  {
    kind: 'cloud-init',
    names: ['datasourceec2'],
    provider: 'aws',
    minimum: null,
    below: 'too_old',
    fallsBack: true,
    note: 'It needs a cloud-init whose EC2 data source asks for a token.',
    sources: ['https://github.com/canonical/cloud-init'],
  },
  {
    kind: 'go',
    names: ['github.com/aliyun/aliyun-cli', 'github.com/aliyun/aliyun-cli/v3'],
    provider: 'alibaba',
    minimum: null,
    below: 'unknown',
    fallsBack: true,
    stopFallback: ALIBABA_FALLBACK,
    note: 'Its part for object storage (aliyun oss) asks without a token in every version known: trace what you use of it.',
    sources: ['https://github.com/aliyun/aliyun-cli'],
  },
  {
    kind: 'go',
    names: ['github.com/aliyun/ossutil'],
    provider: 'alibaba',
    minimum: null,
    below: 'unknown',
    fallsBack: true,
    note: 'No version is known to use tokens when it takes its credentials from the role of the instance: trace it.',
    sources: ['https://github.com/aliyun/ossutil'],
  },
  {
    kind: 'package',
    names: ['ossfs'],
    provider: 'alibaba',
    minimum: '1.91.10',
    // What came before has not been looked at.
    below: 'unknown',
    fallsBack: true,
    sources: ['https://github.com/aliyun/ossfs'],
  },
  {
    kind: 'package',
    names: ['ossfs2'],
    provider: 'alibaba',
    minimum: '2.0.6',
    below: 'unknown',
    fallsBack: true,
    sources: ['https://github.com/aliyun/ossfs'],
  },
  aws('npm', ['aws-sdk'], '2.722.0'),
  {
    // The oldest ones read; AWS lists no minimum for its third SDK for JavaScript.
    ...aws('npm', ['@aws-sdk/credential-provider-imds'], '3.0.0'),
    below: 'unknown',
    sources: ['the published 3.0.0', AWS_SWITCH],
  },
  {
    ...aws('npm', ['@smithy/credential-provider-imds'], '1.0.1'),
    below: 'unknown',
    sources: ['the published 1.0.1', AWS_SWITCH],
  },
  aws('pip', ['botocore'], '1.13.25'),
  aws('pip', ['boto3'], '1.12.6', 'It asks through botocore, whose version counts.'),
  aws('pip', ['awscli'], '1.16.289', 'It asks through botocore, whose version counts.'),
  aws('package', ['awscli'], '1.16.289'),
  {
    kind: 'program',
    names: ['ossfs', 'ossfs2'],
    provider: 'alibaba',
    minimum: null,
    below: 'too_old',
    fallsBack: true,
    note: 'ossfs 1.91.10 and ossfs2 2.0.6 use tokens.',
    sources: ['https://github.com/aliyun/ossfs'],
  },
  {
    kind: 'program',
    names: ['ossutil', 'ossutil64'],
    provider: 'alibaba',
    minimum: null,
    below: 'too_old',
    capable: 'unknown',
    fallsBack: true,
    note: 'No version is known to use tokens when it takes its credentials from the role of the instance: trace it.',
    sources: ['https://github.com/aliyun/ossutil'],
  },
  aws('program', ['aws-cli'], '1.16.289'),
  aws('jar', ['com.amazonaws:aws-java-sdk-core'], '1.11.678'),
  {
    ...aws('jar', ['software.amazon.awssdk:auth', 'software.amazon.awssdk:imds'], '2.10.21'),
    stopFallback: { ...AWS_FALLBACK, option: '-Daws.disableEc2MetadataV1=true' },
  },
  aws('go', ['github.com/aws/aws-sdk-go'], '1.25.38'),
  aws('go', ['github.com/aws/aws-sdk-go-v2'], '0.19.0'),
  aws('composer', ['aws/aws-sdk-php'], '3.147.7'),
  aws('gem', ['aws-sdk-core'], '3.79.0'),
];

const BY_NAME: ReadonlyMap<string, KnownClient> = new Map(
  KNOWN_CLIENTS.flatMap((client) => client.names.map((name) => [`${client.kind} ${name}`, client])),
);

/** The names of all clients of a kind. */
export const namesOf = (kind: ClientKind): string[] =>
  KNOWN_CLIENTS.filter((client) => client.kind === kind).flatMap(({ names }) => names);

/** The row of a client by its name in any case; for pip, `_` and `.` are the same as `-` (PEP 503). */
export function knownClient(kind: ClientKind, name: string): KnownClient | undefined {
  const lower = name.toLowerCase();
  return BY_NAME.get(`${kind} ${kind === 'pip' ? lower.replace(/[-_.]+/g, '-') : lower}`);
}

/** `NAME=value`, as it stands in a unit's Environment=, a shell or a container's specification. */
export const assignment = ({ variable, value }: FallbackSwitch): string => `${variable}=${value}`;

/** How to keep a client from falling back: a sentence, or nothing where nothing is known that does. */
export function stopFallbackAdvice({ fallsBack, stopFallback }: KnownClient): string | undefined {
  if (!fallsBack || stopFallback === undefined) return undefined;
  const option = stopFallback.option === undefined ? '' : `, or ${stopFallback.option},`;
  const heeded = stopFallback.heeded === undefined ? '' : ` (heeded by ${stopFallback.heeded})`;
  return `Set ${assignment(stopFallback)} in its environment${option} so that it never asks without a token${heeded}.`;
}
