/** Two logs of one organization: writing one does not change data of the other. */
import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { CLASSIC_LOG, type LogKey } from '../../src/core/log-key.ts';
import { newCounters } from '../../src/core/store.ts';
import { countBetween, readExportedUntil } from '../../src/postgres/read/start-point.ts';
import { readStatus } from '../../src/postgres/read/status.ts';
import { readStoredEvents } from '../../src/postgres/read/stored-events.ts';
import { readUnfinishedBackfill } from '../../src/postgres/read/unfinished-backfill.ts';
import { recordVerified } from '../../src/postgres/write/coverage.ts';
import { findMissingRejected } from '../../src/postgres/write/rejected.ts';
import type { RunKind } from '../../src/postgres/write/session.ts';
import { openSession } from '../../src/postgres/write/store.ts';
import { verifyLedgers } from '../../src/runs/verify-ledger.ts';
import { batchOf, eventAt, ticksAt } from '../support/batch.ts';
import { type Bench, createBench, type Row } from '../support/bench.ts';
import { expectCounted } from '../support/roll-ups.ts';

const OTHER = 'tenant:A/"b"';
const REJECTED = { text: '{"createdOn": 1}', reason: 'no date', place: undefined };

let bench: Bench;
let organization: string;
let opened = 0;

beforeAll(async () => {
  bench = await createBench();
});
afterAll(() => bench.close());
beforeEach(() => {
  organization = `org-${++opened}`;
});

const keyOf = (log: string): LogKey => ({ organization, log });

/** A run that stores events of these minutes, and the same again with other messages. */
async function store(log: string, minutes: number[], kind: RunKind = 'run'): Promise<void> {
  const session = await openSession(bench.pool, { ...keyOf(log), kind });
  const at = (minute: number) => `2026-01-01T10:${String(minute).padStart(2, '0')}:00.0000000Z`;
  const events = (message: string) =>
    minutes.map((minute) => eventAt(at(minute), { message: `${log} ${message}` }));
  const to = ticksAt(at(minutes.at(-1)!)) + 1n;
  const covered = { from: ticksAt(at(minutes[0]!)), to, isFromHead: true };
  try {
    await session.describeRange({ from: undefined, to: undefined });
    await session.commit(
      batchOf(events('new'), { covered, rejected: [REJECTED], sourceTotal: minutes.length }),
    );
    await session.commit(batchOf(events('changed'), { covered }));
    await session.restore({ events: batchOf(events('restored')).events, rejected: [] });
    const counters = { ...newCounters(), inserted: minutes.length };
    await session.finish({
      outcome: kind === 'backfill' ? 'failed' : 'succeeded',
      error: null,
      warnings: [],
      counters,
    });
  } finally {
    await session.release();
  }
}

/** All rows of all tables that belong to the log. */
async function rowsOf(log: string): Promise<Record<string, Row[]>> {
  const tables = await bench.query(
    `select attrelid::regclass::text as name from pg_attribute join pg_class c on c.oid = attrelid
     where relnamespace in ('audit'::regnamespace, 'bi'::regnamespace) and attname = 'log' and relkind in ('r', 'v')`,
  );
  const rows: Record<string, Row[]> = {};
  for (const { name } of tables) {
    const values = [organization, log];
    // Ages grow.
    const row = `(to_jsonb(t) - 'newest_event_age' - 'last_success_age')::text`;
    const text = `select ${row} as row from ${name} t where organization = $1 and log = $2 order by 1`;
    rows[name as string] = await bench.query(text, values);
  }
  return rows;
}

const verify = (of: { organization: string; log?: string }) =>
  verifyLedgers(bench.pool, {
    ...{ of, from: undefined, to: undefined, expected: undefined, onRows: () => {} },
    signal: new AbortController().signal,
  });

test('a run writes every row with the name of its log, and none of another log', async () => {
  await store(CLASSIC_LOG, [1, 2, 3]);
  const classic = await rowsOf(CLASSIC_LOG);
  // Its range has the other one in it.
  await store(OTHER, [0, 11]);
  expect(await rowsOf(CLASSIC_LOG)).toEqual(classic);
  const other = await rowsOf(OTHER);
  // Too few days for the tables of users, and no gap.
  const empty = Object.keys(other).filter((name) => other[name]!.length === 0);
  expect(empty).toEqual(Object.keys(classic).filter((name) => classic[name]!.length === 0));
  expect(empty).not.toContain('audit.ledger_changes');
  expect(Object.keys(other).length - empty.length).toBeGreaterThan(15);
  await expectCounted(bench);
});

test('two logs are written at the same time, each under its own lease', async () => {
  const sessions = await Promise.all(
    [CLASSIC_LOG, OTHER].map((log) => openSession(bench.pool, { ...keyOf(log), kind: 'run' })),
  );
  const second = openSession(bench.pool, { ...keyOf(OTHER), kind: 'run' });
  await expect(second).rejects.toMatchObject({ code: 'locked' });
  await Promise.all(
    sessions.map((session, i) => session.commit(batchOf([eventAt(`2026-01-01T10:0${i}:00.0000000Z`)]))),
  );
  for (const session of sessions) await session.release();
  expect(
    await bench.query(
      "select log, batch from audit.ledger where organization = $1 and kind = 'stored' order by log",
      [organization],
    ),
  ).toEqual([
    { log: CLASSIC_LOG, batch: '1' },
    { log: OTHER, batch: '1' },
  ]);
});

test('each log has its own chain', async () => {
  await store(CLASSIC_LOG, [1, 2]);
  await store(OTHER, [11, 12, 13]);
  const reports = await verify({ organization });
  expect(reports).toMatchObject([
    {
      organization,
      log: CLASSIC_LOG,
      entries: 6,
      rows: 2,
      examples: [],
      head: { log: CLASSIC_LOG, batch: 6n },
    },
    { organization, log: OTHER, entries: 6, rows: 3, examples: [], head: { log: OTHER, batch: 6n } },
  ]);
});

test('an event moved to another log by hand is reported for both logs', async () => {
  await store(CLASSIC_LOG, [1, 2]);
  await store(OTHER, [11, 12, 13]);
  await bench.query(
    `update audit.events set log = $2 where organization = $1 and created_on = '2026-01-01T10:12Z'`,
    [...[organization, CLASSIC_LOG]],
  );
  const [classic, other] = await verify({ organization });
  expect(classic!.counts).toMatchObject({ inserted: 1, deleted: 0 });
  expect(other!.counts).toMatchObject({ inserted: 0, deleted: 1 });
  await expectCounted(bench);
});

test('planning a run and verify read only their own log', async () => {
  await store(CLASSIC_LOG, [1, 2, 3]);
  await store(OTHER, [11, 12], 'backfill');
  const { pool } = bench;
  const all = { from: 0n, to: undefined };
  expect([
    await countBetween(pool, keyOf(CLASSIC_LOG), all),
    await countBetween(pool, keyOf(OTHER), all),
  ]).toEqual([3, 2]);
  const whole = { from: undefined, to: undefined };
  expect(await readUnfinishedBackfill(pool, keyOf(CLASSIC_LOG), whole)).toBeUndefined();
  expect(await readUnfinishedBackfill(pool, keyOf(OTHER), whole)).toMatchObject({ kind: 'resume' });
  const until = async (log: string) => (await readExportedUntil(pool, keyOf(log)))!.ticks;
  expect(await until(OTHER)).toBeGreaterThan(await until(CLASSIC_LOG));
  const messages: (string | null)[] = [];
  for await (const rows of readStoredEvents(pool, keyOf(OTHER), whole))
    messages.push(...rows.map(({ event }) => event.message));
  expect(messages).toEqual([`${OTHER} restored`, `${OTHER} restored`]);
  await bench.query('delete from audit.rejected_events where organization = $1 and log = $2', [
    organization,
    OTHER,
  ]);
  expect(await findMissingRejected(pool, keyOf(CLASSIC_LOG), [REJECTED])).toEqual([]);
  expect(await findMissingRejected(pool, keyOf(OTHER), [REJECTED])).toEqual([REJECTED]);
  const verified = { from: 0n, to: 1n, isFromHead: true, isToEnd: true, verifiedAt: new Date('2026-02-01') };
  await recordVerified(pool, keyOf(OTHER), verified);
  const { organizations } = await readStatus(pool, [organization]);
  expect(organizations.map(({ log, coverage, gapCount }) => [log, coverage.length, gapCount])).toEqual([
    [CLASSIC_LOG, 1, 0],
    // Verify adds no range.
    [OTHER, 1, 0],
  ]);
});
