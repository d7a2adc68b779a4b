/** Creates partitions of `audit.events` before rows need them: audit.create_event_months does it with the rights of the owner. */
import type { IdentifiedEvent } from '../../core/identity.ts';
import { formatMicroseconds, TICKS_PER_SECOND } from '../../core/ticks.ts';
import type { Client } from '../connection/pool.ts';

const TICKS_PER_DAY = 86_400n * TICKS_PER_SECOND;
/** A month that a lock kept from being created is tried again after this time: until then its rows go to the default partition. */
const RETRY_MS = 5_000;

/**
 * One row: the months that have a partition, as `2026-01` (null before the table is partitioned), and whether the next month, by the clock of
 * the server, has none.
 */
export const READ_MONTHS = `
  select array_agg(replace(substr(relname, 8), '_', '-')) as months,
    not coalesce(bool_or(relname = to_char(now() at time zone 'UTC' + interval '1 month', '"events_"YYYY_MM')), false) as lacks_next
  from pg_inherits join pg_class on oid = inhrelid
  where inhparent = 'audit.events'::regclass and relname ~ '^events_[0-9]{4}_[0-9]{2}$'`;

export interface MonthRow {
  months: string[] | null;
  lacks_next: boolean;
}

/** The months of the run. Its first query reads them, so that a run without new months sends nothing. */
export class EventMonths {
  private readonly known: Set<string>;
  /** A day of a known month. */
  private knownDay: bigint | undefined;
  /** When each month without a partition was last tried. */
  private readonly triedAt = new Map<string, number>();

  /** `now`: milliseconds of a clock that never goes back. */
  constructor(
    private readonly client: Client,
    private readonly row: MonthRow,
    private readonly now: () => number = () => performance.now(),
  ) {
    this.known = new Set(row.months);
  }

  /** Creates the partitions of the current and the next months, if they are missing. */
  async createAhead(): Promise<void> {
    if (this.row.months !== null && this.row.lacks_next) await this.create([]);
  }

  /** Whether a partition for the month of one of these events is to be created. */
  lacks(events: readonly IdentifiedEvent[]): boolean {
    return this.missing(events).length > 0;
  }

  /**
   * Creates the missing partitions for these events. Call it outside of a transaction, whose end would hold its locks. Without a partition,
   * rows are stored in the default partition: that of odd dates, and of all months while a lock is not available.
   */
  async createFor(events: readonly IdentifiedEvent[]): Promise<void> {
    const missing = this.missing(events);
    if (missing.length > 0) await this.create(missing);
  }

  private missing(events: readonly IdentifiedEvent[]): string[] {
    const missing = new Set<string>();
    for (const { event } of events) {
      const day = event.createdOnTicks / TICKS_PER_DAY;
      if (day === this.knownDay) continue;
      const month = formatMicroseconds(event.createdOnTicks).slice(0, 7);
      if (this.known.has(month)) this.knownDay = day;
      else if (this.isDue(month)) missing.add(month);
    }
    return [...missing];
  }

  private isDue(month: string): boolean {
    const triedAt = this.triedAt.get(month);
    return triedAt === undefined || this.now() - triedAt >= RETRY_MS;
  }

  private async create(months: readonly string[]): Promise<void> {
    await this.client.query('select audit.create_event_months($1::date[])', [
      months.map((month) => `${month}-01`),
    ]);
    // Also those that others created. A month of odd dates never has a partition.
    const { rows } = await this.client.query<MonthRow>(READ_MONTHS);
    for (const month of rows[0]!.months ?? []) this.known.add(month);
    for (const month of months) this.triedAt.set(month, this.now());
  }
}
