import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { newCounters } from '../../src/core/store.ts';
import type { Client } from '../../src/postgres/pool.ts';
import type { PostgresSession, RunKind } from '../../src/postgres/session.ts';
import { openSession } from '../../src/postgres/store.ts';
import { batchOf, eventAt } from '../support/batch.ts';
import { type Bench, createBench } from '../support/bench.ts';

/** Long enough that a worker on a busy machine is not taken for one that stands still. */
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

async function open(options: { kind?: RunKind; leaseMs?: number } = {}): Promise<PostgresSession> {
  const session = await openSession(bench.pool, { organization, kind: 'run', ...options });
  sessions.push(session);
  return session;
}

/** A session and the connection it runs on, which only the pool knows. */
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
const someEvents = batchOf([eventAt('2026-01-01T10:00:00Z')]);

describe('the lock of an organization', () => {
  test('turns a second worker away and names the one who has it', async () => {
    await open();
    await expect(open()).rejects.toMatchObject({
      code: 'locked',
      message: expect.stringContaining(`${hostname()} process ${process.pid}, since 20`),
    });
    expect(await runs()).toMatchObject([{ outcome: null }]);
  });

  test('lets only one of ten workers in that come at once', async () => {
    const attempts = await Promise.allSettled(Array.from({ length: 10 }, () => open()));
    const codes = attempts.map((attempt) => (attempt.status === 'rejected' ? attempt.reason.code : 'open'));
    expect(codes.sort()).toEqual([...Array(9).fill('locked'), 'open']);
    expect(await runs()).toHaveLength(1);
  });

  test('does not concern another organization', async () => {
    await open();
    organization = `${organization}-other`;
    await expect(open()).resolves.toBeDefined();
  });

  test('is free at once when the session is released, however long the server takes to end its connection', async () => {
    const { session, client } = await openWithClient();
    await client.query(
      `do $$ begin for i in 1..300 loop execute format('create temp table t%s (id int primary key)', i); end loop; end $$`,
    );
    const pid = await pidOf(client);
    const other = await bench.sql.connect();
    await session.release();
    const held = await other.query(`select pid from pg_locks where locktype = 'advisory' and pid = $1`, [
      pid,
    ]);
    other.release();
    expect(held.rows).toEqual([]);
    await expect(open()).resolves.toBeDefined();
  });

  test('may be released twice', async () => {
    const session = await open();
    await session.release();
    await session.release();
  });

  test('leaves no time-out on connections that others use', async () => {
    await (await open()).release();
    const client = await bench.pool.connect();
    const { rows } = await client.query(
      `select name from pg_settings where source = 'session' and name in ('idle_session_timeout', 'statement_timeout')`,
    );
    client.release();
    expect(rows).toEqual([]);
  });

  test('leaves nothing behind when the session does not come up', async () => {
    const blocker = await bench.sql.connect();
    await blocker.query('begin; lock table audit.watermarks');
    const opening = open();
    opening.catch(() => {});
    const waiting = await waitFor(
      () =>
        bench.query(
          `select pid from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()`,
        ),
      (rows) => rows.length > 0,
    );
    await terminate(waiting[0]!.pid);
    await expect(opening).rejects.toMatchObject({ code: 'database-away' });
    await blocker.query('rollback');
    blocker.release();
    expect(await runs()).toEqual([]);
    await expect(open()).resolves.toBeDefined();
  });
});

describe('a worker that lost its lock', () => {
  const attempts = {
    'commits nothing': (session: PostgresSession) => session.commit(someEvents),
    'cannot say that it succeeded': (session: PostgresSession) =>
      session.finish({ outcome: 'succeeded', error: null, warnings: [], counters: newCounters() }),
    'cannot describe its run': (session: PostgresSession) => session.describeRange({ from: 1n, to: 2n }),
  };

  test.each(Object.entries(attempts))('because its connection was ended %s', async (_, attempt) => {
    const { session, client } = await openWithClient();
    await terminate(await pidOf(client));
    await expect(attempt(session)).rejects.toMatchObject({ code: 'database-away' });
    await expect(attempt(session)).rejects.toMatchObject({ code: 'database-away' });
    expect(await eventCount()).toBe(0);
    expect(await runs()).toMatchObject([{ outcome: null, from_ticks: null }]);
  });

  test.each(Object.entries(attempts))('and was overtaken %s', async (_, attempt) => {
    const { session, client } = await openWithClient();
    await client.query('select pg_advisory_unlock_all()');
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

  test('and is overtaken while it commits has either stored all before or stores nothing', async () => {
    const { session, client } = await openWithClient();
    await client.query('select pg_advisory_unlock_all()');
    const [commit, successor] = await Promise.allSettled([session.commit(someEvents), open()]);
    expect(successor.status).toBe('fulfilled');
    expect(await eventCount()).toBe(commit.status === 'fulfilled' ? 1 : 0);
    await expect(session.commit(someEvents)).rejects.toMatchObject({ code: 'fenced' });
  });
});

describe('the lease', () => {
  test.each([
    ['between two commits', ''],
    [
      'in the middle of a transaction',
      `begin; insert into audit.coverage values ('half', 1, 2, now(), now(), now(), now(), 0)`,
    ],
  ])(
    'ends a worker that stands still %s, and with it its lock and what it had not committed',
    async (_, doing) => {
      const { session, client } = await openWithClient(LEASE_MS);
      await client.query(doing);
      standStill(LEASE_MS + 500);
      await waitFor(
        () => open().catch((error) => error),
        (result) => !(result instanceof Error),
      );
      await expect(session.commit(someEvents)).rejects.toMatchObject({ code: 'database-away' });
      expect(await bench.query(`select * from audit.coverage where organization = 'half'`)).toEqual([]);
      const abandoned = { outcome: 'abandoned', error: 'the process ended without a word' };
      expect(await runs()).toMatchObject([abandoned, { outcome: null, error: null }]);
    },
  );

  test('is kept while the worker waits for a slow source', async () => {
    const session = await open({ leaseMs: LEASE_MS });
    await sleep(LEASE_MS + 1000);
    await expect(open()).rejects.toMatchObject({ code: 'locked' });
    await session.commit(someEvents);
    expect(await eventCount()).toBe(1);
  });
});

/** As a stopped process: no timer fires, no answer is read. */
function standStill(milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}

async function waitFor<T>(look: () => Promise<T>, isThere: (found: T) => boolean): Promise<T> {
  for (const giveUpAt = Date.now() + 20_000; ; await sleep(20)) {
    const found = await look();
    if (isThere(found) || Date.now() > giveUpAt) return found;
  }
}
