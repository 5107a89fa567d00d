import type { TracerStats } from './types.js';

/** What can be lost, as `capture-loss` calls it, and the counter that tells. */
export const LOSSES: ReadonlyArray<[where: string, counter: keyof TracerStats]> = [
  ['ring', 'ring_dropped'],
  ['connect', 'connects_dropped'],
  ['truncated', 'truncated'],
  ['refused', 'packets_refused'],
  ['flow_table', 'flows_evicted'],
  ['stop', 'packets_abandoned'],
  ['log', 'log_errors'],
  ['ship', 'ship_dropped'],
];
