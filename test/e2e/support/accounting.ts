import type { JournalEntry } from '../../../src/lab/journal.js';
import type { TracerStats } from '../../../src/output/types.js';
import type { EcsEvent } from './tracer.js';

/** Where `capture-loss` says that something was lost, and the counter that says so at the end. */
const LOSSES: Readonly<Record<string, keyof TracerStats>> = {
  ring: 'ring_dropped',
  connect: 'connects_dropped',
  truncated: 'truncated',
  refused: 'packets_refused',
  flow_table: 'flows_evicted',
  stop: 'packets_abandoned',
  log: 'log_errors',
  ship: 'ship_dropped',
};

/** Sums of what `capture-loss` events say, by where it was lost. */
export function lostBy(events: readonly EcsEvent[]): Record<string, number> {
  const sum: Record<string, number> = {};
  for (const { event, log, imds } of events) {
    if (event.action !== 'capture-loss') continue;
    if (log.level !== 'ERROR') throw new Error(`a loss is said as ${log.level}`);
    for (const [where, count] of Object.entries(imds!.lost!)) sum[where] = (sum[where] ?? 0) + count;
  }
  return sum;
}

/**
 * Throws where the accounts of a tracer that has ended don't balance: its packets, its requests, what it says was lost, and
 * the lines that it wrote.
 * @param events those of this one run, from its `tracer-started` to its `tracer-stopped`
 */
export function expectBalanced(events: readonly EcsEvent[]): void {
  const stats = events.findLast(({ event }) => event.action === 'tracer-stopped')?.imds?.stats;
  // A line that could not be written may have been any of them.
  if (stats === undefined || stats.log_errors > 0) return;
  const problems: string[] = [];
  const balance = (what: string, left: number, right: number) => {
    if (left !== right) problems.push(`${what}: ${left} is not ${right}`);
  };
  balance(
    'packets seen = captured + dropped + passed over',
    stats.packets_seen,
    stats.packets_captured + stats.ring_dropped + stats.packets_passed_over,
  );
  const judged = Object.values(stats.by_verdict).reduce((sum, count) => sum + count, 0);
  balance('requests and unparsed bytes = verdicts', stats.requests + stats.unparsed, judged);
  balance('with and without a process = verdicts', stats.attributed + stats.unattributed, judged);
  balance('events = verdicts', events.filter(({ event }) => event.action === 'imds-request').length, judged);
  const said = lostBy(events);
  for (const [where, counter] of Object.entries(LOSSES)) {
    balance(`said to be lost (${where}) = ${counter}`, said[where] ?? 0, (stats[counter] as number | undefined) ?? 0);
  }
  if (problems.length > 0) throw new Error(`the tracer's accounts don't balance:\n${problems.join('\n')}`);
}

/** Counters that excuse a request that is missing. */
const EXCUSES = ['ring_dropped', 'truncated', 'packets_refused', 'packets_abandoned', 'gaps', 'log_errors'] as const;

/** Throws where a request that the service has received is no event, and the tracer does not count a loss either. */
export function expectNoneMissing(events: readonly EcsEvent[], received: readonly JournalEntry[]): void {
  const stats = events.findLast(({ event }) => event.action === 'tracer-stopped')?.imds?.stats;
  if (stats === undefined || EXCUSES.some((counter) => stats[counter] > 0)) return;
  const seen = new Map<string, number>();
  for (const { source, destination, event } of events) {
    if (event.action !== 'imds-request') continue;
    const key = `${source!.ip} ${source!.port} ${destination!.ip} ${destination!.port}`;
    seen.set(key, (seen.get(key) ?? 0) + 1);
  }
  const missing = received.filter(({ kind, client, server }) => {
    if (kind !== 'request') return false;
    const key = `${client?.address} ${client?.port} ${server.address} ${server.port}`;
    const left = seen.get(key) ?? 0;
    seen.set(key, left - 1);
    return left <= 0;
  });
  if (missing.length === 0) return;
  const shown = missing.slice(0, 10).map((entry) => JSON.stringify(entry).slice(0, 300));
  throw new Error(`${missing.length} of ${received.length} requests are no events:\n${shown.join('\n')}`);
}
