/** Reads `audit.ledger` and the rows that its entries list. */
import type { LedgerChange, LedgerEntry, LedgeredRow, LedgerFinding } from '../../core/ledger.ts';
import { isSameLog, type LogKey } from '../../core/log-key.ts';
import { translateDatabaseError } from '../connection/errors.ts';
import { connectWithoutTimeout, type Pool, type Queryable, withTransaction } from '../connection/pool.ts';
import { inUtc } from '../format/utc.ts';
import { EVENT_COLUMNS, type EventRow, toLedgeredRows } from './stored-events.ts';

/** A chunk ends at this many entries or rows. */
const CHUNK_ENTRIES = 200;
const CHUNK_ROWS = 2000;
/** At most this many rows without an entry are named; all are counted. */
const MAX_STRAYS = 1000;

/** Entries with the rows they inserted, from one snapshot. */
export interface LedgerChunk {
  entries: LedgerEntry[];
  /** Batch → its rows. */
  rows: Map<bigint, LedgeredRow[]>;
  /** Batch → event → the changes by later entries, in order. */
  changes: Map<bigint, Map<string, LedgerChange[]>>;
}

/** Calls `work` with a reader on its own connection, without a query timeout. */
export async function withLedger<T>(pool: Pool, work: (ledger: LedgerReader) => Promise<T>): Promise<T> {
  let client: Awaited<ReturnType<typeof connectWithoutTimeout>> | undefined;
  try {
    client = await connectWithoutTimeout(pool);
    return await work(createReader(client));
  } catch (error) {
    throw translateDatabaseError(error, 'reading the ledger');
  } finally {
    await client?.end().catch(() => {});
  }
}

/** Reads the logs that have rows, but no watermark: no run has begun there. Reads all events. */
export async function readStrayLogs(pool: Pool): Promise<LogKey[]> {
  return withLedger(pool, async (ledger) => {
    const watermarks = await ledger.logs(['watermarks']);
    const all = await ledger.logs();
    return all.filter((key) => !watermarks.some((known) => isSameLog(known, key)));
  });
}

export type LedgerReader = ReturnType<typeof createReader>;

function createReader(client: Queryable) {
  return {
    /** All logs that one of the tables has a row of, sorted by name. Reads all events. */
    async logs(tables: readonly string[] = TABLES): Promise<LogKey[]> {
      const { rows } = await client.query<LogKey>(
        tables
          .map((table) => `select organization, log from audit.${table} group by 1, 2`)
          .join(' union ')
          .concat(' order by 1, 2'),
      );
      return rows;
    },

    /** Sum of `rows_inserted` over all entries. */
    async countListed({ organization, log }: LogKey): Promise<number> {
      const { rows } = await client.query<{ count: string }>(
        'select coalesce(sum(rows_inserted), 0) as count from audit.ledger where organization = $1 and log = $2',
        [organization, log],
      );
      return Number(rows[0]!.count);
    },

    /** Reads the next entries after `batch`, in order, and the rows of those that `isWanted` selects; `undefined` at the end. */
    async readChunk(
      key: LogKey,
      batch: bigint,
      isWanted: (entry: LedgerEntry) => boolean,
    ): Promise<LedgerChunk | undefined> {
      return withTransaction(client, async () => {
        await client.query('set transaction isolation level repeatable read, read only');
        const entries = await readEntries(client, key, batch);
        if (entries.length === 0) return undefined;
        const rows = await readRows(client, key, entries.filter(isWanted));
        const changes = await readChanges(client, key, entries);
        return { entries, rows, changes };
      });
    },

    /** Returns which of these events an entry after `entry` stored again. */
    async findStoredLater(entry: LedgerEntry, eventIds: readonly string[]): Promise<Set<string>> {
      const { rows } = await client.query<{ event_id: string }>(
        `select event_id from audit.events e join audit.ledger l using (organization, log, batch)
         where organization = $1 and created_on between $2 and $3 and event_id = any($4::uuid[]) and batch > $5 and log = $6
           and position(uuid_send(event_id) in inserted) > 0`,
        [entry.organization, entry.fromAt, entry.toAt, eventIds, entry.batch.toString(), entry.log],
      );
      return new Set(rows.map(({ event_id: id }) => id));
    },

    /** Finds rows whose batch has no entry, or one of another time range: their number, and the first of them. */
    async findStrays({ organization, log }: LogKey): Promise<{ count: number; findings: LedgerFinding[] }> {
      const { rows } = await client.query<StrayRow>(STRAYS, [organization, log, MAX_STRAYS]);
      const findings = rows.map((row): LedgerFinding => {
        const reason = row.has_entry
          ? 'its batch is an entry of another time range'
          : 'its batch has no entry';
        const { event_id: eventId, created_on_raw: createdOn } = row;
        return { kind: 'inserted', batch: BigInt(row.batch), eventId, createdOn, reason };
      });
      return { count: Number(rows[0]?.count ?? 0), findings };
    },
  };
}

/** Rows by hand may be of a log that no run has exported. */
const TABLES = [
  ...['events', 'watermarks', 'ledger', 'ledger_changes', 'coverage', 'runs'],
  ...['rejected_events', 'rejected_places', 'gone_events'],
  ...['daily_activity', 'daily_totals', 'user_actions', 'user_totals', 'user_horizon'],
];

const ENTRIES = `
  select organization, log, batch, run_id, ${inUtc('committed_at')} as committed_at, ${inUtc('from_at')} as from_at,
    ${inUtc('to_at')} as to_at, rows_inserted, rows_changed, inserted, encode(previous_digest, 'hex') as previous_digest,
    encode(digest, 'hex') as digest
  from (
    select *, sum(rows_inserted) over (order by batch) - rows_inserted as rows_before
    from (select * from audit.ledger where organization = $1 and log = $2 and batch > $3 order by batch limit ${CHUNK_ENTRIES}) next
  ) counted
  where rows_before < ${CHUNK_ROWS}
  order by batch`;

const ROWS = `
  select ${EVENT_COLUMNS}
  from audit.events e join audit.ledger l on l.organization = e.organization and l.log = e.log and l.batch = e.batch
  where e.organization = $1 and e.log = $2 and e.created_on between $3 and $4 and e.batch between $5 and $6
    and e.created_on between l.from_at and l.to_at`;

const CHANGES = `
  select c.row_batch, c.event_id, c.batch, ${inUtc('l.committed_at')} as committed_at,
    encode(old_digest, 'hex') as old_digest, encode(new_digest, 'hex') as new_digest
  from audit.ledger_changes c left join audit.ledger l
    on l.organization = c.organization and l.log = c.log and l.batch = c.batch
  where c.organization = $1 and c.log = $2 and `;

const STRAYS = `
  select e.event_id, e.created_on_raw, e.batch, l.batch is not null as has_entry, count(*) over () as count
  from audit.events e left join audit.ledger l
    on l.organization = e.organization and l.log = e.log and l.batch = e.batch
  where e.organization = $1 and e.log = $2
    and (l.batch is null or l.from_at is null or e.created_on not between l.from_at and l.to_at)
  limit $3`;

interface StrayRow {
  event_id: string;
  created_on_raw: string;
  batch: string;
  has_entry: boolean;
  count: string;
}

interface EntryRow extends LogKey {
  batch: string;
  run_id: string | null;
  committed_at: string;
  from_at: string | null;
  to_at: string | null;
  rows_inserted: number;
  rows_changed: number;
  inserted: Buffer;
  previous_digest: string | null;
  digest: string;
}

interface ChangeRow {
  row_batch: string;
  event_id: string;
  batch: string;
  committed_at: string | null;
  old_digest: string;
  new_digest: string;
}

async function readEntries(client: Queryable, key: LogKey, after: bigint): Promise<LedgerEntry[]> {
  const { rows } = await client.query<EntryRow>(ENTRIES, [key.organization, key.log, after.toString()]);
  const batches = rows.map(({ batch }) => batch);
  const changes = await client.query<ChangeRow>(
    `${CHANGES} c.batch = any($3::bigint[]) order by c.event_id`,
    [key.organization, key.log, batches],
  );
  const changesOf = new Map<string, LedgerChange[]>();
  for (const row of changes.rows) pushTo(changesOf, row.batch, toChange(row));
  return rows.map((row) => ({
    organization: row.organization,
    log: row.log,
    batch: BigInt(row.batch),
    runId: row.run_id,
    committedAt: row.committed_at,
    fromAt: row.from_at,
    toAt: row.to_at,
    rowsInserted: row.rows_inserted,
    rowsChanged: row.rows_changed,
    inserted: row.inserted,
    changes: changesOf.get(row.batch) ?? [],
    previousDigest: row.previous_digest,
    digest: row.digest,
  }));
}

async function readRows(
  client: Queryable,
  { organization, log }: LogKey,
  entries: readonly LedgerEntry[],
): Promise<Map<bigint, LedgeredRow[]>> {
  const byBatch = new Map<bigint, LedgeredRow[]>();
  const times = entries.flatMap(({ fromAt, toAt }) =>
    fromAt === null || toAt === null ? [] : [fromAt, toAt],
  );
  if (times.length === 0) return byBatch;
  // All texts have the same format, so they sort by time.
  times.sort();
  const { rows } = await client.query<EventRow>(ROWS, [
    organization,
    log,
    times[0],
    times.at(-1),
    entries[0]!.batch.toString(),
    entries.at(-1)!.batch.toString(),
  ]);
  for (const row of await toLedgeredRows(client, rows)) pushTo(byBatch, row.batch, row);
  return byBatch;
}

async function readChanges(
  client: Queryable,
  { organization, log }: LogKey,
  entries: readonly LedgerEntry[],
): Promise<LedgerChunk['changes']> {
  const changes: LedgerChunk['changes'] = new Map();
  const { rows } = await client.query<ChangeRow>(
    `${CHANGES} c.row_batch between $3 and $4 order by c.batch`,
    [organization, log, entries[0]!.batch.toString(), entries.at(-1)!.batch.toString()],
  );
  for (const row of rows) {
    const batch = BigInt(row.row_batch);
    const ofBatch = changes.get(batch) ?? new Map<string, LedgerChange[]>();
    changes.set(batch, ofBatch);
    pushTo(ofBatch, row.event_id, toChange(row));
  }
  return changes;
}

function toChange(row: ChangeRow): LedgerChange {
  return {
    eventId: row.event_id,
    batch: BigInt(row.batch),
    committedAt: row.committed_at ?? 'of no entry',
    oldDigest: row.old_digest,
    newDigest: row.new_digest,
  };
}

function pushTo<K, V>(map: Map<K, V[]>, key: K, value: V): void {
  const values = map.get(key);
  if (values) values.push(value);
  else map.set(key, [value]);
}
