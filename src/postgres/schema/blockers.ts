/** Finds the sessions that block a statement. */
import type { Pool } from '../connection/pool.ts';

/** Without pg_read_all_stats, a login sees only `pid` and `user` of sessions that are not its own. */
interface Blocker {
  what: string;
  user: string | null;
  state: string | null;
  since: Date | null;
}

/** $1 process that waits. A prepared transaction has no process: pg_blocking_pids returns 0 for it. */
const BLOCKERS = `
  with blocking as materialized (select unnest(pg_blocking_pids($1)) as pid)
  select 'process ' || pid as what, usename as user, state, coalesce(query_start, xact_start) as since
  from pg_stat_activity where pid in (select pid from blocking)
  union all
  select 'prepared transaction ' || quote_literal(gid), owner, null, prepared
  from pg_prepared_xacts where database = current_database() and 0 in (select pid from blocking)`;

/** Polls every `intervalMs` which sessions block the server process `pid`, until `stop` is called. */
export function watchBlockers(pool: Pool, { pid, intervalMs }: { pid: number; intervalMs: number }) {
  let found: readonly Blocker[] = [];
  const poll = async () => {
    const { rows } = await pool.query<Blocker>(BLOCKERS, [pid]);
    if (rows.length > 0) found = rows;
  };
  const timer = setInterval(() => void poll().catch(() => {}), intervalMs);
  return {
    stop: () => clearInterval(timer),
    /** Describes the sessions found last; empty if none were found. */
    describe: () => found.map(describeBlocker).join(', '),
  };
}

function describeBlocker({ what, user, state, since }: Blocker): string {
  const facts = [state, since && `since ${since.toISOString()}`].filter(Boolean).join(' ');
  return `${what} of user ${user}${facts && ` (${facts})`}`;
}
