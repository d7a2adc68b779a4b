/** Responses are compared with the tables as with a store in memory, which the enumeration of the rank rule tries exhaustively. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { SourceRow } from '../../../src/core/event.ts';
import type { Page } from '../../../src/core/offset-list/page.ts';
import { lookAt } from '../../../src/core/offset-list/page-rows.ts';
import { placeRows } from '../../../src/core/offset-list/places.ts';
import { shownBy } from '../../../src/core/offset-list/shown.ts';
import { type Comparison, newCounters, type Shown } from '../../../src/core/store.ts';
import type { PostgresSession } from '../../../src/postgres/write/session.ts';
import { openSession } from '../../../src/postgres/write/store.ts';
import { eventOf, keyAndForm, MemoryStore } from '../../enumeration/world.ts';
import { type Bench, createBench } from '../../support/bench.ts';

const RUNS = Number(process.env.PROPERTY_RUNS ?? 60);

let bench: Bench;
let organizations = 0;

beforeAll(async () => {
  bench = await createBench();
});
afterAll(() => bench.close());

/** A row of the list; rows of one time and key are twins, if they have the same form. */
interface ListRow {
  time: number;
  key: number;
  form: number;
}

function respond(list: readonly ListRow[], skip: number, top: number): Shown {
  const rows = list.slice(skip, skip + top).map((row): SourceRow => {
    const event = eventOf(row.time, row.key, row.form);
    return { ticks: event.createdOnTicks, event };
  });
  const page: Page = { skip, top, rows, totalCount: list.length, requestedAt: new Date(0) };
  return shownBy(lookAt(placeRows(page), { isEnd: skip + top >= list.length }), page);
}

type Step =
  | { kind: 'response'; skip: number; top: number }
  | { kind: 'add'; time: number; key: number; form: number }
  /** The source writes the details of some rows differently. */
  | { kind: 'render'; from: number; count: number; form: number }
  | { kind: 'delete'; at: number }
  | { kind: 'next run' };

const row = fc.record({ time: fc.integer({ min: 1, max: 9 }), key: fc.nat(1), form: fc.nat(1) });
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('response' as const),
      skip: fc.nat(8),
      top: fc.integer({ min: 1, max: 12 }),
    }),
  },
  { weight: 1, arbitrary: row.map((added) => ({ kind: 'add' as const, ...added })) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('render' as const),
      ...{ from: fc.nat(9), count: fc.integer({ min: 1, max: 10 }), form: fc.nat(2) },
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('delete' as const), at: fc.nat(10) }) },
  { weight: 2, arbitrary: fc.constant({ kind: 'next run' as const }) },
);

/** Of the texts `\n`, `\r\n` and `\r`. */
const orderOf = ({ form }: { form: number }) => [0, 2, 1][form]!;

const pick = ({
  inserted,
  rerendered,
  superseded,
  shownAgain,
  suspected,
  confirmed,
  unsettled,
  ...rest
}: Comparison) => ({
  ...{ inserted, rerendered, superseded, shownAgain, suspected, confirmed, unsettled },
  ...{ oldestChange: rest.oldestChange, isHeadUndecided: rest.isHeadUndecided },
  insertedIds: [...rest.insertedIds].sort(),
});

test('a response means the same for the tables as for the store in memory', async () => {
  let compared = 0;
  const list = fc.array(row, { minLength: 1, maxLength: 9 });
  await fc.assert(
    fc.asyncProperty(list, fc.array(step, { minLength: 4, maxLength: 14 }), async (first, steps) => {
      const organization = `span-${++organizations}`;
      const key = { organization, log: 'classic' };
      const memory = new MemoryStore();
      const rows = first.map((each) => ({ ...each }));
      const sorted = () => rows.sort((a, b) => a.time - b.time || a.key - b.key || a.form - b.form);
      let session: PostgresSession | undefined;
      let head: bigint | undefined;
      const begin = async () => {
        await session?.finish({
          ...{ outcome: 'succeeded', error: null, warnings: [], counters: newCounters() },
          conclusion: { proof: { state: 'not proven', reason: 'test' }, ranks: null },
        });
        await session?.release();
        memory.run += 1;
        session = await openSession(bench.pool, { ...key, kind: 'run', settleMs: 0 });
      };
      await begin();
      try {
        for (const next of [{ kind: 'response', skip: 0, top: 20 } as Step, ...steps]) {
          if (next.kind === 'add') rows.push({ time: next.time, key: next.key, form: next.form });
          else if (next.kind === 'render') {
            sorted();
            for (const row of rows.slice(next.from, next.from + next.count)) row.form = next.form;
          } else if (next.kind === 'delete') rows.splice(next.at % Math.max(1, rows.length), 1);
          else if (next.kind === 'next run') await begin();
          else {
            const shown = respond(sorted(), next.skip, next.top);
            if (shown.events.length + shown.others.events.length === 0) continue;
            const expected = memory.compare(shown, undefined);
            const store = session!.rankStore(newCounters());
            const found = await store.compare(shown);
            // From here on the two differ: the tables note nothing more.
            if (found.isSourceChanged || expected.isSourceChanged) return;
            head = store.head;
            expect([next, pick(found), head]).toEqual([next, pick(expected), memory.head]);
            compared += 1;
          }
        }
        const stored = await bench.query(
          `select e.created_on_ticks as ticks, e.details_raw as details, e.ordinal, g.state,
             (select details_raw from audit.events o where o.organization = $1 and o.event_id = e.superseded_by) as superseded_by
           from audit.events e left join audit.gone_events g using (organization, log, created_on, event_id)
           where organization = $1 order by 1, details_raw collate "C", 3`,
          [organization],
        );
        const absences = ['suspected', 'gone'];
        expect(
          stored.map(({ ticks, details, ordinal, state, superseded_by: by }) => [
            ...[Number(ticks) / 10_000, keyAndForm(details as string), Number(ordinal)],
            ...[absences.includes(state as string) ? state : undefined],
            by === null ? undefined : keyAndForm(by as string).form,
          ]),
        ).toEqual(
          [...memory.events]
            .sort(
              (a, b) => a.time - b.time || a.key - b.key || orderOf(a) - orderOf(b) || a.ordinal - b.ordinal,
            )
            .map(({ time, key: of, form, ordinal, absence, supersededBy: by }) => [
              ...[time, { key: of, form }, ordinal, absence],
              by?.form,
            ]),
        );
      } finally {
        await session?.release();
      }
    }),
    { numRuns: RUNS },
  );
  expect(compared).toBeGreaterThan(RUNS);
});
