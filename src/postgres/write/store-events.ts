/**
 * Storing the events of one commit, and their entry in the ledger, within a transaction that holds the fence.
 *
 * Rows newer than any stored one cannot be stored yet, and go straight into the table by COPY, in half the time that the
 * upsert takes. What COPY refuses fails its whole transaction, and is upserted in another one. Of a re-read, only what is not
 * stored unchanged already is written: an upsert locks each row that it finds, and writes that to the WAL.
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

/** An entry of the ledger and its digest, in hex. A copy kept elsewhere proves later that the ledger contains it. */
export interface LedgerHead {
  batch: string;
  digest: string;
}

/** What came of it. `entry` is missing where nothing was inserted or changed. */
export interface StoredBatch extends Omit<CommitResult, 'newlyRejected'> {
  entry: LedgerHead | undefined;
}

interface Owner extends LogKey {
  runId: string;
}

interface UpsertOptions extends Owner {
  /** A new event before this came late. */
  known: bigint | undefined;
}

/** `found` are the rows of `readStored`. */
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

/** For `verify --repair`: whatever is stored under the id of an event, it is again what the source has. */
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

/** Reads a digest of what is stored of the events; no statement for none. */
export function readStored(key: LogKey, events: readonly IdentifiedEvent[]): Statement | undefined {
  if (events.length === 0) return undefined;
  return { ...DIGEST_CHANGEABLE, values: placeOf(key, events) };
}

/** Events that differ from what is stored. Events with `extra` or `raw` are always included. */
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
    values: placeOf(key, events),
  });
  return eventsNotAmong(rows, events);
}

/** In the order of the table's key, as DIGEST_CHANGEABLE has it. */
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

/** Organization, log, first and last time, and how many rows at most: there may be years of rows that the source has deleted. */
function placeOf({ organization, log }: LogKey, events: readonly IdentifiedEvent[]): unknown[] {
  return [organization, log, ...timesOf(events), 2 * events.length];
}

/** Events that may need an upsert; may include unchanged ones. */
function eventsNotAmong(
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

/** In the order of READ_CHANGEABLE. */
type ChangeableRow = [
  eventId: string,
  createdOnRaw: string,
  userName: string | null,
  email: string | null,
  message: string | null,
];

/** Of the first and the last. */
function timesOf(events: readonly IdentifiedEvent[]): [from: string, to: string] {
  const [first, last] = [events[0]!.event, events.at(-1)!.event];
  return [formatMicroseconds(first.createdOnTicks), formatMicroseconds(last.createdOnTicks)];
}

/** Whether `copyEvents` may be tried: all are newer than the newest one stored, to the microsecond that the table keeps. */
export function mayCopy(events: readonly IdentifiedEvent[], newestStored: bigint | undefined): boolean {
  if (events.length === 0 || !areCopyable(events)) return false;
  return newestStored === undefined || isLaterMicrosecond(events[0]!.event.createdOnTicks, newestStored);
}

/** Copies events that `mayCopy`, and appends them to the ledger; `copiedBatch` reads the rows of `ledger`. */
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

/** What comes of a COPY is known before: it stores every row as a new one, or none. */
export function copiedBatch(events: readonly IdentifiedEvent[], appended?: ResultRows): StoredBatch {
  const inserted = String(events.length);
  return toStoredBatch(appended?.[0] ?? { ...NOTHING, inserted }, events.length);
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
