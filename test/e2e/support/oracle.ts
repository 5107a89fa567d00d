import type { JournalEntry } from '../../../src/lab/journal.js';
import { headerOf } from '../../../src/lab/request-reader.js';
import { SERVICE_RULES } from '../../../src/lab/rules.js';
import { servicePath } from '../../../src/lab/tree.js';
import type { Expectation } from './match.js';

const LEVELS: Readonly<Record<string, string>> = {
  normal_mode: 'WARNING',
  hardened: 'INFO',
  token_issue: 'INFO',
  token_refused: 'NOTICE',
  token_invalid: 'NOTICE',
  unparsed: 'ERROR',
};

/** Verdict and level by what the service received and answered, from the service's own tables and not the tracer's. */
export function verdictOf(entry: JournalEntry): Pick<Expectation, 'verdict' | 'level'> {
  const verdict = plainVerdict(entry);
  return { verdict, level: LEVELS[verdict]! };
}

function plainVerdict(entry: JournalEntry): string {
  if (entry.kind === 'unparsed') return 'unparsed';
  const rules = SERVICE_RULES[entry.provider];
  if (servicePath(entry.target) === rules.tokenPath) return entry.status === 200 ? 'token_issue' : 'token_refused';
  if ((headerOf(entry, rules.tokenHeader.toLowerCase()) ?? '') === '') return 'normal_mode';
  return entry.status === 401 ? 'token_invalid' : 'hardened';
}
