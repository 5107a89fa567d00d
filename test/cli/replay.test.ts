import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Finished, run } from '../e2e/support/run.js';
import type { EcsEvent } from '../e2e/support/tracer.js';
import { until } from '../e2e/support/wait.js';
import { ocsfProblems } from '../output/ocsf-validate.js';
import { ACK, CLIENT, connection, GET, ipPacket, onLink, PSH, pcap, pcapng, SERVER } from '../support/packets.js';

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const TOKEN = 'X-aliyun-ecs-metadata-token: secret-token-value\r\n';
const TTL = 'X-aliyun-ecs-metadata-token-ttl-seconds: 60\r\n';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'imds-replay-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

const client = (port: number) => ({ address: '10.0.0.5', port });
const START = Date.UTC(2026, 10, 21, 3, 3, 58, 120);
const THREE = [
  ...connection({ request: GET('/latest/meta-data/ram/security-credentials/role'), client: client(1), time: START }),
  ...connection({ request: GET('/latest/meta-data/', TOKEN), client: client(2), time: START + 1_000 }),
  ...connection({
    request: `PUT /latest/api/token HTTP/1.1\r\nHost: 100.100.100.200\r\n${TTL}\r\n`,
    client: client(3),
    time: START + 2_000,
    response: 'HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc',
  }),
];
const WHOLE = pcap(1, onLink('ethernet', THREE));

function save(bytes: Buffer): string {
  const file = join(folder, 'capture');
  writeFileSync(file, bytes);
  return file;
}
const replay = (args: readonly string[], input?: Buffer): Promise<Finished> =>
  run([process.execPath, MAIN, 'replay', ...args], { env: { TZ: 'UTC' }, ...(input && { input }) });
const lines = ({ stdout }: Finished): string[] => stdout.split('\n').slice(0, -1);
const events = (finished: Finished): EcsEvent[] => lines(finished).map((line) => JSON.parse(line) as EcsEvent);
const verdicts = (finished: Finished) => events(finished).map(({ imds }) => imds?.verdict);

describe('replay', () => {
  it('writes a line per request at the packets’ times, and a summary to standard error', async () => {
    const finished = await replay([save(WHOLE)]);
    expect(finished.status).toBe(0);
    expect(lines(finished).map((line) => line.replace(/ \(pid.*verdict:/, ' … verdict:'))).toEqual([
      '[2026-11-21T03:03:58.123+00:00] [WARNING] IMDSv1(!) … verdict:normal_mode status:200 severity:critical unit:- via:- reasons:credential_path detail:no_process_information',
      '[2026-11-21T03:03:59.123+00:00] [INFO] IMDSv2 … verdict:hardened status:200 severity:low unit:- via:- detail:no_process_information',
      '[2026-11-21T03:04:00.123+00:00] [INFO] IMDSv2 token … verdict:token_issue status:200 severity:low unit:- via:- detail:no_process_information',
    ]);
    expect(finished.stderr).toMatch(/24 packets.*2026-11-21T03:03:58\.120\+00:00 to 2026-11-21T03:04:00\.127/);
    expect(finished.stderr).toMatch(/3 connections, 3 requests: normal_mode 1, hardened 1, token_issue 1/);
    expect(finished.stdout + finished.stderr).not.toContain('secret-token-value');
  });

  it('reads standard input, compressed or not', async () => {
    const file = save(WHOLE);
    const expected = await replay(['--json', file]);
    expect(verdicts(expected)).toEqual(['normal_mode', 'hardened', 'token_issue']);
    for (const bytes of [WHOLE, (await import('node:zlib')).gzipSync(WHOLE)]) {
      const finished = await replay(['--json', '-'], bytes);
      expect(finished.status).toBe(0);
      expect(verdicts(finished)).toEqual(verdicts(expected));
      expect(events(finished).map((event) => event['@timestamp'])).toEqual(
        events(expected).map((event) => event['@timestamp']),
      );
    }
  });

  it('writes the two files into a log directory', async () => {
    const logDir = join(folder, 'log');
    const finished = await replay(['--log-dir', logDir, save(WHOLE)]);
    expect(finished).toMatchObject({ status: 0, stdout: '' });
    expect(readdirSync(logDir).sort()).toEqual(['imds-events.ndjson', 'imds-trace.log']);
    expect(statSync(logDir).mode & 0o777).toBe(0o700);
    const text = readFileSync(join(logDir, 'imds-trace.log'), 'utf8');
    expect(text.match(/\[WARNING\]/g)).toHaveLength(1);
    const written = readFileSync(join(logDir, 'imds-events.ndjson'), 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as EcsEvent);
    expect(written.map(({ event }) => event.action)).toEqual([
      'tracer-started',
      'imds-request',
      'imds-request',
      'imds-request',
      'tracer-stopped',
    ]);
    expect(written.at(-1)!.imds!.stats).toMatchObject({
      packets_seen: 24,
      packets_captured: 18,
      packets_passed_over: 6,
      requests: 3,
    });
    expect(written.every((event) => event['@timestamp'].startsWith('2026-11-21T03:0'))).toBe(true);
  });

  it('writes events in another schema', async () => {
    const logDir = join(folder, 'ocsf');
    const finished = await replay(['--json', '--format', 'ocsf', '--log-dir', logDir, save(WHOLE)]);
    const shown = finished.stdout.trim().split('\n');
    expect(shown.map((line) => JSON.parse(line).type_uid)).toEqual([400_203, 400_203, 400_207]);
    const written = readFileSync(join(logDir, 'imds-events.ndjson'), 'utf8').trim().split('\n');
    expect(written.slice(1, -1)).toEqual(shown);
    for (const line of written) expect(ocsfProblems(JSON.parse(line))).toEqual([]);
    expect(await replay(['--format', 'ocsf', save(WHOLE)])).toMatchObject({
      status: 2,
      stderr: expect.stringContaining('add --json'),
    });
  });

  it('says so where nothing is of the provider', async () => {
    const finished = await replay(['--provider', 'aws', save(WHOLE)]);
    expect(finished).toMatchObject({ status: 0, stdout: '', stderr: expect.stringContaining('no packet of aws') });
    const other = await replay(['--json', '--provider', 'aws', '--endpoint', '100.100.100.200', save(WHOLE)]);
    expect(verdicts(other)).toHaveLength(3);
  });

  it('judges deadlines by the packets’ times, whatever the time is now', async () => {
    const [syn, synAck, ack, request, response, ...rest] = connection({ request: GET('/slow'), time: START });
    const late = (ms: number) => ({ time: START + ms, ip: response!.ip });
    const quick = await replay([
      '--json',
      save(pcap(1, onLink('ethernet', [syn!, synAck!, ack!, request!, late(900), ...rest]))),
    ]);
    expect(events(quick)[0]!.http!.response!.status_code).toBe(200);
    const slow = await replay([
      '--json',
      save(pcap(1, onLink('ethernet', [syn!, synAck!, ack!, request!, late(2_000)]))),
    ]);
    expect(events(slow)[0]!.http!.response).toBeUndefined();
  });

  it('takes a reused port for a new connection, and retransmissions and reordering for nothing new', async () => {
    const first = connection({ request: GET('/one'), time: START });
    const second = connection({ request: GET('/two'), time: START + 10_000 }).map(({ time, ip }) => {
      const other = Buffer.from(ip); // other initial sequence numbers
      other.writeUInt32BE((other.readUInt32BE(24) + 700_000) >>> 0, 24);
      other.writeUInt32BE((other.readUInt32BE(28) + 700_000) >>> 0, 28);
      return { time, ip: other };
    });
    const [a, b, c, request, ...rest] = first;
    const frames = [a!, b!, c!, request!, request!, ...rest, ...second];
    const finished = await replay(['--json', save(pcap(1, onLink('ethernet', frames)))]);
    expect(events(finished).map(({ url }) => url?.original)).toEqual(['/one', '/two']);
    expect(finished.status).toBe(0);
    const head = GET('/split', 'A: b\r\n');
    const piece = (at: number, end: number, time: number) => ({
      time: START + time,
      ip: ipPacket({
        from: CLIENT,
        to: SERVER,
        seq: 1001 + at,
        ack: 5001,
        flags: PSH | ACK,
        payload: head.slice(at, end),
      }),
    });
    const reordered = [a!, b!, c!, piece(20, head.length, 3), piece(10, 25, 4), piece(0, 12, 5)];
    const split = await replay(['--json', save(pcap(1, onLink('ethernet', reordered)))]);
    expect(events(split).map(({ url }) => url?.original)).toEqual(['/split']);
    expect(split.status).toBe(0);
  });
});

describe('a file that lacks something ends with status 4', () => {
  it.each([
    ['cut in a packet', WHOLE.subarray(0, WHOLE.length - 10), 3, /not complete: .*(truncated|captured bytes)/],
    [
      'cut in a packet of pcapng',
      pcapng([{ linkType: 1 }], onLink('ethernet', THREE)).subarray(0, -10),
      3,
      /not complete: .*in the middle of a block/,
    ],
    [
      'a lost packet',
      pcap(1, onLink('ethernet', [...THREE.slice(0, 3), ...THREE.slice(4)])),
      3,
      /not complete: 1 times bytes of a request are missing/,
    ],
  ])('%s', async (_, bytes, count, words) => {
    const finished = await replay(['--json', save(bytes)]);
    expect(finished.stderr).toMatch(words);
    expect(finished.status).toBe(4);
    expect(events(finished)).toHaveLength(count);
  });

  it('packets cut by the snap length: what can’t be judged is unparsed', async () => {
    const cut = onLink('ethernet', THREE).map((frame) => ({ ...frame, cut: Math.min(frame.bytes.length, 80) }));
    const finished = await replay(['--json', save(pcap(1, cut))]);
    expect(finished.status).toBe(4);
    expect(new Set(verdicts(finished))).toEqual(new Set(['unparsed']));
    expect(finished.stderr).toMatch(/packets were cut by the capture/);
  });

  it('a connection that was open before the capture', async () => {
    const middle = ipPacket({ from: CLIENT, to: SERVER, seq: 99, ack: 7, flags: PSH | ACK, payload: 'ost: x\r\n\r\n' });
    const finished = await replay([
      '--json',
      save(pcap(1, [{ time: START, bytes: onLink('ethernet', [{ time: 0, ip: middle }])[0]!.bytes }])),
    ]);
    expect(verdicts(finished)).toEqual(['unparsed']);
  });

  it('one of which nothing can be read ends with status 2', async () => {
    const text = await replay([save(Buffer.from('no capture at all, but text'))]);
    expect(text).toMatchObject({ status: 2, stdout: '', stderr: expect.stringMatching(/IMDS_FILE_FORMAT/) });
    const first = await replay([save(WHOLE.subarray(0, 50))]);
    expect(first).toMatchObject({ status: 2, stdout: '', stderr: expect.stringMatching(/not complete/) });
    expect(await replay([join(folder, 'none')])).toMatchObject({ status: 2 });
    expect(await replay([])).toMatchObject({ status: 2 });
    expect(await replay(['-'], Buffer.alloc(0))).toMatchObject({ status: 2 });
  });
});

describe('a reader and a writer that come and go', () => {
  it('shows lines as a pipe brings packets, and ends with it', async () => {
    const child = spawn(process.execPath, [MAIN, 'replay', '-'], { stdio: ['pipe', 'pipe', 'pipe'] });
    let stdout = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    const frames = onLink('ethernet', THREE);
    child.stdin.write(pcap(1, frames.slice(0, 5)));
    await until(
      () => 'the first line',
      () => stdout.includes('normal_mode'),
    );
    child.stdin.write(pcap(1, frames.slice(5, 13)).subarray(24));
    await until(
      () => 'the second line',
      () => stdout.includes('hardened'),
    );
    // A signal: what the writer still says is read, and its end is the end.
    child.kill('SIGINT');
    child.stdin.end(pcap(1, frames.slice(13)).subarray(24));
    const [status] = await once(child, 'close');
    expect(stdout.split('\n')).toHaveLength(4);
    expect(status).toBe(0);
  });

  it('ends soon after a signal where the pipe stays quiet', async () => {
    const child = spawn(process.execPath, [MAIN, 'replay', '-'], { stdio: ['pipe', 'ignore', 'pipe'] });
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    child.stdin.write(pcap(1, onLink('ethernet', THREE.slice(0, 5))));
    await new Promise((resolve) => setTimeout(resolve, 500));
    child.kill('SIGTERM');
    const [status] = await once(child, 'close');
    expect(stderr).toMatch(/stopped before the end/);
    expect(status).toBe(4);
    child.stdin.destroy();
  });

  it('ends quietly when nobody reads its output any more', async () => {
    const many = Array.from({ length: 3_000 }, (_, i) =>
      connection({ request: GET(`/${i}`), client: client(1024 + i), time: START + i * 10 }),
    ).flat();
    const file = save(pcap(1, onLink('ethernet', many)));
    const finished = await run(['sh', '-c', `"${process.execPath}" "${MAIN}" replay "${file}" | head -1`]);
    expect(finished.stdout.split('\n')).toHaveLength(2);
    expect(finished.stderr).toMatch(/nobody reads the output/);
    expect(finished.stderr).not.toMatch(/EPIPE|internal error/);
    expect(existsSync(file)).toBe(true);
  });

  it('waits for a slow reader and leaves nothing out', async () => {
    const many = Array.from({ length: 3_000 }, (_, i) =>
      connection({ request: GET(`/${i}`), client: client(1024 + i), time: START + i * 10 }),
    ).flat();
    const file = save(pcap(1, onLink('ethernet', many)));
    const finished = await run([
      'sh',
      '-c',
      `"${process.execPath}" "${MAIN}" replay --json "${file}" | (sleep 1; wc -l)`,
    ]);
    expect(Number(finished.stdout)).toBe(3_000);
  });
});
