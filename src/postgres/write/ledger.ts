/** Appends the entries of a run to `audit.ledger`. Everything that an entry contains is computed here from what is sent. */
import { appendEntries, type EntryDraft, entryLeaf, type LedgerHead } from '../../core/ledger/entry.ts';
import type { LedgerSigner } from '../../core/ledger/sign.ts';
import type { LogKey } from '../../core/log-key.ts';
import { formatMicroseconds } from '../../core/ticks.ts';
import {
  NO_PEAKS,
  type Peaks,
  peaksFrom,
  peaksOfBytes,
  peaksToBytes,
} from '../../core/transparency-log/merkle.ts';
import type { Statement } from '../connection/pipeline.ts';
import type { Client } from '../connection/pool.ts';
import { type KeyedRecord, listRecords } from '../format/list-records.ts';
import { fromPostgresTime } from '../format/record.ts';
import { RETURN_GONE, RETURN_REJECTED } from '../format/state-records.ts';
import { READ_DIGESTS } from '../read/ledger-digests.ts';

/** The newest entry, as each transaction of a run reads it. */
export interface HeadRow {
  batch: string | null;
  digest: string | null;
  format: number | null;
  peaks: Buffer | null;
  checkpoint: string | null;
  /** When the transaction began: microseconds since 2000-01-01 UTC. */
  committed_at: string;
}

/** The newest entry of the ledger, its digest in hex. A copy kept elsewhere proves later that the ledger contains it. */
export interface NotedEntry {
  batch: string;
  digest: string;
}

/** $1 organization, $2 log. For the select list of a statement that returns one row. */
export const HEAD_COLUMNS = `newest.batch, encode(newest.digest, 'hex') as digest, newest.format, newest.peaks, newest.checkpoint,
  (extract(epoch from now() - timestamptz '2000-01-01 00:00:00Z') * 1000000)::bigint as committed_at`;
export const NEWEST_ENTRY = `left join lateral (
    select batch, digest, format, peaks, checkpoint from audit.ledger where organization = $1 and log = $2 order by batch desc limit 1
  ) newest on true`;

/** All rows of the tables beside audit.events. $1 organization, $2 log. */
const UNRECORDED = {
  gone: `select ${RETURN_GONE} from audit.gone_events g where organization = $1 and log = $2`,
  rejected: `select ${RETURN_REJECTED} from audit.rejected_events r where organization = $1 and log = $2`,
};

/** One entry: a list of hashes is sent as bytes, which an array of lists would not be. */
const APPEND_ENTRY = {
  name: 'append-entry',
  text: `
  insert into audit.ledger (
    organization, log, run_id, committed_at, format, batch, kind, from_at, to_at, rows_inserted, rows_changed, inserted, facts,
    previous_digest, digest, peaks, checkpoint
  ) values ($1, $2, $3, now(), 2, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)`,
};

const APPEND_CHANGES = `
  insert into audit.ledger_changes (organization, log, batch, row_batch, event_id, old_digest, new_digest)
  select $1, $2, * from unnest($3::bigint[], $4::bigint[], $5::uuid[], $6::bytea[], $7::bytea[])`;

/** The head that a transaction appends to. `committedAt`: when it began, in microseconds since 2000-01-01 UTC. */
export interface TransactionHead extends LedgerHead {
  committedAt: bigint;
}

/** The statements that append entries, to send in the transaction of the head; `newest` after it is committed. */
export interface Appended {
  plan: Record<string, Statement>;
  newest: NotedEntry | undefined;
}

/** Appends the entries of one run. */
export class LedgerWriter {
  /** The newest entry that this run appended. */
  newest: NotedEntry | undefined;
  private checkpoint: string | undefined;

  constructor(
    private readonly client: Client,
    private readonly owner: LogKey & { runId: string },
    private readonly signer: LedgerSigner,
  ) {}

  /** The head that a transaction appends to. Throws `configuration` if its signature is missing or wrong. */
  async head(row: HeadRow): Promise<TransactionHead> {
    const head = { batch: BigInt(row.batch ?? 0), digest: row.digest, peaks: await this.readPeaks(row) };
    // What this run has signed needs no check.
    if (row.checkpoint === null || row.checkpoint !== this.checkpoint)
      this.signer.assertSigned(this.owner, { ...head, checkpoint: row.checkpoint });
    return { ...head, committedAt: BigInt(row.committed_at) };
  }

  /** Creates the entries of a transaction, and the statements that append them. */
  append(head: TransactionHead, drafts: readonly EntryDraft[]): Appended {
    if (drafts.length === 0) return { plan: {}, newest: undefined };
    const committedAt = formatMicroseconds(fromPostgresTime(head.committedAt));
    const { entries, head: after } = appendEntries(head, drafts, { ...this.owner, committedAt });
    const checkpoint = this.signer.sign(this.owner, after);
    this.checkpoint = checkpoint;
    const newest = { batch: after.batch.toString(), digest: after.digest! };
    return { plan: planOf(this.owner, entries, checkpoint), newest };
  }

  /** Entries of the rows beside audit.events that are stored, which no entry lists yet. */
  async listUnrecorded(): Promise<EntryDraft[]> {
    const { organization, log } = this.owner;
    const drafts: EntryDraft[] = [];
    for (const kind of ['gone', 'rejected'] as const) {
      const { rows } = await this.client.query<KeyedRecord>(UNRECORDED[kind], [organization, log]);
      drafts.push(...draftRecords(kind, rows));
    }
    return drafts;
  }

  /** Entries of format 1 have no peaks: the first entry of format 2 needs the digests of all of them. */
  private async readPeaks({ batch, format, peaks }: HeadRow): Promise<Peaks> {
    if (batch === null) return NO_PEAKS;
    if (format !== 1 && peaks) return peaksOfBytes(peaks);
    const { organization, log } = this.owner;
    const { rows } = await this.client.query<{ format: number; digest: string }>(READ_DIGESTS, [
      organization,
      log,
      batch,
    ]);
    return peaksFrom(rows.map(entryLeaf));
  }
}

/** The entry of rows beside audit.events; none if there are none. */
export function draftRecords(kind: 'gone' | 'rejected' | 'run', rows: readonly KeyedRecord[]): EntryDraft[] {
  return rows.length === 0 ? [] : [{ kind, listed: listRecords(rows) }];
}

type NewEntry = ReturnType<typeof appendEntries>['entries'][number];

function planOf(
  { organization, log, runId }: LogKey & { runId: string },
  entries: readonly NewEntry[],
  checkpoint: string | undefined,
): Appended['plan'] {
  const last = entries.length - 1;
  const statements = entries.map((entry, i) => {
    const values = [
      ...[organization, log, runId, entry.batch.toString(), entry.kind, entry.fromAt, entry.toAt],
      ...[entry.rowsInserted, entry.rowsChanged, entry.listed, entry.facts],
      entry.previousDigest === null ? null : Buffer.from(entry.previousDigest, 'hex'),
      ...[
        Buffer.from(entry.digest, 'hex'),
        peaksToBytes(entry.peaks),
        i === last ? (checkpoint ?? null) : null,
      ],
    ];
    return [`entry ${entry.batch}`, { ...APPEND_ENTRY, values }] as const;
  });
  const plan: Appended['plan'] = Object.fromEntries(statements);
  const changes = entries.flatMap((entry) => entry.changes);
  if (changes.length === 0) return plan;
  const columns = [
    changes.map(({ batch }) => batch.toString()),
    changes.map(({ rowBatch }) => rowBatch.toString()),
    changes.map(({ eventId }) => eventId),
    changes.map(({ oldDigest }) => Buffer.from(oldDigest, 'hex')),
    changes.map(({ newDigest }) => Buffer.from(newDigest, 'hex')),
  ];
  return { ...plan, changes: { text: APPEND_CHANGES, values: [organization, log, ...columns] } };
}
