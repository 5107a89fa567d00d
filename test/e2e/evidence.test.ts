import { once } from 'node:events';
import { lstatSync, mkdtempSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { describeOnKernel, testWith } from './support/kernel.js';
import { type Action, requestText, sendRaw } from './support/raw.js';
import { run, runOk } from './support/run.js';
import { askForToken, observe, openScene, pythonPath, type Scene } from './support/scene.js';
import { type EcsEvent, MAIN, type Tracer } from './support/tracer.js';
import { until } from './support/wait.js';

const ADDRESS = '100.100.100.200';
const TOKEN_HEADER = 'X-aliyun-ecs-metadata-token';
const ROLE = '/latest/meta-data/ram/security-credentials/';
const BODY_WORD = 'body-of-a-request-4711';
const QUERY_WORD = 'token-in-a-query-4711';

/** What tshark reads of a file: a row of fields for each packet that the filter takes. */
async function tshark(file: string, filter: string, fields: readonly string[]): Promise<string[][]> {
  const { stdout } = await runOk([
    'tshark',
    ...['-n', '-r', file, '-Y', filter, '-T', 'fields', '-E', 'separator=/t'],
    ...['-o', 'tcp.check_checksum:TRUE', '-o', 'ip.check_checksum:TRUE'],
    ...fields.flatMap((field) => ['-e', field]),
  ]);
  return stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => line.split('\t'));
}

describeOnKernel('trace --evidence', () => {
  let scene: Scene;
  let python: string;
  let token: string;

  beforeAll(async () => {
    scene = await openScene({ providers: ['alibaba'] });
    python = await pythonPath();
    token = (await scene.runOk(askForToken(`http://${ADDRESS}`, 300))).stdout;
    expect(token.length).toBeGreaterThan(20);
  });
  afterAll(() => scene?.close());

  /** Connections with and without findings; gives the requests of the former as the tracer has logged them. */
  async function traffic(tracer: Tracer): Promise<EcsEvent[]> {
    const plain = requestText(ROLE, ['Accept: */*']);
    const hardened = requestText('/latest/meta-data/', [`${TOKEN_HEADER}: ${token}`]);
    const put = requestText('/latest/api/token', [`${TOKEN_HEADER}-ttl-seconds: 300`], 'PUT');
    const post = requestText('/latest/meta-data/', [`Content-Length: ${BODY_WORD.length}`], 'POST', BODY_WORD);
    const ask = (...texts: string[]): Action[] => [...texts.map((text): Action => ['send', text]), ['answers', 1]];
    const split = (text: string, at: number): [string, string] => [text.slice(0, at), text.slice(at)];
    const inToken = hardened.indexOf(token) + 7;
    const connections: Action[][] = [
      ask(plain),
      ask(hardened),
      // A finding, and secrets before and after it on the same connection.
      [...ask(put), ...ask(hardened), ...ask(plain), ...ask(...split(hardened, inToken)), ...ask(...split(plain, 9))],
      [
        ['send', plain + hardened + plain],
        ['answers', 3],
      ],
      [...ask(plain), ['send', hardened.slice(0, inToken)], ['send', hardened.slice(inToken) + plain], ['answers', 2]],
      [...ask(post), ...ask(plain)],
      ask(requestText(`/latest/meta-data/?token=${QUERY_WORD}&a=b`)),
      [...ask(plain), ...[...hardened].map((byte): Action => ['send', byte]), ['answers', 1]],
    ];
    const count = 1 + 1 + 5 + 3 + 3 + 2 + 1 + 2;
    const { events } = await observe(scene, tracer, count, () =>
      sendRaw(scene, python, { address: ADDRESS, connections }),
    );
    expect(events).toHaveLength(count);
    const withFinding = new Set(
      events.filter(({ imds }) => imds?.verdict === 'normal_mode').map(({ source }) => source!.port),
    );
    expect(withFinding.size).toBe(7);
    return events.filter(({ source }) => withFinding.has(source!.port));
  }

  /** Credentials as the service answers them, the token, and what the requests hold. */
  function secrets(): string[] {
    return [token, token.slice(8, 24), BODY_WORD, QUERY_WORD, 'AccessKeySecret', 'SecurityToken', 'zone-id'];
  }

  testWith(['tshark'], 'pcapng, read by tshark: the same requests, with their findings, and no secret', async () => {
    const file = join(mkdtempSync(join(scene.folder, 'evidence-')), 'found.pcapng');
    const tracer = await scene.startTracer(['--evidence', file]);
    const logged = await traffic(tracer);
    const creds = await observe(scene, tracer, 1, () =>
      scene.runOk(['curl', '-s', `http://${ADDRESS}${ROLE}lab-role`]),
    );
    logged.push(...creds.events);
    const end = await tracer.stop();
    expect(end.status, end.stderr).toBe(0);
    expect(end.stderr).toMatch(/evidence: \d+ packets of \d+ connections in /);
    expect(lstatSync(file).mode & 0o7777).toBe(0o600);

    const bytes = readFileSync(file);
    for (const secret of [...secrets(), ...creds.result.stdout.match(/[\w+/=-]{12,}/g)!]) {
      expect(bytes.includes(secret), secret).toBe(false);
    }

    // The tracer sees other labs of this machine as well.
    const ports = new Set(logged.map(({ source }) => String(source!.port)));
    const ours = ([port]: readonly string[]): boolean => ports.has(port!);
    const fields = ['tcp.srcport', 'http.request.method', 'http.request.uri'];
    const requests = (await tshark(file, 'http.request', fields)).filter(ours).flatMap(([port, methods, targets]) => {
      const target = targets!.split(',');
      return methods!.split(',').map((method, i) => `${port} ${method} ${shownTarget(target[i]!)}`);
    });
    const expected = logged.map(
      ({ source, http, url }) => `${source!.port} ${http!.request!.method} ${shownTarget(url!.original!)}`,
    );
    expect(requests.sort()).toEqual(expected.sort());

    const checksums = await tshark(file, 'tcp', ['tcp.checksum.status', 'ip.checksum.status']);
    expect(new Set(checksums.map((status) => status.join(' ')))).toEqual(new Set(['1 1'])); // good, both
    expect(await tshark(file, '_ws.malformed', ['frame.number'])).toEqual([]);
    const answers = await tshark(file, 'http.response', ['tcp.dstport', 'http.response.code']);
    expect(answers.filter(ours).flatMap(([, codes]) => codes!.split(','))).toHaveLength(logged.length);

    // Each finding is a comment, and what it says is the log's line.
    const findings = logged.filter(({ imds }) => imds!.verdict === 'normal_mode').map(({ message }) => message);
    for (const message of findings) expect(bytes.includes(Buffer.from(message)), message).toBe(true);
    const commentFields = ['tcp.srcport', 'frame.comment', 'frame.packet_flags'];
    const commented = (await tshark(file, 'frame.comment contains "IMDSv1"', commentFields)).filter(ours);
    const labels = commented.flatMap(([, comment]) => [...comment!.matchAll(/IMDSv1\(!\)/g)]);
    expect(labels).toHaveLength(findings.length);
    expect(commented.every(([, , flags]) => Number(flags) === 2)).toBe(true); // outbound
    expect(commented.some(([, comment]) => comment!.includes('raw.py'))).toBe(true);

    // The tracer judges its own evidence as it judged the packets.
    const replayed = await run([process.execPath, MAIN, 'replay', '--json', file]);
    expect(replayed.status, replayed.stderr).toBe(0);
    const verdicts = (events: EcsEvent[]): string[] =>
      events.map(({ source, url, imds }) => `${source!.port} ${shownTarget(url!.original!)} ${imds!.verdict}`).sort();
    const again = replayed.stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as EcsEvent)
      .filter(({ source }) => ours([String(source!.port)]));
    expect(verdicts(again)).toEqual(verdicts(logged));
  });

  testWith([], 'classic pcap, read by pcap-parser; a tracer that was killed leaves it readable', async () => {
    const file = join(mkdtempSync(join(scene.folder, 'evidence-')), 'found.pcap');
    const tracer = await scene.startTracer(['--evidence', file]);
    await traffic(tracer);
    const written = await until('packets in the file', async () => {
      const packets = await pcapParser(file);
      return packets.filter((bytes) => bytes.includes(`GET ${ROLE} HTTP/1.1`)).length >= 5 && packets;
    });
    for (const secret of secrets()) {
      for (const bytes of written) expect(bytes.includes(secret), secret).toBe(false);
    }
    tracer.kill('SIGKILL');
    await tracer.stop();
    const next = await scene.startTracer(['--evidence', file]);
    await next.stop();
    expect((await pcapParser(file.replace('.pcap', '.1.pcap'))).length).toBeGreaterThanOrEqual(written.length);
    expect(await pcapParser(file)).toEqual([]);
  });

  describe('a file that can not be written', () => {
    testWith([], 'is wrong usage, and said', async () => {
      const argv = [process.execPath, MAIN, 'trace', '--log-dir', join(scene.folder, 'never')];
      const missing = await run([...argv, '--evidence', join(scene.folder, 'missing', 'a.pcapng')]);
      expect(missing.status).toBe(2);
      expect(missing.stderr).toContain('--evidence');
      expect((await run([...argv, '--evidence', join(scene.folder, 'a.txt')])).status).toBe(2);
    });
  });
});

/** What stands for a secret in a log and in a dump. */
const shownTarget = (target: string): string => target.replace(/token=[^&]*/, 'token=…');

/** The packets of a classic pcap file, by the npm package, which has no types. */
async function pcapParser(file: string): Promise<Buffer[]> {
  const { parse } = createRequire(import.meta.url)('pcap-parser') as { parse(file: string): NodeJS.EventEmitter };
  const packets: Buffer[] = [];
  const parser = parse(file);
  parser.on('packet', ({ data }: { data: Buffer }) => packets.push(data));
  await once(parser, 'end');
  return packets;
}
