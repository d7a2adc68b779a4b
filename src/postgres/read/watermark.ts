/** The watermark of a log, from which a run starts, and whether it matches the stored events. */
import type { LogKey } from '../../core/log-key.ts';
import type { Json } from '../../core/source.ts';
import { formatMicroseconds, formatTicks, MAX_TICKS, MIN_TICKS, parseTicks } from '../../core/ticks.ts';
import type { Queryable } from '../connection/pool.ts';
import { inUtc } from '../format/utc.ts';
import { SOURCE_COLUMNS, type SourceRow } from './source-identity.ts';

export interface StoredWatermark {
  ticks: bigint;
  /** When the run began that last read beyond the watermark. */
  readAt: Date;
  /** Resume value of the source after the newest committed event. A wrong value costs requests, not rows. */
  resume: Json;
}

export interface WatermarkRow {
  created_on_ticks: string | null;
  read_at: unknown;
  resume: Json;
}

export function toWatermark(row: WatermarkRow): StoredWatermark | undefined {
  if (row.created_on_ticks === null) return undefined;
  return {
    ticks: BigInt(row.created_on_ticks),
    // By hand it can become null or infinite: then nothing is known to be read.
    readAt: row.read_at instanceof Date ? row.read_at : new Date(0),
    resume: row.resume,
  };
}

/** $1 organization, $2 log. `newest_from`: the start of the newest day with events, by the roll-ups, as `formatMicroseconds` writes it. */
export const READ_WATERMARK = `
  select w.created_on_ticks, w.created_on_raw, ${inUtc('w.created_on')} as created_on, w.read_at, w.resume,
    w.head_ticks, w.ranks, ${SOURCE_COLUMNS}, (
      select ${inUtc(`day::timestamp at time zone 'UTC'`)} from audit.daily_totals
      where organization = $1 and log = $2 order by day desc limit 1
    ) as newest_from
  from audit.watermarks w
  where w.organization = $1 and w.log = $2`;

/**
 * The newest stored event, and whether one of the time of the watermark is stored: two look-ups in the primary key. With the times as
 * parameters, PostgreSQL plans only the partitions from there on: without them, planning takes a tenth of a second at ten years of months.
 * $1 organization, $2 log, $3 start of the newest day, $4 and $5 the watermark as time and ticks.
 */
export const READ_NEWEST = `
  select (
    select created_on_ticks from audit.events
    where organization = $1 and log = $2 and created_on >= $3::timestamptz order by created_on desc limit 1
  ) as newest_ticks, exists (
    select from audit.events
    where organization = $1 and log = $2 and created_on = $4::timestamptz and created_on_ticks = $5::bigint
  ) as is_stored`;

/** Adds what is stored to a row of READ_WATERMARK. */
export async function checkStored<Row extends WatermarkState>(
  client: Queryable,
  { organization, log }: LogKey,
  row: Row,
): Promise<Row & StoredNewest> {
  const { newest_from: from, created_on: at, created_on_ticks: ticks } = row;
  const values = [organization, log, from ?? '-infinity', at, ticks];
  const { rows } = await client.query<StoredNewest>(READ_NEWEST, values);
  return { ...row, ...rows[0]! };
}

/** A row of READ_WATERMARK. */
export interface WatermarkState extends WatermarkRow, SourceRow {
  created_on_raw: string | null;
  /** UTC, as `formatMicroseconds`. */
  created_on: string | null;
  newest_from: string | null;
  head_ticks: string | null;
  ranks: Json;
}

interface StoredNewest {
  newest_ticks: string | null;
  is_stored: boolean;
}

export type CheckedWatermarkRow = WatermarkState & StoredNewest;

/**
 * Says in what way the watermark contradicts itself or the stored events; `undefined` if it does not. The worker moves it in the
 * transaction that stores its event, so only a manual change or an incomplete restore leads to a contradiction. Newer stored
 * events are none: a backfill of a range, an event dated ahead and an interrupted run leave them.
 */
export function findContradiction(row: CheckedWatermarkRow): string | undefined {
  const { created_on_ticks: ticksText, created_on_raw: raw, created_on: createdOn } = row;
  const set = [ticksText, raw, createdOn].filter((value) => value !== null);
  if (set.length === 0) return undefined;
  const ticks = ticksText === null ? undefined : BigInt(ticksText);
  const isTime = ticks !== undefined && ticks >= MIN_TICKS && ticks <= MAX_TICKS;
  if (!isTime || raw === null || parseTicks(raw) !== ticks || createdOn !== formatMicroseconds(ticks)) {
    const values = Object.entries({
      created_on_ticks: ticksText,
      created_on: createdOn,
      created_on_raw: raw,
    });
    const shown = values.map(([name, value]) => `${name} ${showValue(value)}`);
    return `its columns name different times (${shown.join(', ')})`;
  }
  if (!(row.read_at instanceof Date)) return 'its column read_at is not a time';
  return row.is_stored ? undefined : `it is at ${formatTicks(ticks)}, and no event of this time is stored`;
}

const MAX_SHOWN = 50;

/** A manual change can have made it any text. */
function showValue(value: string | null): string {
  if (value === null) return 'null';
  return value.length > MAX_SHOWN ? `${value.slice(0, MAX_SHOWN)}…` : value;
}

/** The error message of a run that refuses to continue from the watermark. */
export function describeContradiction(
  organization: string,
  { newest_ticks: newest }: Pick<CheckedWatermarkRow, 'newest_ticks'>,
  contradiction: string,
): string {
  const stored =
    newest === null ? 'No event is stored' : `The newest stored event is of ${showTicks(newest)}`;
  return (
    `The watermark of ${organization} in audit.watermarks does not match audit.events: ${contradiction}. ${stored}. ` +
    'One of the tables was changed by hand, or a restore was incomplete. Run backfill without --from and --to: it resets the ' +
    'watermark, reads the whole list, and stores what is missing.'
  );
}

function showTicks(text: string): string {
  const ticks = BigInt(text);
  return ticks >= MIN_TICKS && ticks <= MAX_TICKS ? formatTicks(ticks) : `ticks ${text}`;
}
