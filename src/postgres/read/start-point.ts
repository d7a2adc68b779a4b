/** Reads the state from which a run is planned. */
import type { LogKey } from '../../core/log-key.ts';
import { floorToMicrosecond, formatMicroseconds } from '../../core/ticks.ts';
import { translateDatabaseError } from '../connection/errors.ts';
import type { Pool } from '../connection/pool.ts';

/**
 * Reads how far a log is exported. `ticks`: the end of the newest stored event or range. `certain`: the end of what runs have
 * read; an event dated ahead may be newer, after which others may follow. `undefined` before the first export.
 */
export async function readExportedUntil(
  pool: Pool,
  { organization, log }: LogKey,
): Promise<{ ticks: bigint; certain: bigint } | undefined> {
  try {
    const { rows } = await pool.query<Record<'watermark' | 'covered' | 'newest', string | null>>(
      `select created_on_ticks as watermark,
         (select max(to_ticks) from audit.coverage c where c.organization = $1 and c.log = $2) as covered,
         (select created_on_ticks from audit.events e where e.organization = $1 and e.log = $2 order by created_on desc limit 1) as newest
       from audit.watermarks where organization = $1 and log = $2`,
      [organization, log],
    );
    const { watermark = null, covered = null, newest = null } = rows[0] ?? {};
    const certain = latest(after(watermark), covered === null ? undefined : BigInt(covered));
    if (certain === undefined) return undefined;
    // Events of one microsecond have no order in the key.
    const stored = newest === null ? undefined : floorToMicrosecond(BigInt(newest)) + 10n;
    return { ticks: latest(certain, stored)!, certain };
  } catch (error) {
    throw translateDatabaseError(error, 'reading the end of the exported range');
  }
}

function after(ticks: string | null): bigint | undefined {
  return ticks === null ? undefined : BigInt(ticks) + 1n;
}

function latest(a: bigint | undefined, b: bigint | undefined): bigint | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return a > b ? a : b;
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
         and ($4::bigint is null or created_on_ticks < $4) and superseded_by is null`,
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
