import type { TimelineResult } from '../../audit/types.js';
import type { Verdict } from '../../imds/types.js';
import { count, duration } from '../../output/figures.js';
import { html, type Markup } from './markup.js';
import { utc, VERDICTS } from './words.js';

/** Of the drawing, in units of its view box. */
const WIDTH = 1000;
const HEIGHT = 200;
const LEFT = 56;
const TOP = 14;
const BOTTOM = 26;
const PLOT_WIDTH = WIDTH - LEFT;
const PLOT_HEIGHT = HEIGHT - TOP - BOTTOM;

/** Requests by verdict over time, as stacked bars: an inline SVG, readable without colours by its titles. */
export function timelineSection({ start, bucket_ms: bucketMs, counts }: TimelineResult): Markup | null {
  const verdicts = (Object.keys(VERDICTS) as Verdict[]).filter((verdict) => counts[verdict] !== undefined);
  const buckets = Math.max(0, ...verdicts.map((verdict) => counts[verdict]!.length));
  if (buckets === 0) return null;
  const sums = Array.from({ length: buckets }, (_, i) =>
    verdicts.reduce((sum, verdict) => sum + (counts[verdict]![i] ?? 0), 0),
  );
  const top = niceCeiling(Math.max(...sums));
  const first = Date.parse(start);
  const slot = PLOT_WIDTH / buckets;
  const width = Math.max(slot * 0.84, 0.8);
  const bars: Markup[] = [];
  for (let i = 0; i < buckets; i++) {
    let y = TOP + PLOT_HEIGHT;
    for (const verdict of verdicts) {
      const value = counts[verdict]![i] ?? 0;
      if (value === 0) continue;
      // A single request among thousands must still be seen.
      const height = Math.max((value / top) * PLOT_HEIGHT, 1.5);
      y -= height;
      const when = utc(new Date(first + i * bucketMs).toISOString());
      bars.push(
        html`<rect class="v-${verdict}" x="${round(LEFT + i * slot)}" y="${round(Math.max(y, 0))}" width="${round(width)}" height="${round(height)}"><title>${when}, ${duration(bucketMs)}: ${count(value)} ${VERDICTS[verdict].title.toLowerCase()}</title></rect>`,
      );
    }
  }
  const lines = [0, 0.5, 1].map((share) => {
    const y = TOP + PLOT_HEIGHT * (1 - share);
    const label = share === 0.5 && top < 2 ? '' : count(top * share);
    return html`<line class="grid" x1="${LEFT}" x2="${WIDTH}" y1="${y}" y2="${y}"/><text x="${LEFT - 8}" y="${y + 4}" text-anchor="end">${label}</text>`;
  });
  const ends = [
    { at: 0, x: LEFT, anchor: 'start' },
    { at: buckets, x: WIDTH, anchor: 'end' },
  ].map(
    ({ at, x, anchor }) =>
      html`<text x="${x}" y="${HEIGHT - 6}" text-anchor="${anchor}">${utc(new Date(first + at * bucketMs).toISOString())}</text>`,
  );
  return html`<section aria-labelledby="over-time">
<h2 id="over-time">Requests over time</h2>
<figure class="timeline">
<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="Requests over time by verdict; a bar is ${duration(bucketMs)}">
${lines}${bars}${ends}
</svg>
<figcaption><ul class="legend">${verdicts.map(
    (verdict) =>
      html`<li title="${VERDICTS[verdict].about}"><span class="key v-${verdict}"></span>${VERDICTS[verdict].title} <span class="quiet">${count(counts[verdict]!.reduce((sum, value) => sum + value, 0))}</span></li>`,
  )}</ul><span class="quiet">a bar is ${duration(bucketMs)}</span></figcaption>
</figure>
</section>`;
}

const round = (value: number): number => Math.round(value * 100) / 100;

/** The least of 1, 2, 4, 6, 10 times a power of ten that is not below `value`: halves of it are whole numbers from 2 on. */
function niceCeiling(value: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1)));
  return [1, 2, 4, 6, 10].map((factor) => factor * power).find((step) => step >= value) ?? 10 * power;
}
