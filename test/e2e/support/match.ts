import { isDeepStrictEqual } from 'node:util';
import type { JournalEntry } from '../../../src/lab/journal.js';
import { decodeLatin1 } from '../../../src/text.js';
import { PATIENCE } from '../../support/patience.js';
import type { EcsEvent } from './tracer.js';

/** What a test knows about the event of one journaled request. What is left out is not compared. */
export interface Expectation {
  /** The target as shown, where that is not what was sent: it held a secret. */
  target?: string;
  verdict: string;
  level?: string;
  severity?: string;
  /** Sorted, and all of them. */
  reasons?: readonly string[];
  pid?: number;
  name?: string;
  args?: readonly string[];
  parentPid?: number;
  parentArgs?: readonly string[];
  attribution?: string;
  unit?: string;
  /** By default what the service answered; `any` where the client may be gone before the answer; `none` if it must be absent. */
  status?: number | 'any' | 'none';
}

/** What is compared with a field of the event as it is. */
type Plain = Exclude<keyof Expectation, 'status' | 'target'>;

/** Where an expectation is found in an event. */
const FIELDS: { readonly [Field in Plain]-?: (event: EcsEvent) => unknown } = {
  verdict: ({ imds }) => imds?.verdict,
  level: ({ log }) => log.level,
  severity: ({ imds }) => imds?.severity,
  reasons: ({ imds }) => imds?.reasons ?? [],
  pid: ({ process }) => process?.pid,
  name: ({ process }) => process?.name,
  args: ({ process }) => process?.args,
  parentPid: ({ process }) => process?.parent?.pid,
  parentArgs: ({ process }) => process?.parent?.args,
  attribution: ({ imds }) => imds?.attribution,
  unit: ({ service }) => service?.name,
};

/** How many problems a failure shows. */
const MAX_SHOWN = 20;

/**
 * Each journaled request is exactly one event and each event a journaled request: the same connection (by ports and
 * addresses), the same place in it, method, target and answer, and what the test expects beyond. Throws one error that
 * lists what is missing, what was invented and what differs.
 */
export function expectExactlyTheJournal(
  events: readonly EcsEvent[],
  journal: readonly JournalEntry[],
  expected: (entry: JournalEntry, index: number) => Expectation,
): void {
  const problems: string[] = [];
  const waiting = new Map<string, EcsEvent[]>();
  const byTime = events.toSorted((a, b) => Date.parse(a['@timestamp']) - Date.parse(b['@timestamp']));
  for (const event of byTime) {
    const key = eventKey(event);
    waiting.set(key, [...(waiting.get(key) ?? []), event]);
  }
  for (const [index, entry] of journal.entries()) {
    const event = waiting.get(entryKey(entry))?.shift();
    if (!event) {
      problems.push(`missing: ${describeEntry(entry)}`);
      continue;
    }
    const differences = compare(event, entry, expected(entry, index));
    if (differences.length > 0) problems.push(`differs: ${describeEntry(entry)}: ${differences.join('; ')}`);
  }
  for (const event of [...waiting.values()].flat()) problems.push(`invented: ${describeEvent(event)}`);
  if (problems.length === 0) return;
  const more = problems.length > MAX_SHOWN ? [`… and ${problems.length - MAX_SHOWN} more`] : [];
  throw new Error(
    [
      `${events.length} events for ${journal.length} journal entries, ${problems.length} problems:`,
      ...problems.slice(0, MAX_SHOWN),
      ...more,
    ].join('\n'),
  );
}

function compare(event: EcsEvent, entry: JournalEntry, expectation: Expectation): string[] {
  const differences: string[] = [];
  const check = (what: string, found: unknown, wanted: unknown) => {
    if (!isDeepStrictEqual(found, wanted)) {
      differences.push(`${what} is ${JSON.stringify(found)}, not ${JSON.stringify(wanted)}`);
    }
  };
  for (const [field, read] of Object.entries(FIELDS) as [keyof typeof FIELDS, (event: EcsEvent) => unknown][]) {
    if (expectation[field] !== undefined) check(field, read(event), expectation[field]);
  }
  if (entry.kind === 'request') {
    check('method', event.http?.request?.method, entry.method);
    check('target', event.url?.original, expectation.target ?? decodeLatin1(entry.target));
    const status = expectation.status ?? entry.status;
    // An event waits for its answer for a second, which an emulated processor may be late by.
    const late = PATIENCE > 1 && event.http?.response === undefined;
    if (status !== 'any' && !late)
      check('status', event.http?.response?.status_code, status === 'none' ? undefined : status);
  }
  return differences;
}

const place = (at: { address: string; port: number } | undefined) => `${at?.address} ${at?.port}`;
const entryKey = ({ client, server }: JournalEntry) => `${place(client)} ${place(server)}`;
const eventKey = ({ source, destination }: EcsEvent) =>
  `${source?.ip} ${source?.port} ${destination?.ip} ${destination?.port}`;

const describeEntry = (entry: JournalEntry) =>
  `${entry.kind === 'request' ? `${entry.method} ${entry.target.slice(0, 120)}` : entry.code} ` +
  `(${entryKey(entry)}, connection ${entry.connection}, seq ${entry.seq})`;

const describeEvent = (event: EcsEvent) =>
  `${event['@timestamp']} (${eventKey(event)}) ${event.imds?.verdict}: ${event.message.slice(0, 240)}`;
