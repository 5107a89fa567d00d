import type { AuditVerdict, Impact } from '../../audit/types.js';
import type { Severity, Verdict } from '../../imds/types.js';
import { count } from '../../output/figures.js';

/** What the page calls things, a row each: for somebody who has not read the interface. */

export const AUDIT_VERDICTS: Readonly<Record<AuditVerdict, { title: string; mark: string }>> = {
  ready: { title: 'Ready to switch', mark: '✓' },
  not_ready: { title: 'Not ready', mark: '✕' },
  inconclusive: { title: 'Inconclusive', mark: '?' },
};

/** In the order of the chart, from the bottom. */
export const VERDICTS: Readonly<Record<Verdict, { title: string; about: string }>> = {
  normal_mode: { title: 'Without a token', about: 'normal mode: ends with the switch' },
  unparsed: { title: 'Not readable', about: 'bytes that are no HTTP request, or a request that was lost in part' },
  token_refused: { title: 'Token refused', about: 'a token request that the service did not grant' },
  token_invalid: { title: 'Token invalid', about: 'a token that the service refused' },
  hardened: { title: 'With a token', about: 'works after the switch' },
  token_issue: { title: 'Token issued', about: 'a token request that was granted' },
  foreign_probe: { title: 'Other clouds', about: "a library that looks for another cloud's service" },
};

export const IMPACTS: Readonly<Record<Impact, { title: string; about: string }>> = {
  breaks: { title: 'Breaks', about: 'gets answers without a token: that ends with the switch' },
  broken: { title: 'Broken already', about: 'asks without a token, and is refused' },
  no_token: { title: 'Gets no token', about: 'is refused each token, and was not seen to go without' },
  fails_anyway: { title: 'Fails anyway', about: 'asks without a token, but for nothing that is there' },
  unknown: { title: 'Not known', about: 'what it sent could not be read' },
  none: { title: 'Not affected', about: "uses tokens, or is no client of this cloud's service" },
};

export const SEVERITIES: Readonly<Record<Severity, string>> = {
  critical: 'Critical: role credentials',
  high: 'High: role names, user data',
  medium: 'Medium: identity, keys',
  low: 'Low',
};

export const KNOWN_BY: Readonly<Record<string, string>> = {
  connect: 'recorded in the kernel when the socket connected',
  procfs: 'found through /proc',
  none: 'process not known',
};

export const SDK_KNOWN_BY = {
  user_agent: 'says so itself (User-Agent)',
  process: "from the running process's files",
  inventory: 'from the inventory of installed packages',
} as const;

export const plural = (number: number, one: string, many = `${one}s`): string =>
  `${count(number)} ${number === 1 ? one : many}`;

/** `2026-11-21 11:03:58 UTC` of an ISO time. */
export const utc = (iso: string): string => `${iso.slice(0, 10)} ${iso.slice(11, 19)} UTC`;
