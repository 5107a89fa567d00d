import { realpathSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { describeOnKernel, isInstalled } from './support/kernel.js';
import { type Expectation, expectExactlyTheJournal } from './support/match.js';
import { verdictOf } from './support/oracle.js';
import { askForToken, clientScript, observe, openScene, pythonPath, type Scene } from './support/scene.js';
import { statsOf, type Tracer } from './support/tracer.js';

const ORIGIN = 'http://100.100.100.200';
const ID = '/latest/meta-data/instance-id';
const ROLES = '/latest/meta-data/ram/security-credentials/';
const TOKEN_HEADER = 'X-aliyun-ecs-metadata-token';

type Wanted = [request: string, status: number, expectation: Expectation];

const WITHOUT_TOKEN: Wanted = [
  `GET ${ID}`,
  200,
  { verdict: 'normal_mode', level: 'WARNING', severity: 'low', reasons: [] },
];
const WITH_TOKEN: Wanted = [`GET ${ID}`, 200, { verdict: 'hardened', level: 'INFO', severity: 'low', reasons: [] }];
const TOKEN_ISSUE: Wanted = ['PUT /latest/api/token', 200, { verdict: 'token_issue', level: 'INFO', reasons: [] }];
/** What the clients named `flow` do: they ask for a token, use it, and then go without in the same process. */
const FLOW: readonly Wanted[] = [
  TOKEN_ISSUE,
  WITH_TOKEN,
  [
    'GET /latest/meta-data/hostname',
    200,
    { verdict: 'normal_mode', level: 'WARNING', reasons: ['fallback_after_token_issue'] },
  ],
];

interface Client {
  client: string;
  /** The command of which this is one; skipped where it is not installed. */
  command: string;
  /** `token` is one that the service has granted. */
  argv: (token: string) => readonly string[];
  /** Task name; by default the command. */
  name?: string;
  wanted: readonly Wanted[];
}

const CLIENTS: readonly Client[] = [
  { client: 'curl without a token', command: 'curl', argv: () => ['curl', '-s', ORIGIN + ID], wanted: [WITHOUT_TOKEN] },
  {
    client: 'curl with a token',
    command: 'curl',
    argv: (token) => ['curl', '-s', '-H', `${TOKEN_HEADER}: ${token}`, ORIGIN + ID],
    wanted: [WITH_TOKEN],
  },
  {
    client: 'curl with two URLs on one connection',
    command: 'curl',
    argv: () => ['curl', '-s', ORIGIN + ID, `${ORIGIN}${ROLES}`],
    wanted: [WITHOUT_TOKEN, [`GET ${ROLES}`, 200, { verdict: 'normal_mode', severity: 'high', reasons: [] }]],
  },
  { client: 'wget', command: 'wget', argv: () => ['wget', '-q', '-O', '-', ORIGIN + ID], wanted: [WITHOUT_TOKEN] },
  {
    client: 'wget with a token',
    command: 'wget',
    argv: (token) => ['wget', '-q', '-O', '-', `--header=${TOKEN_HEADER}: ${token}`, ORIGIN + ID],
    wanted: [WITH_TOKEN],
  },
  {
    client: 'wget asking for a token',
    command: 'wget',
    argv: () => [
      'wget',
      '-q',
      '-O',
      '-',
      '--method=PUT',
      `--header=${TOKEN_HEADER}-ttl-seconds: 60`,
      `${ORIGIN}/latest/api/token`,
    ],
    wanted: [TOKEN_ISSUE],
  },
  {
    client: "Python's urllib",
    command: 'python3',
    argv: () => ['PYTHON', clientScript('flow_urllib.py'), ORIGIN],
    name: 'PYTHON',
    wanted: FLOW,
  },
  {
    client: "Python's http.client",
    command: 'python3',
    argv: () => ['PYTHON', clientScript('flow_http_client.py'), '100.100.100.200'],
    name: 'PYTHON',
    wanted: FLOW,
  },
  {
    client: "Node's http",
    command: 'node',
    argv: () => ['node', clientScript('flow-http.mjs'), ORIGIN],
    wanted: FLOW,
  },
  {
    client: "Node's fetch",
    command: 'node',
    argv: () => ['node', clientScript('flow-fetch.mjs'), ORIGIN],
    wanted: FLOW,
  },
  {
    client: "Java's HttpURLConnection",
    command: 'java',
    argv: () => ['java', clientScript('FlowUrlConnection.java'), ORIGIN],
    wanted: FLOW,
  },
  {
    client: "Java's HttpClient",
    command: 'java',
    argv: () => ['java', clientScript('FlowHttpClient.java'), ORIGIN],
    wanted: FLOW,
  },
  {
    client: "bash's /dev/tcp",
    command: 'bash',
    argv: () => ['bash', clientScript('dev-tcp.sh'), '100.100.100.200', ID],
    wanted: [WITHOUT_TOKEN],
  },
  {
    client: "bash's /dev/tcp with a token",
    command: 'bash',
    argv: (token) => ['bash', clientScript('dev-tcp.sh'), '100.100.100.200', ID, `${TOKEN_HEADER}:${token}`],
    wanted: [WITH_TOKEN],
  },
  {
    client: '@alicloud/credentials 2.3.0',
    command: 'node',
    argv: () => ['node', clientScript('alicloud.cjs'), 'alicloud-credentials-2.3.0'],
    wanted: [
      [`GET ${ROLES}`, 200, { verdict: 'normal_mode', level: 'WARNING', severity: 'high', reasons: [] }],
      [
        `GET ${ROLES}lab-role`,
        200,
        { verdict: 'normal_mode', level: 'WARNING', severity: 'critical', reasons: ['credential_path'] },
      ],
    ],
  },
  {
    client: '@alicloud/credentials 2.4.7',
    command: 'node',
    argv: () => ['node', clientScript('alicloud.cjs'), '@alicloud/credentials'],
    wanted: [
      TOKEN_ISSUE,
      [`GET ${ROLES}`, 200, { verdict: 'hardened', level: 'INFO', severity: 'high', reasons: [] }],
      TOKEN_ISSUE,
      [
        `GET ${ROLES}lab-role`,
        200,
        { verdict: 'hardened', level: 'INFO', severity: 'critical', reasons: ['credential_path'] },
      ],
    ],
  },
];

/** Neither proxies nor the user's own settings may send a client elsewhere. */
const ENVIRONMENT = { HOME: '/nonexistent', http_proxy: '', HTTP_PROXY: '', all_proxy: '', ALL_PROXY: '' };

describeOnKernel('real clients: each request is one event, judged and attributed rightly', () => {
  let scene: Scene;
  let tracer: Tracer;
  let python: string;

  beforeAll(async () => {
    scene = await openScene();
    tracer = await scene.startTracer();
    python = await pythonPath();
  });
  afterAll(() => scene?.close());

  describe.each(CLIENTS)('$client', ({ command, argv: argvOf, name = command, wanted }) => {
    test.skipIf(!isInstalled(command))('run by a shell', async () => {
      const granted = await observe(scene, tracer, 1, () => scene.runOk(askForToken(ORIGIN, 600)));
      const token = granted.result.stdout;
      const argv = argvOf(token).map((word) => (word === 'PYTHON' ? python : word));
      const shown = argv.map((word) => word.replaceAll(token, '[redacted]'));

      const shell = ['sh', '-c', '"$@" >&2 & echo $!; wait $!', 'parent-of-the-client'];
      const { result, journal, events } = await observe(scene, tracer, wanted.length, () =>
        scene.runOk([...shell, ...argv], { env: ENVIRONMENT }),
      );

      expect(
        journal.map((entry) => entry.kind === 'request' && [`${entry.method} ${entry.target}`, entry.status]),
      ).toEqual(wanted.map(([request, status]) => [request, status]));
      const pid = Number(result.stdout);
      const expectations = wanted.map(
        ([, , expectation]): Expectation => ({
          ...expectation,
          pid,
          name: name === 'PYTHON' ? python.slice(python.lastIndexOf('/') + 1) : name,
          args: shown,
          parentPid: result.pid,
          parentArgs: [...shell, ...shown],
          attribution: 'connect',
        }),
      );
      expectExactlyTheJournal(events, journal, (_, index) => expectations[index]!);
      for (const { process } of events) {
        expect(process!.user).toMatchObject({ id: '0' });
        expect(process!.args!.join(' ')).toBe(process!.command_line);
      }
    });
  });

  test('the executable is the file that runs', async () => {
    const { events } = await observe(scene, tracer, FLOW.length, () =>
      scene.runOk([python, clientScript('flow_http_client.py'), '100.100.100.200']),
    );
    expect(events.map(({ process }) => process!.executable)).toEqual(FLOW.map(() => realpathSync(python)));
  });

  test('nothing came late, and the counters agree', async () => {
    expect(await tracer.stop()).toMatchObject({ status: 0 });
    const journal = scene.journal();
    expectExactlyTheJournal(tracer.requests(), journal, verdictOf);
    const stats = statsOf(tracer);
    expect(stats.requests).toBeGreaterThanOrEqual(journal.length); // other clients of this machine may be seen as well
    expect(stats).toMatchObject({ ring_dropped: 0, unparsed: 0, gaps: 0, unattributed: 0, log_errors: 0 });
  });
});
