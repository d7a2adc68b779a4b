/**
 * Storing the events of one commit, and their entry in the ledger, within a transaction that holds the fence.
 *
 * Rows newer than any stored one cannot be stored yet, and go straight into the table by COPY, in half the time that the
 * upsert takes. What COPY refuses fails its whole transaction, and is upserted in another one.
 */
import type { CommitResult } from '../core/export.ts';
import type { IdentifiedEvent } from '../core/identity.ts';
import { formatMicroseconds } from '../core/ticks.ts';
import { columnsOf } from './columns.ts';
import { areCopyable, type createCopyEncoder } from './copy-format.ts';
import { type Client, copyFromBytes } from './pool.ts';
import { APPEND_COPIED, COPY_EVENTS, type RESTORE_EVENTS, UPSERT_EVENTS } from './sql.ts';

/** An entry of the ledger and its digest, in hex: whoever notes it elsewhere can prove later that the chain holds it. */
export interface LedgerHead {
  batch: string;
  digest: string;
}

/** What came of it. `entry` is missing where nothing was inserted or changed. */
export interface StoredBatch extends Omit<CommitResult, 'newlyRejected'> {
  entry: LedgerHead | undefined;
}

interface Owner {
  organization: string;
  runId: string;
}

/** Upserts. A new event before `known` came late. */
export async function upsertEvents(
  client: Client,
  events: readonly IdentifiedEvent[],
  options: Owner & { known: bigint | undefined; statement?: typeof UPSERT_EVENTS | typeof RESTORE_EVENTS },
): Promise<StoredBatch> {
  if (events.length === 0) return toStoredBatch(NOTHING, 0);
  const { organization, runId, known, statement = UPSERT_EVENTS } = options;
  const { rows } = await client.query<StoredRow>({
    ...statement,
    values: [organization, runId, known?.toString() ?? null, ...columnsOf(events)],
  });
  return toStoredBatch(rows[0]!, events.length);
}

/** Whether `copyEvents` may be tried: all are newer than the newest one stored, to the microsecond that the table keeps. */
export function mayCopy(events: readonly IdentifiedEvent[], newestStored: bigint | undefined): boolean {
  if (events.length === 0 || !areCopyable(events)) return false;
  return newestStored === undefined || isLaterMicrosecond(events[0]!.event.createdOnTicks, newestStored);
}

/** Copies events that `mayCopy`. */
export async function copyEvents(
  client: Client,
  events: readonly IdentifiedEvent[],
  options: Owner & { batch: string; encoder: ReturnType<typeof createCopyEncoder> },
): Promise<StoredBatch> {
  const { organization, runId, batch, encoder } = options;
  await copyFromBytes(client, COPY_EVENTS, encoder.encode(events, { organization, runId, batch }));
  const [from, to] = [events[0]!, events.at(-1)!].map(({ event }) =>
    formatMicroseconds(event.createdOnTicks),
  );
  const { rows } = await client.query<StoredRow>({
    ...APPEND_COPIED,
    values: [organization, runId, batch, from, to],
  });
  return toStoredBatch(rows[0]!, events.length);
}

/** Whether the server refused the rows themselves: one is stored already, or its details are more than jsonb holds. */
export function isRefusedCopy(error: unknown): boolean {
  const code = (error as { code?: unknown } | undefined)?.code;
  return typeof code === 'string' && REFUSED.test(code);
}

/** SQLSTATE classes: data exception, unique_violation, program limit exceeded. */
const REFUSED = /^(22|23505|54)/;

function isLaterMicrosecond(ticks: bigint, than: bigint): boolean {
  return formatMicroseconds(ticks) > formatMicroseconds(than);
}

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
