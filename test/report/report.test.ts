import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { TracerError } from '../../src/errors.js';
import { type ReportResult, reportResult } from '../../src/report/fleet.js';
import { renderHtml } from '../../src/report/html.js';
import { MAX_LINE_BYTES } from '../../src/report/lines.js';
import { findLogs } from '../../src/report/log-files.js';
import { readLogs } from '../../src/report/read-logs.js';
import { reportText } from '../../src/report/text.js';
import { loss, type RequestFields, reloaded, request, started, stats, stopped } from './logs.js';
import { HOSTILE } from './results.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'imds-report-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

function put(name: string, content: readonly string[] | Buffer): string {
  const path = join(folder, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, Buffer.isBuffer(content) ? content : content.map((line) => `${line}\n`).join(''));
  return path;
}

interface Options {
  paths?: string[];
  since?: number;
  until?: number;
  expect?: number;
}

async function report({ paths = [folder], expect: expectNormalMode, ...period }: Options = {}): Promise<ReportResult> {
  const { groups, problems } = await findLogs(paths);
  const read = await readLogs({ groups, period, onProgress: () => {} });
  return reportResult({
    gathered: read.gathered,
    files: groups.flat().length,
    problems: [...problems, ...read.problems],
    period,
    ...(expectNormalMode !== undefined && { expectNormalMode }),
  });
}

const codes = ({ coverage }: ReportResult): string[] => coverage.reasons.map(({ code }) => code);
const at = (seconds: number): number => Date.UTC(2026, 10, 21) + seconds * 1000;

/** A run of a tracer with these requests, a second apart. */
const run = (host: string, requests: readonly RequestFields[], id = 'r1'): string[] => [
  started({ host, run: `${host}${id}` }),
  ...requests.map((fields, i) => request({ host, run: `${host}${id}`, at: i + 1, ...fields })),
  stopped({ host, run: `${host}${id}`, at: requests.length + 1 }),
];

describe('a report', () => {
  it('of one host that uses tokens only is ready', async () => {
    put('imds-events.ndjson', run('web-1', [{ verdict: 'token_issue' }, { verdict: 'hardened' }]));
    const result = await report();
    expect(result).toMatchObject({
      schema_version: 1,
      host: 'web-1',
      host_id: 'id-web-1',
      verdict: 'ready',
      coverage: { complete: true, reasons: [] },
      totals: { requests: 2, hardened: 1, token_issue: 1, normal_mode: 0, hosts: 1 },
      traced_seconds: 3,
      logs: { files: 1, lines: 4, unreadable_lines: 0, unreadable_files: 0 },
    });
  });

  it('of many hosts sums each client over all of them, and lists the worst host first', async () => {
    put('a/imds-events.ndjson', run('web-1', [{ verdict: 'hardened' }]));
    put('b/imds-events.ndjson', run('web-2', [{}, {}, { verdict: 'hardened' }]));
    put('c/d/imds-events.ndjson', run('web-3', [{}]));
    const result = await report();
    expect(result.verdict).toBe('not_ready');
    expect(result.host).toBe('3 hosts');
    expect(result.hosts.map(({ name, verdict, normal_mode }) => [name, verdict, normal_mode])).toEqual([
      ['web-2', 'not_ready', 2],
      ['web-3', 'not_ready', 1],
      ['web-1', 'ready', 0],
    ]);
    expect(result.clients).toHaveLength(1);
    expect(result.clients[0]).toMatchObject({ command: 'curl', hosts: 3, counts: { requests: 5 } });
    expect(result.totals).toMatchObject({ requests: 5, normal_mode: 3, hosts: 3 });
  });

  it('of more hosts than a text or a page lists counts them all', async () => {
    const hosts = 10_050;
    put(
      'imds-events.ndjson',
      Array.from({ length: hosts }, (_, i) => request({ host: `h${i}`, run: `h${i}`, verdict: 'hardened' })),
    );
    const result = await report();
    expect(result.hosts).toHaveLength(hosts);
    expect(reportText(result)).toContain(`${hosts} hosts: 0 not ready, ${hosts} inconclusive, 0 ready`);
    expect(renderHtml(result, { version: '1' })).toContain('9,050 further hosts');
  });

  it('reads rotated, compressed and concatenated logs in whatever order, and each file once', async () => {
    const lines = run('web-1', Array(30).fill({}));
    put('imds-events.ndjson', lines.slice(20));
    const older = put('imds-events.1.ndjson', lines.slice(10, 20));
    const parts = [lines.slice(0, 4), lines.slice(4, 10)].map((part) => gzipSync(part.map((l) => `${l}\n`).join('')));
    put('imds-events.2.ndjson.gz', Buffer.concat(parts));
    put('imds-trace.log', ['no event log']);
    put('audit.ocsf.ndjson', ['{"class_uid":2003,"metadata":{"log_name":"imds.trace"}}']);
    symlinkSync(older, join(folder, 'imds-events.link.ndjson'));
    const result = await report({ paths: [folder, older, folder] });
    expect(result.totals.requests).toBe(30);
    expect(result.logs).toMatchObject({ files: 3, lines: 32 });
    expect(codes(result)).toEqual([]);
  });

  it('gives the same with several threads, where it is built', async () => {
    for (let host = 0; host < 5; host++)
      put(`${host}/imds-events.ndjson`, run(`web-${host}`, Array(host + 1).fill({})));
    const { groups } = await findLogs([folder]);
    const one = await readLogs({ groups, period: {}, threads: 1, onProgress: () => {} });
    let read = 0;
    const many = await readLogs({
      groups,
      period: {},
      threads: 3,
      onProgress: (bytes) => {
        read += bytes;
      },
    });
    const sums = (gathered: typeof one.gathered) =>
      reportResult({ gathered, files: 5, problems: [], period: {} }).clients.map(({ id, counts, hosts }) => ({
        id,
        counts,
        hosts,
      }));
    expect(sums(many.gathered)).toEqual(sums(one.gathered));
    expect(many.gathered.hosts.results()).toEqual(one.gathered.hosts.results());
    expect(read).toBe(groups.flat().reduce((sum, { bytes }) => sum + bytes, 0));
  });

  it('counts what was lost once a run, as the counters only grow', async () => {
    put('imds-events.ndjson', [
      started({ run: 'x' }),
      stats({ run: 'x', at: 60 }, { ring_dropped: 3 }),
      stats({ run: 'x', at: 120 }, { ring_dropped: 5 }),
      request({ run: 'x', at: 121, verdict: 'hardened' }),
      stopped({ run: 'x', at: 130 }, { ring_dropped: 5 }),
      started({ run: 'y', at: 140 }),
      stopped({ run: 'y', at: 150 }, { ring_dropped: 2 }),
    ]);
    const result = await report();
    expect(result.verdict).toBe('inconclusive');
    expect(result.coverage.reasons).toMatchObject([
      { code: 'ring_dropped', count: 7 },
      { code: 'tracer_down', count: 1, text: expect.stringContaining('10 s') },
    ]);
  });

  it.each<[string, string[], string]>([
    ['libpcap was the source', [started({}, 'pcap'), request({ verdict: 'hardened' }), stopped({})], 'pcap_source'],
    ['a request has no process', run('web-1', [{ verdict: 'hardened', attribution: 'none' }]), 'unattributed'],
    ['bytes could not be read', run('web-1', [{ verdict: 'unparsed' }, { verdict: 'hardened' }]), 'unparsed'],
    ['nothing was asked', run('web-1', []), 'nothing_seen'],
    ['a line is no event', [...run('web-1', [{ verdict: 'hardened' }]), '{"a":1}'], 'unreadable_log'],
    ['a line is no JSON', [...run('web-1', [{ verdict: 'hardened' }]), 'x'], 'unreadable_log'],
    [
      'a line is too long',
      [...run('web-1', [{ verdict: 'hardened' }]), 'x'.repeat(MAX_LINE_BYTES + 1)],
      'unreadable_log',
    ],
  ])('is never ready where %s', async (_, lines, code) => {
    put('imds-events.ndjson', lines);
    const result = await report();
    expect(result.verdict).toBe('inconclusive');
    expect(codes(result)).toEqual([code]);
  });

  it('takes a half line at the end for one that is being written', async () => {
    const lines = run('web-1', [{ verdict: 'hardened' }]);
    put('imds-events.ndjson', Buffer.from(`${lines.join('\n')}\n${request().slice(0, 50)}`));
    expect((await report()).verdict).toBe('ready');
  });

  it('gives what could be read of a damaged file, and says so', async () => {
    const packed = gzipSync(run('web-1', Array(2_000).fill({ verdict: 'hardened' })).join('\n'), { level: 0 });
    const damaged = Buffer.from(packed);
    damaged[packed.length - 5]! ^= 0xff;
    const path = put('imds-events.ndjson.gz', damaged);
    const result = await report();
    expect(result.verdict).toBe('inconclusive');
    // Its last lines, which have the counters, are among what could not be read.
    expect(codes(result)).toEqual(['no_counters', 'unreadable_file']);
    expect(result.totals.requests).toBeGreaterThan(1_000);
    expect(result.coverage.reasons[1]!.text).toContain(path);
  });

  // Each of these once came out as ready.
  it.each<[string, string[], string]>([
    [
      'lines in the middle are gone',
      run('web-1', Array(5).fill({ verdict: 'hardened' })).toSpliced(3, 2),
      'lines_missing',
    ],
    [
      'lines are there twice',
      [run('web-1', [{ verdict: 'hardened' }])].flatMap((lines) => [...lines, lines[1]!]),
      'lines_repeated',
    ],
    [
      'the tracer saw a cgroup namespace only',
      [started({}, 'ebpf (of this cgroup namespace only)'), request({ verdict: 'hardened' }), stopped({})],
      'cgroup_namespace',
    ],
    ['the tracer left no counters', [started(), request({ verdict: 'hardened' })], 'no_counters'],
    [
      'the start, which names the source, was rotated away',
      [request({ verdict: 'hardened', attribution: 'procfs' }), stopped({})],
      'source_unknown',
    ],
    [
      'a loss was told of, and its tracer died before the next counters',
      [started(), stats({}, {}), request({ verdict: 'hardened' }), loss({}, { ring: 4 })],
      'ring_dropped',
    ],
    [
      'other clouds were traced after a reload',
      [started(), reloaded({}, ['aws']), request({ verdict: 'hardened' }), stopped({})],
      'reconfigured',
    ],
  ])('is never ready where %s', async (_, lines, code) => {
    put('imds-events.ndjson', lines);
    const result = await report();
    expect(result.verdict).toBe('inconclusive');
    expect(codes(result)).toEqual([code]);
  });

  it('after a reload of the same clouds is ready', async () => {
    put('imds-events.ndjson', [started(), reloaded({}, ['alibaba']), request({ verdict: 'hardened' }), stopped({})]);
    expect(await report()).toMatchObject({ verdict: 'ready', logs: { unreadable_lines: 0 } });
  });

  it('whose rotated beginning is gone is ready where the kernel told of the processes', async () => {
    put('imds-events.ndjson', run('web-1', [{ verdict: 'hardened' }]).slice(1));
    expect((await report()).verdict).toBe('ready');
  });

  it('is never ready where a client gets no token on one host, though others of its kind do elsewhere', async () => {
    put('a/imds-events.ndjson', run('web-1', [{ verdict: 'token_issue' }, { verdict: 'hardened' }]));
    put('b/imds-events.ndjson', run('web-2', [{ verdict: 'token_refused', status: 403 }]));
    const result = await report();
    expect(result.verdict).toBe('inconclusive');
    expect(codes(result)).toEqual(['no_token_on_host']);
    expect(result.hosts.map(({ name, verdict }) => [name, verdict])).toEqual([
      ['web-2', 'inconclusive'],
      ['web-1', 'ready'],
    ]);
  });

  it('says ready of no host that asked another cloud only', async () => {
    put('a/imds-events.ndjson', run('web-1', [{ verdict: 'hardened' }]));
    put('b/imds-events.ndjson', run('web-2', [{ verdict: 'foreign_probe' }]));
    expect((await report()).hosts.map(({ name, verdict }) => [name, verdict])).toEqual([
      ['web-2', 'inconclusive'],
      ['web-1', 'ready'],
    ]);
  });

  it.each([
    ['xz', Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0])],
    ['zst', Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0])],
  ])('is never ready beside a log that is packed as .%s', async (extension, bytes) => {
    put('imds-events.ndjson', run('web-1', [{ verdict: 'hardened' }]));
    put(`imds-events.1.ndjson.${extension}`, bytes);
    const result = await report();
    expect(result.verdict).toBe('inconclusive');
    expect(codes(result)).toEqual(['unreadable_file']);
  });

  it('is never ready beside a link to logs that are not read', async () => {
    const elsewhere = mkdtempSync(join(tmpdir(), 'imds-report-'));
    try {
      put('a/imds-events.ndjson', run('web-1', [{ verdict: 'hardened' }]));
      symlinkSync(join(folder, 'a'), join(folder, 'the-same'));
      expect((await report()).verdict).toBe('ready');
      symlinkSync(elsewhere, join(folder, 'b'));
      expect(codes(await report())).toEqual(['unreadable_file']);
    } finally {
      rmSync(elsewhere, { recursive: true });
    }
  });

  it('of a period knows what the run before and after it says: its source, and losses up to the next counters', async () => {
    const long = (source: string, lost: number): string[] => [
      started({}, source),
      stats({ at: 60 }, {}),
      ...[100, 200, 300].map((seconds) => request({ at: seconds, verdict: 'hardened', attribution: 'procfs' })),
      stats({ at: 350 }, { ring_dropped: lost }),
      stopped({ at: 900 }, { ring_dropped: 5 }),
    ];
    const period = { since: at(90), until: at(310) };
    for (const [lines, expected] of [
      [long('ebpf', 0), []],
      [long('pcap', 0), ['pcap_source']],
      [long('ebpf', 2), ['ring_dropped']],
    ] as const) {
      put('imds-events.ndjson', lines);
      const result = await report(period);
      expect(codes(result)).toEqual(expected);
      expect(result).toMatchObject({ totals: { requests: 3 }, traced_seconds: 220 });
    }
  });

  it.each([
    ['begins', { since: at(-3_600) }],
    ['ends', { until: at(3_600) }],
  ])('of a period is never ready where the log %s within it', async (_, period) => {
    put('imds-events.ndjson', run('web-1', [{ verdict: 'hardened' }]));
    const result = await report(period);
    expect(result.verdict).toBe('inconclusive');
    expect(codes(result)).toEqual(['period_not_covered']);
  });

  it('of a period leaves out what is before and after', async () => {
    put('imds-events.ndjson', run('web-1', Array(10).fill({})));
    const result = await report({ since: at(3), until: at(6) });
    expect(result.totals.requests).toBe(3);
    expect([result.started, result.ended]).toEqual(['2026-11-21T00:00:03.000Z', '2026-11-21T00:00:06.000Z']);
  });

  it('refuses a path that is not there, and finds nothing in an empty folder', async () => {
    await expect(findLogs([join(folder, 'none')])).rejects.toThrowError(TracerError);
    expect((await findLogs([folder])).groups).toEqual([]);
  });

  it('shows no text of a log raw, in a terminal or a page', async () => {
    put('imds-events.ndjson', run(HOSTILE, [{ command: HOSTILE, unit: HOSTILE, path: `/${HOSTILE}` }]));
    put('b/imds-events.ndjson', run('web-2', [{ command: HOSTILE }]));
    const result = await report();
    expect(reportText(result)).not.toMatch(/[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]/);
    const html = renderHtml(result, { version: '1' });
    expect(html.match(/<script/g)).toHaveLength(1);
    expect(html).not.toContain('<img');
    expect(html).toContain('web-2');
  });
});

describe("the cloud's own counter", () => {
  // The service counts what it has answered: three for sure, and perhaps the one whose answer was not seen.
  const lines = run('web-1', [
    {},
    {},
    {},
    { status: undefined },
    { status: 403 },
    { status: 404 },
    { verdict: 'hardened' },
  ]);
  it.each([
    [2, false, '1 more than the cloud'],
    [3, true, 'every one is accounted for'],
    [4, true, 'every one is accounted for'],
    [9, false, '5 are not accounted for'],
  ])('of %i: accounted for is %s', async (expected, accounted, text) => {
    put('imds-events.ndjson', lines);
    const result = await report({ expect: expected });
    expect(result.cross_check).toMatchObject({ expected, answered: 3, unanswered: 1, accounted });
    expect(reportText(result)).toContain(text);
    expect(renderHtml(result, { version: '1' })).toContain(accounted ? '>accounted for<' : '>not accounted for<');
    expect(codes(result).includes('cross_check')).toBe(!accounted);
  });
});
