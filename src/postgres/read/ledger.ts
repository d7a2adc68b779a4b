/** Reads `audit.ledger` and the rows that its entries list. */
import pg from 'pg';
import type { LedgerFinding } from '../../core/ledger/check.ts';
import { entryLeaf, type LedgerEntry, type LedgerHead } from '../../core/ledger/entry.ts';
import type { StoredEntry } from '../../core/ledger/tree-check.ts';
import { isSameLog, type LogKey } from '../../core/log-key.ts';
import { formatMicroseconds } from '../../core/ticks.ts';
import { peaksFrom, peaksOfBytes } from '../../core/transparency-log/merkle.ts';
import { translateDatabaseError } from '../connection/errors.ts';
import { connectWithoutTimeout, type Pool, type Queryable, withTransaction } from '../connection/pool.ts';
import { inUtc } from '../format/utc.ts';
import { READ_DIGESTS } from './ledger-digests.ts';
import { conditionOf, type LedgerChunk, readChanges, readEntries } from './ledger-entries.ts';
import { canonicalRecord } from './listed-row.ts';
import { type StreamedRecord, streamRecords } from './record-stream.ts';
import { findUnrecorded } from './recorded-rows.ts';

/** At most this many rows without an entry are named; all are counted. */
const MAX_STRAYS = 1000;
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

/** Reads the logs that have rows, but no watermark: no run has begun there. */
export async function readStrayLogs(pool: Pool): Promise<LogKey[]> {
  return withLedger(pool, async (ledger) => {
    const logs = await ledger.logs();
    const known = await ledger.readWatermarks();
    return logs.filter((key) => !known.some((other) => isSameLog(key, other)));
  });
}

export type LedgerReader = ReturnType<typeof createReader>;

function createReader(client: pg.Client) {
  return {
    /** For other queries on the same connection. */
    client,

    /** Calls `work` in one snapshot of the database. */
    inSnapshot<T>(work: () => Promise<T>): Promise<T> {
      return withTransaction(client, async () => {
        await client.query('set transaction isolation level repeatable read, read only');
        return work();
      });
    },

    /** Logs that a table has a row of, sorted by name. */
    async logs(): Promise<LogKey[]> {
      const { rows } = await client.query<LogKey>(LOGS);
      return rows;
    },

    /** Logs with a watermark. */
    async readWatermarks(): Promise<LogKey[]> {
      const { rows } = await client.query<LogKey>('select organization, log from audit.watermarks');
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

    /**
     * Reads the next entries after `batch`, in order, and passes the stored rows of those that `isWanted` selects to `onRows`, of the same
     * snapshot. `undefined` at the end.
     */
    async readChunk(
      key: LogKey,
      batch: bigint,
      {
        isWanted,
        onEntries,
        onRows,
      }: {
        isWanted: (entry: LedgerEntry) => boolean;
        onEntries: (chunk: LedgerChunk) => void;
        onRows: (rows: readonly StreamedRecord[]) => void;
      },
    ): Promise<LedgerChunk | undefined> {
      return withTransaction(client, async () => {
        await client.query('set transaction isolation level repeatable read, read only');
        const entries = await readEntries(client, key, batch);
        if (entries.length === 0) return undefined;
        const chunk = { entries, changes: await readChanges(client, key, entries) };
        onEntries(chunk);
        const where = conditionOf(entries.filter(isWanted));
        if (where !== undefined) {
          for await (const rows of streamRecords(client, key, where)) onRows(rows);
        }
        return chunk;
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

    /** Returns which of these texts PostgreSQL would store as JSON. */
    async findJson(texts: readonly string[]): Promise<boolean[]> {
      const { rows } = await client.query<{ is_valid: boolean }>(
        `select pg_input_is_valid(details, 'jsonb') as is_valid from unnest($1::text[]) with ordinality as t (details, place) order by place`,
        [texts],
      );
      return rows.map((row) => row.is_valid);
    },

    /** Finds rows of a range whose batch has no entry, or one of another time range: their number, and the first of them. */
    async findStrays(
      { organization, log }: LogKey,
      { from, to }: { from: bigint | undefined; to: bigint | undefined },
    ): Promise<{ count: number; findings: LedgerFinding[] }> {
      const bounds = [from, to].map((ticks) => (ticks === undefined ? null : formatMicroseconds(ticks)));
      const { rows } = await client.query<StrayRow>(STRAYS, [organization, log, MAX_STRAYS, ...bounds]);
      const findings = rows.map((row): LedgerFinding => {
        const reason = row.has_entry
          ? 'its batch is an entry of another time range'
          : 'its batch has no entry';
        const { event_id: eventId, created_on_raw: createdOn, user_name: userName } = row;
        return { kind: 'inserted', batch: BigInt(row.batch), eventId, createdOn, userName, reason };
      });
      return { count: Number(rows[0]?.count ?? 0), findings };
    },

    /** The newest entry, with the peaks of the tree up to it; `undefined` without an entry. */
    async readHead(key: LogKey): Promise<(LedgerHead & { checkpoint: string | null }) | undefined> {
      const { rows } = await client.query<{
        batch: string;
        digest: string;
        peaks: Buffer | null;
        checkpoint: string | null;
      }>(
        `select batch, encode(digest, 'hex') as digest, peaks, checkpoint from audit.ledger
         where organization = $1 and log = $2 order by batch desc limit 1`,
        [key.organization, key.log],
      );
      const [row] = rows;
      if (!row) return undefined;
      const batch = BigInt(row.batch);
      const peaks = row.peaks
        ? peaksOfBytes(row.peaks)
        : peaksFrom((await readDigests(client, key, batch)).map(entryLeaf));
      return { batch, digest: row.digest, peaks, checkpoint: row.checkpoint };
    },

    /** The number and the text of the newest signed head. */
    async readSigned(key: LogKey): Promise<{ batch: bigint; checkpoint: string } | undefined> {
      const { rows } = await client.query<{ batch: string; checkpoint: string }>(
        `select batch, checkpoint from audit.ledger
         where organization = $1 and log = $2 and checkpoint is not null order by batch desc limit 1`,
        [key.organization, key.log],
      );
      return rows[0] && { batch: BigInt(rows[0].batch), checkpoint: rows[0].checkpoint };
    },

    /** Formats and digests of the entries up to `batch`, in order. */
    readDigests(key: LogKey, batch: bigint): Promise<Pick<LedgerEntry, 'format' | 'digest'>[]> {
      return readDigests(client, key, batch);
    },

    async readEntry(key: LogKey, batch: bigint): Promise<StoredEntry | undefined> {
      const [entry] = await readEntries(client, key, batch - 1n);
      return entry?.batch === batch ? entry : undefined;
    },

    /** The stored events with this id, in any log: their record, and the entry that lists it. */
    async findEvent(eventId: string): Promise<(LogKey & { record: Buffer; batch: bigint })[]> {
      const { rows } = await client.query<
        LogKey & { created_on: string; batch: string; changed: string | null }
      >(FIND_EVENT, [eventId]);
      const found: (LogKey & { record: Buffer; batch: bigint })[] = [];
      for (const { organization, log, created_on: at, batch, changed } of rows) {
        const where = `e.created_on = ${pg.escapeLiteral(at)} and e.event_id = ${pg.escapeLiteral(eventId)}`;
        for await (const [row] of streamRecords(client, { organization, log }, where)) {
          const record = Buffer.from(canonicalRecord(row!));
          found.push({ organization, log, record, batch: BigInt(changed ?? batch) });
        }
      }
      return found;
    },

    /** Compares the tables beside audit.events with the entries that list their rows. */
    findUnrecorded(key: LogKey): Promise<LedgerFinding[]> {
      return findUnrecorded(client, key);
    },

    /** Finds changes whose entry does not exist. */
    async findStrayChanges({ organization, log }: LogKey): Promise<LedgerFinding[]> {
      const { rows } = await client.query<{ event_id: string; batch: string }>(STRAY_CHANGES, [
        organization,
        log,
      ]);
      return rows.map(({ event_id: eventId, batch }) => ({
        ...{ kind: 'broken', batch: BigInt(batch), eventId, createdOn: null },
        reason: 'a change in audit.ledger_changes belongs to no entry',
      }));
    },
  };
}

/** created_on as a text that is read back exactly. */
const FIND_EVENT = `
  select organization, log, ${inUtc('created_on')} as created_on, batch, (
    select max(c.batch) from audit.ledger_changes c
    where c.organization = e.organization and c.log = e.log and c.row_batch = e.batch and c.event_id = e.event_id
  ) as changed
  from audit.events e where event_id = $1`;

async function readDigests(
  client: Queryable,
  { organization, log }: LogKey,
  batch: bigint,
): Promise<Pick<LedgerEntry, 'format' | 'digest'>[]> {
  const { rows } = await client.query<Pick<LedgerEntry, 'format' | 'digest'>>(READ_DIGESTS, [
    organization,
    log,
    batch.toString(),
  ]);
  return rows;
}

/** Rows by hand may be of a log that no run has exported. */
const SMALL_TABLES = [
  ...['runs', 'coverage', 'gone_events', 'rejected_events', 'rejected_places'],
  ...['daily_activity', 'user_actions', 'user_totals', 'user_horizon'],
];

const LOGS = `
  select organization, log from audit.watermarks union select organization, log from audit.ledger
  union select organization, log from audit.ledger_changes
  ${SMALL_TABLES.map((table) => `union select organization, log from audit.${table}`).join(' ')}
  union select organization, log from (select distinct organization, log from audit.daily_totals) counted
  union select organization, log from (
    with recursive keys as (
      (select organization, log from audit.events order by organization limit 1)
      union all
      select next.organization, next.log from keys cross join lateral (
        select organization, log from audit.events e where e.organization > keys.organization order by organization limit 1
      ) next
    ) select organization, log from keys
  ) stored
  order by 1, 2`;

const STRAY_CHANGES = `
  select c.event_id, c.batch from audit.ledger_changes c left join audit.ledger l
    on l.organization = c.organization and l.log = c.log and l.batch = c.batch
  where c.organization = $1 and c.log = $2 and l.batch is null limit ${MAX_STRAYS}`;

/** Reads only the range, with its first and last microsecond. $4 and $5 times from and to; null: open. */
const STRAYS = `
  select e.event_id, e.created_on_raw, e.user_name, e.batch, l.batch is not null as has_entry, count(*) over () as count
  from audit.events e left join audit.ledger l
    on l.organization = e.organization and l.log = e.log and l.batch = e.batch
  where e.organization = $1 and e.log = $2
    and e.created_on between coalesce($4::timestamptz, '-infinity') and coalesce($5::timestamptz, 'infinity')
    and (l.batch is null or l.from_at is null or e.created_on not between l.from_at and l.to_at)
  limit $3`;

interface StrayRow {
  event_id: string;
  created_on_raw: string;
  user_name: string | null;
  batch: string;
  has_entry: boolean;
  count: string;
}
