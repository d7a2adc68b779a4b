/** The eight fields of a row besides `createdOn`, exactly as the source sent them. A missing field is `null`. */
interface EventFields {
  category: string | null;
  action: string | null;
  source: string | null;
  userName: string | null;
  email: string | null;
  message: string | null;
  detailsVersion: string | null;
  /** Usually, but not always, pretty-printed JSON. */
  auditLogDetails: string | null;
}

/** One event of the audit log, as the source sent it. */
export interface AuditEvent extends EventFields {
  createdOnTicks: bigint;
  /** `createdOn` as sent. */
  createdOnRaw: string;
  /** A JSON object of the unknown fields, or `null` if there are none. */
  extra: string | null;
  /** The row's exact JSON text if the fields above cannot be stored or cannot reproduce it, else `null`. */
  raw: string | null;
}

/** A row that cannot be stored as an event. It is stored verbatim, with the reason. */
export interface RejectedRow {
  reason: string;
  /** The row's exact JSON text in the response. */
  text: string;
}

/** A rejected row in the list. `place` is the start of its millisecond or, if its time is unreadable, that of the row before it. */
export interface PlacedRejectedRow extends RejectedRow {
  /** `undefined` if no response has shown the row before it. */
  place: bigint | undefined;
}

/** A row from the source. `ticks` is `undefined` if `createdOn` is unreadable; such a row is always rejected. */
export type SourceRow =
  | { ticks: bigint; event: AuditEvent; rejected?: undefined }
  | { ticks: bigint | undefined; rejected: RejectedRow; event?: undefined };
