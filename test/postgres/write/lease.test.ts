import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { newCounters } from '../../../src/core/store.ts';
import type { Client } from '../../../src/postgres/connection/pool.ts';
import type { PostgresSession, RunKind } from '../../../src/postgres/write/session.ts';
import { openSession, type UnrecordedOutcome } from '../../../src/postgres/write/store.ts';
import { batchOf, eventAt } from '../../support/batch.ts';
import { type Bench, createBench } from '../../support/bench.ts';

/** Long enough that a worker on a busy machine does not look suspended. */
const LEASE_MS = 2000;

let bench: Bench;
let organization: string;
let opened = 0;
const sessions: PostgresSession[] = [];

beforeAll(async () => {
  bench = await createBench();
});
afterAll(() => bench.close());
beforeEach(() => {
  organization = `lock-${++opened}`;
});
afterEach(async () => {
  for (const session of sessions.splice(0)) await session.release();
});

async function open(
  options: { kind?: RunKind; leaseMs?: number; unrecordedOutcomes?: UnrecordedOutcome[] } = {},
): Promise<PostgresSession> {
  const session = await openSession(bench.pool, { organization, log: 'classic', kind: 'run', ...options });
  sessions.push(session);
  return session;
}

/** A session and its connection, which only the pool knows. */
async function openWithClient(leaseMs?: number): Promise<{ session: PostgresSession; client: Client }> {
  let client: Client | undefined;
  const note = (acquired: Client) => {
    client = acquired;
  };
  bench.pool.once('acquire', note);
  const session = await open(leaseMs ? { leaseMs } : {});
  return { session, client: client! };
}

const eventCount = async () => {
  const rows = await bench.query('select count(*)::int as n from audit.events where organization = $1', [
    organization,
  ]);
  return rows[0]!.n;
};
const runs = () =>
  bench.query('select * from audit.runs where organization = $1 order by run_id', [organization]);
const terminate = (pid: unknown) => bench.query('select pg_terminate_backend($1)', [pid]);
const pidOf = async (client: Client) => (await client.query('select pg_backend_pid() as pid')).rows[0].pid;
const lease = () =>
  bench.query('select lease_run_id, lease_until, lease_pid from audit.watermarks where organization = $1', [
    organization,
  ]);
const ENDED_AT = new Date('2026-01-01T00:00:00Z');
const expireLease = () =>
  bench.query(
    // Reads the clock: the database's clock decides when a lease expires.
    `update audit.watermarks set lease_until = clock_timestamp() - interval '1 ms' where organization = $1`,
    [organization],
  );
const waitingForLocks = () =>
  bench.query(
    `select pid from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()`,
  );
const succeeded = { outcome: 'succeeded' as const, error: null, warnings: [], counters: newCounters() };
const someEvents = batchOf([eventAt('2026-01-01T10:00:00Z')]);

describe('the lease of an organization', () => {
  test('rejects a second worker and names the holder', async () => {
    await open();
    const who = `${hostname()} process ${process.pid}, since 20\\S+Z, run \\d+, with a lease until 20\\S+Z`;
    await expect(open()).rejects.toMatchObject({
      code: 'locked',
      message: expect.stringMatching(new RegExp(who)),
    });
    expect(await runs()).toMatchObject([{ outcome: null }]);
  });

  test('admits only one of ten concurrent workers', async () => {
    const attempts = await Promise.allSettled(Array.from({ length: 10 }, () => open()));
    const codes = attempts.map((attempt) => (attempt.status === 'rejected' ? attempt.reason.code : 'open'));
    expect(codes.sort()).toEqual([...Array(9).fill('locked'), 'open']);
    expect(await runs()).toHaveLength(1);
  });

  test('does not affect another organization', async () => {
    await open();
    organization = `${organization}-other`;
    await expect(open()).resolves.toBeDefined();
  });

  test('is free at once when the session is released, before the server has closed its connection', async () => {
    const { session, client } = await openWithClient();
    await client.query(
      `do $$ begin for i in 1..300 loop execute format('create temp table t%s (id int primary key)', i); end loop; end $$`,
    );
    await session.release();
    await expect(open()).resolves.toBeDefined();
  });

  test('is free once the run has ended, before its session is released', async () => {
    const session = await open();
    await session.finish(succeeded);
    expect(await lease()).toEqual([{ lease_run_id: null, lease_until: null, lease_pid: null }]);
    await expect(open()).resolves.toBeDefined();
  });

  test('is free once the connection of its run is closed', async () => {
    const { client } = await openWithClient();
    await terminate(await pidOf(client));
    const successor = await waitFor(
      () => open().catch((error) => error),
      (result) => !(result instanceof Error),
    );
    expect(await lease()).toMatchObject([{ lease_run_id: successor.runId }]);
    expect(await runs()).toMatchObject([{ outcome: 'abandoned' }, { outcome: null }]);
  });

  test('is free once another session has the process number of the closed connection', async () => {
    await open();
    const other = await bench.sql.connect();
    await bench.query('update audit.watermarks set lease_pid = $2 where organization = $1', [
      organization,
      await pidOf(other),
    ]);
    await expect(open()).resolves.toBeDefined();
    other.release();
  });

  test('can be taken at once by the worker whose run lost its connection, and by no other worker', async () => {
    const lost = await open();
    const unrecordedOutcomes = [{ runId: lost.runId, error: 'the network', endedAt: ENDED_AT }];
    organization = `${organization}-other`;
    const other = await open();
    await expect(open({ unrecordedOutcomes })).rejects.toMatchObject({ code: 'locked' });
    organization = organization.replace('-other', '');
    const successor = await open({ unrecordedOutcomes });
    await expect(lost.commit(someEvents)).rejects.toMatchObject({ code: 'fenced' });
    expect(await runs()).toMatchObject([
      { outcome: 'failed', error: 'the network' },
      { run_id: successor.runId, outcome: null },
    ]);
    await other.commit(someEvents);
  });

  test('stays locked while a transaction of a run that lost its connection is in progress', async () => {
    const { session, client } = await openWithClient();
    const unrecordedOutcomes = [{ runId: session.runId, error: 'the network', endedAt: ENDED_AT }];
    await client.query('begin');
    await client.query('select from audit.watermarks where organization = $1 for update', [organization]);
    await expect(open({ unrecordedOutcomes })).rejects.toMatchObject({
      code: 'database-away',
      message: expect.stringMatching(/not yet ended a transaction of run \d+.* by 20\S+Z at the latest/),
    });
    await client.query('rollback');
    await expect(open({ unrecordedOutcomes })).resolves.toBeDefined();
  });

  test('is not taken from a worker whose commit is in progress when it expires, and is valid after the commit', async () => {
    const session = await open();
    const blocker = await bench.sql.connect();
    await blocker.query('begin; lock table audit.events in share mode');
    const committing = session.commit(someEvents);
    committing.catch(() => {});
    try {
      await waitFor(waitingForLocks, (rows) => rows.length > 0);
      await expect(
        bench.query('select from audit.watermarks where organization = $1 for update nowait', [organization]),
      ).rejects.toMatchObject({ code: '55P03' });
      await expect(open()).rejects.toMatchObject({
        code: 'locked',
        message: expect.stringContaining(`process ${process.pid}`),
      });
    } finally {
      await blocker.query('commit');
      blocker.release();
    }
    await committing;
    await expect(open()).rejects.toMatchObject({ code: 'locked' });
  });

  test('is shown in the application name of its connection and of no other', async () => {
    const session = await open();
    const { rows } = await bench.sql.query(
      `select application_name as name from pg_stat_activity where pid in (select lease_pid from audit.watermarks where organization = $1)`,
      [organization],
    );
    expect(rows).toEqual([{ name: `uipath-audit-export run ${session.runId}` }]);
    await session.release();
    expect((await bench.pool.query('show application_name')).rows).toEqual([
      { application_name: 'uipath-audit-export' },
    ]);
  });

  test('may be released twice', async () => {
    const session = await open();
    await session.release();
    await session.release();
  });

  test('leaves no timeout on other connections of the pool', async () => {
    const TIMEOUTS = `select name, setting from pg_settings where name like '%\\_timeout' order by name`;
    const before = await bench.pool.query(TIMEOUTS);
    await (await open()).release();
    const after = await bench.pool.query(TIMEOUTS);
    expect(after.rows).toContainEqual({ name: 'idle_session_timeout', setting: '0' });
    expect(after.rows).toEqual(before.rows);
  });

  test('leaves nothing behind when the session fails to open', async () => {
    const blocker = await bench.sql.connect();
    await blocker.query('begin; lock table audit.watermarks');
    const opening = open();
    opening.catch(() => {});
    const waiting = await waitFor(waitingForLocks, (rows) => rows.length > 0);
    await terminate(waiting[0]!.pid);
    await expect(opening).rejects.toMatchObject({ code: 'database-away' });
    await blocker.query('rollback');
    blocker.release();
    expect(await runs()).toEqual([]);
    await expect(open()).resolves.toBeDefined();
  });
});

describe('a worker that lost its lease', () => {
  const attempts = {
    'commits nothing': (session: PostgresSession) => session.commit(someEvents),
    'cannot say that it succeeded': (session: PostgresSession) => session.finish(succeeded),
    'cannot describe its run': (session: PostgresSession) => session.describeRange({ from: 1n, to: 2n }),
  };

  test.each(Object.entries(attempts))('because its connection was closed %s', async (_, attempt) => {
    const { session, client } = await openWithClient();
    await terminate(await pidOf(client));
    await expect(attempt(session)).rejects.toMatchObject({ code: 'database-away' });
    await expect(attempt(session)).rejects.toMatchObject({ code: 'database-away' });
    expect(await eventCount()).toBe(0);
    expect(await runs()).toMatchObject([{ outcome: null, from_ticks: null }]);
  });

  test.each(Object.entries(attempts))('because another worker took it %s', async (_, attempt) => {
    const { session } = await openWithClient();
    await expireLease();
    const successor = await open();
    await expect(attempt(session)).rejects.toMatchObject({ code: 'fenced' });
    expect(await eventCount()).toBe(0);
    expect(await runs()).toMatchObject([
      { run_id: session.runId, outcome: 'abandoned', from_ticks: null },
      { run_id: successor.runId, outcome: null },
    ]);
    await successor.commit(someEvents);
    expect(await eventCount()).toBe(1);
  });

  test('during a commit has stored all of it or nothing', async () => {
    const { session } = await openWithClient();
    await expireLease();
    const [commit, successor] = await Promise.allSettled([session.commit(someEvents), open()]);
    const codes = [commit, successor].map((done) => (done.status === 'rejected' ? done.reason.code : 'done'));
    expect(['done locked', 'fenced done']).toContain(codes.join(' '));
    expect(await eventCount()).toBe(commit.status === 'fulfilled' ? 1 : 0);
  });

  test('gets an error that names the holder', async () => {
    const session = await open();
    await expireLease();
    const { runId } = await open();
    await expect(session.commit(someEvents)).rejects.toMatchObject({
      message: expect.stringMatching(
        new RegExp(
          `another worker took over \\(${hostname()} process .*, run ${runId}, with a lease until 20`,
        ),
      ),
    });
  });

  test('is refused even if only its run was ended, as an older version does', async () => {
    const session = await open();
    await bench.query(
      `update audit.runs set outcome = 'abandoned', ended_at = started_at where organization = $1`,
      [organization],
    );
    await expect(session.commit(someEvents)).rejects.toMatchObject({ code: 'fenced' });
    const [held] = await lease();
    expect(held).toMatchObject({ lease_run_id: session.runId });
  });

  test('continues if no other worker took it', async () => {
    const session = await open();
    await expireLease();
    await session.commit(someEvents);
    await expect(open()).rejects.toMatchObject({ code: 'locked' });
  });
});

describe('the length of the lease', () => {
  test.each([
    ['between two commits', ''],
    [
      'in the middle of a transaction',
      `begin; insert into audit.coverage select 'half', 1, 2, at, at, at, at, 0 from (select timestamptz '2026-01-02T03:04:05Z' as at) as fixed`,
    ],
  ])('ends a worker that is suspended %s, with its lock and its uncommitted data', async (_, doing) => {
    const { session, client } = await openWithClient(LEASE_MS);
    await client.query(doing);
    blockEventLoop(LEASE_MS + 500);
    await waitFor(
      () => open().catch((error) => error),
      (result) => !(result instanceof Error),
    );
    await expect(session.commit(someEvents)).rejects.toMatchObject({ code: 'database-away' });
    expect(await bench.query(`select * from audit.coverage where organization = 'half'`)).toEqual([]);
    const abandoned = { outcome: 'abandoned', error: 'the process exited without recording an outcome' };
    expect(await runs()).toMatchObject([abandoned, { outcome: null, error: null }]);
  });

  test('is renewed while the worker waits for a slow source', async () => {
    const session = await open({ leaseMs: LEASE_MS });
    await sleep(LEASE_MS + 1000);
    await expect(open()).rejects.toMatchObject({ code: 'locked' });
    await session.commit(someEvents);
    expect(await eventCount()).toBe(1);
  });
});

/** Like a suspended process: no timer fires, no response is read. */
function blockEventLoop(milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}

async function waitFor<T>(look: () => Promise<T>, isThere: (found: T) => boolean): Promise<T> {
  for (const giveUpAt = performance.now() + 20_000; ; await sleep(20)) {
    const found = await look();
    if (isThere(found) || performance.now() > giveUpAt) return found;
  }
}
