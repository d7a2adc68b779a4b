import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { AuditEvent } from '../../../src/core/event.ts';
import { identifyGroup } from '../../../src/core/identity.ts';
import { type Commit, newCounters } from '../../../src/core/store.ts';
import { createPool } from '../../../src/postgres/connection/pool.ts';
import { countBetween } from '../../../src/postgres/read/start-point.ts';
import type { PostgresSession, RunKind } from '../../../src/postgres/write/session.ts';
import { openSession } from '../../../src/postgres/write/store.ts';
import { batchOf, commitResultOf, eventAt, ticksAt } from '../../support/batch.ts';
import { type Bench, createBench, type Row } from '../../support/bench.ts';
import { withParameter } from '../../support/database.ts';

const TEN = '2026-01-01T10:00:00.0000000Z';
const ELEVEN = '2026-01-01T11:00:00.0000000Z';

let bench: Bench;
let organization: string;
let opened = 0;
let sessions: PostgresSession[] = [];

beforeAll(async () => {
  bench = await createBench();
});
afterAll(() => bench.close());
beforeEach(() => {
  organization = `store-${++opened}`;
});
afterEach(async () => {
  for (const session of sessions) await session.release();
  sessions = [];
});

async function begin(kind: RunKind = 'run'): Promise<PostgresSession> {
  for (const session of sessions) await session.release();
  const session = await openSession(bench.pool, { organization, log: 'classic', kind });
  sessions.push(session);
  return session;
}

const rowsOf = (table: string, order = '1') =>
  bench.query(`select * from audit.${table} where organization = $1 order by ${order}`, [organization]);
const watermark = async () => (await rowsOf('watermarks'))[0]!;
/** A row that is written again has another ctid and xmin, even with the same values. */
const versions = () =>
  bench.query(
    `select event_id, ctid::text, xmin::text, updated_at, first_seen_at, run_id from audit.events
     where organization = $1 order by created_on, event_id`,
    [organization],
  );

describe('a commit', () => {
  test('stores rows, watermark and run counters', async () => {
    const session = await begin();
    const counters = { ...newCounters(), pages: 3, requests: 4, retries: 1, inserted: 10, rowsRead: 10 };
    const events = [eventAt(TEN), eventAt('2026-01-01T10:30:00.1234567Z')];
    const result = await session.commit(batchOf(events, { counters, resume: { skip: 12 }, sourceTotal: 99 }));
    const insertedIds = identifyGroup(events).map(({ eventId }) => eventId);
    expect(result).toEqual({
      ...commitResultOf({ inserted: 2, insertedIds, oldestChange: ticksAt(TEN) }),
      drafts: [expect.objectContaining({ kind: 'stored' })],
    });
    // The rows, and the range that they cover.
    expect(session.newestEntry).toEqual({ batch: '2', digest: expect.stringMatching(/^[0-9a-f]{64}$/) });
    expect(await watermark()).toMatchObject({
      created_on_ticks: ticksAt('2026-01-01T10:30:00.1234567Z').toString(),
      created_on_raw: '2026-01-01T10:30:00.1234567Z',
      created_on: '2026-01-01 10:30:00.123456+00',
      read_at: '2026-01-01 12:00:00+00',
      resume: '{"skip": 12}',
      source_total: '99',
      run_id: session.runId,
    });
    expect((await rowsOf('runs'))[0]).toMatchObject({
      pages: '3',
      requests: '4',
      retries: '1',
      rows_read: '12',
      rows_inserted: '12',
      frontier_ticks: (ticksAt('2026-01-01T10:30:00.1234567Z') + 1n).toString(),
      resume: '{"skip": 12}',
      source_total: '99',
    });
  });

  test.each([
    ['2026-01-01T10:59:59.9999999Z', '2026-01-01 10:59:59.999999+00'],
    ['1969-12-31T23:59:59.9999999Z', '1969-12-31 23:59:59.999999+00'],
    ['0001-01-01T00:00:00.0000001Z', '0001-01-01 00:00:00+00'],
    ['9999-12-31T23:59:59.9999999Z', '9999-12-31 23:59:59.999999+00'],
    ['2026-01-01T10:00:00+05:30', '2026-01-01 04:30:00+00'],
  ])('stores %s cut to the microsecond, and its tick and text as they are', async (createdOn, cut) => {
    await (await begin()).commit(batchOf([eventAt(createdOn)]));
    expect(await rowsOf('events')).toMatchObject([
      { created_on: cut, created_on_ticks: ticksAt(createdOn).toString(), created_on_raw: createdOn },
    ]);
  });

  test('stores details that PostgreSQL cannot parse only as text', async () => {
    const details = `[${'1,'.repeat(17_000_000)}1]`;
    await (await begin()).commit(batchOf([eventAt(TEN, { auditLogDetails: details })]));
    const rows = await bench.query(
      'select details_raw = $2 as is_exact, details from audit.events where organization = $1',
      [organization, details],
    );
    expect(rows).toEqual([{ is_exact: true, details: null }]);
  });

  test('does not change the same event of another organization', async () => {
    await (await begin()).commit(batchOf([eventAt(TEN)]));
    const first = organization;
    organization = `${first}-other`;
    const result = await (await begin()).commit(batchOf([eventAt(TEN, { message: 'other' })]));
    expect(result.inserted).toBe(1);
    const messages = await bench.query('select message from audit.events where organization = $1', [first]);
    expect(messages).toEqual([{ message: 'User A logged in' }]);
  });
});

test.each([
  [true, ['on', 'on', 'on']],
  [false, ['off', 'off', 'on']],
])(
  'with isSynchronous %s, a commit waits for the disk or not, and the end of the run does',
  async (isSynchronous, waits) => {
    await bench.query(`
    create table public.waited (waits text);
    create function public.note_wait() returns trigger language plpgsql as
      $$ begin insert into public.waited values (current_setting('synchronous_commit')); return new; end $$;
    create trigger note_wait before update of pages on audit.runs for each row execute function public.note_wait()`);
    // The test servers have it off.
    const pool = createPool(
      withParameter(bench.database.url, 'options', '-c synchronous_commit=on'),
      () => {},
    );
    const session = await openSession(pool, { organization, log: 'classic', kind: 'run', isSynchronous });
    try {
      await session.commit(batchOf([eventAt(TEN)]));
      await session.commit(batchOf([eventAt(ELEVEN)]));
      await session.finish({ outcome: 'succeeded', error: null, warnings: [], counters: newCounters() });
      expect((await bench.query('select waits from public.waited')).map((row) => row.waits)).toEqual(waits);
    } finally {
      await session.release();
      await bench.query('drop table public.waited; drop function public.note_wait cascade');
    }
  },
);

describe.each([
  ['upserts', [eventAt(TEN, { message: 'changed' }), eventAt(ELEVEN)], { inserted: 1, updated: 1 }],
  ['copies', [eventAt(ELEVEN)], { inserted: 1, updated: 0 }],
])('a commit that %s and fails leaves rows, watermark and run as they were', (_name, events, wanted) => {
  const refusing = (body: string) => `
    create function refuse() returns trigger language plpgsql as $$ begin ${body}; return new; end $$`;
  const raise = "raise exception 'refused'";

  test.each([
    ['while its rows are written', raise, 'trigger', 'before insert on audit.events', 'database'],
    ['while the watermark is moved', raise, 'trigger', 'before update on audit.watermarks', 'database'],
    ['while the run is counted', raise, 'trigger', 'before update on audit.runs', 'database'],
    [
      'at the commit itself',
      raise,
      'constraint trigger',
      'after insert on audit.events deferrable initially deferred',
      'database',
    ],
    [
      'because the server ends the connection in its middle',
      'perform pg_terminate_backend(pg_backend_pid())',
      'trigger',
      'before update on audit.runs',
      'database-away',
    ],
    [
      'because the server ends the connection at the commit itself',
      'perform pg_terminate_backend(pg_backend_pid())',
      'constraint trigger',
      'after insert on audit.events deferrable initially deferred',
      'database-away',
    ],
  ])('%s', async (_, body, kind, where, code) => {
    await (await begin()).commit(batchOf([eventAt(TEN)]));
    const session = await begin();
    const look = () =>
      Promise.all([rowsOf('events'), rowsOf('watermarks'), rowsOf('runs'), rowsOf('coverage')]);
    const before = await look();
    await bench.query(refusing(body));
    await bench.query(`create ${kind} refuse ${where} for each row execute function refuse()`);
    const batch = batchOf(events, {
      covered: { from: 0n, to: 10n, isFromHead: true },
      rejected: [{ reason: 'odd', text: '5', place: undefined }],
    });
    try {
      await expect(session.commit(batch)).rejects.toMatchObject({ code });
    } finally {
      await bench.query('drop function refuse cascade');
    }
    expect(await look()).toEqual(before);
    expect(await rowsOf('rejected_events')).toEqual([]);
    const next = code === 'database' ? session : await begin();
    expect(await next.commit(batch)).toMatchObject(wanted);
  });
});

describe('rows that are read again', () => {
  const events = [eventAt(TEN), eventAt(TEN, { action: 'Logout' }), eventAt(ELEVEN, { extra: '{"a":1}' })];

  test('and are unchanged are not written', async () => {
    await (await begin()).commit(batchOf(events));
    const before = await versions();
    const result = await (await begin()).commit(batchOf(events));
    expect(result).toMatchObject({ inserted: 0, updated: 0, unchanged: 3 });
    expect(await versions()).toEqual(before);
  });

  test.each([
    ['user_name', { userName: 'B' }, 'B'],
    ['user_name', { userName: null }, null],
    ['email', { email: '' }, ''],
    ['message', { message: 'A hat sich angemeldet' }, 'A hat sich angemeldet'],
    ['extra', { extra: '{"a":2}' }, '{"a": 2}'],
    ['raw', { raw: '{}' }, '{}'],
    ['created_on_raw', { createdOnRaw: '2026-01-01T10:00:00Z' }, '2026-01-01T10:00:00Z'],
  ] as [string, Partial<AuditEvent>, string | null][])(
    'and differ in %s (%j) are rewritten, the others not',
    async (column, change, value) => {
      const first = await begin();
      await first.commit(batchOf(events));
      const before = await versions();
      const changed = { ...events[0]!, ...change };
      const result = await (await begin()).commit(batchOf([changed, ...events.slice(1)]));
      expect(result).toMatchObject({ inserted: 0, updated: 1, unchanged: 2 });
      const [row, ...none] = (await rowsOf('events')).filter((row) => row[column] === value);
      expect(none).toEqual([]);
      expect(row).toMatchObject({ run_id: first.runId, action: 'Login' });
      expect(row!.updated_at).not.toBe(row!.first_seen_at);
      const untouched = (await versions()).filter(({ event_id: id }) => id !== row!.event_id);
      expect(untouched).toEqual(before.filter(({ event_id: id }) => id !== row!.event_id));
    },
  );

  test('and have unknown fields are compared by these as well', async () => {
    await (await begin()).commit(batchOf(events));
    const changed = [...events.slice(0, 2), { ...events[2]!, extra: '{"a":2}' }];
    const result = await (await begin()).commit(batchOf(changed));
    expect(result).toMatchObject({ inserted: 0, updated: 1, unchanged: 2 });
  });

  test('and are new but older than the watermark was are counted as late', async () => {
    await (await begin()).commit(batchOf([eventAt(ELEVEN)]));
    const session = await begin();
    const late = eventAt('2026-01-01T10:59:59.9999999Z');
    const twin = eventAt(ELEVEN, { action: 'Logout' });
    const newer = eventAt('2026-01-01T11:00:00.0000001Z');
    const result = await session.commit(batchOf([late, twin, newer]));
    expect(result).toMatchObject({ inserted: 3, lateTicks: [late.createdOnTicks] });
    expect((await rowsOf('runs', 'run_id desc'))[0]).toMatchObject({ rows_late: '1', rows_inserted: '3' });
    expect((await session.commit(batchOf([late]))).lateTicks).toEqual([]);
  });
});

describe('rows that are not events', () => {
  const texts = ['5', '{"createdOn":"\0"}', '{"createdOn":"\ufffd"}', 'x'.repeat(1_000_000), '""'];

  test('are stored once, verbatim, NUL included', async () => {
    const rejected = [...texts, ...texts].map((text) => ({ reason: 'not a\0time', text, place: undefined }));
    const session = await begin();
    const { newlyRejected } = await session.commit(batchOf([], { rejected }));
    expect(newlyRejected.map(({ text }) => text).sort()).toEqual([...texts].sort());
    expect((await session.commit(batchOf([], { rejected }))).newlyRejected).toEqual([]);
    const kept = await rowsOf('rejected_events');
    const read = kept.map((row) => (row.source_bytes as Buffer | null)?.toString() ?? row.source_text);
    expect(read.sort()).toEqual([...texts].sort());
    expect(kept.filter((row) => row.source_bytes !== null)).toMatchObject([
      { source_text: '{"createdOn":"\ufffd"}', reason: 'not a\ufffdtime' },
    ]);
    expect((await rowsOf('runs'))[0]).toMatchObject({ rows_rejected: '10', rows_read: '10' });
  });

  test('and are read again only update last_seen_at', async () => {
    const rejected = [{ reason: 'odd', text: '5', place: undefined }];
    await (await begin()).commit(batchOf([], { rejected }));
    const [before] = await rowsOf('rejected_events');
    await (await begin()).commit(
      batchOf([], { rejected: [{ reason: 'another', text: '5', place: undefined }] }),
    );
    const [after] = await rowsOf('rejected_events');
    expect(after).toEqual({ ...before, last_seen_at: after!.last_seen_at });
    expect(after!.last_seen_at).not.toBe(before!.last_seen_at);
  });
});

describe('beside the rows', () => {
  test.each([
    ['a range', ticksAt(TEN), ticksAt(ELEVEN), '2026-01-01 10:00:00+00', '2026-01-01 11:00:00+00'],
    ['a range that begins in 1970', 0n, undefined, '1970-01-01 00:00:00+00', null],
    ['no range', undefined, undefined, null, null],
  ])('%s of a backfill is stored in its run', async (_, from, to, fromAt, toAt) => {
    const session = await begin('backfill');
    await session.describeRange({ from, to });
    const ticks = { from_ticks: from?.toString() ?? null, to_ticks: to?.toString() ?? null };
    expect(await rowsOf('runs')).toMatchObject([{ ...ticks, from_at: fromAt, to_at: toAt }]);
  });

  test('the end of a run stores outcome, error and warnings with any content', async () => {
    const session = await begin();
    const warnings = ['a "quoted", {braced}\\ one', ''];
    const counters = { ...newCounters(), requests: 7 };
    await session.finish({ outcome: 'failed', error: 'NUL \0 and \ud800', warnings, counters });
    const [run] = await rowsOf('runs');
    expect(run).toMatchObject({ outcome: 'failed', error: 'NUL \ufffd and \ufffd', warnings, requests: '7' });
    expect(run!.ended_at).not.toBeNull();
  });

  test('the end of a run that is stopped is stored after the commit in progress', async () => {
    const session = await begin();
    const commit = session.commit(batchOf([eventAt(TEN)]));
    const end = session.finish({
      outcome: 'failed',
      error: 'stalled',
      warnings: [],
      counters: newCounters(),
    });
    expect(await commit).toMatchObject({ inserted: 1 });
    await end;
    expect((await rowsOf('runs'))[0]).toMatchObject({
      outcome: 'failed',
      error: 'stalled',
      rows_inserted: '0',
    });
    expect(await rowsOf('events')).toHaveLength(1);
  });

  test('stored events are counted to the tick', async () => {
    const session = await begin();
    const events = ['2026-01-01T10:00:00.0000001Z', '2026-01-01T10:00:00.0000002Z', ELEVEN].map((at) =>
      eventAt(at),
    );
    await session.commit(batchOf(events));
    const [first, second, third] = events.map(({ createdOnTicks }) => createdOnTicks);
    const count = (from: bigint, to: bigint | undefined) =>
      countBetween(bench.pool, { organization, log: 'classic' }, { from, to });
    expect(await count(first!, undefined)).toBe(3);
    expect(await count(second!, undefined)).toBe(2);
    expect(await count(first!, third)).toBe(2);
    expect(await count(first!, second)).toBe(1);
  });
});

describe('the watermark', () => {
  const early = { isEnd: false, frontier: ticksAt(TEN) + 1n };
  const unmoved = { created_on_raw: ELEVEN, read_at: '2026-01-01 12:00:00+00', resume: '{"skip": 1}' };
  const read = { created_on_raw: ELEVEN, read_at: '2026-01-01 13:00:00+00', resume: '{"skip": 50}' };
  const tickLater = '2026-01-01T11:00:00.0000001Z';

  test.each<[string, AuditEvent[], Partial<Commit>, Row]>([
    ['stays where it is when older rows are read', [eventAt(TEN)], early, unmoved],
    ['stays where it is when nothing is read', [], early, unmoved],
    ['keeps its read_at before the run is past it', [], { isEnd: false, frontier: ticksAt(ELEVEN) }, unmoved],
    [
      'gets a new read_at once the run is past it',
      [],
      { isEnd: false, frontier: ticksAt(ELEVEN) + 1n },
      read,
    ],
    ['gets a new read_at once the list ends', [eventAt(TEN)], { ...early, isEnd: true }, read],
    [
      'moves on with newer rows',
      [eventAt(tickLater)],
      { isEnd: false },
      { ...read, created_on_raw: tickLater },
    ],
  ])('%s', async (_, events, rest, wanted) => {
    await (await begin()).commit(batchOf([eventAt(ELEVEN)]));
    const beganAt = new Date('2026-01-01T13:00:00Z');
    await (await begin()).commit(batchOf(events, { resume: { skip: 50 }, beganAt, ...rest }));
    expect(await watermark()).toMatchObject({
      ...wanted,
      created_on_ticks: ticksAt(wanted.created_on_raw as string).toString(),
      created_on: '2026-01-01 11:00:00+00',
    });
  });

  test('is not moved by a run that does not extend it', async () => {
    const session = await begin('backfill');
    await session.describeRange({ from: undefined, to: undefined, movesWatermark: false });
    await session.commit(batchOf([eventAt(TEN)], { sourceTotal: 77 }));
    const row = await watermark();
    expect(row).toMatchObject({
      created_on_ticks: null,
      created_on: null,
      read_at: null,
      source_total: '77',
    });
    expect((await begin()).stored).toBeUndefined();
  });
});
