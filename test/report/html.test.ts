import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import type { AuditResult } from '../../src/audit/types.js';
import { renderHtml } from '../../src/report/html.js';
import { client, HOSTILE, result } from './results.js';

const page = (fields?: Partial<AuditResult>): string => renderHtml(result(fields), { version: '9.9.9' });
const textOf = (html: string): string =>
  html
    .replace(/<(style|script)>[\s\S]*?<\/\1>/g, '')
    .replace(/<[^>]+>/g, ' ')
    .replace(/\s+/g, ' ');

describe('the page', () => {
  it('says verdict, reasons, coverage, clients, causes, advice, paths, switch and inventory', () => {
    const text = textOf(page());
    for (const part of [
      'Not ready',
      '2 clients would break',
      'no packet was lost',
      'python3 /opt/report/upload.py',
      'asks for a token, is refused or gets no answer',
      'pip install --upgrade &quot;alibabacloud_credentials&gt;=0.3.6&quot;',
      '/latest/meta-data/ram/security-credentials/report-role',
      '--HttpTokens required',
      '--HttpTokens optional',
      'npm install @alicloud/credentials@^2.4.0',
      'too old, needs 0.3.6',
      '1,442 without a token',
      'traced for 1 d',
    ]) {
      expect(text).toContain(part);
    }
  });

  it('allows its own style and script by their hashes, and nothing else', () => {
    const html = page();
    const policy = /Content-Security-Policy" content="([^"]+)"/.exec(html)![1]!.replaceAll('&#39;', "'");
    const hash = (name: string) =>
      `sha256-${createHash('sha256')
        .update(new RegExp(`<${name}>(.*?)</${name}>`, 's').exec(html)![1]!)
        .digest('base64')}`;
    expect(policy).toContain(`default-src 'none'; style-src '${hash('style')}'; script-src '${hash('script')}'`);
    expect(html).not.toMatch(/ style=| on\w+=|src=|@import|url\(/);
    expect([...html.matchAll(/href="([^"]+)"/g)].every(([, to]) => to!.startsWith('https://'))).toBe(true);
  });

  it('shows text from outside as text, everywhere', () => {
    const one = client({
      command: HOSTILE,
      executable: HOSTILE,
      unit: HOSTILE,
      container_id: HOSTILE,
      container_runtime: HOSTILE,
      pod_uid: HOSTILE,
      user: HOSTILE,
      reasons: [HOSTILE],
      paths: [{ path: HOSTILE, requests: 1, normal_mode: 1, severity: 'low' }],
      counts: { requests: 1, verdicts: { normal_mode: 1 }, reasons: {}, statuses: { [HOSTILE]: 1 } },
      attribution: { [HOSTILE]: 1 },
      user_agents: [HOSTILE],
      callers: [HOSTILE],
      examples: [HOSTILE],
      sdks: [
        {
          kind: 'pip',
          name: HOSTILE,
          version: HOSTILE,
          how: 'process',
          path: HOSTILE,
          status: 'too_old',
          minimum: HOSTILE,
        },
      ],
      root_causes: [{ code: 'x', text: HOSTILE, requests: 1 }],
      advice: [{ id: 'x', text: HOSTILE, commands: [HOSTILE], source: `javascript:${HOSTILE}` }],
    });
    const html = page({
      host: HOSTILE,
      verdict_reasons: [HOSTILE],
      coverage: { complete: false, reasons: [{ code: 'x', text: HOSTILE }] },
      clients: [one],
      switches: [{ provider: HOSTILE, text: HOSTILE, commands: [HOSTILE], way_back: [HOSTILE], source: HOSTILE }],
      inventory: [
        {
          kind: 'pip',
          name: HOSTILE,
          version: HOSTILE,
          path: HOSTILE,
          minimum: HOSTILE,
          status: 'ok',
          may_fall_back: true,
          advice: HOSTILE,
          pids: [],
        },
      ],
    });
    expect(html.match(/<script/g)).toHaveLength(1);
    expect(html).not.toContain('<img');
    expect(html).not.toContain('href="javascript');
    expect(html).not.toMatch(/[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]/);
    expect(html).toContain('\\x1b[31m\\u{202e}');
  });

  it.each([
    ['ready', 'Ready to switch'],
    ['inconclusive', 'Inconclusive'],
  ] as const)('%s: %s, also without any client, path or bucket', (verdict, title) => {
    const text = textOf(
      page({
        verdict,
        verdict_reasons: ['nothing was seen'],
        coverage: { complete: false, reasons: [{ code: 'silent', text: 'nothing was seen', count: 3 }] },
        clients: [],
        timeline: { start: '1970-01-01T00:00:00.000Z', bucket_ms: 1000, counts: {} },
        switches: [],
        inventory: [],
      }),
    );
    expect(text).toContain(title);
    expect(text).toContain('No client was seen.');
    expect(text).toContain('nothing was seen (3)');
    expect(text).not.toContain('Worst paths');
    expect(text).not.toContain('Requests over time');
  });
});
