import { createHash } from 'node:crypto';

export const STYLE = `
:root {
  color-scheme: light dark;
  --page: #f4f6f9; --card: #fff; --ink: #18202c; --soft: #566073; --line: #dde2ea; --accent: #2f6bd8; --faint: #a9c2ee; --shadow: #18202c59;
  --good: #17713c; --attention: #8a5300; --bad: #b3261e;
  --good-tint: #e5f4ea; --attention-tint: #fdf1d7; --bad-tint: #fce9e7; --good-strip: #55a877; --good-faint: #b9dec8; --attention-strip: #e8c47d; --bad-strip: #d9372c;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #10141a; --card: #181e27; --ink: #e7ebf2; --soft: #9ba7b8; --line: #2b3441; --accent: #6ea0f7; --faint: #34527f; --shadow: #000000d9;
    --good: #7ad69b; --attention: #f2c469; --bad: #ff9f96;
    --good-tint: #14291d; --attention-tint: #2f2611; --bad-tint: #361a19; --good-strip: #3f8f5f; --good-faint: #24472f; --attention-strip: #7a5d22; --bad-strip: #f0655a;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; }
main, header, footer { max-width: 72rem; margin: 0 auto; padding: 0 1.25rem; }
header, footer { display: flex; flex-wrap: wrap; gap: .25rem 1.5rem; justify-content: space-between; color: var(--soft); font-size: .875rem; }
header { padding-top: 1.25rem; }
footer { padding-top: 2.5rem; padding-bottom: 2.5rem; }
header p, footer p { margin: 0; }
header p a { font-weight: 600; text-decoration: none; }
footer nav { display: flex; gap: 1rem; }
a { color: inherit; text-underline-offset: .2em; }
a:focus-visible, summary:focus-visible, button:focus-visible, .scroll:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; border-radius: .25rem; }
h1 { margin: 1rem 0 .75rem; font-size: 1.75rem; line-height: 1.25; overflow-wrap: anywhere; }
h2 { margin: 0 0 .5rem; font-size: 1.125rem; line-height: 1.35; }
h3 { margin: 1.25rem 0 .5rem; font-size: 1rem; }
section { margin-top: 1.25rem; }
p { margin: 0; }
small { display: block; color: var(--soft); font-size: .8125rem; overflow-wrap: anywhere; }
.whole, td time { white-space: nowrap; }
code { font: .875em/1.4 ui-monospace, monospace; overflow-wrap: anywhere; }
.lead { color: var(--soft); font-size: .9375rem; }
.icon { flex: none; width: 1.25rem; height: 1.25rem; fill: none; stroke-width: 2.25; stroke-linecap: round; stroke-linejoin: round; stroke: var(--card); }
.icon circle, .icon .shape { stroke: none; fill: currentColor; }
.icon.good { color: var(--good); } .icon.attention { color: var(--attention); } .icon.bad { color: var(--bad); }
.stale { margin-top: 1rem; padding: .75rem 1rem; border-radius: .625rem; background: var(--bad); color: var(--card); font-weight: 600; }

.verdict { display: flex; gap: 1rem; padding: 1.125rem 1.25rem; border-radius: .75rem; border: 1px solid; }
.verdict .icon { width: 2rem; height: 2rem; }
.verdict > div { min-width: 0; }
.verdict h2 { margin: 0; font-size: 1.375rem; line-height: 2rem; }
.verdict ul { margin: .375rem 0 0; padding: 0; list-style: none; color: var(--ink); overflow-wrap: anywhere; }
.verdict li + li { margin-top: .25rem; }
.verdict.good { color: var(--good); background: var(--good-tint); }
.verdict.attention { color: var(--attention); background: var(--attention-tint); }
.verdict.bad { color: var(--bad); background: var(--bad-tint); }

.card, .tiles > div, .facts, .scroll, .organizations > li { background: var(--card); border: 1px solid var(--line); border-radius: .75rem; }
.card { padding: 1.125rem 1.25rem; }
dl { margin: 0; }
dt { color: var(--soft); font-size: .875rem; }
dd { margin: 0; font-variant-numeric: tabular-nums; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(15rem, 1fr)); gap: .75rem; margin-top: 1rem; }
.tiles > div { padding: .875rem 1.125rem; }
.tiles dd { font-size: 1.625rem; font-weight: 600; line-height: 1.3; letter-spacing: -.01em; }
.tiles small { margin-top: .25rem; font-weight: 400; letter-spacing: 0; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(13rem, 100%), 1fr)); padding: .375rem 0; }
.facts > div { padding: .5rem 1.125rem; }
.card .facts { margin-top: 1rem; border-width: 1px 0 0; border-radius: 0; padding: .625rem 0 0; }
.card .facts > div { padding: .375rem 0; }
.card .facts > div:last-child { grid-column: 1 / -1; }
.card .facts code { font-size: .8125rem; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr)); gap: 0 .75rem; }
.pair > * { min-width: 0; }

figure { margin: 0; }
svg { display: block; }
.plot { display: grid; grid-template-columns: auto 1fr; gap: .375rem .625rem; margin-top: 1rem; color: var(--soft); font-size: .75rem; font-variant-numeric: tabular-nums; }
.axis { display: flex; flex-direction: column; justify-content: space-between; text-align: right; height: 11rem; line-height: 0; }
.bars { width: 100%; height: 11rem; overflow: visible; }
.strip, .labels { grid-column: 2; }
.strip { width: 100%; height: .625rem; }
.labels { display: flex; justify-content: space-between; }
.line { stroke: var(--line); vector-effect: non-scaling-stroke; }
.hit { fill: transparent; } .bars .hit.gap { fill: var(--bad-tint); }
.bars g:hover .hit, .bars g:hover .hit.gap { fill: var(--line); }
rect.bar { fill: var(--accent); } i.bar { background: var(--accent); }
rect.today { fill: var(--faint); } i.today { background: var(--faint); }
rect.proven { fill: var(--good-strip); } i.proven { background: var(--good-strip); }
rect.read { fill: var(--good-faint); } i.read { background: var(--good-faint); }
rect.partly { fill: var(--attention-strip); } i.partly { background: var(--attention-strip); }
rect.gap { fill: var(--bad-strip); } i.gap { background: var(--bad-strip); }
rect.unknown { fill: var(--line); } i.unknown { background: var(--line); }
.legend { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; margin: .75rem 0 0; padding: 0; list-style: none; color: var(--soft); font-size: .8125rem; }
.legend i { display: inline-block; width: .75rem; height: .75rem; margin-right: .375rem; border-radius: .1875rem; vertical-align: -.0625rem; }
details { margin-top: .75rem; }
summary { width: fit-content; color: var(--soft); font-size: .875rem; cursor: pointer; }
details .scroll { margin-top: .5rem; }

table { width: 100%; border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; }
caption { padding: .625rem 1rem 0; color: var(--soft); font-size: .8125rem; text-align: left; }
th, td { padding: .4375rem .75rem; text-align: left; white-space: nowrap; }
th:first-child, td:first-child { padding-left: 1rem; }
thead th { color: var(--soft); font-weight: 500; }
tbody th { font-weight: 500; }
tbody tr { border-top: 1px solid var(--line); }
.number { text-align: right; }
.zero { color: var(--soft); }
.scroll {
  overflow: auto;
  /* A shadow at an edge behind which there is more; the first two layers scroll with the table and cover it. */
  background:
    linear-gradient(to right, var(--card) 40%, transparent) left / 3rem 100% local,
    linear-gradient(to left, var(--card) 40%, transparent) right / 3rem 100% local,
    linear-gradient(to right, var(--shadow), transparent) left / 1rem 100% scroll,
    linear-gradient(to left, var(--shadow), transparent) right / 1rem 100% scroll,
    var(--card);
  background-repeat: no-repeat;
}
.scroll.tall { background: var(--card); }
.said td { padding-top: 0; white-space: normal; }
.said div { position: sticky; left: 1rem; width: fit-content; max-width: min(62rem, calc(100vw - 5rem)); overflow-wrap: anywhere; }
.said p + p { margin-top: .25rem; }
.said small { display: inline; }
tbody tr.said { border-top: 0; }
tr:target, tr:target + .said { background: var(--attention-tint); }
.head { display: flex; flex-wrap: wrap; gap: .5rem; align-items: start; }
.head code { min-width: 0; white-space: pre-wrap; user-select: all; }
button { font: inherit; font-size: .8125rem; padding: .125rem .625rem; border: 1px solid var(--line); border-radius: .375rem; background: var(--page); color: inherit; cursor: pointer; }
.lead + .scroll { margin-top: .5rem; }
.scroll.tall { max-height: 20rem; }
.outcome { display: inline-flex; vertical-align: top; gap: .375rem; align-items: center; font-weight: 500; }
.outcome .icon { width: 1rem; height: 1rem; }
.outcome.good { color: var(--good); } .outcome.attention { color: var(--attention); } .outcome.bad { color: var(--bad); }
.notes { margin: .75rem 0 0; padding: 0; list-style: none; font-size: .875rem; overflow-wrap: anywhere; }
.notes li + li { margin-top: .25rem; }
.ranges { margin: 0 0 .5rem; padding: 0; list-style: none; }
.ranges li { display: flex; gap: .625rem; }
.ranges li + li { margin-top: .625rem; }
.ranges .icon { margin-top: .125rem; }
.state { margin-bottom: .75rem; overflow-wrap: anywhere; }
.ranges b.good { color: var(--good); } .ranges b.attention { color: var(--attention); } .ranges b.bad { color: var(--bad); }
.histogram { margin-top: .75rem; }
.histogram caption { padding: 0 0 .5rem; caption-side: bottom; padding-top: .75rem; }
.histogram tbody tr { border: 0; }
.histogram th, .histogram td { padding: .1875rem 0; }
.histogram .wide { width: 100%; padding: 0 .75rem; }
.histogram svg { width: 100%; height: 1rem; }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }

.organizations { display: grid; gap: .5rem; margin: 1rem 0 0; padding: 0; list-style: none; }
.organizations > li { display: grid; grid-template-columns: minmax(0, 2fr) 3fr; gap: .75rem 1.5rem; align-items: center; padding: .75rem 1.125rem; }
.who { display: flex; gap: .75rem; align-items: center; min-width: 0; }
.who > div { min-width: 0; overflow-wrap: anywhere; }
.who a { font-weight: 600; }
.organizations dl { display: grid; grid-template-columns: repeat(4, 1fr); gap: .5rem 1rem; }
.organizations dt { font-size: .8125rem; }
@media (max-width: 48rem) {
  .organizations > li { grid-template-columns: minmax(0, 1fr); }
}
@media (max-width: 36rem) {
  main, header, footer { padding-left: 1rem; padding-right: 1rem; }
  .verdict { gap: .75rem; padding: 1rem; }
  .verdict h2 { font-size: 1.1875rem; line-height: 1.5; }
  .verdict .icon { width: 1.75rem; height: 1.75rem; }
  .tiles { grid-template-columns: repeat(2, minmax(0, 1fr)); gap: .5rem; }
  .tiles > div { padding: .75rem .875rem; }
  .tiles dd { font-size: 1.125rem; }
  .card { padding: 1rem; }
  th, td { padding: .4375rem .5rem; }
  .organizations dl { grid-template-columns: repeat(2, 1fr); }
  .axis, .bars { height: 8rem; }
}
`;

/** The source expression of a Content-Security-Policy that allows only this style. */
export const STYLE_SOURCE = `'sha256-${createHash('sha256').update(STYLE).digest('base64')}'`;
