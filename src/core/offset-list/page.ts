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
  /** Rows in the source's order. */
  rows: SourceRow[];
  /** Length of the whole list as the source reports it. A hint: it changes between two requests. */
  totalCount: number;
  /** When the request was sent, by this machine's clock. */
  requestedAt: Date;
  /** The Date header of the response: the source's clock, to the second. `undefined` if missing or unreadable. */
  sourceTime: Date | undefined;
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
    /** Called when the response has arrived, before it is parsed: the source is idle now. */
    onReceived?: (() => void) | undefined;
  },
) => Promise<Page>;
