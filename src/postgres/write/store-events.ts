/**
 * Stores the events of one commit, and their entry in the ledger, within a transaction that holds the lease.
 *
 * Events newer than every stored one are new, so COPY inserts them, in half the time of an upsert. If COPY fails, its whole
 * transaction fails, and another transaction upserts the events. A re-read upserts only events that may have changed: an upsert
 * locks each existing row, and each lock is a write.
 */
import { hash } from 'node:crypto';
import type { IdentifiedEvent } from '../../core/identity.ts';
import type { LogKey } from '../../core/log-key.ts';
import type { CommitResult } from '../../core/store.ts';
import { floorToMicrosecond, formatMicroseconds } from '../../core/ticks.ts';
import type { ResultRows, Statement } from '../connection/pipeline.ts';
import type { Client } from '../connection/pool.ts';
import { columnsOf } from '../format/columns.ts';
import { areCopyable, type createCopyEncoder } from '../format/copy-format.ts';
import {
  APPEND_COPIED,
  COPY_EVENTS,
  DIGEST_CHANGEABLE,
  READ_CHANGEABLE,
  RESTORE_EVENTS,
  UPSERT_EVENTS,
} from './statements.ts';

/** The newest entry of the ledger, its digest in hex. A copy kept elsewhere proves later that the ledger contains it. */
export interface LedgerHead {
  batch: string;
  digest: string;
}

/** The result of a commit. `entry` is undefined if nothing was inserted or changed. */
export interface StoredBatch extends Omit<CommitResult, 'newlyRejected'> {
  entry: LedgerHead | undefined;
}

interface Owner extends LogKey {
  runId: string;
}

interface UpsertOptions extends Owner {
  /** A new event before these ticks is late. */
  known: bigint | undefined;
}

/** Upserts events. `found` is the result of `readStored`. */
export async function upsertEvents(
  client: Client,
  events: readonly IdentifiedEvent[],
  found: ResultRows,
  options: UpsertOptions,
): Promise<StoredBatch> {
  const changed = events.length > 0 ? await findChanged(client, events, found, options) : events;
  const stored = await execute(client, UPSERT_EVENTS, changed, options);
  return { ...stored, unchanged: stored.unchanged + events.length - changed.length };
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

/** The statement that reads the digest of the stored rows of these events; `undefined` for no events. */
export function readStored(key: LogKey, events: readonly IdentifiedEvent[]): Statement | undefined {
  if (events.length === 0) return undefined;
  return { ...DIGEST_CHANGEABLE, values: rangeOf(key, events) };
}

/** Events that may need an upsert: new and changed ones, and all with `extra` or `raw`, which are not compared here. */
async function findChanged(
  client: Client,
  events: readonly IdentifiedEvent[],
  found: ResultRows,
  key: LogKey,
): Promise<readonly IdentifiedEvent[]> {
  const isPlain = ({ event }: IdentifiedEvent) => event.extra === null && event.raw === null;
  const plain = events.filter(isPlain);
  if (found[0].digest === digestOf(plain)) return events.filter((event) => !isPlain(event));
  const { rows } = await client.query<ChangeableRow>({
    ...READ_CHANGEABLE,
    rowMode: 'array',
    values: rangeOf(key, events),
  });
  return eventsToUpsert(rows, events);
}

/** Sorted by the table's key, like DIGEST_CHANGEABLE. */
function digestOf(events: IdentifiedEvent[]): string {
  const texts = events.sort(compareKeys).map(({ event, eventId }) => {
    return JSON.stringify([eventId, event.createdOnRaw, event.userName, event.email, event.message]);
  });
  return hash('sha256', texts.join(''), 'hex');
}

function compareKeys(a: IdentifiedEvent, b: IdentifiedEvent): number {
  const apart = floorToMicrosecond(a.event.createdOnTicks) - floorToMicrosecond(b.event.createdOnTicks);
  if (apart !== 0n) return apart < 0n ? -1 : 1;
  return a.eventId < b.eventId ? -1 : 1;
}

/** Organization, log, first and last time, and a limit: the range may contain years of rows that the source has deleted. */
function rangeOf({ organization, log }: LogKey, events: readonly IdentifiedEvent[]): unknown[] {
  return [organization, log, ...timesOf(events), 2 * events.length];
}

/** Events that may need an upsert; may include unchanged ones. */
function eventsToUpsert(
  rows: readonly ChangeableRow[],
  events: readonly IdentifiedEvent[],
): readonly IdentifiedEvent[] {
  const storedById = new Map(rows.map((row) => [row[0], row]));
  return events.filter(({ event, eventId }) => {
    const row = storedById.get(eventId);
    if (!row || event.extra !== null || event.raw !== null) return true;
    const [, createdOnRaw, userName, email, message] = row;
    const isSame =
      createdOnRaw === event.createdOnRaw &&
      userName === event.userName &&
      email === event.email &&
      message === event.message;
    return !isSame;
  });
}

/** The columns of READ_CHANGEABLE. */
type ChangeableRow = [
  eventId: string,
  createdOnRaw: string,
  userName: string | null,
  email: string | null,
  message: string | null,
];

/** Times of the first and the last event. */
function timesOf(events: readonly IdentifiedEvent[]): [from: string, to: string] {
  const [first, last] = [events[0]!.event, events.at(-1)!.event];
  return [formatMicroseconds(first.createdOnTicks), formatMicroseconds(last.createdOnTicks)];
}

/** Whether to attempt COPY: all events are newer than the newest stored one, in microseconds, the resolution of the table. */
export function canCopy(events: readonly IdentifiedEvent[], newestStored: bigint | undefined): boolean {
  if (events.length === 0 || !areCopyable(events)) return false;
  return newestStored === undefined || isLaterMicrosecond(events[0]!.event.createdOnTicks, newestStored);
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
