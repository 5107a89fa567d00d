import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Judgement } from '../../src/imds/types.js';
import { createEventContext } from '../../src/output/context.js';
import { formatEcs } from '../../src/output/ecs.js';
import { ecsJson } from '../../src/output/ecs-json.js';
import { escapeJson } from '../../src/output/escape.js';
import { LearnedSecrets } from '../../src/output/learned.js';
import { redactEvent, type ShownEvent, type ShownRequest } from '../../src/output/redact.js';
import { formatText } from '../../src/output/text.js';
import type { RequestEvent } from '../../src/output/types.js';
import type { ProcessInfo, ProcessSummary } from '../../src/process/types.js';
import { requestEvent, requestHead } from './events.js';
import { EVERY_EVENT, HOSTILE_EVENTS } from './every-event.js';

const context = createEventContext({ hostName: 'wéb-1\u202e', hostId: '"abc\\', version: '0.1.0' });

/** The object as JSON.stringify has it: what the text must be, character for character. */
function expectSame(event: ShownEvent, about = context): void {
  const text = formatText(event);
  const json = ecsJson(event, about, text);
  expect(json).toBe(escapeJson(JSON.stringify(formatEcs(event, about, text))));
}

const wire = fc
  .oneof(
    fc.string({ unit: 'binary', maxLength: 40 }),
    fc.string({ unit: 'grapheme-ascii', maxLength: 40 }),
    fc.constantFrom('"', '\\', '\u2028', 'é', 'verdict:', ''),
  )
  .map((text) => Buffer.from(text, 'utf8').toString('latin1'));
const text = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 30 }),
  fc.string({ unit: 'grapheme', maxLength: 30 }),
  fc.constantFrom('\ud800', '\udc00', '\x7f', '"\\\n', 'WARNING', ') -> (pid:'),
);
const optional = <T>(value: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(value, { nil: undefined });
const count = fc.integer({ min: 0, max: 2 ** 32 - 1 });

/** Leaves out what is undefined, as the types want it. */
const record = <T>(model: { [Name in keyof T]-?: fc.Arbitrary<T[Name] | undefined> }): fc.Arbitrary<T> =>
  fc
    .record(model as Record<string, fc.Arbitrary<unknown>>)
    .map((made) => Object.fromEntries(Object.entries(made).filter(([, value]) => value !== undefined)) as T);

const SUMMARY = {
  pid: count,
  name: text,
  startTime: optional(fc.double({ min: 0, max: 9e15, noNaN: true })),
  args: optional(fc.array(text, { maxLength: 4 })),
  argsTruncated: optional(fc.boolean()),
  executable: optional(text),
};
const process = record<ProcessInfo>({
  ...SUMMARY,
  entityId: text,
  user: optional(record<{ id: number; name?: string }>({ id: count, name: optional(text) })),
  ancestors: fc.array(record<ProcessSummary>(SUMMARY), { maxLength: 10 }),
  unit: optional(text),
  container: optional(fc.record({ id: text, runtime: text })),
  podUid: optional(text),
  netns: optional(count),
});
const judgement = record<Judgement>({
  provider: fc.constantFrom('alibaba', 'aws'),
  verdict: fc.constantFrom(
    'normal_mode',
    'hardened',
    'token_issue',
    'token_refused',
    'token_invalid',
    'foreign_probe',
    'unparsed',
  ),
  level: fc.constantFrom('INFO', 'NOTICE', 'WARNING', 'ERROR'),
  severity: fc.constantFrom('critical', 'high', 'medium', 'low'),
  reasons: fc.subarray(['blocked', 'credential_path', 'empty_token', 'gap']),
  tokenPresent: fc.boolean(),
  ttlSeconds: optional(fc.oneof(fc.nat(), fc.constantFrom(1e23, Number.POSITIVE_INFINITY))),
});
const request = fc
  .record({ method: wire, path: wire, query: optional(wire), host: optional(wire), userAgent: optional(wire) })
  .map(({ method, path, query, host, userAgent }) =>
    requestHead({
      method,
      target: query === undefined ? path : `${path}?${query}`,
      headers: [
        ...(host === undefined ? [] : [{ name: 'Host', value: host }]),
        ...(userAgent === undefined ? [] : [{ name: 'User-Agent', value: userAgent }]),
      ],
    }),
  );
const event = fc
  .record({
    time: fc.double({ min: -9e15, max: 9e15 }),
    port: fc.integer({ min: 0, max: 65_535 }),
    family: fc.constantFrom(4 as const, 6 as const),
    cookie: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    request: optional(request),
    response: optional(
      fc.record({
        status: fc.integer({ min: 100, max: 999 }),
        after: fc.double({ min: -10, max: 1e6 }),
        accessKeyId: optional(text),
      }),
    ),
    judgement,
    process: optional(process),
    how: fc.constantFrom('connect' as const, 'procfs' as const, 'none' as const),
    detail: optional(text),
  })
  .map(({ time, port, family, cookie, request, response, judgement, process, how, detail }): RequestEvent => {
    const { request: _, response: __, ...base } = requestEvent();
    const made: RequestEvent = { ...base, time, family, cookie, judgement, attribution: { how } };
    made.client = { address: family === 4 ? '10.0.0.1' : 'fd00::1', port };
    if (request !== undefined) made.request = request;
    else made.unparsed = { time, reason: 'gap', bytes: port };
    if (response !== undefined) {
      const { status, after, accessKeyId } = response;
      made.response = { time: time + after, status, version: '1.1', headers: [] };
      if (accessKeyId !== undefined) made.response.accessKeyId = accessKeyId;
    }
    if (process !== undefined) made.attribution.process = process;
    if (detail !== undefined) made.attribution.detail = detail;
    return made;
  });

describe('an ECS event as text', () => {
  it.each([...EVERY_EVENT, ...HOSTILE_EVENTS])('is what JSON.stringify makes of its object: %s', (_name, event) => {
    expectSame(event);
    // Also when most of it is known from the event before.
    expectSame(event);
  });

  it('is so whatever is in it', () => {
    fc.assert(
      fc.property(event, (generated) => expectSame(redactEvent(generated, new LearnedSecrets()))),
      { numRuns: 2_000 },
    );
  });

  it('is so for many processes in turn, and in several runs', () => {
    const learned = new LearnedSecrets();
    const other = createEventContext({ hostName: 'other', version: '2' });
    const base = requestEvent();
    const events = Array.from({ length: 600 }, (_, i) => {
      const process = { ...base.attribution.process!, pid: i, args: ['x'.repeat(i * 20)] };
      return redactEvent({ ...base, attribution: { how: 'connect', process } }, learned);
    });
    for (const about of [context, other]) {
      for (const event of [...events, ...events.toReversed()]) {
        expectSame(event, about);
        const { pid } = (event as ShownRequest).attribution.process!;
        expect(formatText(event).message).toContain(`(pid:${pid}:curl argv:`);
      }
    }
  });

  it('shows a process again once words of its arguments were learned', () => {
    const learned = new LearnedSecrets();
    const secret = 'AbCdEfGh0123456789AbCdEfGh';
    const base = requestEvent();
    const process = { ...base.attribution.process!, args: ['client', secret] };
    const from = (request: RequestEvent['request']): string => {
      const shown = redactEvent({ ...base, request: request!, attribution: { how: 'connect', process } }, learned);
      expectSame(shown);
      return ecsJson(shown, context, formatText(shown));
    };
    expect(from(requestHead())).toContain(secret);
    const withToken = requestHead({ headers: [{ name: 'X-aliyun-ecs-metadata-token', value: secret }] });
    expect(from(withToken)).not.toContain(secret);
    expect(from(requestHead())).not.toContain(secret);
  });
});
