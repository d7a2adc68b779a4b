/** What the source sent and what the tables give back, as texts to compare. Shares no code with the program. */
import { createHash } from 'node:crypto';

/** A row of the tables; bigints come as text. */
export type Row = Record<string, unknown>;

const FIELDS = [
  'createdOn',
  'category',
  'action',
  'auditLogDetails',
  'userName',
  'email',
  'message',
  'detailsVersion',
  'source',
] as const;

type Fields = Record<string, unknown>;

/** The nine fields of a row's JSON text, a missing one as null: a text that is equal only when every byte of them is. */
export function fieldsOf(row: Fields): string {
  return JSON.stringify(FIELDS.map((name) => row[name] ?? null));
}

/** The same from a stored row: from `raw` where that is set, else from the columns. */
export function storedFieldsOf(row: Row): string {
  if (row.raw !== null) return fieldsOf(JSON.parse(row.raw as string));
  return fieldsOf({
    createdOn: row.created_on_raw,
    category: row.category,
    action: row.action,
    auditLogDetails: row.details_raw,
    userName: row.user_name,
    email: row.email,
    message: row.message,
    detailsVersion: row.details_version,
    source: row.source,
  });
}

/** The id a stored row must have, by the words of the comment on `audit.events.event_id`. */
export function storedIdOf(row: Row): string {
  const [, category, action, details, , , , version, source] = JSON.parse(storedFieldsOf(row));
  const identity = [row.created_on_ticks, source, category, action, version, details, row.ordinal];
  const hex = createHash('sha256').update(JSON.stringify(identity)).digest('hex');
  return hex.slice(0, 32).replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}

export const STORED_EVENTS = `
  select *, details::text as details, extra::text as extra from audit.events where organization = $1
  order by created_on_ticks, event_id`;

export const KEPT_ASIDE = `
  select coalesce(source_bytes, convert_to(source_text, 'UTF8')) as bytes from audit.rejected_events where organization = $1`;

/** What is left of `from` when each of `taken` is taken out once. */
export function withoutEach(from: readonly string[], taken: readonly string[]): string[] {
  const left = new Map<string, number>();
  for (const text of taken) left.set(text, (left.get(text) ?? 0) + 1);
  return from.filter((text) => {
    const count = left.get(text) ?? 0;
    left.set(text, count - 1);
    return count <= 0;
  });
}
