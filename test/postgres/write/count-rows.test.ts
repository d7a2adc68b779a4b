import { afterAll, beforeAll, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { AuditEvent } from '../../../src/core/event.ts';
import { placeOfTicks } from '../../../src/core/place.ts';
import { formatTicks, MAX_TICKS, MIN_TICKS, TICKS_PER_SECOND } from '../../../src/core/ticks.ts';
import type { Client } from '../../../src/postgres/connection/pool.ts';
import { RowCounter } from '../../../src/postgres/write/count-rows.ts';
import { openSession } from '../../../src/postgres/write/store.ts';
import { batchOf, eventAt, ticksAt } from '../../support/batch.ts';
import { type Bench, createBench } from '../../support/bench.ts';

const RUNS = Number(process.env.PROPERTY_RUNS ?? 60);
const DAY = 86_400n * TICKS_PER_SECOND;

let bench: Bench;
let client: Client;
let organizations = 0;

beforeAll(async () => {
  bench = await createBench();
  client = await bench.pool.connect();
});
afterAll(async () => {
  client.release();
  await bench.close();
});

/** Around the borders of days and milliseconds, from the year 1 to the year 9999. */
const day = fc.constantFrom(
  ...[
    MIN_TICKS,
    MIN_TICKS + DAY,
    -DAY,
    0n,
    DAY,
    ticksAt('2026-01-31T00:00:00Z'),
    ticksAt('2026-02-01T00:00:00Z'),
  ],
  MAX_TICKS - DAY + 1n,
);
const offset = fc.oneof(
  fc.constantFrom(0n, 1n, 9n, 10n, 9_999n, 10_000n, 10_001n, DAY / 2n, DAY - 10_000n, DAY - 20_000n),
  fc.bigInt({ min: 0n, max: DAY - 10_001n }),
);
const ticks = fc.tuple(day, offset).map(([start, after]) => start + after);
const place = ticks.map(placeOfTicks);
const STATES = ['suspected', 'dismissed', 'gone', 'former source', 'shown again'] as const;

const rows = fc.record({
  events: fc.array(fc.record({ ticks, state: fc.option(fc.constantFrom(...STATES), { nil: undefined }) }), {
    maxLength: 25,
  }),
  rejected: fc.array(fc.record({ place, times: fc.integer({ min: 1, max: 5 }) }), { maxLength: 5 }),
});

interface Rows {
  events: { ticks: bigint; state: string | undefined }[];
  rejected: { place: bigint; times: number }[];
}

async function store(organization: string, { events, rejected }: Rows): Promise<void> {
  const sorted = [...events].sort((a, b) => (a.ticks < b.ticks ? -1 : 1));
  const stored = sorted.map(
    ({ ticks: createdOnTicks }, i): AuditEvent => ({
      ...eventAt(formatTicks(createdOnTicks)),
      auditLogDetails: `${i}`,
    }),
  );
  const session = await openSession(bench.pool, { organization, log: 'classic', kind: 'run' });
  try {
    if (stored.length > 0) await session.commit(batchOf(stored));
  } finally {
    await session.release();
  }
  for (const [i, { state }] of sorted.entries()) {
    if (state === undefined) continue;
    await client.query(
      `insert into audit.gone_events (organization, log, created_on, event_id, created_on_ticks, state, suspected_run_id)
       select organization, log, created_on, event_id, created_on_ticks, $3, 1 from audit.events
       where organization = $1 and details_raw = $2`,
      [organization, String(i), state],
    );
  }
  for (const [i, { place: at, times }] of rejected.entries()) {
    await client.query('insert into audit.rejected_places values ($1, $2, $3, $4, $5)', [
      ...[organization, 'classic', at.toString(), Buffer.from([i]), times],
    ]);
  }
}

/** Counts every row by its ticks. */
async function countPlainly(organization: string, from: bigint, to: bigint): Promise<number> {
  const { rows: found } = await client.query<{ rows: string }>(
    `select (select count(*) from audit.events e where organization = $1 and created_on_ticks >= $2::bigint and created_on_ticks < $3::bigint
         and not exists (select from audit.gone_events g where g.organization = $1 and g.event_id = e.event_id
           and state in ('suspected', 'gone', 'former source')))
       + (select coalesce(sum(times_shown), 0) from audit.rejected_places
          where organization = $1 and created_on_ticks >= $2::bigint and created_on_ticks < $3::bigint) as rows`,
    [organization, from.toString(), to.toString()],
  );
  return Number(found[0]!.rows);
}

test('the rows between two places are as many as a scan of all rows counts, at any time, with gone events and rejected rows', async () => {
  await fc.assert(
    fc.asyncProperty(rows, place, fc.array(place, { maxLength: 6 }), async (given, after, places) => {
      const organization = `count-${++organizations}`;
      await store(organization, given);
      const counter = new RowCounter(client, { organization, log: 'classic' });
      const later = places.map((at) => (at > after ? at : after + 10_000n)).filter((at) => at <= MAX_TICKS);
      const expected = [];
      for (const at of later) expected.push(await countPlainly(organization, after + 10_000n, at));
      expect(await counter.countRows(after, later)).toEqual(expected);
      // Again, with what it remembers.
      expect(await counter.countRows(after, later)).toEqual(expected);
    }),
    { numRuns: RUNS },
  );
});

test('a counter counts again what was stored since, once it is told', async () => {
  const organization = `count-${++organizations}`;
  const [one, two] = [ticksAt('2026-01-01T10:00:00Z'), ticksAt('2026-01-05T10:00:00Z')];
  const all: [bigint, bigint[]] = [MIN_TICKS, [two + DAY]];
  const counter = new RowCounter(client, { organization, log: 'classic' });
  expect(await counter.countRows(...all)).toEqual([0]);
  await store(organization, {
    events: [one, two].map((at) => ({ ticks: at, state: undefined })),
    rejected: [],
  });
  counter.forget();
  expect(await counter.countRows(...all)).toEqual([2]);
  expect(await new RowCounter(client, { organization, log: 'another' }).countRows(...all)).toEqual([0]);
});
