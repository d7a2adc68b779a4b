/** The port that an offset list is read through: a page at an offset. */
import type { SourceRow } from '../event.ts';
import type { RequestMeter } from '../source.ts';

export interface PageRequest {
  /** Offset of the first row. */
  skip: number;
  /** Rows at most. The source may give fewer at any time. */
  top: number;
}

/** One response of the source to one request. */
export interface Page extends PageRequest {
  /** Rows in the source's order. */
  rows: SourceRow[];
  /** How long the source says its whole list is. A hint: it changes between two requests. */
  totalCount: number;
  /** When the request was sent, by this machine's clock. */
  requestedAt: Date;
}

/**
 * Fetches the rows at `skip` and after, at most `top` of them, from a list sorted by time that changes between two requests.
 * Throws `ExportError` with `source-away`, `source-invalid`, `configuration` or `interrupted`; retries are its own matter.
 */
export type FetchPage = (
  request: PageRequest,
  options: {
    signal: AbortSignal;
    meter: RequestMeter;
    /** Called once the response is here, before time goes into reading it: the source has nothing to do now. */
    onReceived?: (() => void) | undefined;
  },
) => Promise<Page>;
