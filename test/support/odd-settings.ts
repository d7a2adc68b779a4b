/** Session settings at values that a server does not have by default, as an administrator may give them to a role or a database. */
import pg from 'pg';

/** Each setting that can change a result, an error or what is stored, with its odd values as SQL writes them. */
export const ODD_SETTINGS: Record<string, readonly string[]> = {
  DateStyle: [
    `'German'`,
    `'SQL, DMY'`,
    `'SQL, MDY'`,
    `'Postgres, DMY'`,
    `'Postgres, MDY'`,
    `'ISO, YMD'`,
    `'ISO, DMY'`,
  ],
  IntervalStyle: [`'iso_8601'`, `'sql_standard'`, `'postgres_verbose'`],
  TimeZone: [
    `'Asia/Kolkata'`,
    `'America/St_Johns'`,
    `'Pacific/Kiritimati'`,
    `'Europe/Amsterdam'`,
    `'<odd>-05:17'`,
  ],
  bytea_output: [`'escape'`],
  extra_float_digits: ['-15', '3'],
  client_encoding: [`'LATIN1'`, `'SQL_ASCII'`, `'EUC_JP'`],
  array_nulls: ['off'],
  standard_conforming_strings: ['off'],
  transform_null_equals: ['on'],
  backslash_quote: ['off', 'on'],
  escape_string_warning: ['off'],
  quote_all_identifiers: ['on'],
  // In this order the schema's functions, operators and types come before PostgreSQL's own.
  search_path: ['evil, pg_catalog', `''`, 'nowhere'],
  restrict_nonsystem_relation_kind: [`'view'`],
  row_security: ['off'],
  default_transaction_isolation: [`'serializable'`, `'repeatable read'`, `'read uncommitted'`],
  default_transaction_deferrable: ['on'],
  exit_on_error: ['on'],
  statement_timeout: [`'1s'`],
  lock_timeout: [`'100ms'`],
  idle_session_timeout: [`'50ms'`],
  idle_in_transaction_session_timeout: [`'50ms'`],
  transaction_timeout: [`'1s'`],
  check_function_bodies: ['off'],
  client_min_messages: [`'debug5'`, `'error'`],
  createrole_self_grant: [`'set, inherit'`],
  default_text_search_config: [`'pg_catalog.german'`],
  gin_fuzzy_search_limit: ['1'],
  gin_pending_list_limit: ['64'],
  icu_validation_level: [`'error'`],
  lc_monetary: [`'C'`],
  lc_numeric: [`'C'`],
  lc_time: [`'C'`],
  synchronize_seqscans: ['off'],
  timezone_abbreviations: [`'India'`],
  xmlbinary: [`'hex'`],
  xmloption: [`'document'`],
  'plpgsql.extra_errors': [`'all'`],
  'plpgsql.extra_warnings': [`'all'`],
  'plpgsql.check_asserts': ['off'],
  // Which plan is taken, and where it runs.
  debug_parallel_query: ['on', 'regress'],
  plan_cache_mode: [`'force_generic_plan'`, `'force_custom_plan'`],
  enable_seqscan: ['off'],
  enable_indexscan: ['off'],
  enable_hashjoin: ['off'],
  enable_hashagg: ['off'],
  enable_nestloop: ['off'],
  enable_sort: ['off'],
  jit_above_cost: ['0'],
  work_mem: [`'64kB'`],
  constraint_exclusion: ['on'],
};

/** Settings that need no odd value here, and why. The names of categories are PostgreSQL's. */
export const LEFT_OUT: Record<string, string> = {
  default_table_access_method: 'the server has one',
  default_toast_compression: 'how data is kept is the administrator’s choice',
  default_tablespace: 'where data is kept is the administrator’s choice',
  temp_tablespaces: 'where data is kept is the administrator’s choice',
  local_preload_libraries: 'names a library, which is the administrator’s',
  default_transaction_read_only: 'refuses to write, and says so; a test of its own',
  transaction_deferrable: 'of one transaction',
  transaction_isolation: 'of one transaction',
  transaction_read_only: 'of one transaction',
};

/** In these, every setting that a user may change is in one of the two lists above. */
export const CATEGORIES = [
  'Client Connection Defaults%',
  'Version and Platform Compatibility%',
  'Error Handling',
];

/** What stands in the way of PostgreSQL's own functions, operators and types where `evil` comes first in the search path. */
const EVIL = `
  create schema evil;
  create function evil.sha256(bytea) returns bytea language sql immutable return '\\x00'::bytea;
  create function evil.md5(text) returns text language sql immutable return repeat('0', 32);
  create function evil.encode(bytea, text) returns text language sql immutable return 'evil';
  create function evil.now() returns timestamptz language sql stable return '2000-01-01'::timestamptz;
  create function evil.to_char(timestamp, text) returns text language sql stable return 'evil';
  create function evil.hashtextextended(text, integer) returns bigint language sql immutable return 0;
  create function evil.set_config(text, text, boolean) returns text language sql volatile return 'evil';
  create function evil.current_setting(text, boolean) returns text language sql stable return null::text;
  create function evil.unnest(text[]) returns setof text language sql as $$ select 'evil' $$;
  create function evil.uuid_send(uuid) returns bytea language sql immutable return '\\x00'::bytea;
  create function evil.greatest_text(text, text) returns boolean language sql immutable return false;
  create operator evil.= (leftarg = text, rightarg = text, function = evil.greatest_text);
  create operator evil.<> (leftarg = text, rightarg = text, function = evil.greatest_text);
  create function evil.never(timestamptz, timestamptz) returns boolean language sql immutable return false;
  create operator evil.>= (leftarg = timestamptz, rightarg = timestamptz, function = evil.never);
  create operator evil.<= (leftarg = timestamptz, rightarg = timestamptz, function = evil.never);
  create domain evil.text as pg_catalog.text check (value <> value);
  create domain evil.uuid as pg_catalog.text;
  create table evil.pg_database (datname text, datdba oid);
  grant usage on schema evil to public`;

/** A connection that no setting of the database or its role reaches. The caller must `end()` it. */
export function createPlainPool(url: string): pg.Pool {
  const plain = new URL(url);
  plain.searchParams.set(
    'options',
    '-c DateStyle=ISO,MDY -c TimeZone=UTC -c IntervalStyle=postgres -c search_path=pg_catalog -c bytea_output=hex -c array_nulls=on ' +
      '-c standard_conforming_strings=on -c exit_on_error=off -c statement_timeout=0 -c idle_session_timeout=0 ' +
      '-c restrict_nonsystem_relation_kind= -c session_replication_role=origin -c default_transaction_read_only=off',
  );
  const pool = new pg.Pool({ connectionString: plain.href.replaceAll('+', '%20') });
  pool.on('error', () => {});
  return pool;
}

export async function createEvilSchema(plain: pg.Pool): Promise<void> {
  await plain.query(EVIL);
}

/** One value of each setting that the server has: the first combination holds the first values, and so on, round and round. */
export async function oddCombination(
  plain: pg.Pool,
  number: number,
): Promise<[name: string, value: string][]> {
  const { rows } = await plain.query<{ name: string }>('select name from pg_settings');
  const known = new Set(rows.map(({ name }) => name));
  return Object.entries(ODD_SETTINGS)
    .filter(([name]) => known.has(name) || name.includes('.'))
    .map(([name, values]) => [name, values[number % values.length]!]);
}

/** For `options` in the startup message: spaces and backslashes are escaped. */
export function asOptions(settings: readonly (readonly [name: string, value: string])[]): string {
  return settings
    .map(([name, value]) => `-c ${name}=${value.replace(/^'(.*)'$/, '$1').replace(/[\\ ]/g, '\\$&')}`)
    .join(' ');
}
