import { providerNamed } from '../imds/providers.js';
import type { ProviderName } from '../imds/types.js';
import { isPlain, shellWord } from './shell.js';

/** How long the token of a rewritten line lives, in seconds: as long as any script's step, and within every provider's range. */
const TTL_SECONDS = 300;

/** Header names as the vendors write them; on the wire their case does not matter. */
export const HEADERS: Readonly<Record<ProviderName, { token: string; ttl: string }>> = {
  alibaba: { token: 'X-aliyun-ecs-metadata-token', ttl: 'X-aliyun-ecs-metadata-token-ttl-seconds' },
  aws: { token: 'X-aws-ec2-metadata-token', ttl: 'X-aws-ec2-metadata-token-ttl-seconds' },
  naver: { token: 'X-NCP-METADATA-TOKEN', ttl: 'X-NCP-METADATA-TOKEN-TTL-SECONDS' },
  huawei: { token: 'X-Metadata-Token', ttl: 'X-Metadata-Token-Ttl-Seconds' },
  volcengine: { token: 'X-volc-ecs-metadata-token', ttl: 'X-volc-ecs-metadata-token-ttl-seconds' },
};

/** curl and wget take an address without a scheme as http. */
const SCHEME = /^[a-z][a-z0-9+.-]*:\/\//i;
/**
 * A URL whose host every parser reads the same: what follows it is a path or nothing. `http://ADDRESS\@elsewhere/` is at ADDRESS
 * for a browser's parser, and elsewhere for curl's.
 */
const PLAIN_URL = /^(?:http:\/\/)?(?:\[[0-9a-f:]+\]|[\d.]+)(?::\d{1,5})?(?:\/|$)/i;
/** What stands for a secret, or for what was cut off: not what was asked for. */
const NOT_WHOLE = /\[redacted\]|\.\.\.\[\+\d+\]$/;

/**
 * The two lines that ask for a token and then for what a curl or wget line asked for. Undefined where no argument is a URL at
 * one of the addresses, or it has characters that are not safe to copy or is not whole. A token goes to that address only, and
 * no user or password of the URL comes out.
 */
export function withToken(
  args: readonly string[],
  provider: ProviderName,
  addresses: readonly string[],
): string[] | undefined {
  const tool = toolOf(args[0]);
  if (tool === undefined) return undefined;
  const url = args.slice(1).find((arg) => isPlain(arg) && !NOT_WHOLE.test(arg) && isAt(arg, addresses));
  if (url === undefined) return undefined;
  const { token, ttl } = HEADERS[provider];
  const { origin, pathname, search } = parsed(url)!;
  const tokenUrl = shellWord(`${origin}${providerNamed(provider).tokenPath}`);
  return TOOLS[tool](tokenUrl, shellWord(PLAIN_URL.test(url) ? url : origin + pathname + search), {
    token,
    ttl: `${ttl}: ${TTL_SECONDS}`,
  });
}

/** The two lines for a path (of the first address), where no line of the client's own is there to be rewritten. */
export function exampleRequest(provider: ProviderName, path = '/latest/meta-data/'): string[] {
  const { addresses, tokenPath } = providerNamed(provider);
  const origin = `http://${addresses[0]}`;
  const { token, ttl } = HEADERS[provider];
  const shown = isPlain(path) && path.startsWith('/') ? path : '/latest/meta-data/';
  return TOOLS.curl(shellWord(origin + tokenPath), shellWord(origin + shown), { token, ttl: `${ttl}: ${TTL_SECONDS}` });
}

type Tool = 'curl' | 'wget';

const TOOLS: Readonly<
  Record<Tool, (tokenUrl: string, url: string, header: { token: string; ttl: string }) => string[]>
> = {
  // --fail: an error's text must not become the token. An empty one must not go on as a request without.
  curl: (tokenUrl, url, { token, ttl }) => [
    `TOKEN=$(curl -fsS -m 5 -X PUT -H "${ttl}" ${tokenUrl}) && test -n "$TOKEN" &&`,
    `  curl -fsS -m 5 -H "${token}: $TOKEN" ${url}`,
  ],
  wget: (tokenUrl, url, { token, ttl }) => [
    `TOKEN=$(wget -qO- -T 5 --method=PUT --header="${ttl}" ${tokenUrl}) && test -n "$TOKEN" &&`,
    `  wget -qO- -T 5 --header="${token}: $TOKEN" ${url}`,
  ],
};

function toolOf(command: string | undefined): Tool | undefined {
  const name = command?.slice(command.lastIndexOf('/') + 1);
  return name === 'curl' || name === 'wget' ? name : undefined;
}

function parsed(text: string): URL | undefined {
  const url = SCHEME.test(text) ? text : `http://${text}`;
  return URL.canParse(url) ? new URL(url) : undefined;
}

function isAt(text: string, addresses: readonly string[]): boolean {
  if (text.startsWith('-')) return false;
  const url = parsed(text);
  return url?.protocol === 'http:' && addresses.includes(url.hostname.replace(/^\[|\]$/g, ''));
}
