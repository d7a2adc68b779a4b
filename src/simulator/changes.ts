/** The list of a simulated organization, and everything that changes it. */
import type { RowInput } from './fixed.ts';
import type { History, NewHistory, Snapshot, TimeRange } from './history.ts';
import type { SimulatedRow } from './rows.ts';
import type { RowSpan } from './spans.ts';

/** How much older than the newest typical row, in milliseconds. */
export interface AgeRange {
  fromMs: number;
  toMs: number;
}

export interface ListChanges {
  /** Number of rows in the list now. */
  readonly length: number;
  /** All rows in the list now, oldest first, ties in the order of their insertion, messages in English. */
  readonly rows: SimulatedRow[];
  /** The same rows one by one, in the requested language, for lists that are too long for memory. */
  iterateRows(language?: string): Iterable<SimulatedRow>;
  /** All rows that were deleted and are not in the list again, in the order of deletion. */
  readonly removed: SimulatedRow[];
  /** With `recordSpans`: every row that was in the list at any time, and when; in no particular order. */
  spans(): RowSpan[];
  /** Adds this many typical rows after the newest typical one, or inserts rows by their `createdOn`. */
  append(rows: number | readonly RowInput[]): void;
  /**
   * Adds this many typical rows that are older than the newest one, by default up to `lateWithinMs`; or inserts rows by their
   * `createdOn`.
   */
  insertLate(rows: number | readonly RowInput[], age?: AgeRange): void;
  /** Adds this many typical rows with times of the range, which may be years ahead. */
  insertDated(count: number, range: TimeRange): void;
  /** Deletes the oldest rows, as retention does, except the first `spare` ones. */
  deleteHead(count: number, options?: { spare?: number }): void;
  /** Deletes rows; the oldest has index 0. */
  deleteAt(index: number, count: number): void;
  /** Replaces rows, as an upgrade that renders them differently does. `write` gets the JSON text of a row, with the message in English. */
  rewrite(index: number, count: number, write: (text: string) => RowInput): void;
  /** Deletes one of two neighbours with equal text, and returns it; `undefined` if there are none. Reads the whole list. */
  deleteTwin(): SimulatedRow | undefined;
  /** Empties the list, as a reset of the organization does. Then another history grows: `append` continues it. */
  reset(next?: NewHistory): void;
  snapshot(): Snapshot;
  /**
   * Returns to the snapshot, as a restore from a backup does. With `next`, another history follows; without it, `append` adds the
   * same typical rows again.
   */
  restore(snapshot: Snapshot, next?: NewHistory): void;
}

export function changesOf(history: History, lateWithinMs: number): ListChanges {
  return {
    get length() {
      return history.list.length;
    },
    get rows() {
      return [...history.rows('en')];
    },
    get removed() {
      return [...history.removedRows('en')];
    },
    spans: () => [...history.spans()],
    iterateRows: (language = 'en') => history.rows(language),
    append: (rows) => history.append(rows),
    insertLate(rows, { fromMs, toMs } = { fromMs: 0, toMs: lateWithinMs }) {
      if (typeof rows !== 'number') return history.insert(rows);
      const { newestMs } = history;
      history.insertDated(rows, { from: new Date(newestMs - toMs), to: new Date(newestMs - fromMs) });
    },
    insertDated: (count, range) => history.insertDated(count, range),
    deleteHead: (count, { spare = 0 } = {}) => history.deleteHead(count, spare),
    deleteAt: (index, count) => history.delete(index, count),
    rewrite: (index, count, write) => history.rewrite(index, count, write),
    deleteTwin: () => history.deleteTwin(),
    reset: (next = {}) => history.reset(next),
    snapshot: () => history.snapshot(),
    restore: (snapshot, next) => history.restore(snapshot, next),
  };
}
