/**
 * Stores the events of one commit, and their entry in the ledger, within a transaction that holds the lease.
 *
 * Events newer than every stored one are new, so COPY inserts them, in half the time of an upsert. If COPY fails, its whole
 * transaction fails, and another transaction upserts the events. A re-read upserts only events that have changed (`span-store.ts`): an
 * upsert locks each existing row, and each lock is a write.
 */
import type { IdentifiedEvent } from '../../core/identity.ts';
import type { LogKey } from '../../core/log-key.ts';
import type { CommitResult, Shown } from '../../core/store.ts';
import { formatMicroseconds } from '../../core/ticks.ts';
import type { ResultRows, Statement } from '../connection/pipeline.ts';
import type { Client } from '../connection/pool.ts';
import { columnsOf } from '../format/columns.ts';
import { areCopyable, type createCopyEncoder } from '../format/copy-format.ts';
import { APPEND_COPIED, COPY_EVENTS, RESTORE_EVENTS, UPSERT_EVENTS } from './statements.ts';

/** The newest entry of the ledger, its digest in hex. A copy kept elsewhere proves later that the ledger contains it. */
export interface LedgerHead {
  batch: string;
  digest: string;
}

/** The result of a commit. `entry` is undefined if nothing was inserted or changed. */
export interface StoredBatch extends Pick<CommitResult, 'inserted' | 'updated' | 'unchanged' | 'lateTicks'> {
  entry: LedgerHead | undefined;
}

interface Owner extends LogKey {
  runId: string;
}

interface UpsertOptions extends Owner {
  /** A new event before these ticks is late. */
  known: bigint | undefined;
}

/** Inserts events, and updates stored ones that differ in what the source may change. */
export function upsertEvents(
  client: Client,
  events: readonly IdentifiedEvent[],
  options: UpsertOptions,
): Promise<StoredBatch> {
  return execute(client, UPSERT_EVENTS, events, options);
}

/** For `verify --repair`: restores the stored rows of these events to the source's values, in every column. */
export function restoreEvents(
  client: Client,
  events: readonly IdentifiedEvent[],
  options: UpsertOptions,
): Promise<StoredBatch> {
  return execute(client, RESTORE_EVENTS, events, options);
}

async function execute(
  client: Client,
  statement: typeof UPSERT_EVENTS,
  events: readonly IdentifiedEvent[],
  { organization, log, runId, known }: UpsertOptions,
): Promise<StoredBatch> {
  if (events.length === 0) return toStoredBatch(NOTHING, 0);
  const { rows } = await client.query<StoredRow>({
    ...statement,
    values: [organization, log, runId, known?.toString() ?? null, ...columnsOf(events)],
  });
  return toStoredBatch(rows[0]!, events.length);
}

/** Times of the first and the last event. */
function timesOf(events: readonly IdentifiedEvent[]): [from: string, to: string] {
  const [first, last] = [events[0]!.event, events.at(-1)!.event];
  return [formatMicroseconds(first.createdOnTicks), formatMicroseconds(last.createdOnTicks)];
}

/** Whether to attempt COPY: the response shows only events that are newer than the newest stored one. */
export function canCopy({ events, others, span }: Shown, newestStored: bigint | undefined): boolean {
  if (events.length === 0 || others.events.length + others.rejected.length > 0 || !areCopyable(events))
    return false;
  return newestStored === undefined || (span !== undefined && span.from > newestStored);
}

/** The statements that copy events and append them to the ledger. Requires `canCopy`; `copiedBatch` reads the result of `ledger`. */
export function copyEvents(
  events: readonly IdentifiedEvent[],
  options: Owner & { batch: string; encoder: ReturnType<typeof createCopyEncoder> },
): { copy: Statement; ledger: Statement } {
  const { organization, log, runId, batch, encoder } = options;
  const bytes = encoder.encode(events, { organization, log, runId, batch });
  return {
    copy: { text: COPY_EVENTS, bytes },
    ledger: { ...APPEND_COPIED, values: [organization, log, runId, batch, ...timesOf(events)] },
  };
}

/** The result of a COPY, known in advance: it inserts every row, or none. */
export function copiedBatch(events: readonly IdentifiedEvent[], appended?: ResultRows): StoredBatch {
  const inserted = String(events.length);
  return toStoredBatch(appended?.[0] ?? { ...NOTHING, inserted }, events.length);
}

/** Whether COPY failed because of a row: it is stored already, or jsonb cannot store its details. */
export function isRejectedCopy(error: unknown): boolean {
  const code = (error as { code?: unknown } | undefined)?.code;
  return typeof code === 'string' && ROW_REJECTED.test(code);
}

/** SQLSTATE classes: data exception, unique_violation, program limit exceeded. */
const ROW_REJECTED = /^(22|23505|54)/;

interface StoredRow {
  inserted: string;
  updated: string;
  late_ticks: string[] | null;
  batch: string | null;
  digest: string | null;
}

const NOTHING: StoredRow = { inserted: '0', updated: '0', late_ticks: null, batch: null, digest: null };

function toStoredBatch({ batch, digest, ...row }: StoredRow, events: number): StoredBatch {
  const inserted = Number(row.inserted);
  const updated = Number(row.updated);
  const lateTicks = (row.late_ticks ?? []).map(BigInt);
  const entry = batch === null || digest === null ? undefined : { batch, digest };
  return { inserted, updated, unchanged: events - inserted - updated, lateTicks, entry };
}
