import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import type { CaptureSource, CaptureStats } from '../src/capture/types.js';
import { addTraceOptions } from '../src/cli/options.js';
import { REASONS } from '../src/imds/reasons.js';
import type { Severity, Verdict } from '../src/imds/types.js';
import { LEVELS } from '../src/imds/verdict.js';
import { formatCef } from '../src/output/cef.js';
import { createEventContext } from '../src/output/context.js';
import { formatEcs } from '../src/output/ecs.js';
import type { Fields } from '../src/output/fields.js';
import { LearnedSecrets } from '../src/output/learned.js';
import { formatOcsf } from '../src/output/ocsf.js';
import { redactEvent, type ShownEvent } from '../src/output/redact.js';
import { formatText } from '../src/output/text.js';
import type { RequestEvent, TracerEvent, TracerStats } from '../src/output/types.js';
import type { Pipeline } from '../src/pipeline.js';
import type { NotFound, SocketOwner } from '../src/process/sockets.js';
import { NO_PROCESSES } from '../src/replay.js';
import { runTracer } from '../src/tracer.js';
import * as wireLimits from '../src/wire/limits.js';
import { requestEvent } from './output/events.js';
import { EVERY_EVENT } from './output/every-event.js';
import { named, page, quoted, rows, section } from './support/page.js';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const EVENTS = page('events.md');
const PAGES = readdirSync(join(ROOT, 'docs')).filter((name) => name.endsWith('.md'));

/** Every code block of a language. */
const blocks = (text: string, language: string): string[] =>
  [...text.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)].filter((match) => match[1] === language).map((match) => match[2]!);

/** Every property there may be, so that an interface that grows makes this file fail to compile. */
type Whole<T> = T extends readonly (infer Item)[]
  ? readonly Whole<Item>[]
  : T extends object
    ? { [Key in keyof T]-?: Whole<T[Key]> }
    : T;

const VERDICTS = Object.keys(LEVELS) as Verdict[];

/** All counters, each 1: as great as it takes to be a loss. */
const STATS: Whole<TracerStats> = {
  packets_seen: 1,
  packets_captured: 1,
  ring_dropped: 1,
  packets_passed_over: 1,
  truncated: 1,
  packets_refused: 1,
  packets_abandoned: 1,
  connects_dropped: 1,
  connections: 1,
  requests: 1,
  by_verdict: Object.fromEntries(VERDICTS.map((verdict) => [verdict, 1])),
  unparsed: 1,
  gaps: 1,
  flows_evicted: 1,
  attributed: 1,
  unattributed: 1,
  log_errors: 1,
  ship_dropped: 1,
};

const PROCESS = {
  pid: 10,
  name: 'curl',
  startTime: 1,
  args: ['curl'],
  argsTruncated: false,
  executable: '/usr/bin/curl',
};

const REQUEST: Whole<RequestEvent> = {
  kind: 'request',
  time: 1,
  client: { address: '198.18.0.1', port: 1 },
  endpoint: { address: '100.100.100.200', port: 80 },
  family: 4,
  cookie: 1n,
  request: {
    time: 1,
    method: 'GET',
    target: '/latest/meta-data/?a=b',
    version: '1.1',
    headers: [
      { name: 'Host', value: '100.100.100.200' },
      { name: 'User-Agent', value: 'curl' },
    ],
    headBytes: 1,
    recurring: false,
  },
  unparsed: { time: 1, reason: 'gap', bytes: 1 },
  response: { time: 1, status: 200, version: '1.1', headers: [], accessKeyId: 'STS.Example0' },
  judgement: {
    provider: 'alibaba',
    verdict: 'normal_mode',
    level: 'WARNING',
    severity: 'critical',
    reasons: ['credential_path'],
    tokenPresent: false,
    ttlSeconds: 1,
  },
  attribution: {
    how: 'connect',
    detail: 'arguments_truncated',
    process: {
      ...PROCESS,
      entityId: 'x',
      user: { id: 0, name: 'root' },
      ancestors: [PROCESS],
      unit: 'a.service',
      container: { id: 'x', runtime: 'docker' },
      podUid: 'x',
      netns: 1,
    },
  },
};

/** The tracer's own events, as it writes them when everything is lost. */
async function ownEvents(): Promise<TracerEvent[]> {
  const written: TracerEvent[] = [];
  const source: CaptureSource = {
    kind: 'file',
    description: '',
    next: () => Promise.resolve(-1),
    wake: () => {},
    stop: () => {},
    stats: () => ({}) as CaptureStats,
    close: () => {},
  };
  const pipeline = { stats: () => STATS, accept: () => {}, tick: () => {}, finish: () => true, waiting: false };
  await runTracer({
    source,
    pipeline: pipeline as unknown as Pipeline,
    write: (event) => written.push(event),
    logErrors: () => 0,
  }).done;
  written.push({
    kind: 'tracer-started',
    time: 1,
    version: '1',
    source: 'ebpf',
    sourceDetail: 'x',
    providers: ['alibaba'],
    endpoints: [{ address: '100.100.100.200', port: 80 }],
  });
  written.push({
    kind: 'tracer-reloaded',
    time: 2,
    source: 'ebpf',
    providers: ['alibaba'],
    endpoints: [{ address: '100.100.100.200', port: 80 }],
    changed: ['endpoint'],
    kept: ['source'],
  });
  return written;
}

const CONTEXT = createEventContext({ hostName: 'host', hostId: 'id', version: '1' });
const toEcs = (event: TracerEvent): Fields => formatEcs(redactEvent(event, new LearnedSecrets()), CONTEXT);

/** Objects whose members have tables of their own. */
const TABLES = ['imds.stats', 'imds.lost'];

/** Dotted paths of all leaves; the items of an array have the path of the array. */
function paths(value: unknown, path = ''): string[] {
  if (Array.isArray(value)) return value.flatMap((item) => paths(item, path));
  if (value === undefined) return [];
  if (value === null || typeof value !== 'object' || TABLES.includes(path)) return [path];
  return Object.entries(value).flatMap(([key, member]) => paths(member, path === '' ? key : `${path}.${key}`));
}

const sorted = (words: Iterable<string>): string[] => [...new Set(words)].sort();

describe('docs/events.md', () => {
  it('has every field of the JSON event and no other', async () => {
    const emitted = [REQUEST as RequestEvent, ...(await ownEvents())].flatMap((event) => paths(toEcs(event)));
    expect(sorted(named(section(EVENTS, 'The JSON event')))).toEqual(sorted(emitted));
  });

  it('has every verdict with its level and label', () => {
    const documented = rows(section(EVENTS, 'Verdicts')).map(([verdict, level, label]) => [
      quoted(verdict!)[0],
      level,
      quoted(label!)[0],
    ]);
    const labelOf = (verdict: Verdict): string => {
      const event = requestEvent();
      const judged = { ...event, judgement: { ...event.judgement, verdict } };
      return formatText(redactEvent(judged, new LearnedSecrets())).message.split(' (pid:')[0]!;
    };
    expect(documented).toEqual(VERDICTS.map((verdict) => [verdict, LEVELS[verdict], labelOf(verdict)]));
  });

  it('has every reason, with verdicts that there are', () => {
    const table = rows(section(EVENTS, 'Reasons'));
    expect(sorted(table.flatMap(([reason]) => quoted(reason!)))).toEqual(sorted(Object.keys(REASONS)));
    for (const verdict of table.flatMap(([, verdicts]) => quoted(verdicts!))) expect(VERDICTS).toContain(verdict);
  });

  it('has every severity', () => {
    const severities = { critical: true, high: true, medium: true, low: true } satisfies Record<Severity, true>;
    expect(named(section(EVENTS, 'Severities'))).toEqual(Object.keys(severities));
  });

  it('has every attribution detail', () => {
    const details = {
      exited: true,
      forwarded: true,
      other_host: true,
      ambiguous: true,
      lookup_limit: true,
      not_permitted: true,
      shared: true,
    } satisfies Record<NotFound | NonNullable<Extract<SocketOwner, { holder: object }>['limits']>, true>;
    expect(sorted(named(section(EVENTS, 'Attribution details')))).toEqual(
      sorted([...Object.keys(details), 'arguments_truncated', NO_PROCESSES.always!.detail!]),
    );
  });

  it('has every counter, and every kind of loss', async () => {
    const table = rows(section(EVENTS, 'Counters')).map(([name]) => quoted(name!)[0]!);
    const loss = (await ownEvents()).find((event) => event.kind === 'capture-loss');
    const losses = Object.keys(loss?.kind === 'capture-loss' ? loss.lost : {});
    expect(losses.length).toBeGreaterThan(0);
    expect(sorted(table)).toEqual(sorted([...Object.keys(STATS), ...losses]));
    for (const counter of rows(section(EVENTS, 'Counters')).flatMap(([, cell]) => /^`\w+`$/.exec(cell!) ?? [])) {
      expect(Object.keys(STATS)).toContain(quoted(counter)[0]);
    }
  });

  it("has the tracer's own events with their levels", async () => {
    const written = (await ownEvents()).map((event): [string, string] => {
      return [event.kind, formatText(redactEvent(event, new LearnedSecrets())).level];
    });
    const documented = rows(section(EVENTS, "The tracer's own events")).map(([name, level]) => [
      quoted(name!)[0],
      level,
    ]);
    // Written once a minute only, in the same form as the last of them.
    expect(new Map(documented as [string, string][])).toEqual(new Map([...written, ['tracer-stats', 'INFO']]));
  });

  it('has the options that `trace --help` has', () => {
    const help = addTraceOptions(new Command('trace')).helpInformation();
    const listed = [...help.matchAll(/^ {2}(?:-\w, )?(--[\w-]+)/gm)].map(([, name]) => name!);
    expect(listed.length).toBeGreaterThan(5);
    expect(sorted(named(section(EVENTS, 'Options of `trace`')).map((option) => option.split(' ')[0]!))).toEqual(
      sorted(listed),
    );
  });

  it('shows an example that has only fields that there are, and is the same in both forms', async () => {
    const emitted = new Set([REQUEST as RequestEvent, ...(await ownEvents())].flatMap((event) => paths(toEcs(event))));
    const examples = blocks(EVENTS, 'json').map(
      (text) => JSON.parse(text) as { message: string; log: { level: string } },
    );
    expect(examples).toHaveLength(1);
    expect(paths(examples[0]).filter((path) => !emitted.has(path))).toEqual([]);
    const [line] = blocks(section(EVENTS, 'The text line'), 'text')[0]!.split('\n');
    expect(line).toMatch(/^\[[^\]]+\] /);
    expect(line!.replace(/^\[[^\]]+\] /, '')).toBe(`[${examples[0]!.log.level}] ${examples[0]!.message}`);
  });
});

describe('docs/how-it-works.md', () => {
  it('has every bound of the wire layer with its value', () => {
    const UNITS: Readonly<Record<string, number>> = { '': 1, KiB: 1024, MiB: 1024 ** 2, s: 1000 };
    const documented = rows(section(page('how-it-works.md'), 'Bounds'))
      .filter((cells) => cells.length === 3)
      .map(([, bound, constant]): [string, number] => {
        const [, number, unit] = /^([\d,]+) ?(\w*)$/.exec(bound!)!;
        return [quoted(constant!)[0]!, Number(number!.replaceAll(',', '')) * UNITS[unit!]!];
      });
    // How large a kept segment's objects are, and where a body is searched, is no matter of what is given up.
    const { SEGMENT_OVERHEAD: _, ACCESS_KEY_SCAN_BYTES: __, ...bounds } = wireLimits;
    expect(new Map(documented)).toEqual(new Map(Object.entries(bounds)));
  });
});

describe('docs/siem.md', () => {
  const SIEM = page('siem.md');
  const ocsfType = (event: ShownEvent): unknown => formatOcsf(event, CONTEXT)['type_uid'];
  const cef = (event: ShownEvent): string[] => formatCef(event, CONTEXT).split('|').slice(4, 7);

  it('has the OCSF class of every event', () => {
    const [classes] = section(SIEM, 'OCSF').split('| Attribute |');
    const documented = new Map(
      rows(classes!).map(([event, , type]) => [quoted(event!).join(' '), quoted(type!).map(Number)]),
    );
    for (const [name, event] of EVERY_EVENT) {
      const action = event.kind !== 'request' ? event.kind : `imds-request${event.request ? '' : ' unparsed'}`;
      const types = documented.get(action)!;
      // Of the methods, the table has two, and the one for all that OCSF has no name for.
      expect(types, name).toContain(ocsfType(event));
    }
    expect(documented.size).toBe(new Set(EVERY_EVENT.map(([, event]) => event.kind)).size + 1);
  });

  it('has the CEF severity of every event', () => {
    const documented = rows(section(SIEM, 'CEF'))
      .filter(([, severity]) => /^\d/.test(severity!))
      .flatMap(([ids, severity]) => quoted(ids!).map((id): [string, string] => [id, severity!]));
    const found = new Map<string, Set<string>>();
    for (const [, event] of EVERY_EVENT) {
      const [id, , severity] = cef(event) as [string, string, string];
      found.set(id, (found.get(id) ?? new Set()).add(severity));
    }
    expect(sorted(documented.map(([id]) => id))).toEqual(sorted(found.keys()));
    for (const [id, severity] of documented) {
      for (const number of found.get(id)!) expect(severity.match(/\d+/g), id).toContain(number);
    }
  });

  it('has every file for deployment', () => {
    const folder = join(ROOT, 'deploy');
    const files = (readdirSync(folder, { recursive: true }) as string[]).filter((name) =>
      statSync(join(folder, name)).isFile(),
    );
    expect(sorted(named(section(SIEM, 'Configuration')))).toEqual(sorted(files.map((name) => `deploy/${name}`)));
  });
});

describe('docs/development.md', () => {
  /** The folder below src/, or the file in it. */
  const partOf = (path: string): string => /^src\/(?:[^/]+\/|[^/]+\.ts)/.exec(path)![0];

  /** Which parts run the code of which: imports of types leave nothing behind. */
  function uses(): Map<string, Set<string>> {
    const found = new Map<string, Set<string>>();
    for (const name of readdirSync(join(ROOT, 'src'), { recursive: true, encoding: 'utf8' })) {
      if (!name.endsWith('.ts')) continue;
      const path = `src/${name}`;
      const text = readFileSync(join(ROOT, path), 'utf8');
      const imports = text.matchAll(
        /^(?:import|export) (?!type )([^;]*?) from '(\.[^']+)\.js'|import\('(\.[^']+)\.js'\)/gm,
      );
      for (const [, names = '', at, late] of imports) {
        const words = /^\{(.*)\}$/s
          .exec(names)?.[1]
          ?.split(',')
          .filter((word) => word.trim() !== '');
        if (words?.every((word) => /^\s*type /.test(word))) continue;
        const used = partOf(`${join(dirname(path), at ?? late!)}.ts`);
        if (used !== partOf(path)) found.set(partOf(path), (found.get(partOf(path)) ?? new Set()).add(used));
      }
    }
    return found;
  }

  it('has every part of src, and whose code it runs', () => {
    const all = uses();
    const table = rows(section(page('development.md'), 'Layout')).map(([parts, , cell]) => ({
      parts: quoted(parts!).filter((part) => part.startsWith('src/')),
      runs: quoted(cell!).filter((part) => part.startsWith('src/')),
    }));
    const [helpers] = table.filter(({ parts }) => parts.includes('src/errors.ts')).map(({ parts }) => parts);
    const parts = table.flatMap((row) => row.parts);
    const there = readdirSync(join(ROOT, 'src'), { withFileTypes: true });
    expect(sorted(parts)).toEqual(sorted(there.map((entry) => `src/${entry.name}${entry.isDirectory() ? '/' : ''}`)));
    for (const row of table) {
      if (row.parts.length === 0 || row.parts.includes('src/cli/')) continue;
      const used = row.parts.flatMap((part) => [...(all.get(part) ?? [])]);
      const others = used.filter((part) => !row.parts.includes(part) && !helpers!.includes(part));
      expect(sorted(row.runs), row.parts.join()).toEqual(sorted(others));
    }
  });
});

describe('the pages', () => {
  it('name and link to files that there are', () => {
    const named = PAGES.flatMap((name) => {
      const text = page(name);
      return [
        ...[...text.matchAll(/`((?:src|native|test|systemd|docs)\/[\w./-]*)`/g)].map(([, path]) => join(ROOT, path!)),
        ...[...text.matchAll(/\]\((?!https?:)([^)#]+)/g)].map(([, target]) => join(ROOT, 'docs', target!)),
      ];
    });
    expect(named.length).toBeGreaterThan(20);
    expect(named.filter((path) => !existsSync(path))).toEqual([]);
  });

  it('link to headings that there are', () => {
    /** As renderers of Markdown name a heading. */
    const anchors = (text: string): string[] =>
      [...text.matchAll(/^#+ (.*)$/gm)].map(([, title]) =>
        title!
          .toLowerCase()
          .replace(/[^\w\- ]/g, '')
          .replaceAll(' ', '-'),
      );
    const texts = new Map(PAGES.map((name) => [`docs/${name}`, page(name)]));
    texts.set('README.md', readFileSync(join(ROOT, 'README.md'), 'utf8'));
    const links = [...texts].flatMap(([from, text]) =>
      [...text.matchAll(/\]\((?!https?:)([^)#]*)#([^)]+)\)/g)].map(([, target, anchor]) => {
        const file = target === '' ? from : join(from, '..', target!);
        return [`${from}: ${target}#${anchor}`, anchors(texts.get(file) ?? '').includes(anchor!)] as const;
      }),
    );
    expect(links.length).toBeGreaterThan(20);
    expect(links.filter(([, isThere]) => !isThere)).toEqual([]);
  });
});
