/** Reads the state from which a run is planned. */
import type { LogKey } from '../../core/log-key.ts';
import { floorToMicrosecond, formatMicroseconds, MIN_TICKS } from '../../core/ticks.ts';
import { translateDatabaseError } from '../connection/errors.ts';
import type { Pool } from '../connection/pool.ts';
import { toWatermark, type WatermarkRow } from './watermark.ts';

/**
 * Reads how far a log is exported. `ticks`: the end of the newest stored event or range. `certain`: the end of what runs have
 * requested; it ignores an event dated in the future, after which newer events may follow. `undefined` before the first export.
 */
export async function readExportedUntil(
  pool: Pool,
  { organization, log }: LogKey,
): Promise<{ ticks: bigint; certain: bigint } | undefined> {
  try {
    const { rows } = await pool.query<WatermarkRow & { covered: string | null; newest: string | null }>(
      `select created_on_ticks, read_at, resume,
         (select created_on_ticks from audit.events e where e.organization = $1 and e.log = $2
          order by created_on desc limit 1) as newest,
         (select max(to_ticks) from audit.coverage c where c.organization = $1 and c.log = $2) as covered
       from audit.watermarks where organization = $1 and log = $2`,
      [organization, log],
    );
    const watermark = rows[0] && toWatermark(rows[0]);
    const ends = [watermark && watermark.ticks + 1n, rows[0]?.covered && BigInt(rows[0].covered)];
    const certain = ends.reduce<bigint>((latest, end) => (end && end > latest ? end : latest), MIN_TICKS);
    if (certain === MIN_TICKS) return undefined;
    const stored = rows[0]?.newest;
    // Events of one microsecond have no order in the key.
    const newest = stored ? floorToMicrosecond(BigInt(stored)) + 10n : certain;
    return { ticks: newest > certain ? newest : certain, certain };
  } catch (error) {
    throw translateDatabaseError(error, 'reading the end of the exported range');
  }
}

/** Counts the stored events of a half-open range. Without `to`: up to the newest. */
export async function countBetween(
  pool: Pool,
  { organization, log }: LogKey,
  { from, to }: { from: bigint; to: bigint | undefined },
): Promise<number> {
  try {
    const { rows } = await pool.query<{ count: string }>(
      `select count(*) from audit.events where organization = $1 and log = $5 and created_on >= $2 and created_on_ticks >= $3
         and ($4::bigint is null or created_on_ticks < $4)`,
      [organization, formatMicroseconds(from), from.toString(), to?.toString() ?? null, log],
    );
    return Number(rows[0]!.count);
  } catch (error) {
    throw translateDatabaseError(error, 'counting stored events');
  }
}

/** Reads organizations whose names differ from this one only by case. */
export async function readLookalikes(pool: Pool, organization: string): Promise<string[]> {
  try {
    const { rows } = await pool.query<{ organization: string }>(
      'select distinct organization from audit.watermarks where lower(organization) = lower($1) and organization <> $1',
      [organization],
    );
    return rows.map((row) => row.organization);
  } catch (error) {
    throw translateDatabaseError(error, 'reading organizations with a similar name');
  }
}
