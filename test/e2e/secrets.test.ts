import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { SERVICE_RULES } from '../../src/lab/rules.js';
import { describeOnKernel } from './support/kernel.js';
import { type Action, requestText, sendRaw } from './support/raw.js';
import { askForToken, clientScript, observe, openScene, pythonPath, type Scene } from './support/scene.js';
import type { Tracer } from './support/tracer.js';

const ADDRESS = '100.100.100.200';
const ORIGIN = `http://${ADDRESS}`;
const ID = '/latest/meta-data/instance-id';
const ROLE = '/latest/meta-data/ram/security-credentials/lab-role';
const TOKEN_HEADER = 'X-aliyun-ecs-metadata-token';

/** What no output may hold, by what it is. Each of a shape of its own, so that a leak names itself. */
const SECRETS = {
  authorization: 'QXV0aG9yaXphdGlvbjpsZWFrZWQ1Nzc4',
  bearer: 'eyJhbGciOiJub25lIn0.bGVha2VkYmVhcmVyMTIz.c2ln',
  cookie: 'sessionleaked8842aa',
  body: 'a-body-that-leaked-7731',
  formField: 'form-field-leaked-9912',
  password: 'pa55word-leaked-4410',
  accessKeySecret: 'kS3cr3tLeaked0123456789abcdef',
  stsToken: 'CAISleakedStsToken0123456789ABCDEF',
} as const;

describeOnKernel('no output holds a token, a secret or a body', () => {
  let scene: Scene;
  let tracer: Tracer;
  let python: string;
  /** Granted by the service and then sent in as many ways as there are. */
  const tokens: string[] = [];

  async function grant(): Promise<string> {
    const { result } = await observe(scene, tracer, 1, () => scene.runOk(askForToken(ORIGIN, 600)));
    tokens.push(result.stdout);
    return result.stdout;
  }

  beforeAll(async () => {
    scene = await openScene();
    tracer = await scene.startTracer();
    python = await pythonPath();
  });
  afterAll(() => scene?.close());

  test.each<[string, (token: string) => readonly string[]]>([
    ['-H NAME: VALUE', (token) => ['curl', '-s', '-H', `${TOKEN_HEADER}: ${token}`, ORIGIN + ID]],
    ['-H NAME:VALUE', (token) => ['curl', '-s', '-H', `${TOKEN_HEADER.toLowerCase()}:${token}`, ORIGIN + ID]],
    ['-HNAME: VALUE', (token) => ['curl', `-sH${TOKEN_HEADER}: ${token}`, ORIGIN + ID]],
    ['--header=', (token) => ['wget', '-q', '-O', '-', `--header=${TOKEN_HEADER}: ${token}`, ORIGIN + ID]],
    ["a shell's script", (token) => ['sh', '-c', `curl -s -H "${TOKEN_HEADER}: ${token}" ${ORIGIN}${ID}; exit 0`]],
    [
      "a shell's variable",
      (token) => ['sh', '-c', `TOKEN='${token}'; curl -s -H "${TOKEN_HEADER}: $TOKEN" ${ORIGIN}${ID}; exit 0`],
    ],
    [
      "Python's code",
      (token) => [
        'PYTHON',
        '-c',
        `import urllib.request as u; u.urlopen(u.Request("${ORIGIN}${ID}", headers={"${TOKEN_HEADER}": "${token}"}))`,
      ],
    ],
    [
      "Node's code",
      (token) => ['node', '-e', `fetch("${ORIGIN}${ID}", { headers: { "${TOKEN_HEADER}": "${token}" } })`],
    ],
    // Nothing beside it says what it is: it is known from the wire.
    ['a bare word', (token) => ['bash', clientScript('dev-tcp.sh'), ADDRESS, ID, `${TOKEN_HEADER}:${token}`, token]],
    ['a query', (token) => ['curl', '-s', `${ORIGIN}${ID}?token=${encodeURIComponent(token)}`]],
    [
      'a long command line that is cut',
      (token) => ['sh', '-c', `: ${'x'.repeat(430)}; curl -s -H "${TOKEN_HEADER}: ${token}" ${ORIGIN}${ID}; exit 0`],
    ],
  ])('a token in %s', async (_, argv) => {
    const token = await grant();
    const words = argv(token).map((word) => (word === 'PYTHON' ? python : word));
    const { journal } = await observe(scene, tracer, 1, () =>
      scene.runOk(['sh', '-c', '"$@"; exit $?', 'p', ...words]),
    );
    expect(decodeURIComponent(JSON.stringify(journal))).toContain(token.slice(0, 30)); // it was sent
  });

  test('credentials, passwords and bodies in arguments and in requests', async () => {
    const s = SECRETS;
    const commands = [
      ['curl', '-s', '-H', `Authorization: Basic ${s.authorization}`, ORIGIN + ID],
      ['curl', '-s', '--oauth2-bearer', s.bearer, ORIGIN + ID],
      ['curl', '-s', '-b', `session=${s.cookie}`, ORIGIN + ID],
      ['curl', '-s', '-u', `admin:${s.password}`, ORIGIN + ID],
      ['curl', '-s', `http://admin:${s.password}@${ADDRESS}${ID}`],
      ['curl', '-s', '-d', `{"note": "${s.body}"}`, ORIGIN + ID],
      ['curl', '-s', '-F', `field=${s.formField}`, ORIGIN + ID],
      ['env', `ALIBABA_CLOUD_ACCESS_KEY_SECRET=${s.accessKeySecret}`, 'curl', '-s', ORIGIN + ID],
      [
        'sh',
        '-c',
        `curl -s ${ORIGIN}${ID}; exit 0`,
        'sh',
        `--access-key-secret=${s.accessKeySecret}`,
        '--sts-token',
        s.stsToken,
      ],
    ];
    await observe(scene, tracer, commands.length, async () => {
      for (const command of commands) await scene.runOk(command);
    });
  });

  test('secrets in requests that no argument holds, and in the answers', async () => {
    const s = SECRETS;
    const token = await grant();
    const body = `{"AccessKeySecret": "${s.accessKeySecret}", "note": "${s.body}"}`;
    const texts = [
      requestText(ID, [`Authorization: Bearer ${s.bearer}`, `Cookie: ${s.cookie}`, 'Connection: close']),
      requestText(ID, [`Content-Length: ${body.length}`, 'Connection: close'], 'POST', body),
      requestText(`${ID}?password=${s.password}&access_token=${s.stsToken}`, ['Connection: close']),
      requestText(ID, [`${TOKEN_HEADER}: ${token}`, `User-Agent: x token=${s.stsToken}`, 'Connection: close']),
      // No HTTP at all, half a head, and two heads of which the second is none.
      `\x16\x03\x01${s.body}`,
      requestText(ID, ['Connection: close']).replace('HTTP/1.1', `${s.body}`),
      `${requestText(ID)}${s.body} ${token}\r\n\r\n`,
      // The role's credentials, in the answer.
      requestText(ROLE, [`${TOKEN_HEADER}: ${token}`, 'Connection: close']),
      requestText(ROLE, ['Connection: close']),
    ];
    const connections = texts.map((text): Action[] => [['send', text], ['end']]);
    const { events } = await observe(scene, tracer, texts.length + 1, () =>
      sendRaw(scene, python, { address: ADDRESS, connections }),
    );
    expect(events.filter(({ imds }) => imds!.credential?.access_key_id === 'STS.LabExample0000000000')).toHaveLength(2);
  });

  test('so there is none in any file, nor on standard output or standard error', async () => {
    const end = await tracer.stop();
    const outputs = new Map([
      ['standard output', end.stdout],
      ['standard error', end.stderr],
      ...readdirSync(tracer.logDir).map((name): [string, string] => [
        name,
        readFileSync(join(tracer.logDir, name), 'latin1'),
      ]),
    ]);
    expect([...outputs.keys()]).toEqual(expect.arrayContaining(['imds-trace.log', 'imds-events.ndjson']));
    // What the service gives out: the secret half of its credentials, and its user-data.
    const answered = JSON.parse(SERVICE_RULES.alibaba.tree[ROLE]!) as Record<string, string>;
    const forbidden = [
      ...Object.values(SECRETS),
      ...tokens.flatMap((token) => [
        token.replace(/=+$/, ''),
        token.slice(0, 12),
        encodeURIComponent(token.replace(/=+$/, '')),
      ]),
      answered['AccessKeySecret']!,
      answered['SecurityToken']!,
      answered['Expiration']!,
    ];
    expect(tokens.length).toBeGreaterThan(10);
    for (const [output, text] of outputs) {
      for (const secret of forbidden) {
        const at = text.indexOf(secret);
        expect(at < 0 ? '' : `${output}: …${text.slice(Math.max(0, at - 120), at + 40)}…`).toBe('');
      }
    }
    // All of it was there to be leaked.
    expect(tracer.text()).toContain('[redacted]');
    expect(tracer.requests()).toHaveLength(scene.journal().length);
  });
});
