/**
 * Moves the rows of `audit.events` into partitions by month, after `0018_partitions.sql`, which has the steps as functions and says what each
 * of them locks. Each step is a transaction, so a call continues where an earlier one was killed. Several processes may call it at once.
 */
import type { ClientBase } from 'pg';
import { ExportError } from '../../core/errors.ts';
import { translateDatabaseError } from '../connection/errors.ts';
import { connectWithoutTimeout, type Pool, withTransaction } from '../connection/pool.ts';
import { type LockOptions, lockViews, withLockRetries } from './locks.ts';
import { requireMigrator } from './migrator.ts';

export interface MoveOptions {
  /** Stops between two months when aborted. */
  signal?: AbortSignal | undefined;
  /** Called after each month, with the rows copied and an estimate of all. */
  onProgress?: ((moved: { rows: number; estimate: number }) => void) | undefined;
}

/** Noted rows that are left for the last step, which copies them while it locks the table. */
const FEW_ROWS = 1000;
const MAX_CATCH_UPS = 20;

const IS_PENDING = `to_regproc('audit.begin_events_by_month') is not null`;

/** Whether rows are to be moved. */
export function isMovePending(pool: Pool): Promise<boolean> {
  return readFact(pool, IS_PENDING);
}

/** Whether a move was begun and is not finished. */
export function isMoveBegun(pool: Pool): Promise<boolean> {
  return readFact(pool, `to_regclass('audit.events_by_month') is not null`);
}

async function readFact(pool: Pool, condition: string): Promise<boolean> {
  try {
    const { rows } = await pool.query<{ is_so: boolean }>(`select ${condition} as is_so`);
    return rows[0]!.is_so;
  } catch (error) {
    throw translateDatabaseError(error, 'reading the form of audit.events');
  }
}

/**
 * Moves the rows if that is pending, and returns whether this process finished the move. Until the last step, the table stays as it is. Throws
 * `configuration` if the user may not or an object depends on the table, `database-away` if a lock is not available, and `interrupted` after an
 * abort.
 */
export async function moveEvents(pool: Pool, options: LockOptions & MoveOptions = {}): Promise<boolean> {
  if (!(await isMovePending(pool))) return false;
  await requireMigrator(pool, ['partitions of audit.events']);
  let client: Awaited<ReturnType<typeof connectWithoutTimeout>> | undefined;
  try {
    client = await connectWithoutTimeout(pool);
    await move(pool, client, options);
    return true;
  } catch (error) {
    if (error instanceof AlreadyMoved) return false;
    throw translateDatabaseError(error, 'moving audit.events into partitions');
  } finally {
    await client?.end().catch(() => {});
  }
}

/** Another process has finished the move. */
class AlreadyMoved extends Error {}

/** One step: its transaction, for which the steps and migrations of other processes wait. Throws `AlreadyMoved`. */
function inTurn<T>(client: ClientBase, work: () => Promise<T>): Promise<T> {
  return withTransaction(client, async () => {
    await client.query('set local lock_timeout = 0; lock table audit.migrations in share row exclusive mode');
    const { rows } = await client.query<{ is_so: boolean }>(`select ${IS_PENDING} as is_so`);
    if (!rows[0]!.is_so) throw new AlreadyMoved();
    return work();
  });
}

async function move(pool: Pool, client: ClientBase, options: LockOptions & MoveOptions): Promise<void> {
  const withLock = (work: (timeoutMs: number) => Promise<unknown>) =>
    withLockRetries(pool, client, options, (timeoutMs) => inTurn(client, () => work(timeoutMs)));
  await withLock(async (timeoutMs) => {
    await assertMovable(client);
    await client.query(`set local lock_timeout = ${timeoutMs}; select audit.begin_events_by_month()`);
  });
  await copyMonths(client, options);
  for (let i = 0; i < MAX_CATCH_UPS; i++) {
    const { rows } = await inTurn(client, () =>
      client.query<{ rows: string }>('select audit.copy_changed_events() as rows'),
    );
    // Rows of a month that had none before.
    await copyMonths(client, options);
    if (Number(rows[0]!.rows) <= FEW_ROWS) break;
  }
  await inTurn(client, () => client.query('select audit.check_events_by_month()'));
  await withLock(async (timeoutMs) => {
    await lockViews(client, timeoutMs);
    await client.query(`set local lock_timeout = ${timeoutMs}; select audit.finish_events_by_month()`);
  });
  // Rows that sessions stored which had begun before.
  await client.query(`select audit.create_event_months('{}')`);
  // Autovacuum analyzes the partitions, and not the table as a whole.
  await client.query('analyze audit.events');
}

async function copyMonths(client: ClientBase, { signal, onProgress }: MoveOptions): Promise<void> {
  const { rows: found } = await inTurn(client, () =>
    client.query<{ estimate: string; months: string[] }>(
      `select greatest(reltuples, 0)::bigint as estimate, audit.event_months_to_copy()::text[] as months
       from pg_class where oid = 'audit.events'::regclass`,
    ),
  );
  const { estimate, months } = found[0]!;
  let copied = 0;
  // The default partition first: adding a month reads it.
  for (const month of [null, ...months]) {
    if (signal?.aborted) throw interrupted();
    const { rows } = await inTurn(client, () =>
      client.query<{ rows: string }>('select audit.copy_events_month($1) as rows', [month]),
    );
    copied += Number(rows[0]!.rows);
    onProgress?.({ rows: copied, estimate: Math.max(Number(estimate), copied) });
  }
}

function interrupted(): ExportError {
  return new ExportError(
    'interrupted',
    'The move of audit.events into partitions was stopped. The months that are copied stay; the next call continues.',
  );
}

/** Objects that would stay with the old table. The views, functions, triggers, indexes and constraints of the table are moved. */
const OBSTACLES = `
  with events as (select oid, reltype from pg_class where oid = 'audit.events'::regclass)
  select 'materialized view ' || c.oid::regclass as name
  from events join pg_depend d on refobjid = events.oid and classid = 'pg_rewrite'::regclass
  join pg_rewrite r on r.oid = objid join pg_class c on c.oid = ev_class where relkind = 'm'
  union select 'foreign key ' || conname || ' of ' || conrelid::regclass
  from events join pg_constraint on confrelid = events.oid and contype = 'f'
  union select 'row security policy ' || polname from events join pg_policy on polrelid = events.oid
  union select 'publication ' || pubname from events join pg_publication_rel r on prrelid = events.oid join pg_publication p on p.oid = prpubid
  union select 'rule ' || rulename from events join pg_rewrite on ev_class = events.oid
  union select 'view ' || c.oid::regclass || ' of ' || pg_get_userbyid(relowner)
  from events join pg_depend d on refobjid = events.oid and classid = 'pg_rewrite'::regclass
  join pg_rewrite r on r.oid = objid join pg_class c on c.oid = ev_class where relkind = 'v' and not pg_has_role(relowner, 'usage')
  union select 'index ' || relname || ', a name that the partitions need'
  from pg_class where relnamespace = 'audit'::regnamespace and relkind in ('i', 'I')
    and relname ~ (case when to_regclass('audit.events_by_month') is null then '^(moved_)?' else '^' end || 'events_by_(time|stored_at|day|user|target|area)$')
  union select 'child table ' || inhrelid::regclass from events join pg_inherits on inhparent = events.oid
  union select 'column ' || attname || ' of ' || attrelid::regclass
  from events join pg_attribute on atttypid = reltype and not attisdropped
  order by 1`;

async function assertMovable(client: ClientBase): Promise<void> {
  const { rows } = await client.query<{ name: string }>(OBSTACLES);
  if (rows.length === 0) return;
  throw new ExportError(
    'configuration',
    `audit.events cannot be moved into partitions by month: these are in the way: ${rows.map(({ name }) => name).join(', ')}. ` +
      'Drop them, run migrate, and create them again. Until then the table stays as it is, and the export works.',
  );
}
