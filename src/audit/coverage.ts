import { LOSSES } from '../output/losses.js';
import type { Coverage, CoverageReason } from './types.js';

/**
 * Why an audit may not have seen everything. Each makes a verdict of `ready` impossible. The codes are part of the interface;
 * the text is given the count, and what else is known.
 */
export const COVERAGE = {
  ring_dropped: (n) => `${n} packets were lost: the ring buffer was full (--ring-size makes it larger)`,
  connects_dropped: (n) => `${n} records of connects were lost: the ring buffer was full (--ring-size makes it larger)`,
  truncated: (n) => `${n} packets were captured cut`,
  packets_refused: (n) => `${n} packets held no readable TCP segment, IP fragments for instance`,
  packets_abandoned: (n) => `${n} captured packets were not read before the end`,
  flows_evicted: (n) => `${n} open connections were put out of the full table`,
  log_errors: (n) => `${n} log lines or packets of evidence could not be written`,
  unparsed: (n) => `${n} times bytes went to the service that could not be read as a request`,
  unattributed: (n) => `${n} requests belong to no known process`,
  clients_overflow: (n) => `${n} requests are of clients that there was no room for`,
  tracer_down: (n, detail) => `no tracer ran ${n === 1 ? 'once' : `${n} times`} between two of its runs${detail}`,
  period_not_covered: (n) =>
    `the logs of ${n === 1 ? '1 host begin' : `${n} hosts begin`} after the period that was asked for does, or end before it`,
  lines_missing: (n) => `${n} events are missing in the logs: files that are gone, or lines that were not written`,
  lines_repeated: (n) => `${n} events are in the logs more than once, and were counted so`,
  no_counters: (n) =>
    `the logs have no counters of ${n === 1 ? '1 run' : `${n} runs`} of a tracer: what it lost is not known`,
  source_unknown: (n) =>
    `the logs have no beginning of ${n === 1 ? '1 run' : `${n} runs`} of a tracer: whether it saw all namespaces is not known`,
  reconfigured: (n) => `which clouds were traced was changed ${n === 1 ? 'once' : `${n} times`} while a tracer ran`,
  no_token_on_host: (n) => `on ${n === 1 ? '1 host' : `${n} hosts`} a client asked for tokens and got none that works`,
  cross_check: (_, detail) => detail,
  unreadable_file: (n, detail) =>
    `${n === 1 ? '1 file' : `${n} files`} of the logs could not be read to the end${detail}`,
  unreadable_log: (n) =>
    n === 1 ? '1 line of the logs is no event of the tracer' : `${n} lines of the logs are no events of the tracer`,
  pcap_source: () =>
    'libpcap sees one network namespace only, and finds processes after the fact: the eBPF source sees all',
  cgroup_namespace: () =>
    'the tracer ran in a cgroup namespace, as in a container: processes outside of it were not seen',
  source_interrupted: (_, detail) => `the source could not capture for some of the time${detail}`,
  not_traced: (n, detail) => `the audit was not running ${n === 1 ? 'once' : `${n} times`}${detail}`,
  ended_early: (_, detail) => `the audit was ended before its time was over${detail}`,
  nothing_seen: () =>
    'no request to the service was seen at all: trace for longer, or, where a host is known not to ask, audit it with --allow-silent',
} as const satisfies Record<string, (count: number, detail: string) => string>;

export type CoverageCode = keyof typeof COVERAGE;

/** As JSON: counts, and what else is known, by code. */
export type CoverageJson = [code: CoverageCode, count: number, detail: string][];

/** Gathers what is missing, of one run or many. */
export class CoverageNotes {
  readonly #notes = new Map<CoverageCode, { count: number; detail: string }>();

  /** `detail` follows the text, with its own space or comma in front; the last one counts. */
  note(code: CoverageCode, count = 1, detail = ''): void {
    if (count <= 0) return;
    const known = this.#notes.get(code);
    this.#notes.set(code, { count: (known?.count ?? 0) + count, detail: detail || (known?.detail ?? '') });
  }

  /** The counters of a tracer at its end, or at its last sign of life. */
  counters(counters: Readonly<Record<string, unknown>>): void {
    for (const [, counter] of LOSSES) {
      // What did not get to a receiver is in the log files, and was seen. `gaps` are among the `unparsed` events.
      if (counter === 'ship_dropped') continue;
      const count = counters[counter];
      if (typeof count === 'number') this.note(counter, count);
    }
  }

  toJSON(): CoverageJson {
    return [...this.#notes].map(([code, { count, detail }]) => [code, count, detail]);
  }

  merge(json: CoverageJson): void {
    for (const [code, count, detail] of json) this.note(code, count, detail);
  }

  /** In the order of the table. */
  result(): Coverage {
    const reasons = (Object.keys(COVERAGE) as CoverageCode[]).flatMap((code): CoverageReason[] => {
      const note = this.#notes.get(code);
      if (note === undefined) return [];
      return [{ code, text: COVERAGE[code](note.count, note.detail), count: note.count }];
    });
    return { complete: reasons.length === 0, reasons };
  }
}

/** Whether JSON from disk has the form of `CoverageJson`. */
export function isCoverageJson(value: unknown): value is CoverageJson {
  return (
    Array.isArray(value) &&
    value.every(
      (note: unknown) =>
        Array.isArray(note) &&
        Object.hasOwn(COVERAGE, String(note[0])) &&
        Number.isSafeInteger(note[1]) &&
        typeof note[2] === 'string',
    )
  );
}
