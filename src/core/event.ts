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
  /** The row's exact JSON text as it stood in the response. */
  text: string;
}

/** A row that a source sent. `ticks` is `undefined` when the row has no readable `createdOn`; such a row is always rejected. */
export type SourceRow =
  | { ticks: bigint; event: AuditEvent; rejected?: undefined }
  | { ticks: bigint | undefined; rejected: RejectedRow; event?: undefined };
