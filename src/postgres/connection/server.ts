/** What kind of server a connection leads to. */
import type pg from 'pg';
import { ExportError } from '../../core/errors.ts';
import { hasChannelBinding, TargetPool } from './client.ts';
import { wrongServer } from './connect-errors.ts';
import { describeEncryption, type Encryption } from './encryption.ts';
import { translateDatabaseError } from './errors.ts';
import type { Pool } from './pool.ts';
import type { SessionAttributes, Target } from './target.ts';

interface ServerState {
  isStandby: boolean;
  isReadOnly: boolean;
}

/** As in libpq. */
const ACCEPTS: Record<SessionAttributes, (state: ServerState) => boolean> = {
  any: () => true,
  'read-write': ({ isReadOnly }) => !isReadOnly,
  'read-only': ({ isReadOnly }) => isReadOnly,
  primary: ({ isStandby }) => !isStandby,
  standby: ({ isStandby }) => isStandby,
};

/** Throws if target_session_attrs or channel_binding excludes the server of `client`, which was just connected. */
export async function requireWantedServer(client: pg.ClientBase, target: Target): Promise<void> {
  if (target.needsChannelBinding && !hasChannelBinding(client))
    throw new ExportError(
      'configuration',
      'channel_binding=require in DATABASE_URL: the server offers no channel binding, which needs TLS and a password of type ' +
        'scram-sha-256. Poolers do not offer it. Remove channel_binding, and set sslmode=verify-full.',
    );
  const { sessionAttributes } = target;
  if (sessionAttributes === 'any') return;
  const { rows } = await client.query<ServerState>(
    `select pg_catalog.pg_is_in_recovery() as "isStandby",
            pg_catalog.current_setting('transaction_read_only')::pg_catalog.bool as "isReadOnly"`,
  );
  const state = rows[0]!;
  if (ACCEPTS[sessionAttributes](state)) return;
  const kind = state.isStandby ? 'a standby' : state.isReadOnly ? 'read-only' : 'a primary server';
  throw wrongServer(
    `The server is ${kind}, and target_session_attrs=${sessionAttributes} excludes it. Name the other server in DATABASE_URL, or ` +
      'wait until it has taken over. The next run continues where this one stopped.',
  );
}

/** What `check` reports about the server. */
export interface ServerReport {
  version: string;
  database: string;
  user: string;
  encryption: Encryption;
  /** What may lose data or confuse an operator, one sentence each. */
  warnings: string[];
}

/** Connects and describes the server. Throws `database-away`, `database` or `configuration`. */
export async function readServer(pool: Pool): Promise<ServerReport> {
  let client: pg.PoolClient | undefined;
  try {
    client = await pool.connect();
    const { rows } = await client.query<ServerRow>(SERVER);
    const { version, database, user, ...settings } = rows[0]!;
    const encryption = describeEncryption(pool, client);
    const notes = pool instanceof TargetPool ? pool.target.notes : [];
    return { version, database, user, encryption, warnings: [...describeSettings(settings), ...notes] };
  } catch (error) {
    throw translateDatabaseError(error, 'connecting');
  } finally {
    client?.release();
  }
}

interface Settings {
  isStandby: boolean;
  fsync: string;
  fullPageWrites: string;
  synchronousCommit: string;
  /** Where synchronous_commit comes from, such as `database` or `user`; pg_settings.source. */
  synchronousSource: string;
  /** Connections that the user, or all users of the database, may open; -1: no limit of its own. */
  userLimit: number;
  databaseLimit: number;
}

interface ServerRow extends Settings {
  version: string;
  database: string;
  user: string;
}

const SERVER = `
  select split_part(current_setting('server_version'), ' ', 1) as version, current_database() as database, current_user as user,
    (select case when rolsuper then -1 else rolconnlimit end from pg_roles where rolname = current_user) as "userLimit",
    (select datconnlimit from pg_database where datname = current_database()) as "databaseLimit",
    pg_is_in_recovery() as "isStandby", current_setting('fsync') as fsync,
    current_setting('full_page_writes') as "fullPageWrites", setting as "synchronousCommit", source as "synchronousSource"
  from pg_settings where name = 'synchronous_commit'`;

/** pg_settings.source of a setting, in words. */
const SOURCES: Record<string, string> = {
  user: 'for this user',
  database: 'for this database',
  'database user': 'for this user in this database',
  client: 'in DATABASE_URL or PGOPTIONS',
};

/** A run, its heartbeat on the same connection, planning and status; several organizations need more. */
const MIN_CONNECTIONS = 4;

function describeSettings(settings: Settings): string[] {
  const { isStandby, fsync, fullPageWrites, synchronousCommit, userLimit, databaseLimit } = settings;
  const where = SOURCES[settings.synchronousSource] ?? 'on the server';
  const isTooSmall = (limit: number) => limit >= 0 && limit < MIN_CONNECTIONS;
  const warnings: [boolean, string][] = [
    [
      isStandby,
      'The server is a standby, which is read-only: status and verify work, run and start do not. Name the primary server in DATABASE_URL.',
    ],
    [
      fsync === 'off',
      'fsync=off on the server: a crash of its machine may destroy the whole database. Set it to on.',
    ],
    [
      fsync !== 'off' && fullPageWrites === 'off',
      'full_page_writes=off on the server: a crash of its machine may damage tables, unless its file system writes whole pages. Set it to on.',
    ],
    [
      synchronousCommit === 'off',
      `synchronous_commit=off ${where}: a crash may undo the newest commits, so the ledger may lose its newest batches although the log ` +
        'reported them. Set it to on.',
    ],
    [
      isTooSmall(userLimit),
      `The user may open ${userLimit} connections; the worker needs ${MIN_CONNECTIONS}. Raise its connection limit.`,
    ],
    [
      isTooSmall(databaseLimit),
      `The database accepts ${databaseLimit} connections; the worker needs ${MIN_CONNECTIONS}. Raise its connection limit.`,
    ],
  ];
  return warnings.filter(([isTrue]) => isTrue).map(([, text]) => text);
}
