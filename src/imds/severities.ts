import type { Severity } from './types.js';

/** The least first. */
export const SEVERITIES: readonly Severity[] = ['low', 'medium', 'high', 'critical'];

const RANKS: ReadonlyMap<Severity, number> = new Map(SEVERITIES.map((severity, rank) => [severity, rank]));

export const severityRank = (severity: Severity): number => RANKS.get(severity)!;

export const worse = (a: Severity, b: Severity): Severity => (severityRank(a) >= severityRank(b) ? a : b);
