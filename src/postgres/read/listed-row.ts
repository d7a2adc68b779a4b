/** A stored event as the ledger checks it. */
import { canonicalJson, hasOwnId } from '../../core/compare.ts';
import type { ListedRow } from '../../core/ledger/check.ts';
import { FORMAT, type LedgerChange, type LedgerEntry } from '../../core/ledger/entry.ts';
import { formatMicroseconds } from '../../core/ticks.ts';
import { isParsable } from '../format/columns.ts';
import {
  decodeRecord,
  type EventRecord,
  encodeRecord,
  fromPostgresTime,
  recordHash,
  recordHashInPlace,
} from '../format/record.ts';
import { DETAILS_RIGHT, DETAILS_UNKNOWN, type StreamedRecord } from './record-stream.ts';
import { ROW_FORM } from './row-form.ts';
import { type StoredRow, toStoredRow } from './stored-events.ts';

export function toListedRow(streamed: StreamedRecord): ListedRow {
  const { key, record, details, hasExtra } = streamed;
  let stored: StoredRow | undefined;
  const row = () => {
    stored ??= toStoredRow(eventRowOf(decodeRecord(record), details));
    return stored;
  };
  return {
    key,
    hashFor: (format) => {
      if (format !== FORMAT) return ROW_FORM.contentDigest(row());
      return hasExtra ? recordHash(canonicalRecord(streamed)).toString('hex') : recordHashInPlace(record);
    },
    time: () => row().createdOn,
    describe: () => {
      const { eventId, event } = row();
      return { eventId, createdOn: event.createdOnRaw, userName: event.userName };
    },
    suspectColumns: (entry) => suspectColumns(row(), entry),
    misfits: (entry, change) => {
      const isDetailsWrong = details !== DETAILS_RIGHT && details !== DETAILS_UNKNOWN;
      if (entry.format === FORMAT) return isDetailsWrong ? ['details'] : [];
      return misfitsOfFormat1(row(), entry, change);
    },
    unparsedDetails: () => {
      if (details !== DETAILS_UNKNOWN) return undefined;
      const { identity, event } = row();
      const { auditLogDetails } = identity;
      return isParsable({ auditLogDetails, raw: event.raw }) ? auditLogDetails! : undefined;
    },
  };
}

/** The record with `extra` as the worker hashes it. */
export function canonicalRecord({ record, hasExtra }: Pick<StreamedRecord, 'record' | 'hasExtra'>): Buffer {
  if (!hasExtra) return record;
  const decoded = decodeRecord(record);
  return encodeRecord({ ...decoded, extra: canonicalJson(decoded.extra!) });
}

/** The hash covers all columns: these are the ones that may be wrong. */
function suspectColumns(row: StoredRow, entry: LedgerEntry): string[] {
  const { columns } = ROW_FORM;
  const names = [...row.misfits.filter((name) => name !== 'details')];
  if (!hasOwnId(row)) names.push(columns.identity);
  if (row.batch !== entry.batch) names.push('batch');
  if (entry.runId !== null && row.runId !== entry.runId) names.push(columns.runId);
  if (entry.runId !== null && row.firstSeenAt !== entry.committedAt) names.push(columns.firstSeenAt);
  if (names.length > 0) return names;
  return [
    entry.format === FORMAT
      ? `${columns.content.replace(' or ', ', ')}, updated_at or superseded_by`
      : columns.content,
  ];
}

/** Format 1 covers only some columns. What it does not cover follows from the entry or from other columns. */
function misfitsOfFormat1(row: StoredRow, entry: LedgerEntry, change: LedgerChange | undefined): string[] {
  const { columns } = ROW_FORM;
  const names = [...row.misfits];
  if (!hasOwnId(row)) names.push(columns.identity);
  // Entries without a run adopted the rows that existed before the ledger.
  if (entry.runId !== null) {
    if (row.firstSeenAt !== entry.committedAt) names.push(columns.firstSeenAt);
    if (row.runId !== entry.runId) names.push(columns.runId);
    if (!change && row.updatedAt !== entry.committedAt) names.push(columns.updatedAt);
  }
  if (change && row.updatedAt !== change.committedAt) names.push(columns.updatedAt);
  return names;
}

function eventRowOf(record: EventRecord, details: number) {
  const time = (value: bigint | null) => formatMicroseconds(fromPostgresTime(value!));
  return {
    ...record,
    event_id: record.event_id!,
    created_on_ticks: String(record.created_on_ticks),
    created_on_raw: record.created_on_raw!,
    ordinal: Number(record.ordinal),
    batch: String(record.batch),
    run_id: String(record.run_id),
    has_details: details !== DETAILS_UNKNOWN,
    are_details_right: details === DETAILS_RIGHT || details === DETAILS_UNKNOWN,
    created_on: time(record.created_on),
    first_seen_at: time(record.first_seen_at),
    updated_at: time(record.updated_at),
  };
}
