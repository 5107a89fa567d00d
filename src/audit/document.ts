import type { Verdict } from '../imds/types.js';
import { noneByVerdict } from '../imds/verdict.js';
import { escapeJson } from '../output/escape.js';
import type { Advice, AuditResult, ClientResult, CoverageReason, PathResult } from './types.js';

/** The file of an audit's findings for a SIEM, an object a line. */
export const AUDIT_FINDINGS = 'audit.ocsf.ndjson';

/** Every verdict, also those that there were none of, so that a program need not ask what is there. */
type Counts = { requests: number } & Record<Verdict, number>;

/** A client in `audit.json`: texts where a text is enough, and beside them, under `…_details`, what they were made from. */
export interface ClientDocument extends Omit<ClientResult, 'counts' | 'paths' | 'advice'> {
  counts: Counts;
  counts_by_reason: Record<string, number>;
  counts_by_status: Record<string, number>;
  paths: string[];
  path_details: PathResult[];
  /** Each with its commands behind it, a line each. */
  advice: string[];
  advice_details: Advice[];
}

/** `audit.json`, and what `report --format json` begins with. */
export interface AuditDocument extends Omit<AuditResult, 'coverage' | 'clients'> {
  coverage: {
    complete: boolean;
    /** `code: text`. */
    reasons: string[];
    details: CoverageReason[];
  };
  clients: ClientDocument[];
}

/** An audit's result, or a report's with all that this has beside, as the JSON document that is written. */
export function auditDocument<Result extends AuditResult>({
  coverage,
  clients,
  ...rest
}: Result): Omit<Result, 'coverage' | 'clients'> & Pick<AuditDocument, 'coverage' | 'clients'> {
  return {
    ...rest,
    coverage: {
      complete: coverage.complete,
      reasons: coverage.reasons.map(({ code, text }) => `${code}: ${text}`),
      details: coverage.reasons,
    },
    clients: clients.map(clientDocument),
  };
}

/** The same as text: ends with a line break, and has no character that a terminal would act on. */
export const auditJson = (result: AuditResult): string =>
  `${escapeJson(JSON.stringify(auditDocument(result), null, 2))}\n`;

function clientDocument({ counts, paths, advice, ...rest }: ClientResult): ClientDocument {
  return {
    ...rest,
    counts: { requests: counts.requests, ...noneByVerdict(), ...counts.verdicts },
    counts_by_reason: counts.reasons,
    counts_by_status: counts.statuses,
    paths: paths.map(({ path }) => path),
    path_details: paths,
    advice: advice.map(({ text, commands }) => [text, ...commands].join('\n')),
    advice_details: advice,
  };
}
