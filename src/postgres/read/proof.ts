/** Reads what runs have proven and what the ledger lists, to judge an event of the source that is not stored. */
import type { LogKey } from '../../core/log-key.ts';
import { formatMicroseconds } from '../../core/ticks.ts';
import { translateDatabaseError } from '../connection/errors.ts';
import type { Pool } from '../connection/pool.ts';

/**
 * Whether the last run that counted proved the history, and no later run has ended without success. A run in progress does not
 * count; one that lost its lease has ended. Nor does `verify --repair`, which reads nothing new. $1 organization, $2 log.
 */
const IS_PROVEN = `
  select w.proven_at
  from audit.watermarks w
  where organization = $1 and log = $2 and completeness = 'complete' and not exists (
    select from audit.runs r
    where r.organization = w.organization and r.log = w.log and r.outcome is distinct from 'succeeded' and r.kind <> 'verify'
      and r.run_id > coalesce((
        select max(run_id) from audit.runs c
        where c.organization = w.organization and c.log = w.log and c.completeness is not null
      ), 0)
      and (r.outcome is not null or r.run_id is distinct from w.lease_run_id or w.lease_until < clock_timestamp())
  )`;

/** When the last run proved that every event is stored; `undefined` if it did not. */
export async function readLastProof(
  pool: Pool,
  { organization, log }: LogKey,
): Promise<{ provenAt: Date | null } | undefined> {
  try {
    const { rows } = await pool.query<{ proven_at: Date | null }>(IS_PROVEN, [organization, log]);
    return rows[0] && { provenAt: rows[0].proven_at };
  } catch (error) {
    throw translateDatabaseError(error, 'reading what the last run has proven');
  }
}

/** Searches an id only in the entries that stored events of its time. $1 organization, $2 log, $3 times, $4 ids. */
const FIND_LISTED = `
  select event_id from unnest($3::timestamptz[], $4::uuid[]) as e (created_on, event_id)
  where exists (
    select from audit.ledger l
    where l.organization = $1 and l.log = $2 and l.rows_inserted > 0 and e.created_on between l.from_at and l.to_at
      and position(uuid_send(e.event_id) in l.inserted) > 0
  )`;

/** Returns the ids of those events that an entry of the ledger lists as stored: a run has stored them. */
export async function findListed(
  pool: Pool,
  { organization, log }: LogKey,
  events: readonly { eventId: string; createdOnTicks: bigint }[],
): Promise<Set<string>> {
  if (events.length === 0) return new Set();
  try {
    const { rows } = await pool.query<{ event_id: string }>(FIND_LISTED, [
      organization,
      log,
      events.map(({ createdOnTicks }) => formatMicroseconds(createdOnTicks)),
      events.map(({ eventId }) => eventId),
    ]);
    return new Set(rows.map(({ event_id: id }) => id));
  } catch (error) {
    throw translateDatabaseError(error, 'searching events in the ledger');
  }
}

/** Returns those of the rejected rows, by their hashes in hex, that runs have counted at the source: they were stored. */
export async function findCountedRejected(
  pool: Pool,
  { organization, log }: LogKey,
  hashes: readonly Buffer[],
): Promise<Set<string>> {
  if (hashes.length === 0) return new Set();
  try {
    const { rows } = await pool.query<{ hash: string }>(
      `select distinct encode(content_hash, 'hex') as hash from audit.rejected_places
       where organization = $1 and log = $2 and content_hash = any($3::bytea[])`,
      [organization, log, hashes],
    );
    return new Set(rows.map(({ hash }) => hash));
  } catch (error) {
    throw translateDatabaseError(error, 'searching rejected rows');
  }
}
