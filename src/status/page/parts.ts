/** Elements that all parts of the status page use. */

import { describeDuration, describeInstant, describeWhen } from '../../text/format.ts';
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

/**
 * The state at the top of a page. Screen readers announce a change of its headline. The error of a failed run is not repeated
 * here: it is in the row of the run.
 */
export function renderVerdict(
  { level, headline, reasons, failure, topic }: Verdict,
  runbookUrl: string | undefined,
): Html {
  const shown = failure ? reasons.slice(1) : reasons;
  const items = [
    failure && html`${failure.summary} <a href="#run-${failure.runId}">Show its error</a>`,
    ...shown.map((reason) => html`${renderText(reason)}`),
    level !== 'good' && topic !== undefined && renderRunbook(topic, runbookUrl),
  ].filter((item) => item !== undefined && item !== false);
  return html`<section class="verdict ${level}">
${renderIcon(level)}
<div><div role="status"><h2>${headline}</h2></div>
${items.length > 0 && html`<ul>${items.map((item) => html`<li>${item}</li>`)}</ul>`}</div>
</section>`;
}

/** A link to the heading of an alert in docs/operations.md, or its name where the address of that is not configured. */
function renderRunbook(topic: string, runbookUrl: string | undefined): Html {
  const anchor = topic.toLowerCase();
  if (runbookUrl === undefined) return html`What to do: <code>docs/operations.md#${anchor}</code>`;
  return html`What to do: <a href="${runbookUrl}#${anchor}">${topic}</a>`;
}

/** Renders text in backticks as code, and keeps dates on one line. */
export function renderText(text: string): Html[] {
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

/** The lag: the time since the last success, with its time as a tooltip. */
export function renderLag(lastSuccessAt: Date | null, now: Date): Html | string {
  if (lastSuccessAt === null) return 'no success yet';
  const lag = describeDuration(Math.max(0, now.getTime() - lastSuccessAt.getTime()));
  return html`<time datetime="${lastSuccessAt.toISOString()}" title="${describeInstant(lastSuccessAt)}">${lag}</time>`;
}

/** A table in its own scroll area, which the keyboard can reach, and whose edge shows a shadow where there is more. */
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
