/** Compares a span of `audit.events` with events of the source by one digest, for `verify`: most spans are equal, and then no row is read. */
import type { IdentifiedEvent } from '../../core/identity.ts';
import type { LogKey } from '../../core/log-key.ts';
import { translateDatabaseError } from '../connection/errors.ts';
import type { Pool } from '../connection/pool.ts';
import { CONTENT_TEXT, DIGEST_OF_TEXTS, digestOf, isPlainEvent } from '../format/span-digest.ts';
import { boundsOf, IN_RANGE, type TickRange } from './stored-events.ts';

/** The id as `eventIdOf` computes it: PostgreSQL writes the same JSON. */
const OWN_ID = `encode(substr(sha256(convert_to(left(array_to_json(
  array[created_on_ticks::text, source, category, action, details_version, details_raw])::text, -1) || ',' || ordinal || ']', 'UTF8')),
  1, 16), 'hex')::uuid`;

/**
 * The parameters of IN_RANGE, and $7 a limit. The text of a row with columns that contradict each other contains the id only, and equals
 * that of no event. The id stands for the columns that it is computed from. Not named: a plan for any values, which the server tries for a named statement, covers all partitions.
 */
const DIGEST_EXACTLY = {
  text: `
  select ${DIGEST_OF_TEXTS} as digest from (
    select created_on, event_id, case
      when extra is null and raw is null and superseded_by is null and event_id = ${OWN_ID}
        and created_on_ticks - (created_on_ticks % 10 + 10) % 10 = (extract(epoch from created_on) * 10000000)::bigint
        and case when details is null then details_raw is null
          else pg_input_is_valid(details_raw, 'jsonb') and details = details_raw::jsonb end
      then ${CONTENT_TEXT}
      else array_to_json(array[event_id::text])
    end::text as text
    from audit.events
    where ${IN_RANGE}
    order by created_on, event_id limit $7
  ) stored`,
};

/** Whether the rows of a half-open range are exactly these events, and each column contains what it should. */
export async function isStoredExactly(
  pool: Pool,
  { organization, log }: LogKey,
  { events, range }: { events: readonly IdentifiedEvent[]; range: TickRange },
): Promise<boolean> {
  const bounds = boundsOf(range);
  if (!bounds || events.length === 0 || !events.every(isPlainEvent)) return false;
  try {
    const values = [organization, log, ...bounds, events.length + 1];
    const { rows } = await pool.query<{ digest: string }>({ ...DIGEST_EXACTLY, values });
    return rows[0]!.digest === digestOf(events);
  } catch (error) {
    throw translateDatabaseError(error, 'comparing stored events');
  }
}
