-- The log becomes part of each key: tables keyed by organization are now keyed by organization and log. All existing rows
-- belong to log classic.
--
-- One transaction. It locks all tables and views of the schemas audit and bi first, so that no session sees a part of it and none
-- can deadlock with it. It rewrites no table: a new column with a constant default is stored in the catalog. It rebuilds the
-- indexes of the small tables, reads a sample of audit.events once, and leaves its primary key unchanged.
--
-- A worker of version 0.1.0 that is still running: this migration ends its open run, so its next commit is refused ("may not
-- write any more") and rolled back. Each later run of it fails at its first statement, because audit.runs.log has no default. It
-- stores nothing until it is upgraded. Its status page continues to work; its commands that read audit.migrations require the newer
-- version.

-- Views first: a query on a view locks the view before its tables.
do $$
begin
  execute (
    select format('lock table %s in access exclusive mode', string_agg(oid::regclass::text, ', ' order by relkind desc, oid))
    from pg_class
    where relnamespace in ('audit'::regnamespace, 'bi'::regnamespace) and relkind in ('r', 'v')
      and relowner = (select relowner from pg_class where oid = 'audit.events'::regclass)
      and oid <> 'audit.migrations'::regclass
  );
end $$;

update audit.runs set outcome = 'abandoned', ended_at = now(), error = 'ended by migration 0009_logs: its worker is of an older version'
where outcome is null;

alter table audit.events add column log text not null default 'classic';

-- No default: a worker without support for logs fails before it writes anything.
alter table audit.runs add column log text not null default 'classic';
alter table audit.runs alter column log drop default;
drop index audit.runs_by_time;
create index runs_by_time on audit.runs (organization, log, started_at desc);
comment on index audit.runs_by_time is 'The newest runs of a log: for status, and to find the backfill to resume.';

alter table audit.watermarks add column log text not null default 'classic',
  drop constraint watermarks_pkey, add primary key (organization, log);
comment on table audit.watermarks is 'Where the next run of a log begins. Committed in the same transaction as the rows before it.';
comment on index audit.watermarks_pkey is 'One watermark a log.';

alter table audit.coverage add column log text not null default 'classic',
  drop constraint coverage_pkey, add primary key (organization, log, from_ticks);
comment on index audit.coverage_pkey is 'The range that a run extends.';

alter table audit.rejected_events add column log text not null default 'classic',
  drop constraint rejected_events_pkey, add primary key (organization, log, content_hash);
comment on index audit.rejected_events_pkey is 'Stores a row once, even if it is read again.';

alter table audit.ledger add column log text not null default 'classic',
  drop constraint ledger_pkey, add primary key (organization, log, batch);
comment on index audit.ledger_pkey is 'Finds the newest entry, to append to, and the entries in order, to recompute the chain.';
comment on column audit.ledger.organization is 'UIPATH_ORGANIZATION of the worker. Each log of it has its own chain.';
comment on column audit.ledger.batch is 'Numbers the entries of the log from 1, without gaps. Rows of audit.events have the batch of the entry that inserted them.';
comment on column audit.ledger.digest is 'SHA-256 over the JSON array, of strings without spaces between them: organization, log (left out for log classic), batch, run_id, committed_at, from_at, to_at (as 2026-01-31T08:00:00.000000Z), SHA-256 of inserted, SHA-256 of the changes (48 bytes each, in order of event_id: event_id, old_digest, new_digest), previous_digest. Bytes in hex; null stays null.';

alter table audit.ledger_changes add column log text not null default 'classic',
  drop constraint ledger_changes_pkey, add primary key (organization, log, row_batch, event_id, batch);
drop index audit.ledger_changes_by_batch;
create index ledger_changes_by_batch on audit.ledger_changes (organization, log, batch);
comment on index audit.ledger_changes_pkey is 'The changes of the events of an entry.';
comment on index audit.ledger_changes_by_batch is 'The changes of an entry, to recompute its digest.';

-- The day precedes the log here: dashboards query days of an organization, and seldom filter by log.
alter table audit.daily_activity add column log text not null default 'classic',
  drop constraint daily_activity_pkey, add primary key (organization, day, log, activity_id);
comment on index audit.daily_activity_pkey is 'Finds the row that counts an event, and the days of a range.';

alter table audit.daily_totals add column log text not null default 'classic',
  drop constraint daily_totals_pkey, add primary key (organization, day, log, activity_id);
comment on index audit.daily_totals_pkey is 'Finds the row that counts an event, and the days of a range.';

alter table audit.user_actions add column log text not null default 'classic',
  drop constraint user_actions_pkey, add primary key (organization, log, activity_id);
comment on index audit.user_actions_pkey is 'Finds the row that counts an event.';

alter table audit.user_totals add column log text not null default 'classic',
  drop constraint user_totals_pkey, add primary key (organization, log, user_id);
comment on index audit.user_totals_pkey is 'Finds the row that counts an event.';

alter table audit.user_horizon add column log text not null default 'classic',
  drop constraint user_horizon_pkey, add primary key (organization, log);
comment on index audit.user_horizon_pkey is 'One horizon a log.';

-- The functions of 0006, by organization and log.

drop function audit.lock_roll_ups(text);
-- The conflict locks the row, and the condition leaves it unchanged.
create function audit.lock_roll_ups(of_organization text, of_log text) returns void
language sql set search_path = pg_catalog, pg_temp
begin atomic
  insert into audit.user_horizon as horizon (organization, log, day) values (of_organization, of_log, '-infinity')
  on conflict (organization, log) do update set day = excluded.day where false;
end;
comment on function audit.lock_roll_ups is 'Waits until no other transaction changes the roll-ups of the log: locks its row in audit.user_horizon.';

create or replace function audit.add_late_events(late audit.daily_activity[]) returns void
language sql set search_path = pg_catalog, pg_temp
begin atomic
  insert into audit.user_actions as stored
  select organization, activity_id, category, action, source, user_name, sum(events), min(first_at), max(last_at), log
  from unnest(late) group by organization, log, activity_id, category, action, source, user_name
  on conflict (organization, log, activity_id) do update set events = stored.events + excluded.events,
    first_at = least(stored.first_at, excluded.first_at), last_at = greatest(stored.last_at, excluded.last_at);
  insert into audit.user_totals as stored
  select here.organization, audit.activity_id(null, null, null, here.user_name), here.user_name, sum(here.events),
    count(*) filter (where here.events = of_user.events), min(first_at), max(last_at), here.log
  from (
    select organization, log, day, user_name, sum(events) as events, min(first_at) as first_at, max(last_at) as last_at
    from unnest(late) group by organization, log, day, user_name
  ) here
  join (
    select days.organization, days.log, days.day, user_name, sum(events) as events
    from (select organization, log, day from unnest(late) group by organization, log, day) days cross join lateral (
      select user_name, events from audit.daily_activity a
      where a.organization = days.organization and a.log = days.log and a.day = days.day offset 0
    ) of_day
    group by days.organization, days.log, days.day, user_name
  ) of_user on of_user.organization = here.organization and of_user.log = here.log and of_user.day = here.day
    and coalesce(of_user.user_name, '') = coalesce(here.user_name, '') and (of_user.user_name is null) = (here.user_name is null)
  group by here.organization, here.log, here.user_name
  on conflict (organization, log, user_id) do update set events = stored.events + excluded.events,
    days_active = stored.days_active + excluded.days_active,
    first_at = least(stored.first_at, excluded.first_at), last_at = greatest(stored.last_at, excluded.last_at);
end;

-- The first or the last event may be gone, so all days before the horizon are read, of these logs only. The settings are for a
-- plan that was made while the tables were small.
create or replace function audit.recount_users(changed audit.daily_activity[]) returns void
language plpgsql set search_path = pg_catalog, pg_temp set enable_seqscan = off set enable_nestloop = off as $$
declare
  here audit.user_horizon;
begin
  for here in
    select * from audit.user_horizon where (organization, log) in (select organization, log from unnest(changed))
  loop
    delete from audit.user_actions
    where organization = here.organization and log = here.log and activity_id = any (array(
      select activity_id from unnest(changed) where organization = here.organization and log = here.log));
    insert into audit.user_actions
    select organization, activity_id, category, action, source, user_name, sum(events), min(first_at), max(last_at), log
    from audit.daily_activity
    where organization = here.organization and log = here.log and day < here.day and activity_id in (
      select activity_id from unnest(changed) where organization = here.organization and log = here.log)
    group by organization, log, activity_id, category, action, source, user_name;

    delete from audit.user_totals
    where organization = here.organization and log = here.log and user_id = any (array(
      select audit.activity_id(null, null, null, user_name) from unnest(changed)
      where organization = here.organization and log = here.log));
    insert into audit.user_totals
    select organization, audit.activity_id(null, null, null, user_name), user_name, sum(events), count(distinct day),
      min(first_at), max(last_at), log
    from audit.daily_activity
    where organization = here.organization and log = here.log and day < here.day
      and (coalesce(user_name, ''), user_name is null) in (
        select coalesce(user_name, ''), user_name is null from unnest(changed)
        where organization = here.organization and log = here.log)
    group by organization, log, user_name;
  end loop;
end $$;

drop function audit.settle_users(text[]);
-- Moves the horizon when more than 45 days with events follow it, to the tenth newest day that has events: a day in the future counts
-- as one day.
create function audit.settle_users(of_organization text, of_log text) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  since date := (select day from audit.user_horizon where organization = of_organization and log = of_log);
  behind date[] := array(
    select day from audit.daily_totals where organization = of_organization and log = of_log and day >= since
    group by day order by day
  );
  until date := behind[cardinality(behind) - 9];
begin
  if since = '-infinity' and cardinality(behind) > 0 then
    since := behind[1];
    update audit.user_horizon set day = since where organization = of_organization and log = of_log;
  end if;
  if cardinality(behind) <= 45 then return; end if;
  insert into audit.user_actions as stored
  select organization, activity_id, category, action, source, user_name, sum(events), min(first_at), max(last_at), log
  from audit.daily_activity
  where organization = of_organization and log = of_log and day >= since and day < until
  group by organization, log, activity_id, category, action, source, user_name
  on conflict (organization, log, activity_id) do update set events = stored.events + excluded.events,
    first_at = least(stored.first_at, excluded.first_at), last_at = greatest(stored.last_at, excluded.last_at);
  insert into audit.user_totals as stored
  select organization, audit.activity_id(null, null, null, user_name), user_name, sum(events), count(distinct day),
    min(first_at), max(last_at), log
  from audit.daily_activity
  where organization = of_organization and log = of_log and day >= since and day < until
  group by organization, log, user_name
  on conflict (organization, log, user_id) do update set events = stored.events + excluded.events,
    days_active = stored.days_active + excluded.days_active,
    first_at = least(stored.first_at, excluded.first_at), last_at = greatest(stored.last_at, excluded.last_at);
  update audit.user_horizon set day = until where organization = of_organization and log = of_log;
end $$;
comment on function audit.settle_users is 'Moves the horizon of a log, and adds the days up to it to user_actions and user_totals. The roll-ups must be locked.';

create or replace function audit.count_inserted_events() returns trigger
language plpgsql security definer
-- Hours and days are in UTC. The added rows are not joined to the stored ones: a plan is made once per session, often while the
-- tables are empty, and a plan that searches the added rows for each stored one took most of a first load's time.
set search_path = pg_catalog, pg_temp set timezone = 'UTC' as $$
declare
  -- One element of each per log, in the order of locking.
  organizations text[];
  logs text[];
  late audit.daily_activity[];
begin
  select array_agg(organization order by organization, log), array_agg(log order by organization, log) into organizations, logs
  from (select organization, log from added_rows group by organization, log) one;
  if organizations is null then return null; end if;
  perform audit.lock_roll_ups(organization, log) from unnest(organizations, logs) as one (organization, log);
  with counted as (
    select organization, log, created_on::date as day, category, action, source, user_name, count(*) as events,
      min(created_on) as first_at, max(created_on) as last_at, bit_or(1 << date_part('hour', created_on)::integer) as hours
    from added_rows group by organization, log, day, category, action, source, user_name
  ), added as materialized (
    select organization, day, audit.activity_id(category, action, source, user_name) as activity_id, category, action, source,
      user_name, events, first_at, last_at, hours, log
    from counted
  ), by_day as (
    insert into audit.daily_activity as stored select * from added
    on conflict (organization, day, log, activity_id) do update set events = stored.events + excluded.events,
      first_at = least(stored.first_at, excluded.first_at), last_at = greatest(stored.last_at, excluded.last_at),
      hours = stored.hours | excluded.hours
  ), totals as (
    insert into audit.daily_totals as stored
    select organization, day, audit.activity_id(category, action, source, null), category, action, source, sum(events), log
    from added group by organization, log, day, category, action, source
    on conflict (organization, day, log, activity_id) do update set events = stored.events + excluded.events
  )
  select array_agg(added::audit.daily_activity) into late
  from added join audit.user_horizon horizon on horizon.organization = added.organization and horizon.log = added.log
    and added.day < horizon.day;
  if late is not null then perform audit.add_late_events(late); end if;
  perform audit.settle_users(organization, log) from unnest(organizations, logs) as one (organization, log);
  return null;
end $$;

-- Rows are seldom changed or deleted, so the groups that they belong to are read again where adding is not enough.
create or replace function audit.count_changed_events() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp set timezone = 'UTC' as $$
declare
  changed audit.daily_activity[];
  late audit.daily_activity[];
begin
  if tg_op = 'DELETE' then
    changed := array(
      select row(organization, created_on::date, audit.activity_id(category, action, source, user_name), category, action,
        source, user_name, -count(*), min(created_on), max(created_on), 0, log)::audit.daily_activity
      from taken_rows group by organization, log, created_on::date, category, action, source, user_name
    );
  else
    changed := array(
      select row(organization, created_on::date, audit.activity_id(category, action, source, user_name), category, action,
        source, user_name, sum(change), min(created_on), max(created_on), 0, log)::audit.daily_activity
      from (
        -- Rows that count the same before and after are left out: a re-read changes messages far more often than names.
        select organization, log, created_on, category, action, source, user_name, sum(change) as change
        from (
          select organization, log, created_on, category, action, source, user_name, -1 as change from taken_rows
          union all select organization, log, created_on, category, action, source, user_name, 1 from added_rows
        ) both_rows
        group by organization, log, created_on, category, action, source, user_name having sum(change) <> 0
      ) moved
      group by organization, log, created_on::date, category, action, source, user_name
    );
  end if;
  if cardinality(changed) = 0 then return null; end if;
  perform audit.lock_roll_ups(organization, log)
  from (select organization, log from unnest(changed) group by organization, log order by organization, log) logs;

  -- Numbers are added, because a statement may also have inserted rows, which are counted elsewhere.
  insert into audit.daily_activity as stored select * from unnest(changed)
  on conflict (organization, day, log, activity_id) do update set events = stored.events + excluded.events;
  delete from audit.daily_activity as stored using unnest(changed) as gone
  where (stored.organization, stored.log, stored.day, stored.activity_id) = (gone.organization, gone.log, gone.day, gone.activity_id)
    and stored.events = 0;
  with found as (
    select e.organization, e.log, days.day, audit.activity_id(category, action, source, user_name) as activity_id,
      min(created_on) as first_at, max(created_on) as last_at, bit_or(1 << date_part('hour', created_on)::integer) as hours
    from (select organization, log, day from unnest(changed) group by organization, log, day) days
    join audit.events e on e.organization = days.organization and e.log = days.log
      and e.created_on >= days.day::timestamptz and e.created_on < (days.day + 1)::timestamptz
    group by e.organization, e.log, days.day, category, action, source, user_name
  )
  update audit.daily_activity as stored set first_at = found.first_at, last_at = found.last_at, hours = found.hours
  from found, unnest(changed) as here
  where (stored.organization, stored.log, stored.day, stored.activity_id) = (found.organization, found.log, found.day, found.activity_id)
    and (stored.organization, stored.log, stored.day, stored.activity_id) = (here.organization, here.log, here.day, here.activity_id);

  delete from audit.daily_totals as stored using unnest(changed) as here
  where (stored.organization, stored.log, stored.day) = (here.organization, here.log, here.day);
  insert into audit.daily_totals
  select organization, day, audit.activity_id(category, action, source, null), category, action, source, sum(events), log
  from audit.daily_activity where (organization, log, day) in (select organization, log, day from unnest(changed))
  group by organization, log, day, category, action, source;

  late := array(
    select here from unnest(changed) as here
    where here.day < (select h.day from audit.user_horizon h where h.organization = here.organization and h.log = here.log)
  );
  if cardinality(late) > 0 then perform audit.recount_users(late); end if;
  perform audit.settle_users(organization, log)
  from (select organization, log from unnest(changed) group by organization, log) logs;
  return null;
end $$;

revoke execute on function audit.lock_roll_ups, audit.settle_users from public;

-- The views. The new column is the last one of each, so that `create or replace` keeps grants, comments and the views that
-- people have built on them.

create or replace view audit.gaps as
select organization, from_ticks, to_ticks, from_at, to_at, noticed_at, run_id, log
from (
  select organization, log, lag(to_ticks) over o as from_ticks, from_ticks as to_ticks, lag(to_at) over o as from_at,
    from_at as to_at, begun_at as noticed_at, run_id
  from audit.coverage
  window o as (partition by organization, log order by from_ticks)
) ranges
where from_ticks is not null;

create or replace view bi.coverage as
select organization, from_at, to_at, proven_at, log from audit.coverage;
create or replace view bi.gaps as
select organization, from_at, to_at, noticed_at, log from audit.gaps;

create or replace view audit.all_user_actions as
select organization, activity_id, category, action, source, user_name, sum(events)::bigint as events, min(first_at) as first_at,
  max(last_at) as last_at, log
from (
  select organization, log, activity_id, category, action, source, user_name, events, first_at, last_at from audit.user_actions
  union all
  select a.organization, a.log, activity_id, category, action, source, user_name, events, first_at, last_at
  from audit.user_horizon h cross join lateral (
    select * from audit.daily_activity of_day
    where of_day.organization = h.organization and of_day.log = h.log and of_day.day between h.day and 'infinity' offset 0
  ) a
) parts group by organization, log, activity_id, category, action, source, user_name;
create or replace view audit.all_user_totals as
select organization, user_name, sum(events)::bigint as events, sum(days)::integer as days_active, min(first_at) as first_at,
  max(last_at) as last_at, log
from (
  select organization, log, user_name, events, days_active as days, first_at, last_at from audit.user_totals
  union all
  select a.organization, a.log, user_name, sum(events), 1, min(first_at), max(last_at)
  from audit.user_horizon h cross join lateral (
    select * from audit.daily_activity of_day
    where of_day.organization = h.organization and of_day.log = h.log and of_day.day between h.day and 'infinity' offset 0
  ) a
  group by a.organization, a.log, user_name, a.day
) parts group by organization, log, user_name;

create or replace view bi.events as
select
  organization,
  created_on,
  category,
  action,
  source,
  user_name,
  nullif(email, '') as email,
  message,
  details,
  details_version,
  extra,
  event_id,
  created_on_raw,
  first_seen_at,
  updated_at,
  (created_on at time zone 'UTC')::date as day,
  coalesce(
    details ->> 'name', details #>> '{after,name}', details #>> '{user,userName}', details ->> 'userName',
    details ->> 'displayName', details ->> 'licenseCode'
  ) as target_name,
  coalesce(details ->> 'id', details ->> 'groupId', details ->> 'clientId') as target_id,
  nullif(coalesce(details ->> 'email', details #>> '{user,email}'), '') as target_email,
  details ->> 'product' as product,
  log
from audit.events;
create or replace view bi.activity_by_day as
select organization, day, category, action, source, user_name, events, first_at, last_at, log from audit.daily_activity;
create or replace view bi.totals_by_day as
select organization, day, category, action, source, events, log from audit.daily_totals;
create or replace view bi.users as
select
  u.organization, u.user_name, u.events, u.days_active, u.first_at as first_seen_at, u.last_at as last_seen_at,
  coalesce(logins.events, 0) as logins, logins.first_at as first_login_at, logins.last_at as last_login_at,
  u.events - coalesce(logins.events, 0) as other_events, u.log
from audit.all_user_totals u
left join (
  select organization, log, user_name, sum(events)::bigint as events, min(first_at) as first_at, max(last_at) as last_at
  from audit.all_user_actions where category = 'User' and action = 'Login'
  group by organization, log, user_name
) logins on logins.organization = u.organization and logins.log = u.log
  and coalesce(logins.user_name, '') = coalesce(u.user_name, '') and (logins.user_name is null) = (u.user_name is null);
create or replace view bi.user_actions as
select
  organization, user_name, category, action, source, events, first_at as first_done_at, last_at as last_done_at,
  count(*) over what as users_who_did_it,
  first_at = min(first_at) over what as was_the_first_of_all,
  round(100 * events / sum(events) over (partition by organization, log, user_name), 3) as percent_of_user, log
from audit.all_user_actions
window what as (partition by organization, log, category, action, source);
create or replace view bi.rare_actions as
select * from bi.user_actions where events <= 3 or users_who_did_it <= 2;

create or replace view audit.login_habits as
select organization, user_name, hour::integer - 1 as hour, days,
  greatest(days_by_hour[1 + (hour + 22) % 24], days_in_hour, days_by_hour[1 + hour % 24]) as days_near_hour, log
from (
  select organization, log, user_name, count(*) as days, array[
    sum(hours & 1), sum(hours >> 1 & 1), sum(hours >> 2 & 1), sum(hours >> 3 & 1), sum(hours >> 4 & 1), sum(hours >> 5 & 1),
    sum(hours >> 6 & 1), sum(hours >> 7 & 1), sum(hours >> 8 & 1), sum(hours >> 9 & 1), sum(hours >> 10 & 1),
    sum(hours >> 11 & 1), sum(hours >> 12 & 1), sum(hours >> 13 & 1), sum(hours >> 14 & 1), sum(hours >> 15 & 1),
    sum(hours >> 16 & 1), sum(hours >> 17 & 1), sum(hours >> 18 & 1), sum(hours >> 19 & 1), sum(hours >> 20 & 1),
    sum(hours >> 21 & 1), sum(hours >> 22 & 1), sum(hours >> 23 & 1)
  ] as days_by_hour
  from (
    -- A user who logs in by two sources on one day has two rows of that day.
    select of_day.organization, of_day.log, user_name, day, bit_or(hours) as hours
    from (
      select organization, log, (
        select min(day) from (
          select day from audit.daily_totals t where t.organization = h.organization and t.log = h.log group by day order by day desc limit 180
        ) newest
      ) as since
      from audit.user_horizon h
    ) half_year join audit.daily_activity of_day on of_day.organization = half_year.organization
      and of_day.log = half_year.log and of_day.day >= since
    where category = 'User' and action = 'Login'
    group by of_day.organization, of_day.log, user_name, day
  ) days
  group by organization, log, user_name
) users cross join unnest(days_by_hour) with ordinality as by_hour (days_in_hour, hour);
create or replace view bi.logins as
select
  organization, created_on as logged_in_at, user_name, nullif(email, '') as email,
  (created_on at time zone 'UTC')::date as day,
  date_part('isodow', created_on at time zone 'UTC')::integer as weekday,
  date_part('hour', created_on at time zone 'UTC')::integer as hour,
  message, details, event_id, log
from audit.events
where category = 'User' and action = 'Login';
create or replace view bi.unusual_logins as
select logins.organization, logged_in_at, logins.user_name, email, day, weekday, logins.hour, message, details, event_id,
  habits.days as days_with_logins, habits.days_near_hour as days_near_this_hour, logins.log
from bi.logins logins
join audit.login_habits habits on habits.organization = logins.organization and habits.log = logins.log and habits.user_name = logins.user_name
  and habits.hour = logins.hour
where habits.days >= 20 and 20 * habits.days_near_hour < habits.days;
create or replace view bi.login_hours as
select organization, day, (day - date '0001-01-01') % 7 + 1 as weekday, hour, user_name, log
from (
  select organization, log, day, user_name, bit_or(hours) as hours from audit.daily_activity
  where category = 'User' and action = 'Login'
  group by organization, log, day, user_name
) days
join (values
  (0, 1), (1, 2), (2, 4), (3, 8), (4, 16), (5, 32), (6, 64), (7, 128), (8, 256), (9, 512), (10, 1024), (11, 2048), (12,
  4096), (13, 8192), (14, 16384), (15, 32768), (16, 65536), (17, 131072), (18, 262144), (19, 524288), (20, 1048576),
  (21, 2097152), (22, 4194304), (23, 8388608)
) as of_day (hour, bit) on hours & bit <> 0;
create or replace view bi.administrative_changes as
select
  organization, created_on as changed_at, user_name as changed_by, email as changed_by_email,
  case
    when category ilike '%group%' then 'Groups'
    when category ilike '%role%' then 'Roles'
    when category ilike '%robot%' then 'Robot accounts'
    when category ilike '%client%' or category ilike '%application%' then 'External applications'
    when category ilike '%licen%' then 'Licences'
    when category ilike '%governance%' or category ilike '%policy%' then 'Policies'
    when category ilike '%setting%' then 'Settings'
    when category ilike '%user%' then 'Users'
    else 'Other'
  end as area,
  category, action, source, target_name, target_id, target_email, product,
  details -> 'before' as before, details -> 'after' as after,
  details -> 'addedMembers' as added_members, details -> 'removedMembers' as removed_members,
  message, details, event_id, log
from bi.events
where (category, action) is distinct from ('User', 'Login');

create or replace view bi.runs as
select
  run_id, organization, kind, started_at, ended_at, ended_at - started_at as duration, outcome, error, warnings, requests, retries,
  rows_read, rows_inserted, rows_updated, rows_unchanged, rows_rejected, rows_late, log
from audit.runs;
create or replace view bi.rejected_events as
select organization, source_text, reason, first_seen_at, last_seen_at, run_id, log from audit.rejected_events;
create or replace view bi.export_health as
select
  w.organization,
  w.created_on as newest_event_at,
  greatest(now() - w.created_on, interval '0') as newest_event_age,
  last_run.started_at as last_run_at,
  last_run.outcome as last_run_outcome,
  last_run.error as last_run_error,
  last_success.ended_at as last_success_at,
  now() - last_success.ended_at as last_success_age,
  w.source_total as source_events,
  (select count(*) from audit.gaps g where g.organization = w.organization and g.log = w.log) as gaps,
  (select count(*) from audit.rejected_events r where r.organization = w.organization and r.log = w.log) as rejected_events,
  (select sum(events)::bigint from audit.daily_totals t where t.organization = w.organization and t.log = w.log) as stored_events,
  (select created_on from audit.events e where e.organization = w.organization and e.log = w.log order by created_on limit 1) as oldest_event_at,
  covered.from_at as complete_from,
  covered.to_at as complete_to,
  covered.proven_at as complete_proven_at,
  w.log
from audit.watermarks w
left join lateral (
  select * from audit.runs r where r.organization = w.organization and r.log = w.log order by started_at desc limit 1
) last_run on true
left join lateral (
  select * from audit.runs r where r.organization = w.organization and r.log = w.log and outcome = 'succeeded' order by started_at desc limit 1
) last_success on true
left join lateral (
  select * from audit.coverage c where c.organization = w.organization and c.log = w.log order by to_ticks desc limit 1
) covered on true;

comment on view audit.all_user_totals is 'One row per user and log: audit.user_totals, and the days from the horizon on.';
comment on table audit.user_totals is 'One row per user and log, of the days before audit.user_horizon.';
comment on view audit.login_habits is 'Who logs in when: one row per user, log and hour of the day (UTC), over the newest 180 days on which the log has events.';
comment on view bi.users is 'One row per user and log: every user that ever caused an event.';
comment on view bi.user_actions is 'One row per user, log and kind of action that the user ever did: first-ever and rare actions.';
comment on view bi.login_hours is 'One row per user, log, day and hour in which the user logged in at least once: when people work, and who.';
comment on view bi.export_health is 'One row per log of an organization: is the copy current, and does anything need attention?';
do $$
declare
  relation regclass;
begin
  for relation in
    select attrelid::regclass from pg_attribute join pg_class c on c.oid = attrelid
    where relnamespace in ('audit'::regnamespace, 'bi'::regnamespace) and relkind in ('r', 'v') and attname = 'log'
      and relowner = (select relowner from pg_class where oid = 'audit.events'::regclass)
  loop
    execute format('comment on column %s.log is %L', relation,
      'Which audit log of the organization: classic is the list of Get Audit Logs.');
  end loop;
end $$;

-- The planner expects few rows for a value without statistics. Empty tables are not analyzed: the plans of a
-- first load are made for tables that were never analyzed.
do $$
declare
  relation regclass;
  has_rows boolean;
begin
  for relation in
    select attrelid::regclass from pg_attribute join pg_class c on c.oid = attrelid
    where relnamespace = 'audit'::regnamespace and relkind = 'r' and attname = 'log'
  loop
    execute format('select exists (select from %s)', relation) into has_rows;
    if has_rows then execute format('analyze %s (log)', relation); end if;
  end loop;
end $$;
