import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type Browser, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { AuditResult } from '../../src/audit/types.js';
import { renderHtml } from '../../src/report/html.js';
import { client, HOSTILE, result } from './results.js';

const CHROMIUM = ['/usr/bin/chromium', '/usr/bin/google-chrome'].find((path) => existsSync(path));

describe.skipIf(CHROMIUM === undefined)('the page in Chromium (needs the package chromium)', () => {
  const folder = mkdtempSync(join(tmpdir(), 'imds-report-'));
  let browser: Browser;
  const complaints: string[] = [];
  beforeAll(async () => {
    browser = await chromium.launch({ executablePath: CHROMIUM!, args: ['--no-sandbox', '--disable-gpu'] });
  });
  afterAll(async () => {
    await browser?.close();
    rmSync(folder, { recursive: true });
  });

  async function open(fields?: Partial<AuditResult>, options: { javaScriptEnabled?: boolean } = {}): Promise<Page> {
    const file = join(folder, 'audit.html');
    writeFileSync(file, renderHtml(result(fields), { version: '9.9.9' }));
    const page = await (await browser.newContext({ offline: true, ...options })).newPage();
    complaints.length = 0;
    page.on('console', (message) => complaints.push(message.text()));
    page.on('pageerror', (error) => complaints.push(String(error)));
    page.on('requestfailed', (request) => complaints.push(request.url()));
    await page.goto(pathToFileURL(file).href);
    return page;
  }

  const names = (page: Page): Promise<string[]> => page.locator('.client:visible .name').allTextContents();

  it('opens a client, with its advice, and closes it again', async () => {
    const page = await open();
    const advice = page.getByText('Raise alibabacloud_credentials to 0.3.6');
    expect(await advice.isVisible()).toBe(false);
    const button = page.getByRole('button', { name: 'python3 /opt/report/upload.py' });
    await button.click();
    expect(await advice.isVisible()).toBe(true);
    expect(await button.getAttribute('aria-expanded')).toBe('true');
    await button.click();
    expect(await advice.isVisible()).toBe(false);
    expect(complaints).toEqual([]);
    await page.context().close();
  });

  it('sorts by any column, both ways', async () => {
    const page = await open();
    const upload = 'python3 /opt/report/upload.py';
    expect(await names(page)).toEqual([upload, 'curl', 'cloudmonitor-agent']);
    await page.getByRole('button', { name: 'Client', exact: true }).click();
    expect(await names(page)).toEqual(['cloudmonitor-agent', 'curl', upload]);
    await page.getByRole('button', { name: 'Client', exact: true }).click();
    expect(await names(page)).toEqual([upload, 'curl', 'cloudmonitor-agent']);
    await page.getByRole('button', { name: 'Requests', exact: true }).click();
    expect(await names(page)).toEqual(['cloudmonitor-agent', 'curl', upload]);
    await page.getByRole('button', { name: 'Severity', exact: true }).click();
    expect(await names(page)).toEqual([upload, 'cloudmonitor-agent', 'curl']);
    expect(complaints).toEqual([]);
    await page.context().close();
  });

  it('filters by words, impact and severity, and says how many are shown', async () => {
    const page = await open();
    const count = page.locator('#filter-count');
    expect(await count.textContent()).toBe('3 clients');
    await page.getByLabel('Search').fill('security-credentials REPORT');
    expect(await names(page)).toEqual(['python3 /opt/report/upload.py']);
    expect(await count.textContent()).toBe('1 of 3 clients');
    await page.getByLabel('Search').fill('');
    await page.locator('#filter-impact').selectOption('none');
    expect(await names(page)).toEqual(['cloudmonitor-agent']);
    await page.locator('#filter-severity').selectOption('low');
    expect(await names(page)).toEqual([]);
    expect(await count.textContent()).toBe('0 of 3 clients');
    expect(complaints).toEqual([]);
    await page.context().close();
  });

  it('runs no script that came in a name, an argument or a path', async () => {
    const page = await open({
      host: HOSTILE,
      clients: [
        client({
          command: HOSTILE,
          unit: HOSTILE,
          examples: [HOSTILE],
          paths: [{ path: HOSTILE, requests: 1, normal_mode: 1, severity: 'low' }],
          advice: [{ id: 'x', text: HOSTILE, commands: [HOSTILE], source: HOSTILE }],
        }),
      ],
    });
    await page.locator('button.open').click();
    await page.getByLabel('Search').fill(HOSTILE.slice(0, 30));
    expect(await page.evaluate('window.owned')).toBeUndefined();
    // And what does get in, by a fault that is not there today, is not run: the page's own policy.
    await page.evaluate(`document.body.insertAdjacentHTML('beforeend', '<img src=x onerror="window.owned=1">')`);
    await page.evaluate(`new Promise((done) => setTimeout(done, 50))`);
    expect(await page.evaluate('window.owned')).toBeUndefined();
    await page.context().close();
  });

  it('fits a telephone: nothing is wider than the screen but the tables, which scroll', async () => {
    const page = await open({ host: 'x'.repeat(200) });
    await page.setViewportSize({ width: 360, height: 700 });
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(360);
    await page.context().close();
  });

  it('shows everything on paper, and without scripts', async () => {
    const page = await open();
    await page.emulateMedia({ media: 'print' });
    expect(await page.getByText('Raise alibabacloud_credentials to 0.3.6').isVisible()).toBe(true);
    expect(await page.locator('.filters').isVisible()).toBe(false);
    await page.context().close();
    const plain = await open({}, { javaScriptEnabled: false });
    expect(await plain.getByText('Raise alibabacloud_credentials to 0.3.6').isVisible()).toBe(true);
    await plain.context().close();
  });
});
