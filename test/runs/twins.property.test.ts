/** Events alike in identity, over random histories of their tie group: the export and verify keep each of them apart. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { makeEvent } from '../../src/simulator/events.ts';
import { type Bench, createBench, type Row, type Scene } from '../support/bench.ts';
import { withoutEach } from '../support/compare.ts';
import { expectSame } from '../support/truth.ts';

const RUNS = Number(process.env.EXPORT_PROPERTY_RUNS ?? 8);
const AT = '2026-01-01T00:00:30.1234567Z';
const OTHERS = 24;

let bench: Bench;

beforeAll(async () => {
  bench = await createBench();
});
afterAll(() => bench.close());

/** What happens to the group between two runs: one kind of change, since a deletion and an addition together look like a rename. */
type Step =
  | { does: 'delete'; at: number[]; shuffle: number }
  | { does: 'rename'; at: number[]; shuffle: number }
  | { does: 'add'; added: number; copied: number; shuffle: number };

const places = fc.array(fc.nat(9), { maxLength: 2 });
const shuffle = fc.nat(6);
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ does: fc.constant('delete' as const), at: places, shuffle }),
  fc.record({ does: fc.constant('rename' as const), at: places, shuffle }),
  fc.record({ does: fc.constant('add' as const), added: fc.nat(2), copied: fc.nat(1), shuffle }),
);

/** The source's group: names of events that are alike in everything else. */
class Group {
  names: string[] = [];
  readonly deleted: string[] = [];
  renamed: string[] = [];
  private number = 0;

  constructor(count: number) {
    this.add(count);
  }

  play(given: Step): void {
    const before = [...this.names];
    if (given.does === 'rename') {
      for (const at of given.at)
        if (this.names.length > 0) this.names[at % this.names.length] = this.newName();
    } else if (given.does === 'delete') {
      for (const at of given.at) {
        if (this.names.length > 0) this.deleted.push(...this.names.splice(at % this.names.length, 1));
      }
    } else {
      // A copy of an event whose twin was deleted could as well be that one.
      const copied = this.names.find((name) => !this.deleted.includes(name));
      if (copied !== undefined) for (let i = 0; i < given.copied; i++) this.names.push(copied);
      this.add(given.added);
    }
    this.renamed = given.does === 'rename' ? withoutEach(before, this.names) : [];
    for (let i = 0; i < given.shuffle; i++) this.names.push(...this.names.splice(0, 1));
    if (given.shuffle % 2 === 1) this.names.reverse();
  }

  private add(count: number): void {
    // In no order of the alphabet: ordinals of new twins follow it.
    for (let i = 0; i < count; i++) this.names.push(this.newName());
  }

  private newName(): string {
    this.number += 1;
    return `${String.fromCharCode(97 + ((this.number * 17) % 26))}${this.number}`;
  }
}

const rowOf = (userName: string) =>
  JSON.stringify({ ...makeEvent('login', { createdOn: AT }), userName, email: null, message: 'alike' });

function show({ simulator }: Scene, names: readonly string[]): void {
  const isIn = ({ text }: { text: string }) => JSON.parse(text).createdOn === AT;
  const at = simulator.rows.findIndex(isIn);
  simulator.deleteAt(at, simulator.rows.filter(isIn).length);
  simulator.insertLate(names.map(rowOf));
}

async function open(names: readonly string[]): Promise<Scene> {
  const scene = await bench.open({ events: 0 }, { EXPORT_PAGE_SIZE: '40', EXPORT_SETTLE: '0s' });
  const others = Array.from({ length: OTHERS }, (_, i) =>
    makeEvent('login', { createdOn: `2026-01-01T00:00:${18 + i}Z`, variant: i }),
  );
  scene.simulator.append([...others, ...names.map(rowOf)]);
  await scene.run();
  return scene;
}

const readGroup = (scene: Scene): Promise<Row[]> =>
  scene.query(
    `select event_id, user_name, ordinal, first_seen_at, run_id, batch, g.state from audit.events e
     left join audit.gone_events g using (organization, log, created_on, event_id)
     where e.organization = $1 and message = 'alike' order by ordinal`,
  );

const namesOf = (rows: readonly Row[]) => rows.map(({ user_name: name }) => String(name));

/** A row whose content the source did not change is the same row as before, in every column. */
function expectSameRows(before: readonly Row[], after: readonly Row[], renamed: readonly string[]): void {
  const byId = new Map(after.map((row) => [row.event_id, row]));
  for (const { state: _before, ...row } of before) {
    if (renamed.includes(String(row.user_name))) continue;
    const { state: _after, ...now } = byId.get(row.event_id) ?? {};
    expect(now).toEqual(row);
  }
}

describe('events alike in identity', () => {
  test('are stored as often as they were ever shown, and keep their row, run, batch and ordinal', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 5 }),
        fc.array(step, { minLength: 1, maxLength: 5 }),
        async (count, steps) => {
          const group = new Group(count);
          const scene = await open(group.names);
          let before = await readGroup(scene);
          for (const each of steps) {
            group.play(each);
            show(scene, group.names);
            await scene.run({ kind: 'backfill', shouldRestart: true });
            const after = await readGroup(scene);
            expectSame(namesOf(after), [...group.names, ...group.deleted]);
            expectSameRows(before, after, group.renamed);
            before = after;
          }
          for (let runs = 0; runs < 2; runs++) await scene.run();
          const rows = await readGroup(scene);
          expectSame(namesOf(rows.filter(({ state }) => state === 'gone')), group.deleted);
          const { counts } = await scene.verify();
          expect(counts).toEqual({ missing: 0, changed: 0, gone: group.deleted.length });
        },
      ),
      { numRuns: RUNS },
    );
  }, 600_000);

  test('are compared and repaired by verify without a run, and keep their row, run, batch and ordinal', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 5 }),
        fc.array(step, { minLength: 1, maxLength: 3 }),
        async (count, steps) => {
          const group = new Group(count);
          const scene = await open(group.names);
          let before = await readGroup(scene);
          for (const each of steps) {
            const shownBefore = group.names.length;
            group.play(each);
            show(scene, group.names);
            // After a proof an event that is not stored would not be due yet.
            await scene.query(
              `update audit.watermarks set completeness = 'not proven' where organization = $1`,
            );
            const report = await scene.verify({ shouldRepair: true });
            const after = await readGroup(scene);
            expect(report.counts).toEqual({
              missing: Math.max(0, group.names.length - shownBefore),
              changed: group.renamed.length,
              gone: group.deleted.length,
            });
            expectSameRows(before, after, group.renamed);
            expectSame(namesOf(after), [...group.names, ...group.deleted]);
            before = after;
            // A verify does not note what is gone: an event added then would look like a rename of it.
            if (group.deleted.length > 0) return;
          }
        },
      ),
      { numRuns: RUNS },
    );
  }, 600_000);
});
