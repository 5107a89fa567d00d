import type { RootCauseCode } from '../audit/root-cause.js';
import type { Advice, Impact, SdkFinding } from '../audit/types.js';
import { providerNamed } from '../imds/providers.js';
import type { ProviderName } from '../imds/types.js';
import {
  assignment,
  type ClientKind,
  type FallbackSwitch,
  type KnownClient,
  knownClient,
  stopFallbackAdvice,
} from './clients.js';
import { exampleRequest, HEADERS, withToken } from './curl.js';
import { isPlain, shellWord } from './shell.js';

/** What advice is made from. */
export interface AdviceFacts {
  provider: ProviderName;
  impact: Impact;
  causes: ReadonlySet<RootCauseCode>;
  sdks: readonly SdkFinding[];
  unit: string | null;
  container: boolean;
  /** A path that was asked for without a token. */
  path: string | undefined;
  /** Arguments of requests without a token. */
  examples: readonly (readonly string[])[];
  /** Names of the clients that it asks for, or through; for people. */
  others: readonly string[];
}

const DOCUMENTS: Readonly<Record<ProviderName, string>> = {
  alibaba: 'https://www.alibabacloud.com/help/en/ecs/user-guide/view-instance-metadata',
  aws: 'https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html',
  naver: 'https://api.ncloud-docs.com/docs/en/compute-vmetadata-metadatav2',
  huawei: 'https://support.huaweicloud.com/intl/en-us/usermanual-ecs/ecs_03_0166.html',
  volcengine: 'https://www.volcengine.com/docs/6396/113780',
};

/** For clients that fall back and whose SDK is not known: what the SDKs of a provider understand. */
const FALLBACK_SWITCHES: Readonly<Partial<Record<ProviderName, FallbackSwitch>>> = {
  alibaba: { variable: 'ALIBABA_CLOUD_IMDSV1_DISABLED', value: 'true' },
  aws: { variable: 'AWS_EC2_METADATA_V1_DISABLED', value: 'true' },
};

/** How a package is raised to a version, by where it is installed from. */
const UPGRADES: Readonly<Record<ClientKind, (name: string, minimum: string) => string[]>> = {
  pip: (name, minimum) => [`pip install --upgrade ${shellWord(`${name}>=${minimum}`)}`],
  npm: (name, minimum) => [`npm install ${shellWord(`${name}@^${minimum}`)}`],
  go: (name, minimum) => [`go get ${shellWord(`${name}@v${minimum}`)}`, '# then build and deploy again'],
  composer: (name, minimum) => [`composer require ${shellWord(`${name}:^${minimum}`)}`],
  gem: (name, minimum) => [`bundle add ${shellWord(name)} --version ${shellWord(`>= ${minimum}`)}`],
  // In a pom.xml or a Gradle file.
  jar: (name, minimum) => [`${name}:${minimum}`],
  package: (name) => [`apt-get install --only-upgrade ${shellWord(name)}   # or: yum update ${shellWord(name)}`],
  'cloud-init': () => ['apt-get install --only-upgrade cloud-init   # or: yum update cloud-init'],
  program: () => [],
  script: () => [],
};

interface Row {
  id: string;
  /** Empty where it does not apply. */
  make: (facts: AdviceFacts) => Omit<Advice, 'id'>[];
}

const when = (condition: boolean, advice: () => Omit<Advice, 'id'>): Omit<Advice, 'id'>[] =>
  condition ? [advice()] : [];

const hasAny = ({ causes }: AdviceFacts, ...codes: RootCauseCode[]): boolean => codes.some((code) => causes.has(code));

const addresses = (provider: ProviderName): readonly string[] => providerNamed(provider).addresses;

/** Where a vendor's documents are one page, it is the source. */
const documented = (provider: ProviderName): { source: string } => ({ source: DOCUMENTS[provider] });

const ASKS_WITHOUT = ['never_asks', 'sometimes_without', 'empty_token', 'other_provider_token'] as const;

/** What to do, in the order in which to do it. */
const ROWS: readonly Row[] = [
  {
    id: 'upgrade',
    make: ({ sdks }) =>
      knownSdks(sdks)
        .filter(({ sdk }) => sdk.status === 'too_old')
        .map(({ sdk, known }) => ({
          text:
            `Raise ${sdk.name}${sdk.version === null ? '' : ` from ${sdk.version}`} to ` +
            `${known.minimum === null ? 'a version that uses tokens' : `${known.minimum} or later`}` +
            `${sdk.path === undefined ? '' : ` (${sdk.path})`}.${known.note === undefined ? '' : ` ${known.note}`}`,
          commands: UPGRADES[known.kind](sdk.name, known.minimum ?? ''),
          source: sourceOf(known),
        })),
  },
  {
    id: 'sdk-unknown',
    make: ({ sdks, causes }) =>
      causes.has('never_asks')
        ? knownSdks(sdks)
            .filter(({ sdk }) => sdk.status === 'unknown')
            .map(({ sdk, known }) => ({
              text: `Look at ${sdk.name}${sdk.version === null ? '' : ` ${sdk.version}`}.${known.note === undefined ? '' : ` ${known.note}`}`,
              commands: known.minimum === null ? [] : UPGRADES[known.kind](sdk.name, known.minimum),
              source: sourceOf(known),
            }))
        : [],
  },
  {
    id: 'change-script',
    make: ({ sdks }) =>
      sdks
        .filter(({ kind, status }) => kind === 'script' && status === 'too_old')
        .map(({ name, path }) => ({
          text: `Change ${path ?? name}: it asks the service itself, without a token.`,
          commands: [],
        })),
  },
  {
    id: 'rewrite-line',
    make: ({ provider, examples }) => {
      for (const args of examples) {
        const commands = withToken(args, provider, addresses(provider));
        if (commands !== undefined) {
          return [{ text: 'Write the line so that it asks for a token first:', commands, ...documented(provider) }];
        }
      }
      return [];
    },
  },
  {
    id: 'ask-for-token',
    make: (facts) => {
      const { provider, sdks, examples, path } = facts;
      const hasLine = examples.some((args) => withToken(args, provider, addresses(provider)) !== undefined);
      const hasSdk = knownSdks(sdks).length > 0;
      return when(hasAny(facts, ...ASKS_WITHOUT) && !hasLine && !hasSdk, () => ({
        text:
          `Make it ask for a token (PUT ${providerNamed(provider).tokenPath} with ${HEADERS[provider].ttl}) and send it with ` +
          `each request as ${HEADERS[provider].token}. In a shell that is:`,
        commands: exampleRequest(provider, path),
        ...documented(provider),
      }));
    },
  },
  {
    id: 'check-answer',
    make: (facts) =>
      when(facts.causes.has('empty_token'), () => ({
        text: 'Check the answer to the token request before the token is used: an empty header counts as none.',
        commands: [],
      })),
  },
  {
    id: 'right-provider',
    make: (facts) =>
      when(hasAny(facts, 'other_provider_token', 'token_other_provider_ttl'), () => ({
        text:
          `It takes this host for one of another cloud. Configure it for ${facts.provider}: its headers are ` +
          `${HEADERS[facts.provider].ttl} and ${HEADERS[facts.provider].token}.`,
        commands: [],
        ...documented(facts.provider),
      })),
  },
  {
    id: 'put-method',
    make: (facts) =>
      when(facts.causes.has('token_wrong_method'), () => ({
        text: 'Ask for the token with PUT: the service answers other methods with 405.',
        commands: [],
        ...documented(facts.provider),
      })),
  },
  {
    id: 'ttl',
    make: (facts) =>
      when(hasAny(facts, 'token_ttl_out_of_range', 'token_ttl_missing'), () => {
        const { min, max } = providerNamed(facts.provider).ttl;
        return {
          text: `Ask for a lifetime of ${min} to ${max} seconds, in ${HEADERS[facts.provider].ttl}.`,
          commands: [],
          ...documented(facts.provider),
        };
      }),
  },
  {
    id: 'around-proxy',
    make: (facts) =>
      when(hasAny(facts, 'token_forwarded', 'token_forwarded_refused'), () => ({
        text:
          'A proxy puts X-Forwarded-For on its token requests, and the service refuses those so that no proxy can be made to ' +
          'fetch a token. Take the address of the service out of the proxy:',
        commands: [
          `NO_PROXY=${addresses(facts.provider).join(',')}`,
          `no_proxy=${addresses(facts.provider).join(',')}`,
        ],
        ...documented(facts.provider),
      })),
  },
  {
    id: 'renew-token',
    make: (facts) =>
      when(hasAny(facts, 'keeps_old_token') || (facts.causes.has('old_token') && facts.impact === 'no_token'), () => ({
        text: 'On an answer of 401, ask for a new token; ask for the next one before the lifetime of the last is over.',
        commands: [],
      })),
  },
  {
    id: 'why-refused',
    make: (facts) =>
      when(hasAny(facts, 'token_refused'), () => ({
        text:
          'Find out why the service refuses its token requests (the status is above): 403 is a proxy or a rule of the instance, ' +
          '404 or 405 a service that has no tokens, 429 or 503 too many at a time.',
        commands: [],
      })),
  },
  {
    id: 'proxy',
    make: (facts) =>
      when(hasAny(facts, 'asks_for_others', 'sent_on'), () => ({
        text:
          'It asks for others. Let it ask for tokens itself, or pass their token headers on as they are' +
          `${facts.others.length === 0 ? '' : `; those that it asks for: ${facts.others.join(', ')}`}.`,
        commands: [],
      })),
  },
  {
    id: 'stop-fallback',
    make: (facts) => {
      const falls = hasAny(facts, 'falls_back', 'drops_token');
      const found = knownSdks(facts.sdks).flatMap(({ known }) => {
        const sentence = stopFallbackAdvice(known);
        return sentence === undefined || known.stopFallback === undefined ? [] : [{ sentence, known }];
      });
      if (found.length > 0 && (falls || facts.impact !== 'none')) {
        const [{ sentence, known }] = found as [(typeof found)[number]];
        return [
          {
            text: `${sentence} Do so once it gets its tokens: it then fails where it would have gone without.`,
            commands: setVariable(known.stopFallback!, facts),
            source: known.sources.findLast((source) => source.startsWith('https://'))!,
          },
        ];
      }
      const general = FALLBACK_SWITCHES[facts.provider];
      // A shell's line has no SDK that would understand the variable.
      const isTool = facts.sdks.some(({ name }) => name === 'curl' || name === 'wget');
      return when(falls && general !== undefined && !isTool, () => ({
        text:
          `If it is made with an SDK of ${facts.provider}, set ${assignment(general!)} in its environment once it gets its tokens, ` +
          'so that it never asks without one.',
        commands: setVariable(general!, facts),
        ...documented(facts.provider),
      }));
    },
  },
  {
    id: 'look-at-bytes',
    make: (facts) =>
      when(facts.causes.has('unreadable'), () => ({
        text: 'Look at what it sends: bytes that are no request, or a request of which a part was lost. Run the audit again.',
        commands: [],
      })),
  },
  {
    id: 'nothing-there',
    make: (facts) =>
      when(facts.impact === 'fails_anyway', () => ({
        text: 'Nothing that it got ends with the switch: the paths that it asks for were not there. See whether it needs them.',
        commands: [],
      })),
  },
];

/** What a person can do about a client, in order. Empty for one that needs nothing. */
export function adviceFor(facts: AdviceFacts): Advice[] {
  return ROWS.flatMap(({ id, make }) => make(facts).map((advice) => ({ id, ...advice })));
}

function knownSdks(sdks: readonly SdkFinding[]): { sdk: SdkFinding; known: KnownClient }[] {
  const seen = new Set<KnownClient>();
  return sdks.flatMap((sdk) => {
    const known = sdk.kind === null ? undefined : knownClient(sdk.kind, sdk.name);
    if (known === undefined || seen.has(known)) return [];
    seen.add(known);
    return [{ sdk, known }];
  });
}

/** Every row of the table has a page that can be read, beside what was tried. */
const sourceOf = ({ sources }: KnownClient): string => sources.find((source) => source.startsWith('https://'))!;

/** A variable where the client runs: in its container, its unit, or the shell that starts it. */
function setVariable(setting: FallbackSwitch, { unit, container }: AdviceFacts): string[] {
  const pair = assignment(setting);
  if (container) return [`# in the container's specification: env ${pair}   (docker run --env ${pair})`];
  if (unit !== null && isPlain(unit) && unit.endsWith('.service') && !unit.includes('*') && !unit.startsWith('user@')) {
    return [
      `systemctl edit ${shellWord(unit)}`,
      '[Service]',
      `Environment=${pair}`,
      `systemctl restart ${shellWord(unit)}`,
    ];
  }
  return [`export ${pair}`];
}
