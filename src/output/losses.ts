import type { TracerStats } from './types.js';

type Counter = Exclude<keyof TracerStats, 'by_verdict'>;

/** What can be lost, as `capture-loss` calls it, and the counter that tells. */
export const LOSSES = [
  ['ring', 'ring_dropped'],
  ['connect', 'connects_dropped'],
  ['truncated', 'truncated'],
  ['refused', 'packets_refused'],
  ['flow_table', 'flows_evicted'],
  ['stop', 'packets_abandoned'],
  ['log', 'log_errors'],
  ['ship', 'ship_dropped'],
] as const satisfies readonly (readonly [where: string, counter: Counter])[];

/** How much was lost, of every kind: bytes that are missing in a request, too, of which its `unparsed` event tells. */
export const lostInAll = (stats: TracerStats): number =>
  LOSSES.reduce((sum, [, counter]) => sum + (stats[counter] ?? 0), stats.gaps);
