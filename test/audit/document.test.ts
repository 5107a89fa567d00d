import { describe, expect, it } from 'vitest';
import { auditDocument, auditJson } from '../../src/audit/document.js';
import { HOSTILE, result } from '../report/results.js';

describe('audit.json', () => {
  const document = auditDocument(
    result({
      coverage: { complete: false, reasons: [{ code: 'ring_dropped', text: '3 packets were lost', count: 3 }] },
    }),
  );

  it('has what the interface names, texts as texts and counts by verdict, zeros included', () => {
    expect(Object.keys(document)).toEqual(
      expect.arrayContaining([
        ...['schema_version', 'host', 'started', 'ended', 'verdict', 'coverage', 'totals', 'clients', 'inventory'],
      ]),
    );
    expect(document.coverage).toEqual({
      complete: false,
      reasons: ['ring_dropped: 3 packets were lost'],
      details: [{ code: 'ring_dropped', text: '3 packets were lost', count: 3 }],
    });
    const [upload, curl] = document.clients;
    expect(upload!.counts).toEqual({
      requests: 293,
      normal_mode: 288,
      hardened: 0,
      token_issue: 0,
      token_refused: 5,
      token_invalid: 0,
      foreign_probe: 0,
      unparsed: 0,
    });
    expect(upload!.paths).toEqual(['/latest/meta-data/ram/security-credentials/report-role']);
    expect(upload!.path_details[0]).toMatchObject({ severity: 'critical', normal_mode: 288 });
    expect(upload!.advice[0]).toContain('ALIBABA_CLOUD_IMDSV1_DISABLED=true');
    expect(curl!.advice_details[0]!.commands).toHaveLength(1);
    expect(document.inventory[0]).toMatchObject({ name: '@alicloud/credentials', minimum: '2.4.0', status: 'too_old' });
  });

  it('is safe to print, and its texts are exact', () => {
    const json = auditJson(result({ host: HOSTILE }));
    expect(json).not.toMatch(/[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]/);
    expect((JSON.parse(json) as { host: string }).host).toBe(HOSTILE);
  });
});
