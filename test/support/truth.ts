/** What the source sent against what the tables give back. Shares no code with the program. */
import { expect } from '@jest/globals';
import type { SimulatedRow } from '../../src/simulator/rows.ts';
import type { Row, Scene } from './bench.ts';
import { fieldsOf, KEPT_ASIDE, STORED_EVENTS, storedFieldsOf, storedIdOf, withoutEach } from './compare.ts';

export { fieldsOf, KEPT_ASIDE, STORED_EVENTS, storedFieldsOf } from './compare.ts';

/** Every row sent is stored as an event, or kept verbatim where `isEvent` denies it; and nothing else is there. */
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
export async function expectWholeLedger(scene: Scene): Promise<void> {
  const { counts, examples } = await scene.verifyLedger();
  const { repaired: _repaired, ...faults } = counts;
  expect({ ...faults, examples: examples.filter(({ kind }) => kind !== 'repaired') }).toEqual({
    ...{ edited: 0, deleted: 0, inserted: 0, broken: 0 },
    examples: [],
  });
}

/** For a list that moved: all that the source shows is stored, and nothing that it never showed or more often than it did. */
export async function expectNothingLostOrDoubled(scene: Scene): Promise<void> {
  await expectRowsOnce(scene);
  await expectWholeLedger(scene);
}

/** The same without the ledger. */
export async function expectRowsOnce(scene: Scene): Promise<void> {
  const events = await scene.query(STORED_EVENTS);
  const stored = events.map(storedFieldsOf);
  const shown = scene.simulator.rows.map(({ text }) => fieldsOf(JSON.parse(text)));
  const gone = scene.simulator.removed.map(({ text }) => fieldsOf(JSON.parse(text)));
  const lost = withoutEach(shown, stored);
  const doubled = withoutEach(stored, [...shown, ...gone]);
  expect({ lost: lost.map(shorten), doubled: doubled.map(shorten) }).toEqual({ lost: [], doubled: [] });
  expectOwnIds(events);
}

function expectOwnIds(events: readonly Row[]): void {
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

function shorten(text: string): string {
  return text.length > 300 ? `${text.slice(0, 300)}… (${text.length} characters)` : text;
}
