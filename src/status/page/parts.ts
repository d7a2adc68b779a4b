/** Elements that all parts of the status page use. */

import { describeInstant, describeWhen } from '../../text/format.ts';
import type { Verdict } from '../verdict.ts';
import { type Html, html } from './html.ts';

export type Level = Verdict['level'];

/** Icons beside text that says the same, so that no information depends on a colour. */
const ICONS: Record<Level, string> = {
  good: '<circle cx="12" cy="12" r="11"></circle><path d="m7 12.5 3.4 3.4L17 9"></path>',
  attention: '<path class="shape" d="M12 1.5 23.5 22H.5Z"></path><path d="M12 9v6M12 18.2v.3"></path>',
  bad: '<circle cx="12" cy="12" r="11"></circle><path d="m8 8 8 8M16 8l-8 8"></path>',
};

export function renderIcon(level: Level): Html {
  return html`<svg class="icon ${level}" viewBox="0 0 24 24" aria-hidden="true">${{ markup: ICONS[level] }}</svg>`;
}

/** The state at the top of a page. Screen readers announce a change of its headline. */
export function renderVerdict({ level, headline, reasons }: Verdict): Html {
  return html`<section class="verdict ${level}">
${renderIcon(level)}
<div><div role="status"><h2>${headline}</h2></div>
${reasons.length > 0 && html`<ul>${reasons.map((reason) => html`<li>${renderText(reason)}</li>`)}</ul>`}</div>
</section>`;
}

/** Renders text in backticks as code, and keeps dates on one line. */
function renderText(text: string): Html[] {
  return text.split(/(`[^`]+`|\b\d{4}-\d\d-\d\d\b)/).map((piece, i) => {
    if (i % 2 === 0) return html`${piece}`;
    return piece.startsWith('`')
      ? html`<code>${piece.slice(1, -1)}</code>`
      : html`<span class="whole">${piece}</span>`;
  });
}

/** One entry of a `dl`. */
export function renderFact(name: string, value: Html | string, note?: Html | string | null | false): Html {
  return html`<div><dt>${name}</dt><dd>${value}${note && html`<small>${note}</small>`}</dd></div>`;
}

/** `2026-01-31 08:00:00 UTC` */
export function renderTime(at: Date): Html {
  return html`<time datetime="${at.toISOString()}">${renderText(describeInstant(at))}</time>`;
}

/** `3 minutes ago`, with the exact time as a tooltip. */
export function renderWhen(at: Date, now: Date): Html {
  return html`<time datetime="${at.toISOString()}" title="${describeInstant(at)}">${describeWhen(at, now)}</time>`;
}

/** A table in its own scroll area, which the keyboard can reach. */
export function renderTable(table: {
  caption: string;
  isTall?: boolean;
  head: Html;
  rows: readonly Html[];
}): Html {
  const { caption, isTall = false, head, rows } = table;
  return html`<div class="scroll${isTall && ' tall'}" role="region" aria-label="${caption}" tabindex="0"><table>
<caption>${caption}</caption>
<thead><tr>${head}</tr></thead>
<tbody>${rows}</tbody>
</table></div>`;
}
