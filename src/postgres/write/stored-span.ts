/** Reads the stored rows that a response of the source is compared with. */
import type { AuditEvent } from '../../core/event.ts';
import type { IdentifiedEvent } from '../../core/identity.ts';
import type { StoredRow } from '../../core/judge.ts';
import type { LogKey } from '../../core/log-key.ts';
import type { Shown } from '../../core/store.ts';
import { formatMicroseconds, MAX_TICKS, MIN_TICKS } from '../../core/ticks.ts';
import type { Client } from '../connection/pool.ts';
import { exactFields } from '../read/stored-events.ts';
import { OPEN_TICKS } from './rejected-places.ts';
import { READ_SPAN } from './span-statements.ts';

/** Stored rows read for one response, in addition to twice those that it shows. More are a source that has changed. */
const MAX_UNSHOWN_READ = 10_000;
interface StoredSpanRow {
  event_id: string;
  created_on_ticks: string;
  ordinal: number;
  created_on_raw: string;
  user_name: string | null;
  email: string | null;
  message: string | null;
  extra: string | null;
  raw: string | null;
  category: string | null;
  action: string | null;
  source: string | null;
  details_version: string | null;
  /** Null if the response shows the id. */
  details_raw: string | null;
  batch: string;
  superseded_by: string | null;
  absence: StoredRow['absence'] | null;
  is_suspected_now: boolean;
  settles_at: string | null;
}

/** A half-open range of ticks. */
export interface Bounds {
  from: bigint;
  to: bigint;
}

/** The times between which stored rows are compared: from the oldest row where the response shows it. */
export function boundsOf({ span, oldest }: Shown): Bounds {
  if (!span) return NO_BOUNDS;
  const from = oldest !== undefined && oldest < span.from ? oldest : span.from;
  return { from: from < MIN_TICKS ? MIN_TICKS : from, to: span.to ?? OPEN_TICKS };
}

export const NO_BOUNDS: Bounds = { from: 0n, to: 0n };

/** The time of ticks for a statement; `infinity` for an open end. */
export function timeOf(ticks: bigint): string {
  return ticks > MAX_TICKS ? 'infinity' : formatMicroseconds(ticks);
}

/** The most stored rows that are read to compare them with a response. */
export function limitOf(shown: Shown): number {
  return 2 * (shown.events.length + shown.others.events.length) + MAX_UNSHOWN_READ;
}

/** The stored rows between two times, and those at the times of `others`; at most `limitOf` the response. */
export async function readStoredSpan(
  client: Client,
  shown: Shown,
  {
    organization,
    log,
    runId,
    settleMs,
    bounds: { from, to },
    others,
  }: LogKey & { runId: string; settleMs: number; bounds: Bounds; others: readonly IdentifiedEvent[] },
): Promise<StoredRow[]> {
  const all = eventsOf(shown);
  const { rows } = await client.query<StoredSpanRow>(READ_SPAN, [
    organization,
    log,
    timeOf(from),
    timeOf(to),
    limitOf(shown),
    runId,
    settleMs,
    timesOf(all),
    all.map(({ eventId }) => eventId),
    timesOf(others),
  ]);
  const shownAs = new Map(all.map(({ event, eventId }) => [eventId, event]));
  return rows.map((row) => toStoredRow(row, shownAs.get(row.event_id)));
}

/** All events that a response shows. */
export function eventsOf({ events, others }: Shown): IdentifiedEvent[] {
  return [...events, ...others.events];
}

function timesOf(events: readonly IdentifiedEvent[]): string[] {
  return [...new Set(events.map(({ event }) => formatMicroseconds(event.createdOnTicks)))];
}

/** `shown`: the event that the response shows under the id of the row. */
function toStoredRow(row: StoredSpanRow, shown: AuditEvent | undefined): StoredRow {
  const content = {
    createdOnRaw: row.created_on_raw,
    userName: row.user_name,
    email: row.email,
    message: row.message,
    extra: row.extra,
    raw: row.raw,
  };
  const identity = shown ?? {
    createdOnTicks: BigInt(row.created_on_ticks),
    category: row.category,
    action: row.action,
    source: row.source,
    detailsVersion: row.details_version,
    auditLogDetails: row.details_raw,
  };
  return {
    eventId: row.event_id,
    ticks: BigInt(row.created_on_ticks),
    ordinal: row.ordinal,
    content,
    rendering: exactFields({ ...identity, ...content }),
    batch: BigInt(row.batch),
    supersededBy: row.superseded_by ?? undefined,
    absence: row.absence ?? undefined,
    isSuspectedNow: row.is_suspected_now,
    settlesAt: row.settles_at === null ? undefined : new Date(Number(row.settles_at)),
  };
}
