/**
 * Compares the source with the table. The source is read again by the frontier rule; each batch of complete tie groups is
 * compared with the rows stored between the same two frontiers.
 *
 * Memory is bounded by one page and one chunk of stored rows, even when the source has deleted most of the table's events.
 */
import type { AuditEvent } from './event.ts';
import { eventIdOf, type IdentifiedEvent, type IdentityFields } from './identity.ts';
import { type Pair, pairEvents } from './pairing.ts';
import { findReplacements, type Rendering } from './rerendering.ts';
import { formatMicroseconds } from './ticks.ts';

/** A stored row, converted back to an event. It shows what the columns contain now. */
export interface StoredEvent extends IdentifiedEvent {
  /** The fields that its id is computed from; taken from `raw` where that is set. */
  identity: IdentityFields & Pick<Rendering, 'userName'>;
  /** The row that replaced it: the source writes its details differently. */
  supersededBy?: string | undefined;
  /** The source was found not to show it. */
  absence?: 'suspected' | 'gone' | 'former source' | undefined;
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
  columns: Record<
    'eventId' | 'identity' | 'content' | 'firstSeenAt' | 'updatedAt' | 'runId' | 'supersededBy',
    string
  >;
}

export type Difference =
  /** At the source, not stored. */
  | 'missing'
  /** Stored with other content than the source has, or with an id that does not match its own columns. */
  | 'changed'
  /** Stored, and since deleted at the source. Expected. */
  | 'gone'
  /** Stored with details that the source now writes differently. The next response that shows it replaces the row. Expected. */
  | 'rerendered';

/** One difference between the source and the table. */
export interface SourceFinding {
  kind: Difference;
  eventId: string;
  createdOnTicks: bigint;
  /** Names of the differing fields as in the source, and of columns that contradict the others. */
  fields: string[];
  /** The event at the source; `undefined` if the source does not show it. */
  expected: IdentifiedEvent | undefined;
  /** For a rerendered event: whether it has a stored row already, which was superseded. */
  isStored?: boolean;
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

/** Fields that an update may change. */
const CONTENT = ['createdOnRaw', 'userName', 'email', 'message', 'extra', 'raw'] as const;

/**
 * Compares the source's events, which are complete tie groups, with the stored rows of the same time range. Rows and events are paired as
 * an export pairs them (`pairing.ts`).
 */
export function createComparer(events: readonly IdentifiedEvent[], form: RowForm) {
  const byId = new Map(events.map((event) => [event.eventId, event]));
  const times = new Set(events.map(({ event }) => formatMicroseconds(event.createdOnTicks)));
  const shown: StoredEvent[] = [];
  let missing: IdentifiedEvent[] = [...events];
  return {
    /** Returns the differences in rows at times at which the source has no event. Pass each row once. */
    compareStored(rows: readonly StoredEvent[]): SourceFinding[] {
      shown.push(...rows.filter(({ createdOn }) => times.has(createdOn)));
      return rows
        .filter(({ createdOn }) => !times.has(createdOn))
        .flatMap((row) => compareUnmatched(row, form) ?? []);
    },
    /** Returns the differences in the other rows. Call it after all rows were passed. */
    compareShown(): SourceFinding[] {
      const rows = shown.map((row) => ({ ...row, row, ticks: ticksOf(row, byId), content: row.event }));
      const { pairs, fresh } = pairEvents({ whole: events, partial: [] }, rows, {
        isEqual: ({ event }, { row }) => hasContentOf(row, form.asStored(event)),
        isExpected: ({ row }) => isExpected(row),
      });
      const matched = new Map(pairs.map((pair) => [pair.row.row, pair]));
      const { findings, replaced } = findRerendered(shown, { matched, fresh });
      const others = shown.filter((row) => !replaced.has(row));
      missing = fresh.filter((event) => !replaced.has(event));
      return [
        ...findings,
        ...others.flatMap((row) => {
          const pair = matched.get(row);
          const isRevived = pair !== undefined && replaced.has(pair.event);
          return (
            (pair ? compareEvent(row, pair.event, { form, isRevived }) : compareUnmatched(row, form)) ?? []
          );
        }),
      ];
    },
    /** Returns the events that have no row. Call it last. */
    missing(): SourceFinding[] {
      return missing.map((expected) => ({
        kind: 'missing',
        eventId: expected.eventId,
        createdOnTicks: expected.event.createdOnTicks,
        fields: [],
        expected,
      }));
    },
  };
}

function isExpected({ absence, supersededBy }: StoredEvent): boolean {
  return absence === undefined && supersededBy === undefined;
}

/** The ticks of the event of the row's id, since a manual change can have changed those of the row. */
function ticksOf({ event, eventId, createdOn }: StoredEvent, byId: ReadonlyMap<string, IdentifiedEvent>) {
  const ticks = byId.get(eventId)?.event.createdOnTicks;
  return ticks !== undefined && formatMicroseconds(ticks) === createdOn ? ticks : event.createdOnTicks;
}

function hasContentOf({ event }: StoredEvent, as: AuditEvent): boolean {
  return CONTENT.every((field) => isSame(field, event, as));
}

/** The rows that the source shows in another form. `replaced`: these rows, and the events that replace them. */
function findRerendered(
  rows: readonly StoredEvent[],
  {
    matched,
    fresh,
  }: {
    matched: ReadonlyMap<StoredEvent, Pair<{ row: StoredEvent }>>;
    fresh: readonly IdentifiedEvent[];
  },
): { findings: SourceFinding[]; replaced: Set<StoredEvent | IdentifiedEvent> } {
  const unshown = rows
    .filter((row) => !matched.has(row) && row.supersededBy === undefined)
    .map((row) => ({
      row,
      rendering: { ...row.event, ...row.identity },
      absence: row.absence,
      batch: 0n,
    }));
  const revived = [...matched].flatMap(([row, { event }]) => (row.supersededBy === undefined ? [] : [event]));
  const replacements = findReplacements(unshown, () =>
    [...fresh, ...revived].map((event) => ({ event, rendering: event.event, batch: undefined })),
  );
  const findings = replacements.map(
    ({ row, by }): SourceFinding => ({
      kind: 'rerendered',
      eventId: row.eventId,
      createdOnTicks: row.event.createdOnTicks,
      fields: ['auditLogDetails'],
      expected: by,
      isStored: revived.includes(by),
    }),
  );
  return { findings, replaced: new Set(replacements.flatMap(({ row, by }) => [row, by])) };
}

/** Whether the id computed from the stored row's columns is the id that it is stored under. */
export function hasOwnId(row: StoredEvent): boolean {
  return eventIdOf(row.identity, row.ordinal) === row.eventId;
}

/** `isRevived`: the source shows a superseded row again, in place of the one that replaced it. */
function compareEvent(
  row: StoredEvent,
  expected: IdentifiedEvent,
  { form, isRevived }: { form: RowForm; isRevived: boolean },
): SourceFinding | undefined {
  const as = form.asStored(expected.event);
  const fields: string[] = FIELDS.filter((field) => !isSame(field, row.event, as));
  if (row.event.createdOnTicks !== as.createdOnTicks) fields.push('createdOnTicks');
  if (row.ordinal !== expected.ordinal) fields.push('ordinal');
  if (row.supersededBy !== undefined && !isRevived) fields.push(form.columns.supersededBy);
  fields.push(...row.misfits);
  if (fields.length === 0) return undefined;
  return { kind: 'changed', eventId: row.eventId, createdOnTicks: as.createdOnTicks, fields, expected };
}

/** A stored row that the source does not show: `gone` unless it is superseded, or `changed` if its id does not match its columns. */
function compareUnmatched(row: StoredEvent, { columns }: RowForm): SourceFinding | undefined {
  const fields = hasOwnId(row) ? row.misfits : [columns.eventId, ...row.misfits];
  if (fields.length === 0 && row.supersededBy !== undefined) return undefined;
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
  return a === b || (a !== null && b !== null && canonicalJson(a) === canonicalJson(b));
}

/** JSON text with sorted object members and no white space: jsonb preserves neither their order nor white space. */
export function canonicalJson(text: string): string {
  return JSON.stringify(JSON.parse(text), (_key, value) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
    return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
  });
}
