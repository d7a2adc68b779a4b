/**
 * Stores the events of one commit within a transaction that holds the lease, and drafts their entries in the ledger.
 *
 * Events newer than every stored one are new, so COPY inserts them, in half the time of an upsert. If COPY fails, its whole
 * transaction fails, and another transaction upserts the events. A re-read upserts only events that have changed (`span-store.ts`).
 *
 * The ledger lists what was sent. A row that someone else inserts meanwhile is therefore in no entry, and a number of written rows
 * that differs from the number sent ends the run.
 */
import { canonicalJson } from '../../core/compare.ts';
import { ExportError } from '../../core/errors.ts';
import type { IdentifiedEvent } from '../../core/identity.ts';
import { type EntryDraft, type LedgerChange, listRows } from '../../core/ledger/entry.ts';
import type { LogKey } from '../../core/log-key.ts';
import type { CommitResult, Shown } from '../../core/store.ts';
import { formatMicroseconds } from '../../core/ticks.ts';
import type { Statement } from '../connection/pipeline.ts';
import type { Client } from '../connection/pool.ts';
import { columnsOf } from '../format/columns.ts';
import { areCopyable, type CopyEncoder, type EncodedRows, listEncoded } from '../format/copy-format.ts';
import {
  contentOf,
  type EventRecord,
  encodeRecord,
  RECORD_COLUMNS,
  recordHash,
  recordOf,
  uuidBytes,
} from '../format/record.ts';
import type { TransactionHead } from './ledger.ts';
import {
  COPY_EVENTS,
  COUNT_COPIED,
  INSERT_EVENTS,
  READ_RECORDS,
  RESTORE_EVENTS,
  type RecordRow,
  UPDATE_EVENTS,
} from './statements.ts';

/** The result of a commit, and its entries in the ledger: that of the inserted events is the first. */
export interface StoredBatch extends Pick<CommitResult, 'inserted' | 'updated' | 'unchanged' | 'lateTicks'> {
  drafts: EntryDraft[];
}

export interface StoreOptions extends LogKey {
  runId: string;
  head: TransactionHead;
  /** A new event before these ticks is late. */
  known: bigint | undefined;
}

/** Inserts events, and updates stored ones that differ in what the source may change. */
export function upsertEvents(
  client: Client,
  events: readonly IdentifiedEvent[],
  options: StoreOptions,
): Promise<StoredBatch> {
  return store(client, events, options, UPDATE_EVENTS);
}

/** For `verify --repair`: restores the stored rows of these events to the source's values, in every column. */
export function restoreEvents(
  client: Client,
  events: readonly IdentifiedEvent[],
  options: StoreOptions,
): Promise<StoredBatch> {
  return store(client, events, options, RESTORE_EVENTS);
}

async function store(
  client: Client,
  events: readonly IdentifiedEvent[],
  options: StoreOptions,
  update: typeof UPDATE_EVENTS,
): Promise<StoredBatch> {
  const records = await readRecords(client, events, options);
  const fresh = events.filter(({ eventId }) => !records.has(eventId));
  const isRestored = update === RESTORE_EVENTS;
  const changed = events.filter((event) => {
    const record = records.get(event.eventId);
    return record !== undefined && (isRestored || !hasContent(record, event));
  });
  const drafts = [
    ...(await insertEvents(client, fresh, options)),
    ...(await changeEvents(client, changed, { ...options, update, records })),
  ];
  const { known } = options;
  const lateTicks = fresh
    .map(({ event }) => event.createdOnTicks)
    .filter((ticks) => known !== undefined && ticks < known);
  const unchanged = events.length - fresh.length - changed.length;
  return { inserted: fresh.length, updated: changed.length, unchanged, lateTicks, drafts };
}

/** The stored records of these events, by event id. */
export function readRecords(
  client: Client,
  events: readonly Pick<IdentifiedEvent, 'event' | 'eventId'>[],
  key: LogKey,
): Promise<Map<string, EventRecord>> {
  return readRecordsOf(client, key, [
    events.map(({ event }) => formatMicroseconds(event.createdOnTicks)),
    events.map(({ eventId }) => eventId),
  ]);
}

/** The same for rows with these times and ids. */
export async function readRecordsOf(
  client: Client,
  { organization, log }: LogKey,
  keys: readonly (readonly string[])[],
): Promise<Map<string, EventRecord>> {
  if (keys[0]!.length === 0) return new Map();
  const values = [organization, log, ...keys, ...endsOf(keys[0]!)];
  const { rows } = await client.query<RecordRow>(READ_RECORDS, values);
  return new Map(rows.map((row) => [row.event_id as string, toRecord(row)]));
}

export function toRecord(row: RecordRow): EventRecord {
  const values = RECORD_COLUMNS.map(([name, type]) => {
    const value = row[name];
    if (value === null || type === 'text' || type === 'uuid') return [name, value];
    return [name, BigInt(value)];
  });
  const record = Object.fromEntries(values) as EventRecord;
  return record.extra === null ? record : { ...record, extra: canonicalJson(record.extra) };
}

async function insertEvents(
  client: Client,
  events: readonly IdentifiedEvent[],
  { organization, log, runId, head }: StoreOptions,
): Promise<EntryDraft[]> {
  if (events.length === 0) return [];
  const batch = head.batch + 1n;
  const values = [organization, log, runId, ...columnsOf(events), batch.toString()];
  const { rows } = await client.query<ReturnedRow>({ ...INSERT_EVENTS, values });
  assertWritten(rows.length, events.length, 'inserting');
  const extras = extrasOf(rows);
  const listed = listRows(
    events.map((event) => {
      const record = recordOf(event, { runId, batch, committedAt: head.committedAt });
      return rowOf(withStoredExtra(record, extras));
    }),
  );
  return [{ kind: 'stored', listed, ...timesOf(events) }];
}

async function changeEvents(
  client: Client,
  events: readonly IdentifiedEvent[],
  {
    organization,
    log,
    runId,
    head,
    update,
    records,
  }: StoreOptions & { update: typeof UPDATE_EVENTS; records: ReadonlyMap<string, EventRecord> },
): Promise<EntryDraft[]> {
  if (events.length === 0) return [];
  const { fromAt, toAt } = timesOf(events);
  const values = [organization, log, runId, ...columnsOf(events), fromAt, toAt];
  const { rows } = await client.query<ReturnedRow>({ ...update, values });
  assertWritten(rows.length, events.length, 'updating');
  const extras = extrasOf(rows);
  const isRestored = update === RESTORE_EVENTS;
  const pairs = events.map((event) => {
    const before = records.get(event.eventId)!;
    const { run_id, batch, first_seen_at, superseded_by, ordinal } = before;
    const after: EventRecord = isRestored
      ? {
          ...recordOf(event, { runId, batch: batch!, committedAt: head.committedAt }),
          ...{ run_id, first_seen_at, superseded_by },
        }
      : { ...before, ...contentOf(event.event), ordinal, updated_at: head.committedAt };
    return { before, after: keepTime(before, withStoredExtra(after, extras)) };
  });
  return [changeDraft('changed', pairs)];
}

/** A change of `details` alone, which the record does not have, leaves `updated_at`: the entry has equal hashes. */
function keepTime(before: EventRecord, after: EventRecord): EventRecord {
  const unmoved = { ...after, updated_at: before.updated_at };
  return encodeRecord(unmoved).equals(encodeRecord(before)) ? unmoved : after;
}

/** The entry of events that were changed. */
export function changeDraft(
  kind: 'changed' | 'superseded',
  pairs: readonly { before: EventRecord; after: EventRecord }[],
): EntryDraft {
  const changes = pairs.map(({ before, after }): Omit<LedgerChange, 'batch' | 'committedAt'> => {
    const [oldDigest, newDigest] = [before, after].map((record) =>
      recordHash(encodeRecord(record)).toString('hex'),
    ) as [string, string];
    return { eventId: before.event_id!, rowBatch: before.batch!, oldDigest, newDigest };
  });
  return { kind, listed: listRows(pairs.map(({ after }) => rowOf(after))), changes };
}

function rowOf(record: EventRecord): { key: Buffer; hash: Buffer } {
  return { key: uuidBytes(record.event_id!), hash: recordHash(encodeRecord(record)) };
}

interface ReturnedRow {
  event_id: string;
  /** Of a row with `raw`: what jsonb stores of it. */
  extra: string | null;
}

function extrasOf(rows: readonly ReturnedRow[]): Map<string, string | null> {
  return new Map(rows.map(({ event_id, extra }) => [event_id, extra]));
}

function withStoredExtra(record: EventRecord, extras: ReadonlyMap<string, string | null>): EventRecord {
  if (record.raw === null) return record;
  const extra = extras.get(record.event_id!) ?? null;
  return { ...record, extra: extra === null ? null : canonicalJson(extra) };
}

/** Whether a stored event has the content of the source's. `extra` of a row with `raw` follows from `raw`. */
function hasContent(record: EventRecord, { event }: IdentifiedEvent): boolean {
  const content = contentOf(event);
  if (content.raw !== null) content.extra = record.extra;
  return Object.entries(content).every(([name, value]) => record[name as keyof EventRecord] === value);
}

/** Throws `database` if another number of rows was written than sent. */
export function assertWritten(written: number, sent: number, doing: string): void {
  if (written === sent) return;
  throw new ExportError(
    'database',
    `PostgreSQL wrote ${written} rows of audit.events when ${doing} ${sent}, and nothing of this commit was stored. A trigger, a rule or a ` +
      'policy on the table changes what is written, someone changes rows at the same time, or rows with the same keys are of another log. ' +
      'Remove the cause, then run again.',
  );
}

/** Times of the first and the last event. */
function timesOf(events: readonly IdentifiedEvent[]): { fromAt: string; toAt: string } {
  let [first, last] = [events[0]!.event.createdOnTicks, events[0]!.event.createdOnTicks];
  for (const { event } of events) {
    if (event.createdOnTicks < first) first = event.createdOnTicks;
    if (event.createdOnTicks > last) last = event.createdOnTicks;
  }
  return { fromAt: formatMicroseconds(first), toAt: formatMicroseconds(last) };
}

/** The first and the last of some times, as `formatMicroseconds` writes them: the texts sort by time. Of none: a range without rows. */
export function endsOf(times: readonly string[]): [string, string] {
  let [first, last] = [times[0] ?? 'infinity', times[0] ?? '-infinity'];
  for (const time of times) {
    if (time < first) first = time;
    if (time > last) last = time;
  }
  return [first, last];
}

/** Whether to attempt COPY: the response shows only events that are newer than the newest stored one. */
export function canCopy({ events, others, span }: Shown, newestStored: bigint | undefined): boolean {
  if (events.length === 0 || others.events.length + others.rejected.length > 0 || !areCopyable(events))
    return false;
  return newestStored === undefined || (span !== undefined && span.from > newestStored);
}

/**
 * The statement that copies events, one that fails if the server stored another number of rows, and what they store: every row, or
 * none. Requires `canCopy` of the events.
 */
export function copyEvents(
  parts: readonly EncodedRows[],
  { organization, log, runId, head, encoder }: Omit<StoreOptions, 'known'> & { encoder: CopyEncoder },
): { copy: Statement; count: Statement; stored: StoredBatch } {
  const origin = { runId, batch: head.batch + 1n, committedAt: head.committedAt };
  const data = encoder.complete(parts, origin);
  const times = timesOf(parts.flatMap(({ events }) => events));
  const rows = parts.reduce((sum, { events }) => sum + events.length, 0);
  const stored = {
    ...{ inserted: rows, updated: 0, unchanged: 0, lateTicks: [] },
    drafts: [{ kind: 'stored' as const, listed: () => listEncoded(parts, origin), ...times }],
  };
  const values = [organization, log, origin.batch.toString(), times.fromAt, times.toAt, rows];
  return { copy: { text: COPY_EVENTS, data }, count: { ...COUNT_COPIED, values }, stored };
}

/** Whether COPY failed because of a row: it is stored already, or jsonb cannot store its details. */
export function isRejectedCopy(error: unknown): boolean {
  const code = (error as { code?: unknown } | undefined)?.code;
  return typeof code === 'string' && ROW_REJECTED.test(code);
}

/** SQLSTATE classes: data exception, unique_violation, program limit exceeded. */
const ROW_REJECTED = /^(22|23505|54)/;
