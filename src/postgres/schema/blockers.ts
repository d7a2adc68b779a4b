/** Which sessions a statement waits for. */
import type { Pool } from '../connection/pool.ts';

/** A login may see more than `pid` and `user` only of its own sessions, unless it has pg_read_all_stats. */
interface Blocker {
  what: string;
  user: string | null;
  state: string | null;
  since: Date | null;
}

/** A prepared transaction has no process: pg_blocking_pids says 0. $1 process that waits. */
const BLOCKERS = `
  with blocking as materialized (select unnest(pg_blocking_pids($1)) as pid)
  select 'process ' || pid as what, usename as user, state, coalesce(query_start, xact_start) as since
  from pg_stat_activity where pid in (select pid from blocking)
  union all
  select 'prepared transaction ' || quote_literal(gid), owner, null, prepared
  from pg_prepared_xacts where database = current_database() and 0 in (select pid from blocking)`;

/** Looks every `intervalMs` whom the process `pid` of the server waits for, until `stop` is called. */
export function watchBlockers(pool: Pool, { pid, intervalMs }: { pid: number; intervalMs: number }) {
  let found: readonly Blocker[] = [];
  const look = async () => {
    const { rows } = await pool.query<Blocker>(BLOCKERS, [pid]);
    if (rows.length > 0) found = rows;
  };
  const timer = setInterval(() => void look().catch(() => {}), intervalMs);
  return {
    stop: () => clearInterval(timer),
    /** The sessions that were found last, in words; none were found when it is empty. */
    describe: () => found.map(describeBlocker).join(', '),
  };
}

function describeBlocker({ what, user, state, since }: Blocker): string {
  const facts = [state, since && `since ${since.toISOString()}`].filter(Boolean).join(' ');
  return `${what} of user ${user}${facts && ` (${facts})`}`;
}
