import { type ChildProcess, spawn } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { AuditDocument } from '../../src/audit/document.js';
import type { AuditState } from '../../src/audit/state.js';
import { SERVICE_RULES } from '../../src/lab/rules.js';
import { ocsfProblems } from '../output/ocsf-validate.js';
import { PATIENCE } from '../support/patience.js';
import { CleanupStack } from './support/cleanup.js';
import { describeOnKernel } from './support/kernel.js';
import { openScene, type Scene } from './support/scene.js';
import { MAIN } from './support/tracer.js';
import { until } from './support/wait.js';

/** Nobody else on a test machine talks to this one: what an audit of the whole host sees is this test's alone. */
const PROVIDER = 'volcengine';
const RULES = SERVICE_RULES[PROVIDER];
const ORIGIN = `http://${RULES.addresses[0]}`;

const PROXY_PORT = 18_080;

interface Ended {
  status: number | null;
  stdout: string;
  stderr: string;
}

interface RunningAudit {
  child: ChildProcess;
  out: string;
  stderr: () => string;
  ended: Promise<Ended>;
  result: () => AuditDocument;
}

describeOnKernel('an audit', () => {
  const cleanup = new CleanupStack();
  let normal: Scene;
  let hardened: Scene;
  let folders = 0;

  function start(scene: Scene, args: readonly string[], out = join(scene.folder, `out-${folders++}`)): RunningAudit {
    const all = [
      'audit',
      '--provider',
      PROVIDER,
      '--out',
      out,
      '--log-dir',
      join(scene.folder, `log-${folders++}`),
      '--skip-inventory',
      ...args,
    ];
    const child = spawn(process.execPath, [MAIN, ...all], { stdio: ['ignore', 'pipe', 'pipe'] });
    cleanup.defer('end the audit', () => child.kill('SIGKILL'));
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    const ended = new Promise<Ended>((resolve) => child.once('close', (status) => resolve({ status, stdout, stderr })));
    return {
      child,
      out,
      stderr: () => stderr,
      ended,
      result: () => JSON.parse(readFileSync(join(out, 'audit.json'), 'utf8')) as AuditDocument,
    };
  }

  /** So many seconds, of which a client needs more on an emulated processor, after those that it has traced before. */
  const lasting = (seconds: number, tracedMs = 0): readonly string[] => [
    '--duration',
    `${Math.ceil(tracedMs / 1000) + seconds * PATIENCE}s`,
  ];

  const stateOf = (out: string): AuditState | undefined => {
    const path = join(out, 'audit-state.json');
    return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as AuditState) : undefined;
  };
  /** The first state is written once capture has begun. */
  const capturing = ({ out, stderr }: RunningAudit, since = 0) =>
    until(
      () => `capture to begin; the audit said:\n${stderr()}`,
      () => (stateOf(out)?.saved ?? 0) > since && stateOf(out),
      15_000,
    );

  const script = (scene: Scene, name: string, text: string): string => {
    const path = join(scene.folder, name);
    writeFileSync(path, text);
    return path;
  };
  const goodScript = (scene: Scene) =>
    script(
      scene,
      'good.sh',
      `TOKEN=$(curl -fsS -X PUT -H '${RULES.ttlHeader}: 60' ${ORIGIN}${RULES.tokenPath})\ncurl -fsS -o /dev/null -H "${RULES.tokenHeader}: $TOKEN" ${ORIGIN}${RULES.samplePath}\n`,
    );

  beforeAll(async () => {
    normal = await openScene({ providers: [PROVIDER] });
    hardened = await openScene({ providers: [PROVIDER], mode: 'hardened' });
  });
  afterEach(() => cleanup.run());
  afterAll(async () => {
    await normal?.close();
    await hardened?.close();
  });

  test('finds who goes without a token, and its advice works as it stands', async () => {
    const app = join(normal.folder, 'app');
    mkdirSync(join(app, 'node_modules/@alicloud'), { recursive: true });
    const installed = fileURLToPath(new URL('../../node_modules/alicloud-credentials-2.3.0', import.meta.url));
    symlinkSync(installed, join(app, 'node_modules/@alicloud/credentials'));
    const main = join(app, 'main.js');
    const get = `require('http').get('${ORIGIN}${RULES.samplePath}', (answer) => answer.resume())`;
    writeFileSync(main, `${get}; setTimeout(() => {}, ${1500 * PATIENCE});`);
    const audit = start(normal, [...lasting(4), '--endpoint', `127.0.0.1:${PROXY_PORT}`]);
    await capturing(audit);
    const service = normal.runOk([process.execPath, main]);
    // A local proxy, at an address that is traced too.
    const proxyScript = join(normal.folder, 'proxy.js');
    writeFileSync(
      proxyScript,
      `const http = require('http');
       let left = 3;
       http.createServer((asked, answer) => {
         answer.on('close', () => { if (--left === 0) process.exit(); });
         http.get('${ORIGIN}' + asked.url, (got) => { answer.writeHead(got.statusCode); got.pipe(answer); });
       }).listen(${PROXY_PORT}, '127.0.0.1');`,
    );
    const proxy = normal.runOk([process.execPath, proxyScript]);
    const bad = script(normal, 'bad.sh', `curl -fsS -o /dev/null '${ORIGIN}${RULES.samplePath}?a=b&c'\n`);
    await normal.runOk(['bash', bad]);
    await normal.runOk(['bash', goodScript(normal)]);
    const asking = script(
      normal,
      'asking.sh',
      `for i in 1 2 3; do curl -fsS -o /dev/null --retry 20 --retry-connrefused --retry-delay 1 http://127.0.0.1:${PROXY_PORT}${RULES.samplePath}; done\n`,
    );
    await normal.runOk(['bash', asking]);
    await Promise.all([service, proxy]);
    const { status, stdout, stderr } = await audit.ended;
    expect({ status, stderr }).toMatchObject({ status: 1 });
    expect(stdout).toMatch(/^NOT READY/);
    expect(stderr).toContain(`without a token: curl <- bash ${bad}`);

    const result = audit.result();
    expect(result).toMatchObject({
      schema_version: 1,
      verdict: 'not_ready',
      coverage: { complete: true, reasons: [] },
      totals: { requests: 10, normal_mode: 8, hardened: 1, token_issue: 1, unattributed: 0, clients: 5 },
    });
    const [byScript, byNode, good, byProxy, byAsking] = [bad, main, 'good.sh', proxyScript, asking].map(
      (name) => result.clients.find(({ command }) => command!.endsWith(name))!,
    );
    expect(byScript).toMatchObject({
      command: `curl <- bash ${bad}`,
      user: 'root',
      impact: 'breaks',
      paths: [RULES.samplePath],
      path_details: [{ path: RULES.samplePath, requests: 1 }],
      root_causes: [{ code: 'never_asks' }],
      advice_details: [{ id: 'rewrite-line' }],
    });
    // While it ran, its modules were looked at.
    expect(byNode).toMatchObject({
      command: `node ${main}`,
      sdks: [{ kind: 'npm', name: '@alicloud/credentials', version: '2.3.0', how: 'process', status: 'too_old' }],
      advice_details: [
        { id: 'upgrade', commands: ["npm install '@alicloud/credentials@^2.4.0'"] },
        { id: 'stop-fallback' },
      ],
    });
    expect(good).toMatchObject({ impact: 'none', advice: [] });
    // Requests within requests: who asks for whom.
    expect(byProxy!.root_causes).toContainEqual({
      code: 'asks_for_others',
      text: expect.stringContaining(`(${byAsking!.command})`),
      requests: 3,
    });
    expect(byAsking!.root_causes.map(({ code }) => code)).toContain('asks_through_proxy');
    for (const name of readdirSync(audit.out)) expect(statSync(join(audit.out, name)).mode & 0o777).toBe(0o600);
    expect(readdirSync(audit.out).sort()).toEqual(['audit.html', 'audit.json', 'audit.ocsf.ndjson']);
    const findings = readFileSync(join(audit.out, 'audit.ocsf.ndjson'), 'utf8').trim().split('\n');
    const [compliance, ...detections] = findings.map((line) => JSON.parse(line) as { class_uid: number });
    expect(compliance!.class_uid).toBe(2003);
    expect(detections.map(({ class_uid }) => class_uid)).toEqual(Array(4).fill(2004));
    expect(findings.flatMap((line) => ocsfProblems(JSON.parse(line)))).toEqual([]);

    // The lines of the advice, as they are, against an instance that is switched.
    const journaled = hardened.journal().length;
    await hardened.runOk(['sh', '-c', byScript!.advice_details[0]!.commands.join('\n')]);
    const entries = hardened
      .journal()
      .slice(journaled)
      .filter((entry) => entry.kind === 'request');
    expect(entries.map(({ method, target, status }) => [method, target, status])).toEqual([
      ['PUT', RULES.tokenPath, 200],
      ['GET', `${RULES.samplePath}?a=b&c`, 200],
    ]);
  });

  test('of a host whose clients all use tokens is ready', async () => {
    const audit = start(hardened, [...lasting(2)]);
    await capturing(audit);
    await hardened.runOk(['bash', goodScript(hardened)]);
    const { status, stdout } = await audit.ended;
    expect({ status, stdout }).toMatchObject({ status: 0, stdout: expect.stringMatching(/^READY/) });
    expect(audit.result()).toMatchObject({
      verdict: 'ready',
      coverage: { complete: true },
      totals: { requests: 2, normal_mode: 0 },
      switches: [{ provider: PROVIDER }],
    });
  });

  test('without any request is inconclusive, unless that is allowed and the source sees all', async () => {
    const [silent, allowed, pcap] = [
      start(normal, [...lasting(1)]),
      start(normal, [...lasting(1), '--allow-silent']),
      start(normal, [...lasting(1), '--source', 'pcap', '--interface', 'lo', '--allow-silent']),
    ];
    expect(await silent.ended).toMatchObject({ status: 4, stdout: expect.stringMatching(/^INCONCLUSIVE/) });
    expect(silent.result().coverage.details.map(({ code }) => code)).toEqual(['nothing_seen']);
    expect(await allowed.ended).toMatchObject({ status: 0 });
    // It sees one network namespace: never ready.
    expect(await pcap.ended).toMatchObject({ status: 4 });
    expect(pcap.result().coverage.details.map(({ code }) => code)).toEqual(['pcap_source']);
  });

  test('killed in the middle goes on, with what it had seen, and says that it was gone', async () => {
    const first = start(normal, [...lasting(20)]);
    await capturing(first);
    await normal.runOk(['bash', goodScript(normal)]);
    const saved = await until(
      () => `both requests in the state\n${first.stderr()}`,
      () => {
        const state = stateOf(first.out);
        return state?.clients.clients.reduce((sum, { requests }) => sum + requests, 0) === 2 && state;
      },
      15_000,
    );
    // While it runs, nobody else may audit there.
    const second = start(normal, [...lasting(20)], first.out);
    expect(await second.ended).toMatchObject({ status: 2, stderr: expect.stringContaining('IMDS_AUDIT_RUNNING') });
    first.child.kill('SIGKILL');
    await first.ended;

    const again = start(normal, [...lasting(3, saved.traced_ms)], first.out);
    await capturing(again, saved.saved);
    await normal.runOk(['bash', goodScript(normal)]);
    const { status, stderr } = await again.ended;
    expect({ status, stderr }).toMatchObject({ status: 4, stderr: expect.stringContaining('goes on with the audit') });
    expect(again.result()).toMatchObject({
      verdict: 'inconclusive',
      totals: { requests: 4, normal_mode: 0 },
      started: new Date(saved.started).toISOString(),
    });
    expect(again.result().coverage.details.map(({ code, count }) => [code, count])).toEqual([['not_traced', 1]]);
    expect(stateOf(first.out)).toBeUndefined();
  });

  test('whose directory has gone shows its result all the same', async () => {
    const audit = start(normal, [...lasting(4)]);
    await capturing(audit);
    await normal.runOk(['bash', goodScript(normal)]);
    rmSync(audit.out, { recursive: true });
    const { status, stdout, stderr } = await audit.ended;
    expect({ status, stderr }).toMatchObject({ status: 2, stderr: expect.stringContaining('IMDS_AUDIT_DIR') });
    expect(stdout).toContain('Requests: 2 of 1 clients');
    expect(stdout).not.toContain('Report:');
  });

  test('ended early says so, and keeps its state for going on', async () => {
    const audit = start(normal, [...lasting(60)]);
    await capturing(audit);
    await normal.runOk(['bash', goodScript(normal)]);
    audit.child.kill('SIGTERM');
    const { status, stdout } = await audit.ended;
    expect({ status, stdout }).toMatchObject({ status: 4, stdout: expect.stringContaining('same --out') });
    expect(audit.result().coverage.details.map(({ code }) => code)).toEqual(['ended_early']);
    expect(stateOf(audit.out)).toMatchObject({ coverage: [], clients: { clients: [{ requests: 2 }] } });
  });
});

describe('an audit that was not asked for right', () => {
  test.each([
    [['--duration', '1s'], '--out is needed'],
    [['--out', '/tmp/x'], '--duration is needed'],
    [['--out', '/proc/nothing/here', '--duration', '1s'], 'IMDS_AUDIT_DIR'],
  ])('%j says what is missing', async (args, message) => {
    const child = spawn(process.execPath, [MAIN, 'audit', ...args], { stdio: ['ignore', 'ignore', 'pipe'] });
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    const status = await new Promise((resolve) => child.once('close', resolve));
    expect({ status, stderr }).toMatchObject({ status: 2, stderr: expect.stringContaining(message) });
  });
});
