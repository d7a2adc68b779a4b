import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import fc from 'fast-check';
import pg from 'pg';
import type { AuditEvent } from '../../../src/core/event.ts';
import { formatTicks, MAX_TICKS, MIN_TICKS } from '../../../src/core/ticks.ts';
import { openSession } from '../../../src/postgres/write/store.ts';
import { verifyLedgers } from '../../../src/runs/verify-ledger.ts';
import { hostileRows } from '../../../src/simulator/hostile.ts';
import { parseRow } from '../../../src/uipath/classic/parse-row.ts';
import { scanElement } from '../../../src/uipath/classic/scan-json.ts';
import { batchOf, eventAt, ticksAt } from '../../support/batch.ts';
import { type Bench, createBench, type Row } from '../../support/bench.ts';

const RUNS = Number(process.env.PROPERTY_RUNS ?? 40);
const LAST = '9999-12-31T23:59:59.9999999Z';

const queries = jest.spyOn(pg.Client.prototype, 'query');
/** How many sent statements begin like this, pipelined ones included. */
const countSent = (beginning: string) =>
  queries.mock.calls
    .map(([query]) => query as { text?: string; statements?: { text: string }[] })
    .flatMap(({ text = '', statements = [{ text }] }) => statements)
    .filter(({ text }) => text.trimStart().startsWith(beginning)).length;
const countCopies = () => countSent('copy');

let bench: Bench;
let opened = 0;

beforeAll(async () => {
  bench = await createBench();
});
afterAll(() => bench.close());

/** Commits each batch in one run of a new organization, every other time prepared; returns its name and the number of COPY attempts. */
async function commit(...batches: AuditEvent[][]): Promise<{ organization: string; copies: number }> {
  const organization = `copy-${++opened}`;
  const before = countCopies();
  const session = await openSession(bench.pool, { organization, log: 'classic', kind: 'run' });
  try {
    for (const events of batches) {
      const batch = batchOf(events);
      const prepared = opened % 2 === 0 ? session.prepare(batch) : undefined;
      await session.commit({ ...batch, prepared: prepared && [prepared] });
    }
  } finally {
    await session.release();
  }
  return { organization, copies: countCopies() - before };
}

/** Upserted, because a newer event is stored when the run begins; `rowsOf` excludes that one. */
async function commitByUpsert(events: AuditEvent[]): Promise<{ organization: string; copies: number }> {
  const { organization } = await commit([eventAt(LAST, { action: 'the last' })]);
  const before = countCopies();
  const session = await openSession(bench.pool, { organization, log: 'classic', kind: 'run' });
  await session.commit(batchOf(events)).finally(() => session.release());
  return { organization, copies: countCopies() - before };
}

/** Returns how many events were unchanged, and how often the rows had to be read in addition to their digest. */
async function readAgain(organization: string, events: AuditEvent[]) {
  const before = countSent('select event_id, created_on_raw');
  const session = await openSession(bench.pool, { organization, log: 'classic', kind: 'run' });
  const { unchanged } = await session.commit(batchOf(events)).finally(() => session.release());
  return { unchanged, rowsRead: countSent('select event_id, created_on_raw') - before };
}

function rowsOf(organization: string): Promise<Row[]> {
  return bench.query(
    `select created_on::text, event_id, created_on_ticks, created_on_raw, category, action, source, user_name, email, message,
       details_version, details_raw, details::text, extra::text, raw, ordinal,
       first_seen_at = updated_at and first_seen_at = (select committed_at from audit.ledger l
         where l.organization = e.organization and l.batch = e.batch) as has_times,
       audit.content_digest(event_id, created_on_raw, user_name, email, message, extra, raw)::text as digest
     from audit.events e where organization = $1 and action is distinct from 'the last' order by created_on, event_id`,
    [organization],
  );
}

/** The newest entry of stored events without its times, writer and hashes, which cover these, and whether the ledger fits the rows. */
async function entryOf(organization: string): Promise<{ entry: Row[]; isClean: boolean }> {
  const entry = await bench.query(
    `select from_at, to_at, rows_inserted, rows_changed, length(inserted) as bytes
     from audit.ledger where organization = $1 and kind = 'stored' order by batch desc limit 1`,
    [organization],
  );
  const [report] = await verifyLedgers(bench.pool, {
    ...{ of: { organization }, from: undefined, to: undefined, expected: undefined },
    signal: new AbortController().signal,
    onRows: () => {},
  });
  return { entry, isClean: Object.values(report!.counts).every((count) => count === 0) };
}

const storable = fc
  .string({ unit: 'binary', maxLength: 40 })
  .map((text) => text.replaceAll('\0', ''))
  .map((text) => text.toWellFormed());
const text = fc.option(fc.oneof(storable, fc.constantFrom('', 'User', '\\N', '\t\n\r"{}')));
const json = fc.jsonValue().map((value) => JSON.stringify(value, null, 1));
const nearlyJson = fc
  .tuple(json, fc.nat(60), fc.constantFrom('', '}', ',', '"', '\\', ' ', '0', 'e', '\u000b', '\ufeff', '--'))
  .map(([whole, at, piece]) => whole.slice(0, at) + piece + whole.slice(at + 1));
const details = fc
  .option(fc.oneof(json, nearlyJson, storable))
  .map((value) => value?.replaceAll('\0', '') ?? value);
const ticks = fc.oneof(
  fc.bigInt({ min: MIN_TICKS, max: MAX_TICKS - 10n }),
  fc.bigInt({ min: ticksAt('2026-01-01T00:00:00Z'), max: ticksAt('2026-01-01T00:00:00.0000100Z') }),
);
const event = fc
  .record({
    ticks,
    fields: fc.record({
      category: text,
      action: text,
      source: text,
      userName: text,
      email: text,
      message: text,
      detailsVersion: text,
      auditLogDetails: details.map((value) => value?.toWellFormed() ?? null),
      extra: fc.option(fc.constantFrom('{"a":1}', '{"b":"ü\\"","c":null}')),
    }),
  })
  .map(({ ticks: at, fields }) => eventAt(formatTicks(at), fields));

test('COPY stores the same rows and ledger entry as an upsert, and a re-read finds them unchanged', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(event, { minLength: 1, maxLength: 30 }), async (events) => {
      events.sort((a, b) => (a.createdOnTicks < b.createdOnTicks ? -1 : 1));
      const copied = await commit(events);
      const upserted = await commitByUpsert(events);
      expect([copied.copies, upserted.copies]).toEqual([1, 0]);
      expect(await rowsOf(copied.organization)).toEqual(await rowsOf(upserted.organization));
      const entry = await entryOf(copied.organization);
      expect(entry).toEqual(await entryOf(upserted.organization));
      expect(entry.isClean).toBe(true);
      expect(await readAgain(copied.organization, events)).toEqual({ unchanged: events.length, rowsRead: 0 });
    }),
    { numRuns: RUNS },
  );
}, 300_000);

test('prepared rows that are fewer than the events of a commit are not used', async () => {
  const organization = `copy-${++opened}`;
  const session = await openSession(bench.pool, { organization, log: 'classic', kind: 'run' });
  const batch = batchOf([eventAt('2026-01-01T10:00:00Z'), eventAt('2026-01-01T11:00:00Z')]);
  const prepared = session.prepare({ ...batch, events: batch.events.slice(0, 1) })!;
  const { inserted } = await session
    .commit({ ...batch, prepared: [prepared] })
    .finally(() => session.release());
  expect([inserted, (await rowsOf(organization)).length]).toEqual([2, 2]);
});

test('unchanged rows of one microsecond are found unchanged by their digest, in any order', async () => {
  const events = Array.from({ length: 60 }, (_, i) =>
    eventAt(`2026-01-01T10:00:00.00000${20 + Math.floor(i / 3)}Z`, { action: `Action ${i}` }),
  );
  const { organization } = await commit(events);
  expect(await readAgain(organization, events)).toEqual({ unchanged: 60, rowsRead: 0 });
});

test('each hostile row is stored as by an upsert, including rows that COPY rejects', async () => {
  const events = hostileRows().flatMap(({ text: row }) => {
    const item = scanElement(`${row},`, 0);
    const parsed = item && parseRow(row, item).event;
    return parsed && parsed.createdOnTicks < MAX_TICKS - 10n ? [parsed] : [];
  });
  expect(events.length).toBeGreaterThan(80);
  const outcomes = new Set<number>();
  for (const one of events) {
    const copied = await commit([one]);
    const upserted = await commitByUpsert([one]);
    outcomes.add(copied.copies);
    expect(await rowsOf(copied.organization)).toEqual(await rowsOf(upserted.organization));
  }
  // Rows with `raw` are not copied.
  expect([...outcomes].sort()).toEqual([0, 1]);
}, 240_000);

describe('rows that COPY rejects are upserted', () => {
  const TEN = '2026-01-01T10:00:00Z';
  const ELEVEN = '2026-01-01T11:00:00Z';

  test.each(['{"a":"x\\u0000y"}', '{"a":"\\ud800"}', '{"a":1e400000}'])(
    'when PostgreSQL cannot hold the JSON %s',
    async (auditLogDetails) => {
      const { organization, copies } = await commit(
        [eventAt(TEN), eventAt(TEN, { auditLogDetails })],
        [eventAt(ELEVEN)],
      );
      expect(copies).toBe(2);
      const rows = await rowsOf(organization);
      expect(rows.map((row) => row.details)).toEqual(expect.arrayContaining(['{}', null, '{}']));
      expect(rows).toHaveLength(3);
      const ledger = await bench.query(
        "select batch, rows_inserted from audit.ledger where organization = $1 and kind = 'stored' order by batch",
        [organization],
      );
      expect(ledger).toEqual([
        { batch: '1', rows_inserted: 2 },
        { batch: '3', rows_inserted: 1 },
      ]);
    },
  );

  test('if a row was stored after the run began', async () => {
    const organization = `copy-${++opened}`;
    const session = await openSession(bench.pool, { organization, log: 'classic', kind: 'run' });
    const other = await commit([eventAt(TEN)]);
    await bench.query(`update audit.events set organization = $2 where organization = $1`, [
      other.organization,
      organization,
    ]);
    const result = await session.commit(batchOf([eventAt(TEN, { message: 'new' }), eventAt(ELEVEN)]));
    await session.release();
    expect(result).toMatchObject({ inserted: 1, updated: 1, unchanged: 0 });
  });

  test('but a commit that fails for another reason is not retried', async () => {
    const organization = `copy-${++opened}`;
    const session = await openSession(bench.pool, { organization, log: 'classic', kind: 'run' });
    const before = countSent('begin');
    await bench.query(`alter table audit.events add constraint refuse check (action <> 'Refuse') not valid`);
    try {
      const refused = session.commit(batchOf([eventAt(TEN, { action: 'Refuse' })]));
      await expect(refused).rejects.toMatchObject({ code: 'database' });
    } finally {
      await bench.query('alter table audit.events drop constraint refuse');
      await session.release();
    }
    expect(countSent('begin') - before).toBe(1);
    expect(session.newestEntry).toBeUndefined();
  });
});

describe('COPY is attempted for events newer than all stored ones', () => {
  test.each([
    ['2026-01-01T10:00:00.0009999Z', '2026-01-01T10:00:00.0010000Z', 1],
    // Rows of one millisecond are one group: the stored one must be shown, too.
    ['2026-01-01T10:00:00.0000019Z', '2026-01-01T10:00:00.0000020Z', 0],
    ['2026-01-01T10:00:00.0000010Z', '2026-01-01T10:00:00.0000019Z', 0],
    ['2026-01-01T10:00:00.0000010Z', '2026-01-01T10:00:00.0000010Z', 0],
    ['2026-01-01T10:00:00Z', '2026-01-01T09:00:00Z', 0],
  ])('stored %s, then %s: %i times', async (stored, next, copies) => {
    const { organization } = await commit([eventAt(stored)]);
    const session = await openSession(bench.pool, { organization, log: 'classic', kind: 'run' });
    const before = countCopies();
    await session.commit(batchOf([eventAt(next, { action: 'Next' })]));
    await session.release();
    expect(countCopies() - before).toBe(copies);
    expect(await rowsOf(organization)).toHaveLength(2);
  });
});
