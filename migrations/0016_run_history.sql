-- Runs that found nothing new are removed after EXPORT_RUN_HISTORY and leave one row a day. Statements that searched all runs of a log get an
-- index.

create index runs_open on audit.runs (organization, log) where outcome is null;
comment on index audit.runs_open is 'Runs in progress, which the next run closes if their process is gone.';
create index runs_succeeded on audit.runs (organization, log, started_at desc) where outcome = 'succeeded';
comment on index audit.runs_succeeded is 'The newest success of a log, also after many failures.';
create index runs_backfills on audit.runs (organization, log, started_at desc) where kind = 'backfill';
comment on index audit.runs_backfills is 'The backfill that a new one may resume.';

create table audit.run_days (
  organization text not null,
  log text not null,
  day date not null,
  removed_runs integer not null,
  requests bigint not null,
  retries bigint not null,
  rows_read bigint not null,
  first_started_at timestamptz,
  last_ended_at timestamptz,
  primary key (organization, log, day)
);
comment on table audit.run_days is 'One row per day (UTC) whose runs are older than EXPORT_RUN_HISTORY: what the runs did that were removed from audit.runs. They succeeded and stored nothing.';
comment on column audit.run_days.organization is 'UIPATH_ORGANIZATION of the worker.';
comment on column audit.run_days.log is 'Which audit log of the organization: classic is the list of Get Audit Logs.';
comment on column audit.run_days.day is 'The day the runs began, in UTC. Days up to the newest one here are done.';
comment on column audit.run_days.removed_runs is 'How many runs were removed. The other runs of the day are still in audit.runs.';
comment on column audit.run_days.requests is 'List requests of the removed runs, retries included.';
comment on column audit.run_days.retries is 'List requests that they sent again after a failure.';
comment on column audit.run_days.rows_read is 'Rows that they took; all of them were stored already.';
comment on column audit.run_days.first_started_at is 'When the first of them began; null where none was removed.';
comment on column audit.run_days.last_ended_at is 'When the last of them ended; null where none was removed.';
comment on index audit.run_days_pkey is 'Finds the newest day that is done.';

-- Runs with the rights of its owner, so that the worker needs no right to delete runs. Whatever a caller passes, it keeps: 30 days, each run
-- that did not succeed or that stored, changed or rejected a row, backfills and repairs, each run that another table names, and the newest
-- success of each kind.
create function audit.prune_runs(
  organization text, log text, history interval, out removed bigint, out has_more boolean
) language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
  -- Days before this one are old enough.
  horizon date := ((now() - greatest(prune_runs.history, interval '30 days')) at time zone 'UTC')::date;
  next_day date := (
    select max(day) + 1 from audit.run_days d
    where d.organization = prune_runs.organization and d.log = prune_runs.log
  );
  first_instant timestamptz;
  end_instant timestamptz;
  kept bigint[];
begin
  removed := 0;
  has_more := false;
  -- Skips days without a run.
  next_day := (
    select (min(r.started_at) at time zone 'UTC')::date from audit.runs r
    where r.organization = prune_runs.organization and r.log = prune_runs.log
      and r.started_at >= coalesce(next_day, '-infinity')::timestamp at time zone 'UTC'
  );
  if next_day is null or next_day >= horizon then return; end if;
  first_instant := next_day::timestamp at time zone 'UTC';
  end_instant := least(horizon, next_day + 31)::timestamp at time zone 'UTC';
  has_more := end_instant < horizon::timestamp at time zone 'UTC';
  -- The cursor first: of two workers at the same time, the second finds it and removes nothing.
  insert into audit.run_days (organization, log, day, removed_runs, requests, retries, rows_read)
  values (prune_runs.organization, prune_runs.log, (end_instant at time zone 'UTC')::date - 1, 0, 0, 0, 0)
  on conflict do nothing;
  if not found then return; end if;
  kept := array(
    select newest.run_id from unnest(array['run', 'recheck']) as of_kind (name) cross join lateral (
      select r.run_id from audit.runs r
      where r.organization = prune_runs.organization and r.log = prune_runs.log and r.outcome = 'succeeded' and r.kind = of_kind.name
      order by r.started_at desc limit 1
    ) newest
  );
  with gone as (
    delete from audit.runs r
    where r.organization = prune_runs.organization and r.log = prune_runs.log and r.started_at >= first_instant and r.started_at < end_instant
      and r.outcome = 'succeeded' and r.kind in ('run', 'recheck')
      and r.rows_inserted = 0 and r.rows_updated = 0 and r.rows_superseded = 0 and r.rows_rejected = 0
      and coalesce(r.completeness, 'complete') in ('complete', 'not proven')
      and r.run_id <> all (kept)
      and not exists (select from audit.ledger t where t.organization = r.organization and t.log = r.log and t.run_id = r.run_id)
      and not exists (select from audit.gaps t where t.organization = r.organization and t.log = r.log and t.run_id = r.run_id)
      and not exists (select from audit.coverage t where t.organization = r.organization and t.log = r.log and t.run_id = r.run_id)
      and not exists (
        select from audit.watermarks t
        where t.organization = r.organization and t.log = r.log and r.run_id in (t.run_id, t.lease_run_id)
      )
      and not exists (select from audit.rejected_events t where t.organization = r.organization and t.log = r.log and t.run_id = r.run_id)
      and not exists (select from audit.gone_events t where t.organization = r.organization and t.log = r.log and t.suspected_run_id = r.run_id)
      and not exists (select from audit.gone_events t where t.organization = r.organization and t.log = r.log and t.gone_run_id = r.run_id)
      and not exists (select from audit.gone_events t where t.organization = r.organization and t.log = r.log and t.shown_again_run_id = r.run_id)
    returning r.started_at, r.ended_at, r.requests, r.retries, r.rows_read
  ), noted as (
    insert into audit.run_days as d (organization, log, day, removed_runs, requests, retries, rows_read, first_started_at, last_ended_at)
    select prune_runs.organization, prune_runs.log, (started_at at time zone 'UTC')::date, count(*), sum(requests), sum(retries),
      sum(rows_read), min(started_at), max(ended_at)
    from gone group by (started_at at time zone 'UTC')::date
    on conflict (organization, log, day) do update set removed_runs = excluded.removed_runs, requests = excluded.requests,
      retries = excluded.retries, rows_read = excluded.rows_read, first_started_at = excluded.first_started_at,
      last_ended_at = excluded.last_ended_at
  )
  select count(*) from gone into removed;
end;
$$;
comment on function audit.prune_runs is 'Removes runs of up to 31 days that succeeded, stored nothing and are older than the history, and notes them in audit.run_days. Keeps what the ledger, gaps, coverage, rejected and gone events refer to. has_more: call it again.';
revoke execute on function audit.prune_runs from public;

do $$
begin
  if exists (select from pg_roles where rolname = 'audit_writer') then
    grant select on audit.run_days to audit_writer;
    grant execute on function audit.prune_runs to audit_writer;
  end if;
end $$;
