/** Reads entries of `audit.ledger` one chunk after another, with what later entries changed in their rows. */
import pg from 'pg';
import type { EntryKind, LedgerChange, LedgerEntry } from '../../core/ledger/entry.ts';
import type { StoredEntry } from '../../core/ledger/tree-check.ts';
import type { LogKey } from '../../core/log-key.ts';
import type { Queryable } from '../connection/pool.ts';
import { inUtc } from '../format/utc.ts';

/** A chunk ends at this many entries or rows. */
const CHUNK_ENTRIES = 500;
const CHUNK_ROWS = 20_000;
/** Before the first entry that can exist: also those that were inserted by hand with a number below 1. */
export const BEFORE_FIRST = -(2n ** 63n);

/** Entries of one snapshot, and what later entries changed in their rows. */
export interface LedgerChunk {
  entries: StoredEntry[];
  /** Batch → event → the changes by later entries, in order. */
  changes: Map<bigint, Map<string, LedgerChange[]>>;
}

const ENTRIES = `
  select organization, log, batch, format, kind, run_id, ${inUtc('committed_at')} as committed_at, ${inUtc('from_at')} as from_at,
    ${inUtc('to_at')} as to_at, rows_inserted, rows_changed, inserted as listed, facts, encode(previous_digest, 'hex') as previous_digest,
    encode(digest, 'hex') as digest, peaks, checkpoint
  from (
    select *, sum(rows_inserted + rows_changed) over (order by batch) - rows_inserted - rows_changed as rows_before
    from (select * from audit.ledger where organization = $1 and log = $2 and batch > $3 order by batch limit ${CHUNK_ENTRIES}) next
  ) counted
  where rows_before < ${CHUNK_ROWS}
  order by batch`;

const CHANGES = `
  select c.row_batch, c.event_id, c.batch, ${inUtc('l.committed_at')} as committed_at,
    encode(old_digest, 'hex') as old_digest, encode(new_digest, 'hex') as new_digest
  from audit.ledger_changes c left join audit.ledger l
    on l.organization = c.organization and l.log = c.log and l.batch = c.batch
  where c.organization = $1 and c.log = $2 and `;

interface EntryRow extends LogKey {
  batch: string;
  format: number;
  kind: EntryKind;
  facts: string | null;
  peaks: Buffer | null;
  checkpoint: string | null;
  run_id: string | null;
  committed_at: string;
  from_at: string | null;
  to_at: string | null;
  rows_inserted: number;
  rows_changed: number;
  listed: Buffer;
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

/** The next entries after `after`, in order, as many as a chunk has. */
export async function readEntries(client: Queryable, key: LogKey, after: bigint): Promise<StoredEntry[]> {
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
    format: row.format,
    kind: row.kind,
    facts: row.facts,
    peaks: row.peaks,
    checkpoint: row.checkpoint,
    runId: row.run_id,
    committedAt: row.committed_at,
    fromAt: row.from_at,
    toAt: row.to_at,
    rowsInserted: row.rows_inserted,
    rowsChanged: row.rows_changed,
    listed: row.listed,
    changes: changesOf.get(row.batch) ?? [],
    previousDigest: row.previous_digest,
    digest: row.digest,
  }));
}

/** What later entries changed in the rows of these. */
export async function readChanges(
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
    rowBatch: BigInt(row.row_batch),
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

/** The rows of these entries, as a condition on `audit.events e`; `undefined` if they list none. */
export function conditionOf(entries: readonly LedgerEntry[]): string | undefined {
  const times = entries.flatMap(({ fromAt, toAt }) =>
    fromAt === null || toAt === null ? [] : [fromAt, toAt],
  );
  if (times.length === 0) return undefined;
  // All texts have the same format, so they sort by time.
  times.sort();
  const [from, to] = [pg.escapeLiteral(times[0]!), pg.escapeLiteral(times.at(-1)!)];
  return `e.created_on between ${from} and ${to} and e.batch between ${entries[0]!.batch} and ${entries.at(-1)!.batch}`;
}
