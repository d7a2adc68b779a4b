/**
 * Compares the source with the table. The source is read again by the frontier rule; each batch of complete tie groups is
 * compared with the rows stored between the same two frontiers.
 *
 * Memory is bounded by one page and one chunk of stored rows, even when the source has deleted most of the table's events.
 */
import type { AuditEvent } from './event.ts';
import { eventIdOf, type IdentifiedEvent, type IdentityFields } from './identity.ts';
import { formatMicroseconds } from './ticks.ts';

/** A stored row, converted back to an event. It shows what the columns contain now. */
export interface StoredEvent extends IdentifiedEvent {
  /** The fields that its id is computed from; taken from `raw` where that is set. */
  identity: IdentityFields;
  /** The time that the store sorts by: UTC with six fraction digits. */
  createdOn: string;
  /** Names of columns that contradict the others, such as parsed details that differ from the text. */
  misfits: string[];
}

/** How a store represents its rows. A comparison with the source or the ledger needs this. */
export interface RowForm {
  /** The event as the table stores it: the database cannot store some characters. */
  asStored(event: AuditEvent): AuditEvent;
  /** A digest, in hex, of the id and of the fields of a stored event that may change. */
  contentDigest(row: StoredEvent): string;
  /** Column names for messages about a difference. */
  columns: Record<'eventId' | 'identity' | 'content' | 'firstSeenAt' | 'updatedAt' | 'runId', string>;
}

export type Difference =
  /** At the source, not stored. */
  | 'missing'
  /** Stored with other content than the source has, or with an id that does not match its own columns. */
  | 'changed'
  /** Stored, and since deleted at the source. Expected. */
  | 'gone';

/** One difference between the source and the table. */
export interface SourceFinding {
  kind: Difference;
  eventId: string;
  createdOnTicks: bigint;
  /** Names of the differing fields as in the source, and of columns that contradict the others. */
  fields: string[];
  /** The event at the source; `undefined` if the source does not show it. */
  expected: IdentifiedEvent | undefined;
}

const FIELDS = [
  'createdOnRaw',
  'category',
  'action',
  'source',
  'userName',
  'email',
  'message',
  'detailsVersion',
  'auditLogDetails',
  'extra',
  'raw',
] as const satisfies (keyof AuditEvent)[];

/** Compares the source's events with the stored rows of the same time range. */
export function createComparer(events: readonly IdentifiedEvent[], form: RowForm) {
  const unmatched = new Map(events.map((event) => [event.eventId, event]));
  return {
    /** Returns the differences in these stored rows. Pass each row once. */
    compareStored(rows: readonly StoredEvent[]): SourceFinding[] {
      return rows.flatMap((row) => {
        const found = unmatched.get(row.eventId);
        // A row with another time, or a second row with the same id, is not the source's event.
        const expected =
          found && formatMicroseconds(found.event.createdOnTicks) === row.createdOn ? found : undefined;
        if (expected) unmatched.delete(row.eventId);
        return (
          (expected
            ? compareEvent(row, expected, form.asStored(expected.event))
            : compareUnmatched(row, form)) ?? []
        );
      });
    },
    /** Returns the events that no passed row matched. Call it after all rows were passed. */
    missing(): SourceFinding[] {
      return [...unmatched.values()].map((expected) => ({
        kind: 'missing',
        eventId: expected.eventId,
        createdOnTicks: expected.event.createdOnTicks,
        fields: [],
        expected,
      }));
    },
  };
}

/** Whether the id computed from the stored row's columns is the id that it is stored under. */
export function hasOwnId(row: StoredEvent): boolean {
  return eventIdOf(row.identity, row.ordinal) === row.eventId;
}

function compareEvent(
  row: StoredEvent,
  expected: IdentifiedEvent,
  as: AuditEvent,
): SourceFinding | undefined {
  const fields: string[] = FIELDS.filter((field) => !isSame(field, row.event, as));
  if (row.event.createdOnTicks !== as.createdOnTicks) fields.push('createdOnTicks');
  if (row.ordinal !== expected.ordinal) fields.push('ordinal');
  fields.push(...row.misfits);
  if (fields.length === 0) return undefined;
  return { kind: 'changed', eventId: row.eventId, createdOnTicks: as.createdOnTicks, fields, expected };
}

/** A stored row that the source does not show: `gone`, or `changed` if its id does not match its columns. */
function compareUnmatched(row: StoredEvent, { columns }: RowForm): SourceFinding {
  const fields = hasOwnId(row) ? row.misfits : [columns.eventId, ...row.misfits];
  return {
    kind: fields.length === 0 ? 'gone' : 'changed',
    eventId: row.eventId,
    createdOnTicks: row.event.createdOnTicks,
    fields,
    expected: undefined,
  };
}

function isSame(field: (typeof FIELDS)[number], stored: AuditEvent, expected: AuditEvent): boolean {
  if (stored[field] === expected[field] || field !== 'extra') return stored[field] === expected[field];
  // Such a row is compared by its exact text; extra may be incomplete then.
  return expected.raw !== null || isSameJson(stored.extra, expected.extra);
}

/** Whether two JSON texts have the same value, in any order of object members. */
export function isSameJson(a: string | null, b: string | null): boolean {
  return a === b || (a !== null && b !== null && sorted(a) === sorted(b));
}

/** JSON text with sorted object members and no white space: jsonb preserves neither their order nor white space. */
function sorted(text: string): string {
  return JSON.stringify(JSON.parse(text), (_key, value) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
    return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
  });
}
