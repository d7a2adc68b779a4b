import { ExportError } from '../../core/errors.ts';
import { translateDatabaseError } from './errors.ts';
import type { Client, Pool } from './pool.ts';

/** What the worker does with its tables; it updates some columns only. The role `audit_writer` has just this. */
const RIGHTS: Record<string, readonly string[]> = {
  'audit.events': ['select', 'insert', 'update'],
  'audit.ledger': ['select', 'insert'],
  'audit.ledger_changes': ['select', 'insert'],
  'audit.coverage': ['select', 'insert', 'delete'],
  'audit.watermarks': ['select', 'insert', 'update'],
  'audit.runs': ['select', 'insert', 'update'],
  'audit.gaps': ['select'],
  'audit.rejected_events': ['select', 'insert', 'update'],
};

/** The server's version, and the database and user of the connection. Throws `database-away`, `database` or `configuration`. */
export async function readServer(pool: Pool): Promise<{ version: string; database: string; user: string }> {
  try {
    const { rows } = await pool.query<{ version: string; database: string; user: string }>(
      `select split_part(current_setting('server_version'), ' ', 1) as version, current_database() as database,
              current_user as user`,
    );
    return rows[0]!;
  } catch (error) {
    throw translateDatabaseError(error, 'connecting');
  }
}

/**
 * Writes and rolls back: a row where the tables exist, else a table. Throws `configuration` where a right is missing or the
 * server is read-only.
 */
export async function checkWritable(pool: Pool, { hasTables }: { hasTables: boolean }): Promise<void> {
  let client: Client | undefined;
  try {
    client = await pool.connect();
    await refuseReadOnly(client);
    if (hasTables) await refuseMissingRights(client);
    await client.query('begin');
    for (const statement of hasTables ? WRITE_A_ROW : CREATE_A_TABLE) await client.query(statement);
  } catch (error) {
    throw translateDatabaseError(error, 'trying to write');
  } finally {
    await client?.query('rollback').catch(() => {});
    client?.release();
  }
}

/** Whether the user could rewrite and delete what is stored, which no worker needs. The tables must exist. */
export async function canDelete(pool: Pool): Promise<boolean> {
  try {
    const { rows } = await pool.query<{ may_destroy: boolean }>(
      `select has_table_privilege('audit.events', 'delete') or has_table_privilege('audit.ledger', 'update') as may_destroy`,
    );
    return rows[0]!.may_destroy;
  } catch (error) {
    throw translateDatabaseError(error, 'reading the rights of the user');
  }
}

/** No organization has such a name: it holds a space, which no address does. */
const WRITE_A_ROW = [
  `insert into audit.watermarks (organization) values ('a trial of uipath-audit-export check')`,
];
const CREATE_A_TABLE = [
  'create schema if not exists audit',
  'create table audit.a_trial_of_check (organization text)',
];

async function refuseReadOnly(client: Client): Promise<void> {
  const { rows } = await client.query<{ is_read_only: boolean }>(
    `select current_setting('transaction_read_only')::boolean as is_read_only`,
  );
  if (!rows[0]!.is_read_only) return;
  throw new ExportError(
    'configuration',
    'The database is read-only: it is a standby, or default_transaction_read_only is on. Point DATABASE_URL at the ' +
      'server that may be written to.',
  );
}

async function refuseMissingRights(client: Client): Promise<void> {
  const wanted = Object.entries(RIGHTS).flatMap(([table, rights]) =>
    rights.map((right) => ({ table, right })),
  );
  const { rows } = await client.query<{ missing: string }>(
    `select wanted_right || ' on ' || name as missing
     from unnest($1::text[], $2::text[]) as t (name, wanted_right)
     where not case when wanted_right = 'update' then has_any_column_privilege(name, wanted_right)
       else has_table_privilege(name, wanted_right) end`,
    [wanted.map(({ table }) => table), wanted.map(({ right }) => right)],
  );
  if (rows.length === 0) return;
  throw new ExportError(
    'configuration',
    `The user of DATABASE_URL lacks ${rows.map(({ missing }) => missing).join(', ')}. Grant it the role audit_writer.`,
  );
}
