/** Every encoding of a PostgreSQL server, with the real program: only UTF8 gets a table. */
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import pg from 'pg';
import { createPool } from '../../src/postgres/connection/pool.ts';
import { migrate, readMigrations } from '../../src/postgres/schema/migrate.ts';
import { createSimulator, type Simulator } from '../../src/simulator/simulator.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { environmentFor, runProgram } from '../support/program.ts';

let main: TestDatabase;
let admin: pg.Client;
let simulator: Simulator;
const created: string[] = [];

beforeAll(async () => {
  main = await createTestDatabase();
  admin = new pg.Client({ connectionString: main.url });
  await admin.connect();
  simulator = await createSimulator({ events: 5 });
});
afterAll(async () => {
  for (const name of created) await admin.query(`drop database ${name} with (force)`);
  await admin.end();
  await simulator.close();
  await main.drop();
});

/** A database of this encoding; `undefined` if it is one of clients only. */
async function createWith(encoding: string): Promise<{ name: string; url: string } | undefined> {
  const name = `audit_test_${process.env.TEST_RUN}_${randomBytes(4).toString('hex')}`;
  try {
    await admin.query(
      `create database ${name} encoding '${encoding}' locale_provider libc locale 'C' template template0`,
    );
  } catch (error) {
    expect((error as Error).message).toMatch(/not a valid encoding name/);
    return undefined;
  }
  created.push(name);
  const url = new URL(main.url);
  url.pathname = `/${name}`;
  return { name, url: url.href };
}

async function hasSchema(url: string): Promise<boolean> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const { rowCount } = await client.query(`select from pg_namespace where nspname = 'audit'`);
    return rowCount === 1;
  } finally {
    await client.end();
  }
}

test('each encoding but UTF8 is refused before the first table, and the message says what to create', async () => {
  const { rows } = await admin.query<{ name: string }>(
    `select pg_encoding_to_char(n) as name from generate_series(0, 100) n where pg_encoding_to_char(n) <> ''`,
  );
  expect(rows.length).toBeGreaterThan(40);
  const accepted: string[] = [];
  let refused = 0;
  for (const { name: encoding } of rows) {
    const database = await createWith(encoding);
    if (database === undefined) continue;
    const pool = createPool(database.url, () => {});
    try {
      await readMigrations(pool);
      accepted.push(encoding);
    } catch (error) {
      refused += 1;
      // The server cannot convert it, so nothing can connect.
      const isInconvertible = encoding === 'MULE_INTERNAL';
      const conversion =
        /cannot be used: conversion between UTF8 and MULE_INTERNAL is not supported\. It must be UTF8\. Create another/;
      expect(error).toMatchObject({
        code: 'configuration',
        ...(isInconvertible && { message: expect.stringMatching(conversion) }),
      });
      if (isInconvertible) continue;
      expect(error).toMatchObject({
        message:
          `The database ${database.name} has the encoding ${encoding}. It must be UTF8, to store the events of every language. Create ` +
          `another one, for example with: create database audit_utf8 encoding 'UTF8' template template0; and name it in DATABASE_URL.`,
      });
      await expect(migrate(pool)).rejects.toMatchObject({ code: 'configuration' });
      expect(await hasSchema(database.url)).toBe(false);
    } finally {
      await pool.end();
    }
  }
  expect(accepted).toEqual(['UTF8']);
  expect(refused).toBeGreaterThan(30);
});

test.each(['LATIN1', 'SQL_ASCII'])(
  '%s: every command that would store events ends with exit code 2',
  async (encoding) => {
    const { url } = (await createWith(encoding))!;
    for (const command of ['migrate', 'run', 'backfill', 'start', 'check', 'status', 'verify']) {
      const { code, stdout, stderr } = await runProgram([command], environmentFor(simulator, url));
      expect([command, code, stdout + stderr]).toEqual([
        command,
        2,
        expect.stringContaining(`has the encoding ${encoding}. It must be UTF8`),
      ]);
    }
    expect(await hasSchema(url)).toBe(false);
  },
);

test('a database with tables says how to move them', async () => {
  const { url } = (await createWith('LATIN1'))!;
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await client.query(
    'create schema audit; create table audit.migrations (id serial primary key, name text, run_on timestamp)',
  );
  await client.end();
  const { code, stderr } = await runProgram(['run'], environmentFor(simulator, url));
  expect([code, stderr]).toEqual([2, expect.stringContaining('pg_dump --encoding=UTF8')]);
});
