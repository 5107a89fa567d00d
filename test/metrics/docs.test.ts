import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { TracerMetrics } from '../../src/metrics/tracer-metrics.js';
import type { Metric } from '../../src/metrics/types.js';
import { createEventContext } from '../../src/output/context.js';
import { LogFiles } from '../../src/output/logs.js';
import { Shipper } from '../../src/ship/shipper.js';
import { page, quoted, rows } from '../support/page.js';

const context = createEventContext({ hostName: 'h', version: '1' });
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'imds-metrics-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** Name, type and labels, as the page's table has them. */
type Row = [name: string, type: string, labels: string];

it('docs/metrics.md has every metric with its type and labels, and no other', async () => {
  const logs = new LogFiles(join(folder, 'log'), context);
  const shipper = new Shipper({
    targets: [],
    spoolDir: join(folder, 'spool'),
    spoolBytes: 1e6,
    endpoint: [],
    context,
    say: () => {},
  });
  const made: Row[] = [new TracerMetrics(), logs, shipper]
    .flatMap(({ metrics }): readonly Metric[] => metrics)
    .map(({ name, type, labels = [] }) => [name, type, labels.join(' ')]);
  await logs.close();
  await shipper.close();
  const documented = rows(page('metrics.md'))
    .filter(([, type]) => type === 'counter' || type === 'gauge')
    .flatMap(([names, type, labels]) => quoted(names!).map((name): Row => [name, type!, quoted(labels!).join(' ')]));
  expect(documented.sort()).toEqual(made.sort());
});
