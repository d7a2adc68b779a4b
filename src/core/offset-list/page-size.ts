/**
 * How many rows to request at once. Responses are parsed in memory, so that heavy rows must come in smaller pages.
 *
 * - A response of more than `TARGET_BYTES` halves the number of rows. A full page of less than a quarter of that doubles it again, up to
 *   the configured page size.
 * - The source stops reading a response at `MAX_PAGE_BYTES` and requests half the rows, down to `MIN_ROWS`: the frontier rule needs a
 *   known row, a row to take and a newer one. A response with so few rows may have any size, so that every event can be stored.
 * - The size is only the `top` of a request: what may be taken from a page is decided by its rows.
 */
import type { Page } from './page.ts';

const MEBIBYTE = 1024 * 1024;

/** A typical page of 1,000 rows has some 1.5 MB. */
export const TARGET_BYTES = 2.5 * MEBIBYTE;
export const MAX_PAGE_BYTES = 4 * MEBIBYTE;
export const MIN_ROWS = 4;
/** A light page has less than this part of the target: half of it would double again at once. */
const LIGHT_SHARE = 4;

/** The page size of one source, which all its reads share. */
export interface PageSize {
  /** The number of rows to request where `configured` rows are wanted. */
  rowsOf(configured: number): number;
  /** The expected size of a response with `top` rows; 0 before the first response. */
  bytesOf(top: number): number;
  /** Records the size of a response. */
  record(page: Pick<Page, 'rows' | 'limit' | 'bytes'>): void;
}

export function createPageSize(): PageSize {
  let limit = Number.POSITIVE_INFINITY;
  let bytesPerRow = 0;
  return {
    rowsOf: (configured) => Math.min(configured, limit),
    bytesOf(top) {
      const expected = top * bytesPerRow;
      return top > MIN_ROWS ? Math.min(expected, MAX_PAGE_BYTES) : expected;
    },
    record({ rows, limit: sent, bytes }) {
      if (bytes === undefined || rows.length === 0) return;
      bytesPerRow = bytes / rows.length;
      if (sent !== undefined) limit = Math.max(MIN_ROWS, Math.min(limit, sent));
      if (bytes > TARGET_BYTES) limit = Math.max(MIN_ROWS, Math.min(limit, Math.floor(rows.length / 2)));
      else if (bytes < TARGET_BYTES / LIGHT_SHARE && rows.length >= limit) limit *= 2;
    },
  };
}
