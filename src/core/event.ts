/** The eight fields of a row beside `createdOn`. Each is exactly what the source sent; a missing field is `null`. */
interface EventFields {
  category: string | null;
  action: string | null;
  source: string | null;
  userName: string | null;
  email: string | null;
  message: string | null;
  detailsVersion: string | null;
  /** A string that usually, but not always, holds pretty-printed JSON. */
  auditLogDetails: string | null;
}

/** One event of the audit log, as the source sent it. */
export interface AuditEvent extends EventFields {
  createdOnTicks: bigint;
  /** `createdOn` as sent. */
  createdOnRaw: string;
  /** A JSON object of the fields this program does not know, or `null` when there are none. */
  extra: string | null;
  /** The row's exact JSON text, only where the fields above cannot be stored or give it back; else `null`. */
  raw: string | null;
}

/** A row that cannot be stored as an event: kept word for word, with the reason. */
export interface RejectedRow {
  reason: string;
  /** The row's exact JSON text as it stood in the answer. */
  text: string;
}

/** A row of a page. `ticks` is `undefined` when the row has no readable `createdOn`; such a row is always rejected. */
export type SourceRow =
  | { ticks: bigint; event: AuditEvent; rejected?: undefined }
  | { ticks: bigint | undefined; rejected: RejectedRow; event?: undefined };

/** One answer of the source. */
export interface Page {
  /** The offset that was asked for. */
  skip: number;
  /** The number of rows that was asked for; the source may give fewer at any time. */
  top: number;
  /** Rows in the source's order. */
  rows: SourceRow[];
  /** How long the source says its whole list is. A hint: it changes between two requests. */
  totalCount: number;
  /** When the request was sent, by this machine's clock. */
  requestedAt: Date;
}

/** Counts what talking to the source cost. The source adds to it, the run reads it. */
export interface RequestMeter {
  /** Requests sent for pages, retries included; token requests are not. */
  requests: number;
  /** Requests that were sent again after a failure. */
  retries: number;
  /** The same by reason, such as `HTTP 429` or `time-out`; kept only where it is given. */
  retriesBy?: Record<string, number>;
}

/** Where events come from: offsets into a list sorted by `createdOn` ascending that changes between two requests. */
export interface EventSource {
  /**
   * Fetches the rows at `skip` and after, at most `top` of them.
   * Throws `ExportError` with `source-away`, `source-invalid`, `configuration` or `interrupted`; retries are its own matter.
   */
  fetchPage(
    request: { skip: number; top: number },
    options: {
      signal: AbortSignal;
      meter: RequestMeter;
      /** Called once the answer is here, before time goes into reading it: the source has nothing to do now. */
      onReceived?: (() => void) | undefined;
    },
  ): Promise<Page>;
}
