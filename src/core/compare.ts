/**
 * Comparing the source with the table: the source is read again by the frontier rule, and each batch of complete tie
 * groups is compared with what is stored between the same two frontiers.
 *
 * Memory is bounded by one page and one chunk of stored rows, however much of the table the source no longer has.
 */
import type { AuditEvent } from './event.ts';
import { eventIdOf, type IdentifiedEvent, type IdentityFields } from './identity.ts';
import { formatMicroseconds } from './ticks.ts';

/** A row of the table as an event again: what its columns say now. */
export interface StoredEvent extends IdentifiedEvent {
  /** The fields its id is made of: those in `raw` where that is set. */
  identity: IdentityFields;
  /** When it happened, as the store sorts by it: UTC with six digits. */
  createdOn: string;
  /** Names of columns that do not fit the others, such as parsed details that are not those of the text. */
  misfits: string[];
}

/** How a store keeps its rows: what a comparison with the source, or with the ledger, cannot know by itself. */
export interface RowForm {
  /** The form an event has in the table, where some characters cannot stand. */
  asStored(event: AuditEvent): AuditEvent;
  /** A digest, in hex, of the id and of what may change about a stored event. */
  contentDigest(row: StoredEvent): string;
  /** What a person looks for where a part of a row is wrong. */
  columns: Record<'eventId' | 'identity' | 'content' | 'firstSeenAt' | 'updatedAt' | 'runId', string>;
}

export type Difference =
  /** At the source, not stored. */
  | 'missing'
  /** Stored, but not as the source has it, or not what its own id stands for. */
  | 'changed'
  /** Stored, and deleted at the source since. Expected. */
  | 'gone';

/** One difference between the source and the table. */
export interface SourceFinding {
  kind: Difference;
  eventId: string;
  createdOnTicks: bigint;
  /** Fields that differ, by their names in the source; columns, where these do not fit each other. */
  fields: string[];
  /** What the source has; none where it shows no such event. */
  wanted: IdentifiedEvent | undefined;
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

/** Compares the source's events with stored rows of the same span. */
export function createComparer(events: readonly IdentifiedEvent[], form: RowForm) {
  const expected = new Map(events.map((event) => [event.eventId, event]));
  return {
    /** What differs in these stored rows. Each row may be given once. */
    compareStored(rows: readonly StoredEvent[]): SourceFinding[] {
      return rows.flatMap((row) => {
        const found = expected.get(row.eventId);
        // At another time it is another row of the table, and a second row of the same id is not the source's.
        const wanted =
          found && formatMicroseconds(found.event.createdOnTicks) === row.createdOn ? found : undefined;
        if (wanted) expected.delete(row.eventId);
        return (
          (wanted ? compareEvent(row, wanted, form.asStored(wanted.event)) : judgeUnmatched(row, form)) ?? []
        );
      });
    },
    /** What is left once all rows were given: not stored. */
    missing(): SourceFinding[] {
      return [...expected.values()].map((wanted) => ({
        kind: 'missing',
        eventId: wanted.eventId,
        createdOnTicks: wanted.event.createdOnTicks,
        fields: [],
        wanted,
      }));
    },
  };
}

/** Whether the stored row still gives the id it is stored under. */
export function hasOwnId(row: StoredEvent): boolean {
  return eventIdOf(row.identity, row.ordinal) === row.eventId;
}

function compareEvent(row: StoredEvent, wanted: IdentifiedEvent, as: AuditEvent): SourceFinding | undefined {
  const fields: string[] = FIELDS.filter((field) => !isSame(field, row.event, as));
  if (row.event.createdOnTicks !== as.createdOnTicks) fields.push('createdOnTicks');
  if (row.ordinal !== wanted.ordinal) fields.push('ordinal');
  fields.push(...row.misfits);
  if (fields.length === 0) return undefined;
  return { kind: 'changed', eventId: row.eventId, createdOnTicks: as.createdOnTicks, fields, wanted };
}

/** A row the source does not show: deleted there, or not what its id stands for. */
function judgeUnmatched(row: StoredEvent, { columns }: RowForm): SourceFinding {
  const fields = hasOwnId(row) ? row.misfits : [columns.eventId, ...row.misfits];
  return {
    kind: fields.length === 0 ? 'gone' : 'changed',
    eventId: row.eventId,
    createdOnTicks: row.event.createdOnTicks,
    fields,
    wanted: undefined,
  };
}

function isSame(field: (typeof FIELDS)[number], stored: AuditEvent, wanted: AuditEvent): boolean {
  if (stored[field] === wanted[field] || field !== 'extra') return stored[field] === wanted[field];
  // Then the row is compared by its exact text, which extra need not give back.
  if (wanted.raw !== null) return true;
  return stored.extra !== null && wanted.extra !== null && sorted(stored.extra) === sorted(wanted.extra);
}

/** JSON text with the members of each object in order, and no spaces: jsonb keeps neither. */
function sorted(text: string): string {
  return JSON.stringify(JSON.parse(text), (_key, value) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
    return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
  });
}
