import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { createPool, withTransaction } from '../../../src/postgres/connection/pool.ts';
import { createTestDatabase, type TestDatabase, withParameter } from '../../support/database.ts';
import { createDatabaseProxy } from '../../support/proxy.ts';

let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.drop());

test('a query timeout closes the connection, which is not reused', async () => {
  const proxy = await createDatabaseProxy(database.url);
  const pool = createPool(withParameter(proxy.url, 'query_timeout', '2000'), () => {});
  try {
    const client = await pool.connect();
    proxy.hang();
    const failure = await withTransaction(client, async () => {}).catch((error) => error);
    const next = await client.query('select 1').catch((error) => error);
    client.release();
    expect([failure.message, next.message]).toEqual([
      'Query read timeout',
      'Client was closed and is not queryable',
    ]);
    await proxy.start();
    const { rows } = await pool.query('select 1 as one');
    expect(rows).toEqual([{ one: 1 }]);
    expect(proxy.connections).toBe(2);
  } finally {
    await pool.end();
    await proxy.close();
  }
});
