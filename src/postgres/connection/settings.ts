/**
 * The session settings that results depend on. A role, a database, `options` in DATABASE_URL or PGOPTIONS may set any of them,
 * so the program sets them on each connection that it opens, before its first use, in one request.
 */
import type pg from 'pg';
import { ExportError } from '../../core/errors.ts';
import { requireOwnConnection } from './pooler.ts';

/** The settings, and what depends on each. A setting unknown to the server's version is skipped. */
const SETTINGS: Record<string, string> = {
  // How values are written and read. pg parses the text of times, intervals and bytes only in these forms.
  DateStyle: 'ISO, MDY',
  IntervalStyle: 'postgres',
  // Texts of times, the day of a time, and times without a zone are in UTC.
  TimeZone: 'UTC',
  bytea_output: 'hex',
  // Floating-point numbers in full.
  extra_float_digits: '1',
  // audit.content_digest uses record_send, which writes texts in this encoding.
  client_encoding: 'UTF8',
  // Off: a NULL within an array parameter would be the text "NULL".
  array_nulls: 'on',

  // How statements are read.
  standard_conforming_strings: 'on',
  transform_null_equals: 'off',
  // A migration reads the definition of a view.
  quote_all_identifiers: 'off',
  // Every object of the program is named with its schema. No other schema can replace a function, an operator or a type of PostgreSQL.
  search_path: 'pg_catalog, pg_temp',
  // `view` would refuse every view.
  restrict_nonsystem_relation_kind: '',

  // What statements see and do.
  // Off: a policy that would hide rows causes an error instead of hiding them silently. pg_dump does the same.
  row_security: 'off',
  // With `replica` no trigger would run, so the roll-ups would not be updated. Only a superuser may set it.
  session_replication_role: 'origin',
  // A transaction that needs another level sets it itself.
  default_transaction_isolation: 'read committed',
  default_transaction_deferrable: 'off',
  // On: any error would end the connection, also an expected one, such as a rejected COPY.
  exit_on_error: 'off',

  // Timeouts. Connections are idle in the pool, and a run's connection is idle while the source responds.
  idle_session_timeout: '0',
  transaction_timeout: '0',
  // A process that is suspended in a transaction holds locks and keeps vacuum from removing old rows.
  idle_in_transaction_session_timeout: '120000',
};

/*
 * Deliberately not set:
 * - default_transaction_read_only: an administrator who sets it wants no writes, and the error says so.
 * - lock_timeout: a run that waits longer for a lock fails, its transaction is rolled back, and the next run continues. It is set
 *   only where a wait is part of the work (`NO_LIMITS`).
 * - synchronous_commit, default_tablespace, temp_tablespaces, default_table_access_method, default_toast_compression: the
 *   administrator decides where and how safely data is stored.
 * - lc_*, xml*, escape_string_warning, backslash_quote, check_function_bodies, client_min_messages, planner,
 *   memory and log settings: no result depends on them.
 */

/** For a connection whose statements have no time limit. */
export const NO_LIMITS: Record<string, string> = { statement_timeout: '0', lock_timeout: '0' };

/**
 * Sets only what differs: setting session_replication_role needs a privilege even if it changes nothing. Sets nothing if the server
 * process is not $3: then a pooler is in between, which may pass the connection, and the settings, to another client.
 * The role's own search_path still applies, so each name has its schema.
 */
const APPLY_SETTINGS = `
  select pg_catalog.pg_backend_pid() as pid, array(
    select pg_catalog.set_config(name, value, false)
    from rows from (pg_catalog.unnest($1::pg_catalog.text[]), pg_catalog.unnest($2::pg_catalog.text[])) as wanted (name, value)
    where pg_catalog.pg_backend_pid() operator(pg_catalog.=) $3::pg_catalog.int4
      and pg_catalog.current_setting(name, true) operator(pg_catalog.<>) value
  )`;

/** The longest wait for this request on a new connection. After it the server counts as away. */
const SETTINGS_TIMEOUT_MS = 10_000;
const INSUFFICIENT_PRIVILEGE = '42501';

/**
 * Applies the settings, and `more`, to a connection that was just opened. `pool` is the pool of the connection, or a pool of the
 * same server: behind a pooler in transaction mode this throws `configuration` and sets nothing.
 */
export async function applySettings(
  client: pg.ClientBase,
  more: Record<string, string>,
  pool?: pg.Pool,
): Promise<void> {
  // Sent by the server when it accepts the connection; a pooler sends its own number.
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
    query_timeout: SETTINGS_TIMEOUT_MS,
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
