/** The states that the status page tells apart, each an organization in a real database, behind a real server. */
import pg from 'pg';
import { ExportError } from '../../src/core/errors.ts';
import { createLog } from '../../src/log.ts';
import { createPool } from '../../src/postgres/connection/pool.ts';
import { readActivity } from '../../src/postgres/read/activity.ts';
import { readStatus } from '../../src/postgres/read/status.ts';
import { migrate } from '../../src/postgres/schema/migrate.ts';
import { createHealth, type RunHealth } from '../../src/status/health.ts';
import { createMetrics } from '../../src/status/metrics.ts';
import { createStatusServer } from '../../src/status/server.ts';

export const PAGE_STATES = ['empty', 'healthy', 'behind', 'failing', 'gap', 'gone', 'overview'] as const;
export type PageState = (typeof PAGE_STATES)[number];

export interface PageScene {
  /** Of the page's server, one for each state. */
  urls: Record<PageState, string>;
  /** The time that every page shows. */
  now: Date;
  /** The same database as its owner, to change what a page shows. */
  pool: pg.Pool;
  close(): Promise<void>;
}

const ORGANIZATIONS = {
  empty: 'nobody',
  healthy: 'acme',
  behind: 'globex',
  failing: 'initech',
  gap: 'northwind',
  gone: 'contoso',
} as const;

const SCHEDULE_MS = 300_000;
const ERROR =
  'The list could not be read: HTTP 503 from GET /initech/audit_/api/auditlogs in each of 8 tries ("Service Unavailable").';

/** The scene has no ledger. */
const SCENE_HEAD = 'uipath-audit-export/acme/classic\n2741\nmPZ1yVkqDTF0r1r3rV2nHkqEKeQ0cVx0p4C2q1b8z2E=\n';

/** A Thursday, so that the newest days of the chart are working days. */
export const SCENE_NOW = new Date('2026-03-12T14:07:00Z');

/**
 * Fills the database at `url` with `eventsADay` on a working day, over the months before `now`, and serves the pages as of
 * `now`. Nothing is read from a clock, so the pages are the same on every day.
 */
export async function openPageScene(
  url: string,
  { eventsADay, now = SCENE_NOW }: { eventsADay: number; now?: Date },
): Promise<PageScene> {
  const workerPool = createPool(url, () => {});
  const pool = new pg.Pool({ connectionString: url, options: '-c timezone=UTC' });
  const closers: (() => Promise<void>)[] = [];
  await migrate(workerPool);
  await pool.query(FUNCTIONS);
  const seed = async (organization: string, days: number, endsAgo: string) => {
    await pool.query('select page_scene_seed($1, $2, $3, $4, $5)', [
      ...[organization, now, days, endsAgo, eventsADay],
    ]);
  };
  await seed(ORGANIZATIONS.healthy, 400, '4 minutes');
  await seed(ORGANIZATIONS.behind, 60, '3 hours');
  await seed(ORGANIZATIONS.failing, 120, '80 minutes');
  await seed(ORGANIZATIONS.gap, 200, '6 minutes');
  await seed(ORGANIZATIONS.gone, 90, '3 minutes');
  for (const query of TROUBLES)
    await pool.query(query.text, [query.organization, now, ...(query.values ?? [])]);

  const serve = async (
    organization: string | undefined,
    tell: (health: RunHealth) => void,
    upMinutes = 8_000,
  ) => {
    const names = organization === undefined ? Object.values(ORGANIZATIONS) : [organization];
    const health = createHealth(names, () => new Date(now.getTime() - upMinutes * 60_000));
    for (const name of names) tell(health.of(name));
    const server = await createStatusServer({
      ...{
        host: '127.0.0.1',
        port: 0,
        health,
        metrics: createMetrics(),
        log: createLog({ level: 'silent' }),
      },
      readStatus: () => readStatus(workerPool, organization === undefined ? undefined : [organization], now),
      readActivity: (key) => readActivity(workerPool, key, now),
      readHead: async (key) => SCENE_HEAD.replace('acme', key.organization),
      nextRunAt: () => new Date(Math.ceil(now.getTime() / SCHEDULE_MS) * SCHEDULE_MS),
      now: () => now,
      statusAgeMs: 0,
    });
    closers.push(() => server.close());
    return server.url;
  };
  const succeeded = (health: RunHealth) => health.runEnded({ kind: 'run', outcome: 'succeeded' });
  const urls = {
    empty: await serve(ORGANIZATIONS.empty, () => {}, 0),
    healthy: await serve(ORGANIZATIONS.healthy, succeeded),
    behind: await serve(ORGANIZATIONS.behind, (health) => health.runStarted('run'), 170),
    failing: await serve(ORGANIZATIONS.failing, (health) =>
      health.runFailed('run', new ExportError('source-away', ERROR), {
        attempt: 17,
        at: new Date(now.getTime() + 600_000),
      }),
    ),
    gap: await serve(ORGANIZATIONS.gap, succeeded),
    gone: await serve(ORGANIZATIONS.gone, succeeded),
    overview: await serve(undefined, succeeded),
  };
  return {
    urls,
    now,
    pool,
    async close() {
      for (const close of closers) await close();
      await pool.end();
      await workerPool.end();
    },
  };
}

/** $1 organization, $2 the scene's instant. Four events are gone, and one is suspected. */
const TROUBLES: { organization: string; text: string; values?: unknown[] }[] = [
  {
    organization: ORGANIZATIONS.behind,
    text: `insert into audit.runs (organization, log, kind, started_at, worker, pages, requests, retries, rows_read, rows_inserted)
      values ($1, 'classic', 'run', $2::timestamptz - interval '170 minutes', 'worker-1 process 7', 8, 31, 23, 7412, 7412)`,
  },
  {
    organization: ORGANIZATIONS.behind,
    text: 'update audit.watermarks set source_total = source_total + 48211, updated_at = $2 where organization = $1',
  },
  {
    organization: ORGANIZATIONS.failing,
    text: `insert into audit.runs (organization, log, kind, started_at, ended_at, outcome, error, requests, retries)
      select $1, 'classic', 'run', at, at + interval '71 seconds', 'failed', $3, 8, 7
      from generate_series($2::timestamptz - interval '77 minutes', $2::timestamptz - interval '2 minutes', interval '5 minutes') as at`,
    values: [ERROR],
  },
  {
    organization: ORGANIZATIONS.gap,
    text: `delete from audit.events where organization = $1
      and created_on between $2::timestamptz::date - 31.4 * interval '1 day' and $2::timestamptz::date - 26.7 * interval '1 day'`,
  },
  {
    organization: ORGANIZATIONS.gap,
    text: `with cut as (
        select $2::timestamptz::date - 31.4 * interval '1 day' as gone_at, $2::timestamptz::date - 26.7 * interval '1 day' as back_at
      ), old as (
        update audit.coverage set to_at = gone_at, to_ticks = page_scene_ticks(gone_at),
          proven_at = gone_at, begun_at = from_at
        from cut where organization = $1 returning coverage.*
      )
      insert into audit.coverage (organization, from_ticks, to_ticks, from_at, to_at, proven_at, begun_at, run_id)
      select $1, page_scene_ticks(back_at), page_scene_ticks(w.created_on), back_at, w.created_on, $2::timestamptz - interval '1 minute',
        back_at + interval '2 hours', (select max(run_id) from audit.runs where organization = $1)
      from cut, audit.watermarks w where w.organization = $1 and exists (select from old)`,
  },
  {
    organization: ORGANIZATIONS.gone,
    text: `insert into audit.gone_events (organization, log, created_on, event_id, created_on_ticks, state, suspected_at, suspected_run_id,
        gone_at, gone_run_id)
      select $1, log, created_on, event_id, created_on_ticks, case when n = 1 then 'suspected' else 'gone' end, noticed_at, 1,
        case when n > 1 then noticed_at + interval '5 minutes' end, 2
      from (
        select n, e.* from generate_series(1, 5) n
        cross join lateral (
          select * from audit.events where organization = $1 and created_on <= $2::timestamptz - n * n * interval '26 hours'
          order by created_on desc limit 1
        ) e
      ) picked
      cross join lateral (select $2::timestamptz - (n * n * n - 0.5) * interval '80 minutes' as noticed_at) noticed`,
  },
  {
    organization: ORGANIZATIONS.gap,
    text: `insert into audit.rejected_events (organization, content_hash, source_text, reason, run_id, first_seen_at, last_seen_at)
      select $1, sha256(convert_to(n::text, 'UTF8')), '{}', 'no createdOn', 1, $2, $2 from generate_series(1, 3) as n`,
  },
];

/**
 * Quiet weekends and some noise, the same each time. Every hundredth event, counted from the newest, is late by five minutes
 * to four days; not drawn at random, so that there are late events at every `now`.
 */
const FUNCTIONS = `
  create function page_scene_ticks(at timestamptz) returns bigint language sql stable as
    $$ select (extract(epoch from at) * 10000000)::bigint $$;
  create function page_scene_seed(name text, scene_now timestamptz, days int, ends_ago interval, events_a_day int)
  returns void language plpgsql as $$
  declare
    last_at timestamptz := scene_now - ends_ago;
    today date := scene_now::date;
  begin
    perform setseed(0.5);
    insert into audit.runs (organization, log, kind, started_at, ended_at, outcome, pages, requests, rows_read, rows_inserted)
    select name, 'classic', case when n = 960 then 'backfill' when n > 0 and n % 24 = 3 then 'recheck' else 'run' end, at,
      at + (2 + abs(n) % 3) * interval '1 second', 'succeeded', 1 + abs(n) % 2, 1 + abs(n) % 2, 0, 0
    from (
      select n, date_trunc('hour', last_at) - n * interval '1 hour' as at from generate_series(960, 2, -1) as n
      union all
      select -n, last_at - (12 - n) * interval '5 minutes' from generate_series(1, 12) as n
    ) as starts where at <= last_at order by at;

    insert into audit.events (organization, created_on, event_id, created_on_ticks, created_on_raw, category, action, source,
      user_name, message, ordinal, first_seen_at, run_id, batch)
    select name, at, md5(name || n || at)::uuid, page_scene_ticks(at), at::text, 'User', 'Login', 'Cis',
      'User ' || n % 40, 'Logged in', 0, seen_at, run.run_id, run.run_id
    from (
      select n, at, least(last_at, at + interval '1 second'
        * case when age % 100 = 0 then 300 * exp(7 * (age / 100 * 0.618 % 1)) else 60 end) as seen_at
      from (
        select n, at, row_number() over (order by at desc) as age
        from (
          select n, day + 24 * random() * interval '1 hour' as at
          from generate_series(today - days, today, interval '1 day') as day
          cross join lateral generate_series(1, (events_a_day * (0.75 + 0.4 * random() - 0.2 * (today - day::date) / days)
            * case when extract(isodow from day) > 5 then 0.3 else 1 end)::int) as n
        ) as drawn
        where at < last_at - interval '10 seconds'
      ) as aged
    ) as dated
    cross join lateral (
      select run_id from audit.runs where organization = name and started_at >= seen_at order by started_at limit 1
    ) as run;

    update audit.runs r set rows_read = stored.events, rows_inserted = stored.events, rows_late = stored.late,
      rows_unchanged = case when kind = 'backfill' then 0 else 40 + r.run_id % 60 end
    from (select run_id, count(*) as events, count(*) filter (where first_seen_at > created_on + interval '2 hours') as late
      from audit.events where organization = name group by run_id) as stored
    where r.run_id = stored.run_id;
    insert into audit.watermarks (organization, created_on, created_on_ticks, created_on_raw, source_total, completeness, proven_at,
      assessed_at)
    select name, created_on, created_on_ticks, to_char(created_on at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US') || '4Z',
      (select count(*) from audit.events where organization = name), 'complete', last_at, last_at
    from audit.events where organization = name order by created_on desc limit 1;
    insert into audit.coverage (organization, from_ticks, to_ticks, from_at, to_at, proven_at, begun_at, run_id)
    select name, page_scene_ticks(from_at), page_scene_ticks(to_at), from_at, to_at, last_at, to_at, last_run
    from (
      select min(created_on) as from_at, max(created_on) as to_at, max(run_id) as last_run from audit.events where organization = name
    ) as stored;
  end $$;`;
