import { ExportError } from '../../core/errors.ts';
import { translateDatabaseError } from './errors.ts';
import type { Client, Pool } from './pool.ts';

/** Privileges of the worker; it updates some columns only. The role `audit_writer` has exactly these. */
const PRIVILEGES: Record<string, readonly string[]> = {
  'audit.events': ['select', 'insert', 'update'],
  'audit.ledger': ['select', 'insert'],
  'audit.ledger_changes': ['select', 'insert'],
  'audit.coverage': ['select', 'insert', 'delete'],
  'audit.watermarks': ['select', 'insert', 'update'],
  'audit.runs': ['select', 'insert', 'update'],
  'audit.gaps': ['select'],
  'audit.rejected_events': ['select', 'insert', 'update'],
};

/**
 * Checks write access: writes a row, or creates a table if there are none yet, and rolls back. Throws `configuration` if a
 * privilege is missing or the server is read-only.
 */
export async function checkWritable(pool: Pool, { hasTables }: { hasTables: boolean }): Promise<void> {
  let client: Client | undefined;
  try {
    client = await pool.connect();
    await assertNotReadOnly(client);
    if (hasTables) await assertPrivileges(client);
    await client.query('begin');
    for (const statement of hasTables ? WRITE_A_ROW : CREATE_A_TABLE) await client.query(statement);
  } catch (error) {
    throw translateDatabaseError(error, 'checking write access');
  } finally {
    await client?.query('rollback').catch(() => {});
    client?.release();
  }
}

/** Whether the user can delete events or change the ledger, which no worker needs. The tables must exist. */
export async function canDelete(pool: Pool): Promise<boolean> {
  try {
    const { rows } = await pool.query<{ can_delete: boolean }>(
      `select has_table_privilege('audit.events', 'delete') or has_table_privilege('audit.ledger', 'update') as can_delete`,
    );
    return rows[0]!.can_delete;
  } catch (error) {
    throw translateDatabaseError(error, 'reading the privileges of the user');
  }
}

/** No organization has this name: it contains spaces, which no address does. */
const WRITE_A_ROW = [
  `insert into audit.watermarks (organization) values ('write test of uipath-audit-export check')`,
];
const CREATE_A_TABLE = [
  'create schema if not exists audit',
  'create table audit.write_test_of_check (organization text)',
];

async function assertNotReadOnly(client: Client): Promise<void> {
  const { rows } = await client.query<{ is_read_only: boolean }>(
    `select current_setting('transaction_read_only')::boolean as is_read_only`,
  );
  if (!rows[0]!.is_read_only) return;
  throw new ExportError(
    'configuration',
    'The database is read-only: it is a standby, or default_transaction_read_only is on. Point DATABASE_URL at the ' +
      'primary server.',
  );
}

async function assertPrivileges(client: Client): Promise<void> {
  const wanted = Object.entries(PRIVILEGES).flatMap(([table, rights]) =>
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
