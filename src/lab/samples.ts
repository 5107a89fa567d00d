import type { ServiceRules } from './rules.js';

/** One request of a sample client. `{answer}` in path or headers stands for the answer to the step before. */
export interface Step {
  method: 'GET' | 'PUT';
  path: string;
  headers: Readonly<Record<string, string>>;
  /** Send the head in two pieces, the first of so many bytes; only Node's client can. */
  splitAt?: number;
}

/** A client as they are found in the wild, good or bad. */
export interface Sample {
  name: string;
  /** For people: what the client does. */
  does: string;
  steps(rules: ServiceRules): Step[];
}

const get = (path: string, headers: Record<string, string> = {}): Step => ({ method: 'GET', path, headers });

const askToken = (rules: ServiceRules, ttl: number | string, more: Record<string, string> = {}): Step => ({
  method: 'PUT',
  path: rules.tokenPath,
  headers: { [rules.ttlHeader]: String(ttl), ...more },
});

const withToken = (rules: ServiceRules): Step => get(rules.samplePath, { [rules.tokenHeader]: '{answer}' });

export const SAMPLES: readonly Sample[] = [
  { name: 'no-token', does: 'asks without a token', steps: (rules) => [get(rules.samplePath)] },
  {
    name: 'token',
    does: 'asks for a token and uses it',
    steps: (rules) => [askToken(rules, 300), withToken(rules)],
  },
  {
    name: 'split-head',
    does: 'uses a token, and sends its request in two pieces',
    steps: (rules) => [askToken(rules, 300), { ...withToken(rules), splitAt: 60 }],
  },
  { name: 'bad-ttl', does: 'asks for a token with a lifetime of 0', steps: (rules) => [askToken(rules, 0)] },
  {
    name: 'proxied-token',
    does: 'asks for a token through a proxy',
    steps: (rules) => [askToken(rules, 300, { 'X-Forwarded-For': '198.18.0.9' })],
  },
  {
    name: 'bad-token',
    does: 'uses a token that was never issued',
    steps: (rules) => [get(rules.samplePath, { [rules.tokenHeader]: 'never-issued' })],
  },
  {
    name: 'fallback',
    does: 'is refused a token and goes on without, as many SDKs do',
    steps: (rules) => [askToken(rules, 0), get(rules.samplePath)],
  },
  {
    name: 'credentials',
    does: "fetches the role's credentials without a token",
    steps: (rules) => rules.credentialPaths.map((path) => get(path)),
  },
];

/** The longest any request of a sample client may take, in seconds. */
export const REQUEST_TIMEOUT = 5;

export const usesAnswer = ({ path, headers }: Step): boolean =>
  path.includes('{answer}') || Object.values(headers).some((value) => value.includes('{answer}'));

/**
 * The same steps as a curl command: one process where no step needs another's answer (so that it is the same process
 * that asks for a token and then goes without), else a shell script. Undefined where curl can't do it.
 */
export function curlCommand(steps: readonly Step[], origin: string): [string, ...string[]] | undefined {
  if (steps.some(({ splitAt }) => splitAt !== undefined)) return undefined;
  const common = ['-s', '-m', String(REQUEST_TIMEOUT)];
  const request = ({ method, path, headers }: Step): string[] => [
    ...(method === 'GET' ? [] : ['-X', method]),
    ...Object.entries(headers).flatMap(([name, value]) => ['-H', `${name}: ${value}`]),
    origin + path,
  ];
  if (!steps.some(usesAnswer)) {
    const [first, ...rest] = steps.map((step) => [...common, '-o', '/dev/null', ...request(step)]);
    return ['curl', ...first!, ...rest.flatMap((args) => ['--next', ...args])];
  }
  // Every word is from the tables above or an address: nothing in it needs more than the double quotes.
  const quoted = (step: Step) =>
    request(step).map((word) => (/^[\w/:.-]+$/.test(word) ? word : `"${word.replaceAll('{answer}', '$ANSWER')}"`));
  const script = steps.map((step, i) =>
    i < steps.length - 1
      ? `ANSWER=$(curl -f ${[...common, ...quoted(step)].join(' ')})`
      : ['curl', ...common, '-o', '/dev/null', ...quoted(step)].join(' '),
  );
  return ['sh', '-c', script.join(' && ')];
}
