/**
 * The settings of a session that results depend on. A role, a database, `options` in DATABASE_URL or PGOPTIONS may set any of them,
 * so each connection that the program opens sets them itself, before its first use, in one request.
 */
import type pg from 'pg';
import { ExportError } from '../../core/errors.ts';
import { requireOwnConnection } from './pooler.ts';

/** What a connection sets, and what would depend on it. A setting that the server's version does not have is left out. */
const SETTINGS: Record<string, string> = {
  // How values are written and read. pg parses the text of times, intervals and bytes in these forms alone.
  DateStyle: 'ISO, MDY',
  IntervalStyle: 'postgres',
  // Texts of times, days of a time, and times without a zone are those of UTC.
  TimeZone: 'UTC',
  bytea_output: 'hex',
  // Floating-point numbers in full.
  extra_float_digits: '1',
  // record_send, of which audit.content_digest is made, writes texts in it.
  client_encoding: 'UTF8',
  // Off: a NULL within an array parameter would be the text "NULL".
  array_nulls: 'on',

  // How statements are read.
  standard_conforming_strings: 'on',
  transform_null_equals: 'off',
  // The definition of a view, as a migration reads it.
  quote_all_identifiers: 'off',
  // Every object of ours is named with its schema. No other schema can put a function, an operator or a type in place of PostgreSQL's.
  search_path: 'pg_catalog, pg_temp',
  // `view` would refuse every view.
  restrict_nonsystem_relation_kind: '',

  // What statements see and do.
  // Off: a policy that would hide rows is an error, and no silent loss of them. pg_dump does the same.
  row_security: 'off',
  // Replica: no trigger would run, and the roll-ups would not be kept. Only a superuser may set it.
  session_replication_role: 'origin',
  // A transaction that needs another level sets it.
  default_transaction_isolation: 'read committed',
  default_transaction_deferrable: 'off',
  // On: an error would end the connection, also one that is expected, such as a refused COPY.
  exit_on_error: 'off',

  // How long things may take. A connection waits in the pool, and the one of a run waits for the source.
  idle_session_timeout: '0',
  transaction_timeout: '0',
  // A process that is stopped within a transaction holds locks, and keeps old rows from being removed.
  idle_in_transaction_session_timeout: '120000',
};

/*
 * Left as they are, on purpose:
 * - default_transaction_read_only: its owner wants no writes, and the error says so.
 * - lock_timeout: a run that waits longer for a lock fails, nothing is stored by half, and the next one goes on. It is set where a
 *   wait is part of the work (`NO_LIMITS`).
 * - synchronous_commit, default_tablespace, temp_tablespaces, default_table_access_method, default_toast_compression: where and how
 *   safely data is kept is the administrator's choice.
 * - lc_*, xml*, escape_string_warning, backslash_quote, check_function_bodies, client_min_messages, planner,
 *   memory and log settings: no result depends on them.
 */

/** For a connection whose statements may take, and wait, as long as they need. */
export const NO_LIMITS: Record<string, string> = { statement_timeout: '0', lock_timeout: '0' };

/**
 * Sets only what differs: setting session_replication_role needs a right even where it changes nothing. Sets nothing on a connection
 * of another process than $3: a pooler stands between, which may hand the connection, and the settings, to somebody else.
 * The role's own search_path is still in force, so each name has its schema.
 */
const APPLY_SETTINGS = `
  select pg_catalog.pg_backend_pid() as pid, array(
    select pg_catalog.set_config(name, value, false)
    from rows from (pg_catalog.unnest($1::pg_catalog.text[]), pg_catalog.unnest($2::pg_catalog.text[])) as wanted (name, value)
    where pg_catalog.pg_backend_pid() operator(pg_catalog.=) $3::pg_catalog.int4
      and pg_catalog.current_setting(name, true) operator(pg_catalog.<>) value
  )`;

/** A server that says nothing for so long on a new connection is away. */
const ANSWER_MS = 10_000;
const INSUFFICIENT_PRIVILEGE = '42501';

/**
 * Sets what results depend on, and `more`, on a connection that was just opened. `pool` is the one that the connection belongs to,
 * or whose server it shares: behind a pooler in transaction mode this throws `configuration`, and sets nothing.
 */
export async function applySettings(
  client: pg.ClientBase,
  more: Record<string, string>,
  pool?: pg.Pool,
): Promise<void> {
  // Given by the server when it accepts the connection; a pooler gives a number of its own.
  const { processID } = client as unknown as { processID: number | null };
  const pid = await setOn(client, more, processID ?? 0);
  if (pid === processID) return;
  if (pool) await requireOwnConnection(pool, client);
  await setOn(client, more, pid);
}

async function setOn(client: pg.ClientBase, more: Record<string, string>, pid: number): Promise<number> {
  const wanted = { ...SETTINGS, ...more };
  const query = {
    text: APPLY_SETTINGS,
    values: [Object.keys(wanted), Object.values(wanted), pid],
    query_timeout: ANSWER_MS,
  };
  try {
    const { rows } = await client.query<{ pid: number }>(query);
    return rows[0]!.pid;
  } catch (error) {
    if ((error as { code?: unknown }).code !== INSUFFICIENT_PRIVILEGE) throw error;
    throw new ExportError(
      'configuration',
      'session_replication_role is not "origin" for the user or the database of DATABASE_URL, so no trigger would run, and the user ' +
        'may not set it. As a superuser: `alter role … reset session_replication_role`, or the same for the database.',
      { cause: error },
    );
  }
}
