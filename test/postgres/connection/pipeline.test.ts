import { readFileSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { type Plan, pipeline, type Statement, transact } from '../../../src/postgres/connection/pipeline.ts';
import { type Client, createPool, type Pool } from '../../../src/postgres/connection/pool.ts';
import { createTestDatabase, type TestDatabase, withParameter } from '../../support/database.ts';
import { createDatabaseProxy } from '../../support/proxy.ts';

let database: TestDatabase;
let pool: Pool;
let client: Client;

beforeAll(async () => {
  database = await createTestDatabase();
  pool = createPool(database.url, () => {});
});
afterAll(async () => {
  await pool.end();
  await database.drop();
});
beforeEach(async () => {
  client = await pool.connect();
  await client.query('drop table if exists public.numbers; create table public.numbers (n int primary key)');
});
afterEach(() => client.release());

/** Statements named by their position. */
async function sendPipelined(to: Client, statements: readonly Statement[]) {
  const plan = Object.fromEntries(statements.map((statement, i) => [`statement ${i}`, statement]));
  return Object.values(await pipeline(to, plan));
}

const add = (n: number) => ({
  name: 'add',
  text: 'insert into public.numbers values ($1) returning n',
  values: [n],
});
const copy = (...lines: string[]) => ({
  text: 'copy public.numbers from stdin',
  data: lines.map((line) => Buffer.from(`${line}\n`)),
});
const numbers = async () =>
  (await pool.query('select n from public.numbers order by n')).rows.map(({ n }) => n);

describe('pipelined statements', () => {
  test('each return their own rows', async () => {
    const results = await sendPipelined(client, [
      { text: 'begin' },
      add(1),
      copy('2', '3'),
      { text: 'select n, $1::text as said from public.numbers order by n', values: ['x'], rowMode: 'array' },
      { text: 'select from public.numbers where false' },
      add(4),
      { text: 'commit' },
    ]);
    const all = [
      [1, 'x'],
      [2, 'x'],
      [3, 'x'],
    ];
    expect(results).toEqual([[], [{ n: 1 }], [], all, [], [{ n: 4 }], []]);
    expect(await numbers()).toEqual([1, 2, 3, 4]);
  });

  test('are not executed, including the commit, if one of them cannot be serialized', async () => {
    const own = createPool(database.url, () => {});
    const lost = await own.connect();
    const unwritable = {
      toPostgres() {
        throw new Error('not to be written');
      },
    };
    const statements = [
      { text: 'begin' },
      add(1),
      { ...add(2), values: [unwritable] },
      add(3),
      { text: 'commit' },
    ];
    await expect(sendPipelined(lost, statements)).rejects.toThrow('not to be written');
    await expect(lost.query('select')).rejects.toThrow();
    lost.release(true);
    await own.end();
    expect(await numbers()).toEqual([]);
  });

  test.each([
    ['is refused before its rows', { ...copy('2'), text: 'copy nowhere from stdin' }, '42P01'],
    ['is refused for its rows', copy('2', 'two', '3'), '22P02'],
    ['is refused for a row that is there', copy('2', '1'), '23505'],
  ])('are not carried out behind a COPY that %s', async (_, refused, code) => {
    const sent = sendPipelined(client, [{ text: 'begin' }, add(1), refused, add(5), { text: 'commit' }]);
    await expect(sent).rejects.toMatchObject({ code });
    await client.query('rollback');
    expect(await numbers()).toEqual([]);
    expect(await sendPipelined(client, [add(6), copy('7')])).toEqual([[{ n: 6 }], []]);
    expect(await numbers()).toEqual([6, 7]);
  });

  test('can be sent again if an earlier failure kept them from being prepared', async () => {
    const addMore = (n: number) => ({ ...add(n), name: 'add more' });
    const failed = sendPipelined(client, [{ text: 'select 1 / 0' }, addMore(1)]);
    await expect(failed).rejects.toMatchObject({ code: '22012' });
    expect(await sendPipelined(client, [addMore(2), addMore(3)])).toEqual([[{ n: 2 }], [{ n: 3 }]]);
    expect((await client.query(addMore(4))).rows).toEqual([{ n: 4 }]);
  });

  test('fail with the reason why the server closed the connection', async () => {
    const other = await pool.connect();
    const statements = [add(1), { text: 'select pg_terminate_backend(pg_backend_pid())' }, copy('2'), add(3)];
    await expect(sendPipelined(other, statements)).rejects.toMatchObject({ code: '57P01' });
    other.release(true);
    expect(await numbers()).toEqual([]);
  });

  test('share the timeout of one query, and the timeout closes the connection', async () => {
    const proxy = await createDatabaseProxy(database.url);
    const impatient = createPool(withParameter(proxy.url, 'query_timeout', '2000'), () => {});
    try {
      const silent = await impatient.connect();
      proxy.hang();
      await expect(sendPipelined(silent, [add(1), copy('2')])).rejects.toThrow('Query read timeout');
      await expect(silent.query('select 1')).rejects.toThrow('Client was closed and is not queryable');
      silent.release();
    } finally {
      await impatient.end();
      await proxy.close();
    }
  });
});

test('the pinned version of pg has the internals that the pipeline uses', () => {
  const query = new pg.Query({ text: '' }, () => {});
  const connection = new pg.Connection();
  const handlers = ['RowDescription', 'DataRow', 'CommandComplete', 'ReadyForQuery'];
  const used: [string, object, string[]][] = [
    ['query', query, ['submit', 'callback', 'name', 'text', ...handlers.map((name) => `handle${name}`)]],
    ['connection', connection, ['sync', 'stream', 'submittedNamedStatements']],
    ['connection.stream', connection.stream, ['cork', 'uncork', 'write', 'destroy']],
  ];
  const missing = used.flatMap(([of, object, names]) =>
    names.filter((name) => !(name in object)).map((name) => `${of}.${name}`),
  );
  const { version } = JSON.parse(
    readFileSync(new URL('../../../node_modules/pg/package.json', import.meta.url), 'utf8'),
  );
  const { dependencies } = JSON.parse(
    readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'),
  );
  const found = missing.map(
    (name) => `pg ${version} lacks ${name}, which src/postgres/connection/pipeline.ts uses`,
  );
  expect(found).toEqual([]);
  expect(['pg is pinned to the version that was tested', dependencies.pg]).toEqual([
    'pg is pinned to the version that was tested',
    version,
  ]);
});

describe('a transaction', () => {
  test('builds its last statements from the results of the first ones', async () => {
    const added = await transact(client, { read: add(1) }, async ({ read }) => ({
      plan: { left: undefined, next: add(read[0].n + 1) },
      result: ({ left, next }) => [left, next![0].n],
    }));
    expect([added, await numbers()]).toEqual([
      [[], 2],
      [1, 2],
    ]);
  });

  test.each<[string, Plan, Plan]>([
    ['its first statements fail', { one: add(1), again: add(1) }, {}],
    ['its last statements fail', { one: add(1) }, { two: add(2), again: add(2) }],
  ])('stores nothing where %s', async (_, first, plan) => {
    const work = async () => ({ plan, result: () => {} });
    await expect(transact(client, first, work)).rejects.toMatchObject({ code: '23505' });
    expect(await numbers()).toEqual([]);
    await client.query(add(3));
    expect(await numbers()).toEqual([3]);
  });

  test('ends with the statements that are computed after the others were sent', async () => {
    const order: string[] = [];
    const work = async () => {
      order.push('work');
      const more = () => {
        order.push('more');
        return { copied: copy('3', '4') };
      };
      return { plan: { two: add(2) }, more, result: () => order.push('result') };
    };
    await transact(client, { one: add(1) }, work);
    expect([order, await numbers()]).toEqual([
      ['work', 'more', 'result'],
      [1, 2, 3, 4],
    ]);
  });

  test('stores nothing if computing its last statements fails, and closes the connection', async () => {
    const own = createPool(database.url, () => {});
    const lost = await own.connect();
    const more = () => {
      throw new Error('not to be computed');
    };
    const work = async () => ({ plan: { two: add(2) }, more, result: () => {} });
    await expect(transact(lost, { one: add(1) }, work)).rejects.toThrow('not to be computed');
    await expect(lost.query('select')).rejects.toThrow();
    lost.release(true);
    await own.end();
    expect(await numbers()).toEqual([]);
  });

  test('stores nothing if the work between them fails', async () => {
    const work = async () => {
      throw new Error('no');
    };
    await expect(transact(client, { one: add(1) }, work)).rejects.toThrow('no');
    expect(await numbers()).toEqual([]);
  });
});
