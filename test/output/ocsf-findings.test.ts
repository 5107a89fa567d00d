import { describe, expect, it } from 'vitest';
import { createEventContext } from '../../src/output/context.js';
import {
  type FoundAudit,
  type FoundClient,
  formatComplianceFinding,
  formatDetectionFindings,
} from '../../src/output/ocsf/findings.js';
import { result } from '../report/results.js';
import { HOSTILE } from './every-event.js';
import { ocsfProblems } from './ocsf-validate.js';

const context = createEventContext({ hostName: 'web-1', hostId: 'abc', version: '0.1.0' });

const client = (changes: Partial<FoundClient> = {}): FoundClient => ({
  id: '1f2e3d',
  executable: '/usr/bin/python3.11',
  command: 'python3 /srv/app.py',
  unit: 'app.service',
  container_id: null,
  user: 'app',
  severity: 'critical',
  reasons: ['credential_path', 'fallback_after_token_refused'],
  counts: { requests: 12, verdicts: { normal_mode: 10 } },
  paths: [{ path: '/latest/meta-data/ram/security-credentials/role' }],
  first_seen: '2026-11-21T03:03:00.000Z',
  last_seen: '2026-11-21T03:04:00.500Z',
  root_causes: [{ text: 'asks for a token, is refused, and goes without' }],
  advice: [
    { text: 'raise alibabacloud_credentials to 0.3.6', source: 'https://example.com/a' },
    { text: 'then restart' },
  ],
  ...changes,
});

const audit = (changes: Partial<FoundAudit> = {}): FoundAudit => ({
  started: '2026-11-21T03:00:00.000Z',
  ended: '2026-11-21T03:10:00.000Z',
  verdict: 'not_ready',
  verdict_reasons: ['1 client goes without a token'],
  coverage: { complete: true, reasons: [] },
  totals: { requests: 20, normal_mode: 10 },
  clients: [client(), client({ id: '2', counts: { requests: 10, verdicts: {} } })],
  ...changes,
});

const hostile = (text: string): FoundAudit =>
  audit({
    verdict_reasons: Array.from({ length: 100 }, () => text),
    clients: [
      client({
        executable: text,
        command: text,
        unit: text,
        container_id: text,
        user: text,
        paths: Array.from({ length: 100 }, () => ({ path: text })),
        root_causes: Array.from({ length: 100 }, () => ({ text })),
        advice: Array.from({ length: 100 }, () => ({ text, source: text })),
      }),
    ],
  });

// biome-ignore lint/suspicious/noExplicitAny: what a reader of the JSON has
const json = (fields: object): any => JSON.parse(JSON.stringify(fields));
const all = (of: FoundAudit) => [formatComplianceFinding(of, context), ...formatDetectionFindings(of, context)];

describe('the findings of an audit', () => {
  it.each<[string, FoundAudit]>([
    ['not ready', audit()],
    ['ready', audit({ verdict: 'ready', clients: [], totals: { requests: 3, normal_mode: 0 } })],
    ['inconclusive', audit({ verdict: 'inconclusive', coverage: { complete: false, reasons: [] } })],
    [
      'of an unknown process',
      audit({
        clients: [client({ executable: null, command: null, unit: null, user: null, advice: [], reasons: [] })],
      }),
    ],
    ...HOSTILE.map((text): [string, FoundAudit] => [JSON.stringify(text).slice(0, 40), hostile(text)]),
  ])('are what the schema demands: %s', (_, of) => {
    for (const finding of all(of)) {
      expect(ocsfProblems(json(finding))).toEqual([]);
      expect(JSON.stringify(finding).length).toBeLessThan(500_000);
    }
  });

  it.each([
    ['ready', 'Pass', 1],
    ['inconclusive', 'Warning', 3],
    ['not_ready', 'Fail', 4],
  ] as const)('%s is %s', (verdict, status, severity) => {
    const finding = json(formatComplianceFinding(audit({ verdict }), context));
    expect(finding).toMatchObject({ type_uid: 200_301, severity_id: severity, compliance: { status } });
    expect(finding.time).toBe(Date.parse('2026-11-21T03:10:00Z'));
  });

  it('are one for each client that goes without a token', () => {
    const [finding, ...more] = formatDetectionFindings(audit(), context).map(json);
    expect(more).toEqual([]);
    expect(finding).toMatchObject({
      type_uid: 200_401,
      severity_id: 5,
      is_alert: true,
      count: 10,
      finding_info: { uid: 'imds-tracer:abc:1f2e3d', attacks: [{ sub_technique: { uid: 'T1552.005' } }] },
      evidences: [
        { process: { path: '/usr/bin/python3.11', user: { name: 'app' } }, actor: { app_name: 'app.service' } },
      ],
      remediation: {
        desc: 'raise alibabacloud_credentials to 0.3.6\nthen restart',
        references: ['https://example.com/a'],
      },
    });
  });

  it('are made of what an audit results in', () => {
    const [compliance, ...detections] = all(result()).map(json);
    expect(ocsfProblems(compliance)).toEqual([]);
    expect(detections.flatMap(ocsfProblems)).toEqual([]);
    expect(detections.length).toBeGreaterThan(0);
  });

  it('keep their identity from audit to audit, while each report is an event of its own', () => {
    const later = audit({ ended: '2026-11-22T03:10:00.000Z' });
    const ids = [audit(), audit(), later].map((of) => {
      const { finding_info, metadata } = json(formatDetectionFindings(of, context)[0]!);
      return [finding_info.uid, metadata.uid];
    });
    expect(ids[1]).toEqual(ids[0]);
    expect(ids[2]![0]).toBe(ids[0]![0]);
    expect(ids[2]![1]).not.toBe(ids[0]![1]);
  });
});
