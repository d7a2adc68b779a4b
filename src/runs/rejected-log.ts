/** Logs the rejected rows of a run: one line per reason, so that a source with many unreadable rows does not flood the log. */
import type { RejectedRow } from '../core/event.ts';
import type { Logger } from '../log.ts';
import { type Redactor, WITHHELD } from '../text/redaction.ts';

/** Reasons with a line of their own. The parser has about 50. */
export const MAX_REASONS = 20;
const MAX_EXAMPLE_CHARACTERS = 300;
/** The part of a row that is searched for secrets: one that begins in the example ends in it. */
const MAX_SEARCHED_CHARACTERS = 4_000;

export interface RejectedLog {
  add(row: RejectedRow): void;
  /** Logs what was added since the last call. */
  write(): void;
}

/** Each line has the reason, the number of rows, and the start of the first row's text. */
export function createRejectedLog(log: Pick<Logger, 'warn'>, redactor: Redactor): RejectedLog {
  let byReason = new Map<string, { rows: number; example: string }>();
  let others = 0;
  return {
    add({ reason, text }) {
      const found = byReason.get(reason);
      if (found) found.rows++;
      else if (byReason.size === MAX_REASONS) others++;
      else byReason.set(reason, { rows: 1, example: exampleOf(text, redactor) });
    },
    write() {
      for (const [reason, { rows, example }] of byReason)
        log.warn({ reason, rows, example }, 'rows kept in audit.rejected_events');
      if (others > 0)
        log.warn({ reason: 'other reasons', rows: others }, 'rows kept in audit.rejected_events');
      byReason = new Map();
      others = 0;
    },
  };
}

function exampleOf(text: string, redactor: Redactor): string {
  const searched = text.slice(0, MAX_SEARCHED_CHARACTERS);
  return redactor.holdsSecret([searched]) ? WITHHELD : redactor(searched).slice(0, MAX_EXAMPLE_CHARACTERS);
}
