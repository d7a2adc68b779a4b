/** What the source sent against what the tables give back. Shares no code with the program. */

import { createHash } from 'node:crypto';
import { expect } from '@jest/globals';
import type { SimulatedRow } from '../../src/simulator/rows.ts';
import type { Row, Scene } from './bench.ts';

const FIELDS = [
  'createdOn',
  'category',
  'action',
  'auditLogDetails',
  'userName',
  'email',
  'message',
  'detailsVersion',
  'source',
] as const;

type Fields = Record<string, unknown>;

/** The nine fields of a row's JSON text, a missing one as null: a text that is equal only when every byte of them is. */
export function fieldsOf(row: Fields): string {
  return JSON.stringify(FIELDS.map((name) => row[name] ?? null));
}

/** The same from a stored row: from `raw` where that is set, else from the columns. */
export function storedFieldsOf(row: Row): string {
  if (row.raw !== null) return fieldsOf(JSON.parse(row.raw as string));
  return fieldsOf({
    createdOn: row.created_on_raw,
    category: row.category,
    action: row.action,
    auditLogDetails: row.details_raw,
    userName: row.user_name,
    email: row.email,
    message: row.message,
    detailsVersion: row.details_version,
    source: row.source,
  });
}

/** The id a stored row must have, by the words of the comment on `audit.events.event_id`. */
export function storedIdOf(row: Row): string {
  const [, category, action, details, , , , version, source] = JSON.parse(storedFieldsOf(row));
  const identity = [row.created_on_ticks, source, category, action, version, details, row.ordinal];
  const hex = createHash('sha256').update(JSON.stringify(identity)).digest('hex');
  return hex.slice(0, 32).replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}

export const STORED_EVENTS = `
  select *, details::text as details, extra::text as extra from audit.events where organization = $1
  order by created_on_ticks, event_id`;

export const KEPT_ASIDE = `
  select coalesce(source_bytes, convert_to(source_text, 'UTF8')) as bytes from audit.rejected_events where organization = $1`;

/** Every row sent is stored as an event, or kept word for word where `isEvent` denies it; and nothing else is there. */
export async function expectStored(
  scene: Scene,
  sent: readonly SimulatedRow[],
  isEvent: (row: SimulatedRow) => boolean = () => true,
): Promise<void> {
  const events = await scene.query(STORED_EVENTS);
  const sentEvents = sent.filter((row) => isEvent(row)).map(({ text }) => fieldsOf(JSON.parse(text)));
  expectSame(events.map(storedFieldsOf), sentEvents);
  expectOwnIds(events);
  const kept = (await scene.query(KEPT_ASIDE)).map(({ bytes }) => (bytes as Buffer).toString());
  const rejected = sent.filter((row) => !isEvent(row)).map(({ text }) => text);
  expectSame(kept, [...new Set(rejected)]);
  await expectWholeLedger(scene);
}

/** Each stored row is listed by the ledger, and as it is stored. */
async function expectWholeLedger(scene: Scene): Promise<void> {
  const { counts, examples } = await scene.verifyLedger();
  const { mended: _mended, ...faults } = counts;
  expect({ ...faults, examples: examples.filter(({ kind }) => kind !== 'mended') }).toEqual({
    ...{ edited: 0, deleted: 0, inserted: 0, broken: 0 },
    examples: [],
  });
}

/** For a list that moved: all that the source shows is stored, and nothing that it never showed or more often than it did. */
export async function expectNothingLostOrDoubled(scene: Scene): Promise<void> {
  const events = await scene.query(STORED_EVENTS);
  const stored = events.map(storedFieldsOf);
  const shown = scene.simulator.rows.map(({ text }) => fieldsOf(JSON.parse(text)));
  const gone = scene.simulator.removed.map(({ text }) => fieldsOf(JSON.parse(text)));
  const lost = withoutEach(shown, stored);
  const doubled = withoutEach(stored, [...shown, ...gone]);
  expect({ lost: lost.map(shorten), doubled: doubled.map(shorten) }).toEqual({ lost: [], doubled: [] });
  expectOwnIds(events);
  await expectWholeLedger(scene);
}

export function expectOwnIds(events: readonly Row[]): void {
  const wrong = events.filter((row) => row.event_id !== storedIdOf(row));
  expect(wrong).toEqual([]);
  expect(new Set(events.map(({ event_id: id }) => id)).size).toBe(events.length);
}

/** As bags: shows only what differs, since a difference of a thousand rows says nothing. */
export function expectSame(found: readonly string[], wanted: readonly string[]): void {
  const missing = withoutEach(wanted, found);
  const surplus = withoutEach(found, wanted);
  expect({ missing: missing.map(shorten), surplus: surplus.map(shorten) }).toEqual({
    missing: [],
    surplus: [],
  });
}

/** What is left of `from` when each of `taken` is taken out once. */
export function withoutEach(from: readonly string[], taken: readonly string[]): string[] {
  const left = new Map<string, number>();
  for (const text of taken) left.set(text, (left.get(text) ?? 0) + 1);
  return from.filter((text) => {
    const count = left.get(text) ?? 0;
    left.set(text, count - 1);
    return count <= 0;
  });
}

function shorten(text: string): string {
  return text.length > 300 ? `${text.slice(0, 300)}… (${text.length} characters)` : text;
}
