/** The page's style sheet: light and dark by the reader's setting, and on paper. */
export const STYLE = `
:root {
  color-scheme: light dark;
  --page: #f5f6f8; --card: #fff; --text: #1b1f26; --quiet: #5c6470; --line: #dfe3e8; --code: #eef0f3; --link: #0b57a4;
  --bad: #b3261e; --bad-soft: #fdeceb; --good: #18693a; --good-soft: #e5f4ea; --ask: #7a5200; --ask-soft: #fdf2da;
  --normal_mode: #d93a2f; --hardened: #2f9e5f; --token_issue: #3b82c4; --token_refused: #e0962a; --token_invalid: #c9762b;
  --foreign_probe: #8a93a0; --unparsed: #8452b8;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #14171c; --card: #1c2027; --text: #e7eaee; --quiet: #9aa3af; --line: #323841; --code: #262b33; --link: #7db7f0;
    --bad: #ff8a80; --bad-soft: #3b1d1c; --good: #7ad3a0; --good-soft: #16301f; --ask: #f3c069; --ask-soft: #362a12;
    --normal_mode: #f0655b; --hardened: #45b878; --token_issue: #63a4e0; --token_refused: #eab053; --token_invalid: #dd9350;
    --foreign_probe: #77808c; --unparsed: #a67fd4;
  }
}
* { box-sizing: border-box; }
html { background: var(--page); }
body {
  margin: 0 auto; max-width: 1120px; padding: 28px 20px 60px; color: var(--text);
  overflow-wrap: anywhere;
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
h1, h2, h3, p, ul, dl, figure, pre { margin: 0; }
h2 { font-size: 19px; margin: 34px 0 12px; }
h3 { font-size: 13px; font-weight: 650; color: var(--quiet); margin: 0 0 6px; }
ul { padding-left: 18px; }
a { color: var(--link); }
.quiet, .place, .time { color: var(--quiet); }
.place, .time, .quiet, .source { font-size: 13px; }
header .about { color: var(--quiet); font-size: 13px; display: flex; flex-wrap: wrap; gap: 4px 18px; margin-bottom: 14px; }
.verdict { border-radius: 10px; padding: 20px 24px; border: 1px solid var(--line); border-left-width: 8px; background: var(--card); }
.verdict h1 { font-size: 30px; line-height: 1.2; font-weight: 700; }
.verdict ul { margin-top: 10px; }
.verdict li { margin: 3px 0; }
.verdict.ready { border-color: var(--good); background: var(--good-soft); } .verdict.ready h1 { color: var(--good); }
.verdict.not_ready { border-color: var(--bad); background: var(--bad-soft); } .verdict.not_ready h1 { color: var(--bad); }
.verdict.inconclusive { border-color: var(--ask); background: var(--ask-soft); } .verdict.inconclusive h1 { color: var(--ask); }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(130px, 1fr)); gap: 10px; margin-top: 14px; }
.figure { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 12px 14px; }
.figure b { display: block; font-size: 22px; line-height: 1.3; overflow-wrap: normal; font-variant-numeric: tabular-nums; }
.figure span { color: var(--quiet); font-size: 13px; }
.figure.alarm b { color: var(--bad); }
.card, .timeline, .scroll { background: var(--card); border: 1px solid var(--line); border-radius: 8px; }
.card, .timeline { padding: 14px 16px; }
.scroll { overflow-x: auto; }
.tall { max-height: 420px; overflow-y: auto; }
.timeline svg { width: 100%; height: auto; display: block; font-size: 12px; }
.timeline text { fill: var(--quiet); }
.timeline .grid { stroke: var(--line); stroke-width: 1; }
.timeline figcaption { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 6px 20px; margin-top: 8px; font-size: 13px; }
.legend { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: 4px 18px; }
.key { display: inline-block; width: 11px; height: 11px; border-radius: 2px; margin-right: 6px; }
.v-normal_mode { fill: var(--normal_mode); background: var(--normal_mode); }
.v-hardened { fill: var(--hardened); background: var(--hardened); }
.v-token_issue { fill: var(--token_issue); background: var(--token_issue); }
.v-token_refused { fill: var(--token_refused); background: var(--token_refused); }
.v-token_invalid { fill: var(--token_invalid); background: var(--token_invalid); }
.v-foreign_probe { fill: var(--foreign_probe); background: var(--foreign_probe); }
.v-unparsed { fill: var(--unparsed); background: var(--unparsed); }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: 9px 12px; border-bottom: 1px solid var(--line); vertical-align: top; }
td.number, .badge { overflow-wrap: normal; }
th { font-size: 13px; color: var(--quiet); font-weight: 600; white-space: nowrap; }
tbody:last-child tr:last-child td { border-bottom: 0; }
td.time { white-space: nowrap; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
.small th, .small td { padding: 4px 10px 4px 0; font-size: 13px; }
.code, pre { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: 12.5px; }
.code, .name { overflow-wrap: anywhere; }
pre { background: var(--code); border-radius: 6px; padding: 8px 10px; white-space: pre-wrap; overflow-wrap: anywhere; margin: 6px 0; }
.badge { display: inline-block; border-radius: 20px; padding: 1px 9px; font-size: 13px; white-space: nowrap; border: 1px solid var(--line); background: var(--code); }
.i-breaks, .i-broken, .k-too_old, .h-not_ready { color: var(--bad); background: var(--bad-soft); border-color: var(--bad); }
.i-unknown, .i-no_token, .i-fails_anyway, .h-inconclusive { color: var(--ask); background: var(--ask-soft); border-color: var(--ask); }
.i-none, .k-ok, .h-ready { color: var(--good); background: var(--good-soft); border-color: var(--good); }
.severity { font-size: 13px; }
.s-critical { color: var(--bad); font-weight: 700; } .s-high { color: var(--bad); } .s-low { color: var(--quiet); }
/* What it asks for matters, but nothing is wrong with how it asks. */
[data-impact="none"] .severity { color: var(--quiet); font-weight: 400; }
.filters { display: flex; flex-wrap: wrap; gap: 10px 16px; align-items: end; margin-bottom: 10px; font-size: 13px; color: var(--quiet); }
.filters label { display: grid; gap: 3px; }
.filters output { margin-left: auto; }
input, select, button { font: inherit; color: inherit; }
input, select { color: var(--text); background: var(--card); border: 1px solid var(--line); border-radius: 6px; padding: 5px 8px; min-height: 34px; }
input[type=search] { width: min(340px, 76vw); }
button { cursor: pointer; background: none; border: 0; padding: 0; text-align: left; }
button:focus-visible, input:focus-visible, select:focus-visible, a:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
.open .name { font-weight: 600; }
.scripted .open { padding-left: 16px; }
.scripted .open .name::before { content: "▸" / ""; display: inline-block; width: 16px; margin-left: -16px; color: var(--quiet); }
.scripted .open[aria-expanded=true] .name::before { content: "▾" / ""; }
.scripted .place { padding-left: 16px; }
.scripted th button { color: inherit; font-weight: 600; }
.scripted th button::after { content: " ↕" / ""; opacity: .45; }
.scripted th[aria-sort=ascending] button::after { content: " ↑" / ""; opacity: 1; }
.scripted th[aria-sort=descending] button::after { content: " ↓" / ""; opacity: 1; }
.client .summary td, .client .detail td { border-bottom: 0; }
.client { border-bottom: 1px solid var(--line); }
.client:last-child { border-bottom: 0; }
.client .summary td:first-child { min-width: 270px; }
.details td, .details th { border-bottom: 1px solid var(--line) !important; }
.client .detail > td { padding-top: 0; }
.details { display: grid; gap: 16px; padding: 4px 0 8px 16px; max-width: 100%; }
.details li { margin: 4px 0; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 16px; font-size: 13px; }
dt { color: var(--quiet); } dd { margin: 0; overflow-wrap: anywhere; }
.command { position: relative; }
.command pre { padding-right: 64px; }
.copy { display: none; position: absolute; top: 6px; right: 8px; color: var(--link); font-size: 13px; }
.scripted .copy { display: block; }
[hidden] { display: none !important; }
footer { margin-top: 40px; color: var(--quiet); font-size: 13px; }
@media (max-width: 640px) {
  body { padding: 16px 12px 40px; }
  .verdict { padding: 16px; } .verdict h1 { font-size: 24px; }
  th, td { padding: 8px; }
}
@media print {
  :root {
    color-scheme: light;
    --page: #fff; --card: #fff; --text: #000; --quiet: #444; --line: #bbb; --code: #f3f3f3; --link: #000;
    --bad: #a11; --bad-soft: #fff; --good: #151; --good-soft: #fff; --ask: #640; --ask-soft: #fff;
  }
  body { max-width: none; padding: 0; font-size: 11pt; }
  .filters, .copy { display: none !important; }
  .client[hidden] { display: table-row-group !important; }
  .detail[hidden] { display: table-row !important; }
  .scroll { overflow: visible; max-height: none; }
  .summary, .verdict, .figure, .timeline { break-inside: avoid; }
  h2 { break-after: avoid; }
  * { print-color-adjust: exact; }
}
`;
