/** Reads `audit.events`, to compare the rows with the source, the ledger and their own ids. */
import type { StoredEvent } from '../../core/compare.ts';
import type { AuditEvent } from '../../core/event.ts';
import type { LogKey } from '../../core/log-key.ts';
import { formatMicroseconds, MAX_TICKS, parseTicks } from '../../core/ticks.ts';
import { translateDatabaseError } from '../connection/errors.ts';
import type { Pool, Queryable } from '../connection/pool.ts';
import { isParsable, storableText } from '../format/columns.ts';
import { inUtc } from '../format/utc.ts';

/** A stored row with the columns that say which commit stored it. Times are UTC with six fraction digits. */
export interface StoredRow extends StoredEvent {
  batch: bigint;
  runId: string;
  firstSeenAt: string;
  updatedAt: string;
}

/** Rows per chunk: a few megabytes of typical events. */
const CHUNK_ROWS = 2000;
/** The select list for `toStoredRow`, from `audit.events e`. */
export const EVENT_COLUMNS = `
    created_on::text as key_time, event_id, ordinal, created_on_ticks, created_on_raw, category, action, source,
    user_name, email, message, details_version, details_raw, extra::text, raw, superseded_by, e.batch, e.run_id,
    details is not null as has_details,
    details is not null and pg_input_is_valid(details_raw, 'jsonb') and details = details_raw::jsonb as are_details_right,
    ${inUtc('created_on')} as created_on, ${inUtc('first_seen_at')} as first_seen_at, ${inUtc('updated_at')} as updated_at`;

/** The texts that `event_id` is made of. */
const IDENTITY_FIELDS = ['source', 'category', 'action', 'detailsVersion', 'auditLogDetails'] as const;
const TEXT_FIELDS = [...IDENTITY_FIELDS, 'userName', 'email', 'message'] as const;

/**
 * $1 organization, $2 log, $3 and $4 from as time and ticks, $5 and $6 to; null: open. Times select; ticks matter only within the first and
 * the last microsecond.
 */
export const IN_RANGE = `organization = $1 and log = $2
    and ($3::timestamptz is null or (created_on >= $3 and (created_on, created_on_ticks) >= ($3, $4::bigint)))
    and ($5::timestamptz is null or (created_on <= $5 and (created_on, created_on_ticks) < ($5, $6::bigint)))`;

/** The parameters of IN_RANGE, and $7 and $8 the key of the last row read. */
export const STORED_EVENTS = `
  select ${EVENT_COLUMNS}, (
    select state from audit.gone_events g
    where g.organization = e.organization and g.log = e.log and g.created_on = e.created_on and g.event_id = e.event_id
      and state in ('suspected', 'gone', 'former source')
  ) as absence
  from audit.events e
  where ${IN_RANGE}
    and ($7::timestamptz is null or (created_on >= $7 and (created_on, event_id) > ($7, $8::uuid)))
  -- The columns of the table: the select list has a text named created_on.
  order by e.created_on, e.event_id
  limit ${CHUNK_ROWS}`;

export interface EventRow {
  event_id: string;
  ordinal: number;
  created_on_ticks: string;
  created_on_raw: string;
  category: string | null;
  action: string | null;
  source: string | null;
  user_name: string | null;
  email: string | null;
  message: string | null;
  details_version: string | null;
  details_raw: string | null;
  extra: string | null;
  raw: string | null;
  superseded_by: string | null;
  /** Only STORED_EVENTS reads it. */
  absence?: StoredEvent['absence'] | null;
  batch: string;
  run_id: string;
  has_details: boolean;
  are_details_right: boolean;
  created_on: string;
  first_seen_at: string;
  updated_at: string;
}

/** Half-open, in ticks. A range without a bound is open on that side. */
export interface TickRange {
  from: bigint | undefined;
  to: bigint | undefined;
}

/** $3 to $6 of IN_RANGE; `undefined` if no event can be in the range. */
export function boundsOf({ from, to }: TickRange): (string | null)[] | undefined {
  if (from !== undefined && from > MAX_TICKS) return undefined;
  return [from, to].flatMap((ticks) =>
    ticks === undefined || ticks > MAX_TICKS ? [null, null] : [formatMicroseconds(ticks), ticks.toString()],
  );
}

/** Reads the stored events of a half-open range in chunks, oldest first. */
export async function* readStoredEvents(
  pool: Pool,
  { organization, log }: LogKey,
  range: TickRange,
): AsyncGenerator<StoredRow[]> {
  const bounds = boundsOf(range);
  if (!bounds) return;
  let cursor: [string | null, string | null] = [null, null];
  for (;;) {
    let rows: (EventRow & { key_time: string })[];
    try {
      ({ rows } = await pool.query<EventRow & { key_time: string }>(STORED_EVENTS, [
        organization,
        log,
        ...bounds,
        ...cursor,
      ]));
    } catch (error) {
      throw translateDatabaseError(error, 'reading stored events');
    }
    if (rows.length > 0) yield await toStoredRows(pool, rows);
    if (rows.length < CHUNK_ROWS) return;
    const last = rows.at(-1)!;
    cursor = [last.key_time, last.event_id];
  }
}

/** Converts an event to its form in the table, which cannot store U+0000 and lone surrogates. */
export function asStored(event: AuditEvent): AuditEvent {
  if (event.raw === null) return event;
  const texts = TEXT_FIELDS.map((name) => [name, textOf(event[name])]);
  return { ...event, ...Object.fromEntries(texts) };
}

/** A stored event as the source sent it: the columns cannot give back some characters, and `raw` does. */
export function exactFields<T extends { raw: string | null }>(stored: T): T {
  return stored.raw === null ? stored : { ...stored, ...textsIn(stored.raw, TEXT_FIELDS) };
}

/** Converts rows, and checks each for columns that contradict each other (`misfits`). Throws the errors of pg. */
export async function toStoredRows(client: Queryable, rows: readonly EventRow[]): Promise<StoredRow[]> {
  const read = rows.map(toStoredRow);
  // Rows without parsed details, where the text is safe to parse: PostgreSQL checks that the text is not JSON.
  const unparsed = read.filter(({ identity }, i) => !rows[i]!.has_details && isParsable(identity));
  if (unparsed.length > 0) {
    const texts = unparsed.map(({ identity }) => identity.auditLogDetails);
    const { rows: valid } = await client.query<{ place: string }>(
      `select place from unnest($1::text[]) with ordinality as t (details, place) where pg_input_is_valid(details, 'jsonb')`,
      [texts],
    );
    for (const { place } of valid) unparsed[Number(place) - 1]!.misfits.push('details');
  }
  return read;
}

export function toStoredRow(row: EventRow): StoredRow & { identity: AuditEvent } {
  const event: AuditEvent = {
    createdOnTicks: BigInt(row.created_on_ticks),
    createdOnRaw: row.created_on_raw,
    category: row.category,
    action: row.action,
    source: row.source,
    userName: row.user_name,
    email: row.email,
    message: row.message,
    detailsVersion: row.details_version,
    auditLogDetails: row.details_raw,
    extra: row.extra,
    raw: row.raw,
  };
  const identity =
    row.raw === null ? event : { ...event, ...textsIn(row.raw, [...IDENTITY_FIELDS, 'userName']) };
  const misfits: string[] = IDENTITY_FIELDS.filter((field) => textOf(identity[field]) !== event[field]);
  if (row.has_details && !row.are_details_right) misfits.push('details');
  if (row.created_on !== formatMicroseconds(event.createdOnTicks)) misfits.push('created_on');
  if (parseTicks(row.created_on_raw) !== event.createdOnTicks) misfits.push('created_on_raw');
  return {
    event,
    eventId: row.event_id,
    ordinal: row.ordinal,
    identity,
    createdOn: row.created_on,
    supersededBy: row.superseded_by ?? undefined,
    absence: row.absence ?? undefined,
    misfits,
    batch: BigInt(row.batch),
    runId: row.run_id,
    firstSeenAt: row.first_seen_at,
    updatedAt: row.updated_at,
  };
}

function textOf(value: string | null): string | null {
  return value === null ? null : storableText(value);
}

/** Reads fields from `raw`. A manual edit can have made it any text. */
function textsIn(raw: string, names: readonly (typeof TEXT_FIELDS)[number][]): Partial<AuditEvent> {
  try {
    const row = JSON.parse(raw) as Record<string, unknown>;
    const fields = names.map((name) => [name, typeof row[name] === 'string' ? row[name] : null]);
    return Object.fromEntries(fields);
  } catch {
    return {};
  }
}
