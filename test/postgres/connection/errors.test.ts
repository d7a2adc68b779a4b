import { createServer } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createPool } from '../../../src/postgres/connection/pool.ts';
import { migrate } from '../../../src/postgres/schema/migrate.ts';
import { openSession } from '../../../src/postgres/write/store.ts';
import { batchOf, eventAt } from '../../support/batch.ts';
import { type Bench, createBench } from '../../support/bench.ts';

let bench: Bench;

beforeAll(async () => {
  bench = await createBench();
});
afterAll(() => bench.close());

function changed(change: (url: URL) => void): string {
  const url = new URL(bench.database.url);
  change(url);
  return url.href;
}

async function failureOf(url: string): Promise<{ code: string; message: string }> {
  const pool = createPool(url, () => {});
  try {
    return await migrate(pool).then(
      () => ({ code: 'none', message: '' }),
      (error) => error,
    );
  } finally {
    await pool.end();
  }
}

describe('an error of the database says what to do, and whether a retry may help', () => {
  test('a role that does not exist', async () => {
    const url = changed((url) => {
      url.username = 'nobody';
    });
    expect(await failureOf(url)).toMatchObject({
      code: 'configuration',
      message: expect.stringMatching(/\(28\w{3}\)\. Check user and password in DATABASE_URL\.$/),
    });
  });

  test('a database that does not exist', async () => {
    const url = changed((url) => {
      url.pathname = '/absent';
    });
    expect(await failureOf(url)).toMatchObject({
      code: 'configuration',
      message: expect.stringMatching(
        /"absent" does not exist \(3D000\)\. Create that database, or name another/,
      ),
    });
  });

  test('an unreachable server', async () => {
    const port = await freePort();
    const url = changed((url) => {
      url.port = String(port);
    });
    expect(await failureOf(url)).toMatchObject({
      code: 'database-away',
      message: expect.stringMatching(/ECONNREFUSED.*Check that the database is up/),
    });
  });

  test('a server that closes the connection', async () => {
    const server = createServer((socket) => socket.destroy());
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as { port: number };
    const url = changed((url) => {
      url.port = String(port);
    });
    expect(await failureOf(url)).toMatchObject({ code: 'database-away' });
    await new Promise((resolve) => server.close(resolve));
  });

  test('missing tables', async () => {
    await bench.query('alter table audit.runs rename to moved');
    try {
      await expect(
        openSession(bench.pool, { organization: 'a', log: 'classic', kind: 'run' }),
      ).rejects.toMatchObject({
        code: 'configuration',
        message: expect.stringContaining('Run `node dist/main.js migrate`.'),
      });
    } finally {
      await bench.query('alter table audit.moved rename to runs');
    }
  });

  test.each([
    ['a full disk', '53100', 'database-away'],
    ['a deadlock', '40P01', 'database-away'],
    ['a server that became a standby', '25006', 'database-away'],
    ['a right that is missing', '42501', 'configuration'],
    ['a check that fails', '23514', 'database'],
  ])('%s', async (_, state, code) => {
    const session = await openSession(bench.pool, {
      organization: `state-${state}`,
      log: 'classic',
      kind: 'run',
    });
    await bench.query(`
      create function fail() returns trigger language plpgsql as
      $$ begin raise exception 'simulated' using errcode = '${state}'; end $$;
      create trigger fail before insert on audit.events for each row execute function fail()`);
    try {
      const commit = session.commit(
        batchOf([eventAt('2026-01-01T10:00:00Z', { auditLogDetails: 'a body' })]),
      );
      await expect(commit).rejects.toMatchObject({
        code,
        message: expect.stringMatching(
          `^PostgreSQL failed while storing 1 events: simulated \\(${state}\\)\\. (?!.*a body)`,
        ),
      });
    } finally {
      await bench.query('drop function fail cascade');
      await session.release();
    }
  });
});

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}
