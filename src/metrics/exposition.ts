import type { Metric } from './types.js';

/** https://prometheus.io/docs/instrumenting/exposition_formats/ */
export const CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

const PREFIX = 'imds_tracer_';

/**
 * Metrics in Prometheus's text format.
 *
 * Why no package: prom-client makes the process 8 MiB larger (measured, resident, before the first metric; a tracer has
 * some 45), and keeps values of its own that would have to be copied from ours at each scrape.
 */
export function formatMetrics(metrics: Iterable<Metric>): string {
  let text = '';
  for (const { name, help, type, read } of metrics) {
    const full = PREFIX + name;
    text += `# HELP ${full} ${escapeHelp(help)}\n# TYPE ${full} ${type}\n`;
    const now = read();
    for (const { labels, value } of typeof now === 'number' ? [{ value: now, labels: undefined }] : now) {
      const pairs = Object.entries(labels ?? {}).map(([label, of]) => `${label}="${escapeLabel(of)}"`);
      text += `${full}${pairs.length > 0 ? `{${pairs.join(',')}}` : ''} ${value}\n`;
    }
  }
  return text;
}

const escapeHelp = (text: string): string => text.replace(/\\/g, '\\\\').replace(/\n/g, '\\n');
const escapeLabel = (text: string): string => escapeHelp(text).replace(/"/g, '\\"');
