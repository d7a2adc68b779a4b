/** The port for reading a list with offsets: fetch a page at an offset. */
import type { SourceRow } from '../event.ts';
import type { RequestMeter } from '../source.ts';

export interface PageRequest {
  /** Offset of the first row. */
  skip: number;
  /** Maximum rows. The source may always return fewer. */
  top: number;
}

/** The response to one page request. */
export interface Page extends PageRequest {
  /** The `top` that was sent, if it was smaller than the request's: the response to the request was too large. */
  limit?: number | undefined;
  /** Size of the response after decompression. */
  bytes?: number | undefined;
  /** Rows in the source's order. */
  rows: SourceRow[];
  /** Length of the whole list as the source reports it. A hint: it changes between two requests. */
  totalCount: number;
  /** When the request was sent, by this machine's clock. */
  requestedAt: Date;
  /** The source's clock, to the second: the `Date` header of the response, if it is readable. */
  sourceTime?: Date | undefined;
}

/**
 * Fetches at most `top` rows from offset `skip`, from a list sorted by time that changes between two requests. Retries failed
 * requests. Throws `ExportError` with `source-away`, `source-invalid`, `configuration` or `interrupted`.
 */
export type FetchPage = (
  request: PageRequest,
  options: {
    signal: AbortSignal;
    meter: RequestMeter;
    /** Attempts at most, if fewer than usual: for a request that the run can do without. */
    maxAttempts?: number | undefined;
    /** Called when the response has arrived, before it is parsed: the source is idle now. */
    onReceived?: (() => void) | undefined;
  },
) => Promise<Page>;

/** The source's clock at the response; by this machine's clock if the response does not show it. */
export function sourceClockOf({ requestedAt, sourceTime }: Page): Date {
  return sourceTime ?? requestedAt;
}

/** When the request was sent, by this machine's clock or the source's, whichever is earlier: no later event was shown for certain. */
export function shownUntil({ requestedAt, sourceTime }: Page): Date {
  return sourceTime && sourceTime < requestedAt ? sourceTime : requestedAt;
}
