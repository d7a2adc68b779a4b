import { createHash } from 'node:crypto';

export const STYLE = `
:root {
  color-scheme: light dark;
  --page: #f6f7f9; --card: #fff; --ink: #1b2330; --soft: #5a6474; --line: #dfe3e9;
  --good: #17713c; --attention: #8a5a00; --bad: #b3261e; --good-tint: #e6f4ea; --attention-tint: #fdf3dc; --bad-tint: #fcebea;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #12161c; --card: #1a2029; --ink: #e6eaf0; --soft: #9aa5b5; --line: #2c3542;
    --good: #74d396; --attention: #f0c264; --bad: #ff9d94; --good-tint: #15301f; --attention-tint: #352a10; --bad-tint: #3b1b19;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main, header, footer { max-width: 68rem; margin: 0 auto; padding: 0 1rem; }
header { padding-top: 1.5rem; color: var(--soft); }
footer { padding-bottom: 2rem; color: var(--soft); font-size: .875rem; }
h1 { margin: 0; font-size: 1rem; font-weight: 600; }
h2 { margin: 2rem 0 .75rem; font-size: 1.5rem; }
h3 { margin: 1.75rem 0 .5rem; font-size: 1rem; }
a { color: inherit; }
.verdict { border-left: .375rem solid; border-radius: .375rem; padding: .875rem 1.125rem; }
.verdict p { margin: 0; font-size: 1.25rem; font-weight: 600; }
.verdict ul { margin: .375rem 0 0; padding: 0; list-style: none; color: var(--ink); overflow-wrap: anywhere; }
.verdict.good { color: var(--good); background: var(--good-tint); }
.verdict.attention { color: var(--attention); background: var(--attention-tint); }
.verdict.bad { color: var(--bad); background: var(--bad-tint); }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(14rem, 1fr)); gap: 1px; margin: 1rem 0 0;
  background: var(--card); border: 1px solid var(--line); border-radius: .375rem; overflow: hidden; }
dl div { box-shadow: 0 0 0 1px var(--line); padding: .625rem .875rem; }
@media (max-width: 40rem) { dl { grid-template-columns: repeat(2, 1fr); } }
dt { color: var(--soft); font-size: .875rem; }
dd { margin: 0; font-size: 1.125rem; font-variant-numeric: tabular-nums; }
dd small { display: block; color: var(--soft); font-size: .8125rem; }
.scroll { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: .375rem; }
table { width: 100%; border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; }
th, td { padding: .4375rem .75rem; text-align: left; white-space: nowrap; }
th { color: var(--soft); font-weight: 500; }
tbody tr { border-top: 1px solid var(--line); }
.notes { margin: .75rem 0 0; padding: 0; list-style: none; font-size: .875rem; overflow-wrap: anywhere; }
td.number, th.number { text-align: right; }
td.good { color: var(--good); } td.attention { color: var(--attention); } td.bad { color: var(--bad); }
`;

/** What a Content-Security-Policy says to allow this style and no other. */
export const STYLE_SOURCE = `'sha256-${createHash('sha256').update(STYLE).digest('base64')}'`;
