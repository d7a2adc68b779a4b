/** Writes rows that are not events to `audit.rejected_events`, verbatim. */
import { createHash } from 'node:crypto';
import type { RejectedRow } from '../../core/event.ts';
import type { LogKey } from '../../core/log-key.ts';
import { translateDatabaseError } from '../connection/errors.ts';
import type { Client, Pool } from '../connection/pool.ts';
import { storableText } from '../format/columns.ts';
import type { KeyedRecord } from '../format/list-records.ts';
import { RETURN_REJECTED } from '../format/state-records.ts';

/** $1 organization, $2 run, $3 log, then distinct hashes, texts, bytes, reasons. Returns the hashes, with whether each is new. */
const UPSERT_REJECTED = `
  insert into audit.rejected_events as r (organization, run_id, log, content_hash, source_text, source_bytes, reason)
  select $1, $2::bigint, $3, content_hash, source_text, source_bytes, reason
  from unnest($4::bytea[], $5::text[], $6::bytea[], $7::text[]) as t (content_hash, source_text, source_bytes, reason)
  on conflict (organization, log, content_hash) do update set last_seen_at = now()
  returning xmax = 0 as is_inserted, content_hash, ${RETURN_REJECTED}`;

/** Rejected rows that were not stored before, and their records. */
export interface StoredRejected {
  rows: RejectedRow[];
  records: KeyedRecord[];
}

/** Stores rows, each once; returns those that were not stored before. Call within a transaction of the run. */
export async function upsertRejected(
  client: Client,
  { organization, log, runId, rejected }: LogKey & { runId: string; rejected: readonly RejectedRow[] },
): Promise<StoredRejected> {
  if (rejected.length === 0) return { rows: [], records: [] };
  const byHash = new Map(rejected.map((row) => [hashOfRejected(row).toString('hex'), row]));
  const distinct = [...byHash.values()];
  const { rows } = await client.query<KeyedRecord & { is_inserted: boolean; content_hash: Buffer }>(
    UPSERT_REJECTED,
    [
      organization,
      runId,
      log,
      distinct.map(hashOfRejected),
      distinct.map(({ text }) => storableText(text)),
      distinct.map(({ text }) => (storableText(text) === text ? null : Buffer.from(text))),
      distinct.map(({ reason }) => storableText(reason)),
    ],
  );
  const inserted = rows.filter((row) => row.is_inserted);
  return {
    rows: inserted.map((row) => byHash.get(row.content_hash.toString('hex'))!),
    records: inserted.map(({ key, record }) => ({ key, record })),
  };
}

/** Returns the rows that are not stored. */
export async function findMissingRejected<Row extends RejectedRow>(
  pool: Pool,
  { organization, log }: LogKey,
  rejected: readonly Row[],
): Promise<Row[]> {
  if (rejected.length === 0) return [];
  try {
    const { rows } = await pool.query<{ hash: string }>(
      `select encode(content_hash, 'hex') as hash from audit.rejected_events
       where organization = $1 and log = $2 and content_hash = any($3::bytea[])`,
      [organization, log, rejected.map(hashOfRejected)],
    );
    const stored = new Set(rows.map(({ hash }) => hash));
    return rejected.filter((row) => !stored.has(hashOfRejected(row).toString('hex')));
  } catch (error) {
    throw translateDatabaseError(error, 'reading rejected rows');
  }
}

export function hashOfRejected({ text }: RejectedRow): Buffer {
  return createHash('sha256').update(text).digest();
}
