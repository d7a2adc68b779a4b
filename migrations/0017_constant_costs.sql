-- Costs that do not grow with what is stored: the roll-ups follow a changed or deleted row by key, day by day. The indexes and views for what BI
-- tools send first are in 0018_partitions.sql, where nothing waits for them.
--
-- One transaction. It rewrites no table. It reads audit.events once, for audit.time_totals, and blocks writers of the table meanwhile, not
-- readers: docs/operations.md says how long. A worker of an older version that is still running waits, and then continues to work. It changes no view: the
-- program locks the views before every other migration (`lockViews` in src/postgres/schema/locks.ts), and readers would wait here.

lock table audit.events in share row exclusive mode;

-- 1. Indexes of small tables, and statistics.

-- The planner takes no numbers of values from an index with a condition.
create statistics audit.areas_of_events on (case
    when category ilike '%group%' then 'Groups'
    when category ilike '%role%' then 'Roles'
    when category ilike '%robot%' then 'Robot accounts'
    when category ilike '%client%' or category ilike '%application%' then 'External applications'
    when category ilike '%licen%' then 'Licences'
    when category ilike '%governance%' or category ilike '%policy%' then 'Policies'
    when category ilike '%setting%' then 'Settings'
    when category ilike '%user%' then 'Users'
    else 'Other'
  end) from audit.events;
comment on statistics audit.areas_of_events is 'How many events are of which area.';
create statistics audit.targets_of_events on (left(coalesce(
    details ->> 'name', details #>> '{after,name}', details #>> '{user,userName}', details ->> 'userName',
    details ->> 'displayName', details ->> 'licenseCode'
  ), 500)) from audit.events;
comment on statistics audit.targets_of_events is 'How many events are of which target.';

create index daily_activity_by_day on audit.daily_activity using brin (day) with (autosummarize = on);
comment on index audit.daily_activity_by_day is 'Days without an organization in the condition.';
create index ledger_by_run on audit.ledger (organization, log, run_id);
comment on index audit.ledger_by_run is 'Whether the ledger names a run, which audit.prune_runs keeps then.';
create index user_actions_by_user on audit.user_actions (organization, log, md5(coalesce(user_name, '')));
comment on index audit.user_actions_by_user is 'What one user did, to count the user again.';

-- 2. Counts by time of day, so that days of any time zone are sums.

create table audit.time_totals (
  organization text not null,
  day date not null,
  activity_id uuid not null,
  category text,
  action text,
  source text,
  events integer[] not null,
  log text not null,
  primary key (organization, day, log, activity_id)
);
comment on table audit.time_totals is 'audit.daily_totals by quarter of an hour: one row per day, category, action and source. Every time zone in use differs from UTC by a multiple of it.';
comment on column audit.time_totals.organization is 'UIPATH_ORGANIZATION of the worker.';
comment on column audit.time_totals.day is 'The day of created_on in UTC.';
comment on column audit.time_totals.activity_id is 'Stands for category, action and source: audit.activity_id.';
comment on column audit.time_totals.category is 'As in audit.events.';
comment on column audit.time_totals.action is 'As in audit.events.';
comment on column audit.time_totals.source is 'As in audit.events.';
comment on column audit.time_totals.events is 'Number of events in each of the 96 quarters of an hour, in UTC; the first is 00:00 to 00:15.';
comment on column audit.time_totals.log is 'Which audit log of the organization: classic is the list of Get Audit Logs.';
comment on index audit.time_totals_pkey is 'Finds the row that counts an event, and the days of a range.';


-- Inlined, so without settings.
create function audit.quarter_of(at timestamptz) returns integer
language sql stable parallel safe
return date_part('hour', at at time zone 'UTC')::integer * 4 + date_part('minute', at at time zone 'UTC')::integer / 15;
comment on function audit.quarter_of is 'Which of the 96 quarters of an hour of its day, in UTC, from 0 on.';
revoke execute on function audit.quarter_of from public;

create function audit.add_time_totals(changes audit.time_totals[]) returns void
language plpgsql set search_path = pg_catalog, pg_temp set enable_seqscan = off as $$
declare
  change audit.time_totals;
  added integer[];
  counts integer[];
  is_stored boolean;
begin
  foreach change in array changes loop
    select events into counts from audit.time_totals
    where organization = change.organization and day = change.day and log = change.log and activity_id = change.activity_id;
    is_stored := found;
    if not is_stored then counts := array_fill(0, array[96]); end if;
    added := change.events;
    for i in 1 .. array_length(added, 1) loop
      counts[added[i][1] + 1] := counts[added[i][1] + 1] + added[i][2];
    end loop;
    if not is_stored then
      insert into audit.time_totals
      values (change.organization, change.day, change.activity_id, change.category, change.action, change.source, counts, change.log);
    elsif 0 = all (counts) then
      delete from audit.time_totals
      where organization = change.organization and day = change.day and log = change.log and activity_id = change.activity_id;
    else
      update audit.time_totals set events = counts
      where organization = change.organization and day = change.day and log = change.log and activity_id = change.activity_id;
    end if;
  end loop;
end $$;
comment on function audit.add_time_totals is 'Adds to audit.time_totals. Each row has pairs as events: a quarter of an hour from 0 on, and the number of events to add, which may be negative.';
revoke execute on function audit.add_time_totals from public;

-- 3. The functions of the triggers. Rows of the roll-ups are found by key, and rows of audit.events by the bounds of their day, through lateral
-- subqueries with a fence (offset 0): then no plan reads a table as a whole, also one that was made while the tables were empty. The settings
-- choose hash joins for the rest, and leave out the compilation that their costs would start.

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
  times audit.time_totals[];
begin
  select array_agg(organization order by organization, log), array_agg(log order by organization, log) into organizations, logs
  from (select organization, log from added_rows where superseded_by is null group by organization, log) one;
  if organizations is null then return null; end if;
  perform audit.lock_roll_ups(organization, log) from unnest(organizations, logs) as one (organization, log);
  with timed as materialized (
    select organization, log, created_on::date as day,
      audit.quarter_of(created_on) as quarter,
      category, action, source, user_name, count(*)::integer as events, min(created_on) as first_at, max(created_on) as last_at
    from added_rows where superseded_by is null group by organization, log, day, quarter, category, action, source, user_name
  ), added as materialized (
    select organization, day, audit.activity_id(category, action, source, user_name) as activity_id, category, action, source,
      user_name, sum(events) as events, min(first_at) as first_at, max(last_at) as last_at, bit_or(1 << quarter / 4) as hours, log
    from timed group by organization, log, day, category, action, source, user_name
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
  select (
    select array_agg(added::audit.daily_activity)
    from added join audit.user_horizon horizon on horizon.organization = added.organization and horizon.log = added.log
      and added.day < horizon.day
  ), array(
    select row(organization, day, audit.activity_id(category, action, source, null), category, action, source,
      array_agg(array[quarter, events]), log)::audit.time_totals
    from (
      select organization, log, day, category, action, source, quarter, sum(events)::integer as events
      from timed group by organization, log, day, category, action, source, quarter
    ) of_quarter group by organization, log, day, category, action, source
  ) into late, times;
  perform audit.add_time_totals(times);
  if late is not null then perform audit.add_late_events(late); end if;
  perform audit.settle_users(organization, log) from unnest(organizations, logs) as one (organization, log);
  return null;
end $$;

-- The first day from from_day on, or the last one up to it where to_day is earlier, on which the group has events. The days are those of
-- daily_totals: one look-up each until the group is found.
create function audit.find_activity(of_organization text, of_log text, of_activity uuid, from_day date, to_day date)
returns audit.daily_activity
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  found_row audit.daily_activity;
  next_day date := from_day;
begin
  loop
    select * into found_row from audit.daily_activity
    where organization = of_organization and day = next_day and log = of_log and activity_id = of_activity;
    if found then return found_row; end if;
    if from_day <= to_day then
      next_day := (
        select day from audit.daily_totals
        where organization = of_organization and log = of_log and day > next_day and day <= to_day order by day limit 1
      );
    else
      next_day := (
        select day from audit.daily_totals
        where organization = of_organization and log = of_log and day < next_day and day >= to_day order by day desc limit 1
      );
    end if;
    if next_day is null then return null; end if;
  end loop;
end $$;
comment on function audit.find_activity is 'Finds the next day on which a user did something again, forwards or backwards.';
revoke execute on function audit.find_activity from public;

create or replace function audit.recount_users(changed audit.daily_activity[]) returns void
language plpgsql set search_path = pg_catalog, pg_temp set timezone = 'UTC' set enable_seqscan = off set enable_nestloop = off set enable_mergejoin = off set jit = off as $$
begin
  -- Numbers are added. The first or the last event may be gone: then the next day with events is searched from there.
  insert into audit.user_actions as stored (organization, activity_id, category, action, source, user_name, events, first_at, last_at, log)
  select moved.organization, moved.activity_id, moved.category, moved.action, moved.source, moved.user_name, moved.events,
    coalesce(first_day.first_at, before.first_at, '-infinity'), coalesce(last_day.last_at, before.last_at, '-infinity'), moved.log
  from (
    select organization, log, activity_id, category, action, source, user_name, sum(events)::bigint as events, min(day) as first_day,
      max(day) as last_day
    from unnest(changed) group by organization, log, activity_id, category, action, source, user_name
  ) moved
  cross join lateral (
    select day - 1 as last_day from audit.user_horizon h where h.organization = moved.organization and h.log = moved.log offset 0
  ) counted
  left join lateral (
    select first_at, last_at from audit.user_actions u
    where u.organization = moved.organization and u.log = moved.log and u.activity_id = moved.activity_id offset 0
  ) before on true
  cross join lateral audit.find_activity(moved.organization, moved.log, moved.activity_id, least(before.first_at::date, moved.first_day),
    counted.last_day) as first_day
  cross join lateral audit.find_activity(moved.organization, moved.log, moved.activity_id, greatest(before.last_at::date, moved.last_day),
    '-infinity') as last_day
  on conflict (organization, log, activity_id) do update set events = stored.events + excluded.events,
    first_at = excluded.first_at, last_at = excluded.last_at;
  delete from audit.user_actions where ctid = any (array(
    select here.ctid from unnest(changed) as change cross join lateral (
      select ctid from audit.user_actions u
      where u.organization = change.organization and u.log = change.log and u.activity_id = change.activity_id and u.events = 0 offset 0
    ) here
  ));

  -- Of each changed day all that is stored is read, to know on which the user did nothing before, or does nothing any more.
  insert into audit.user_totals as stored (organization, user_id, user_name, events, days_active, first_at, last_at, log)
  select moved.organization, audit.activity_id(null, null, null, moved.user_name), moved.user_name, moved.events, moved.days,
    coalesce(of_user.first_at, '-infinity'), coalesce(of_user.last_at, '-infinity'), moved.log
  from (
    select here.organization, here.log, here.user_name, sum(here.events)::bigint as events,
      sum((coalesce(left_over.events, 0) > 0)::integer - (coalesce(left_over.events, 0) > here.events)::integer)::integer as days
    from (
      select organization, log, day, user_name, sum(events) as events from unnest(changed) group by organization, log, day, user_name
    ) here
    left join (
      select days.organization, days.log, days.day, user_name, sum(events) as events
      from (select organization, log, day from unnest(changed) group by organization, log, day) days cross join lateral (
        select user_name, events from audit.daily_activity a
        where a.organization = days.organization and a.log = days.log and a.day = days.day offset 0
      ) of_day
      group by days.organization, days.log, days.day, user_name
    ) left_over on left_over.organization = here.organization and left_over.log = here.log and left_over.day = here.day
      and coalesce(left_over.user_name, '') = coalesce(here.user_name, '') and (left_over.user_name is null) = (here.user_name is null)
    group by here.organization, here.log, here.user_name
  ) moved
  cross join lateral (
    select min(first_at) as first_at, max(last_at) as last_at from audit.user_actions u
    where u.organization = moved.organization and u.log = moved.log and md5(coalesce(u.user_name, '')) = md5(coalesce(moved.user_name, ''))
      and (u.user_name is null) = (moved.user_name is null)
  ) of_user
  on conflict (organization, log, user_id) do update set events = stored.events + excluded.events,
    days_active = stored.days_active + excluded.days_active, first_at = excluded.first_at, last_at = excluded.last_at;
  delete from audit.user_totals where ctid = any (array(
    select here.ctid from unnest(changed) as change cross join lateral (
      select ctid from audit.user_totals u
      where u.organization = change.organization and u.log = change.log
        and u.user_id = audit.activity_id(null, null, null, change.user_name) and u.events = 0 offset 0
    ) here
  ));
end $$;
comment on function audit.recount_users is 'Counts again, in user_actions and user_totals, the users of changed or deleted events of days before the horizon, which daily_activity and daily_totals no longer have.';

-- A row that leaves a group is replaced if another row of the group has its time, as after a re-rendering: then only the number changes.
-- Groups that a row left otherwise, or came to, are read again.
create or replace function audit.count_changed_events() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp set timezone = 'UTC' set enable_seqscan = off set enable_nestloop = off set enable_mergejoin = off set jit = off as $$
declare
  -- hours is 1 if the group must be read again.
  changed audit.daily_activity[];
  read_again audit.daily_activity[];
  late audit.daily_activity[];
  times audit.time_totals[];
begin
  if tg_op = 'DELETE' then
    changed := array(
      select row(organization, created_on::date, audit.activity_id(category, action, source, user_name), category, action,
        source, user_name, -count(*), min(created_on), max(created_on), 1, log)::audit.daily_activity
      from taken_rows where superseded_by is null
      group by organization, log, created_on::date, category, action, source, user_name
    );
    times := array(
      select row(organization, day, audit.activity_id(category, action, source, null), category, action, source,
        array_agg(array[quarter, events]), log)::audit.time_totals
      from (
        select organization, log, created_on::date as day, category, action, source, audit.quarter_of(created_on) as quarter,
          -count(*)::integer as events
        from taken_rows where superseded_by is null group by organization, log, day, category, action, source, quarter
      ) of_quarter group by organization, log, day, category, action, source
    );
  else
    changed := array(
      with moved as materialized (
        -- Rows that count the same before and after are left out: a re-read changes messages far more often than names.
        select organization, log, created_on, category, action, source, user_name, sum(change) as change
        from (
          select organization, log, created_on, category, action, source, user_name, -1 as change from taken_rows where superseded_by is null
          union all
          select organization, log, created_on, category, action, source, user_name, 1 from added_rows where superseded_by is null
        ) both_rows
        group by organization, log, created_on, category, action, source, user_name having sum(change) <> 0
      ), kept as materialized (
        -- Each instant is read once, however many rows have it.
        select instants.organization, instants.log, instants.created_on, audit.activity_id(category, action, source, user_name) as activity_id
        from (
          select organization, log, created_on from moved where change < 0 group by organization, log, created_on
        ) instants cross join lateral (
          select category, action, source, user_name from audit.events e
          where e.organization = instants.organization and e.log = instants.log and e.created_on = instants.created_on
            and e.superseded_by is null
          group by category, action, source, user_name offset 0
        ) stored
      )
      select row(organization, created_on::date, audit.activity_id(category, action, source, user_name), category, action,
        source, user_name, sum(change), min(created_on), max(created_on), max(case when is_replaced then 0 else 1 end), log)::audit.daily_activity
      from (
        select moved.*, change < 0 and kept.activity_id is not null as is_replaced
        from moved left join kept on kept.organization = moved.organization and kept.log = moved.log and kept.created_on = moved.created_on
          and kept.activity_id = audit.activity_id(moved.category, moved.action, moved.source, moved.user_name)
      ) compared
      group by organization, log, created_on::date, category, action, source, user_name
    );
    if cardinality(changed) = 0 then return null; end if;
    times := array(
      select row(organization, day, audit.activity_id(category, action, source, null), category, action, source,
        array_agg(array[quarter, events]), log)::audit.time_totals
      from (
        select organization, log, created_on::date as day, category, action, source, audit.quarter_of(created_on) as quarter,
          sum(change)::integer as events
        from (
          select organization, log, created_on, category, action, source, -1 as change from taken_rows where superseded_by is null
          union all
          select organization, log, created_on, category, action, source, 1 from added_rows where superseded_by is null
        ) both_rows
        group by organization, log, day, category, action, source, quarter having sum(change) <> 0
      ) of_quarter group by organization, log, day, category, action, source
    );
  end if;
  if cardinality(changed) = 0 then return null; end if;
  perform audit.lock_roll_ups(organization, log)
  from (select organization, log from unnest(changed) group by organization, log order by organization, log) logs;

  -- Numbers are added, because a statement may also have inserted rows, which are counted elsewhere.
  insert into audit.daily_activity as stored select * from unnest(changed)
  on conflict (organization, day, log, activity_id) do update set events = stored.events + excluded.events;
  delete from audit.daily_activity where ctid = any (array(
    select here.ctid from unnest(changed) as change cross join lateral (
      select ctid from audit.daily_activity a
      where a.organization = change.organization and a.day = change.day and a.log = change.log and a.activity_id = change.activity_id
        and a.events = 0 offset 0
    ) here
  ));
  insert into audit.daily_totals as stored
  select organization, day, audit.activity_id(category, action, source, null), category, action, source, sum(events), log
  from unnest(changed) group by organization, log, day, category, action, source having sum(events) <> 0
  on conflict (organization, day, log, activity_id) do update set events = stored.events + excluded.events;
  delete from audit.daily_totals where ctid = any (array(
    select here.ctid from unnest(changed) as change cross join lateral (
      select ctid from audit.daily_totals t
      where t.organization = change.organization and t.day = change.day and t.log = change.log
        and t.activity_id = audit.activity_id(change.category, change.action, change.source, null) and t.events = 0 offset 0
    ) here
  ));
  if cardinality(times) > 0 then perform audit.add_time_totals(times); end if;

  -- Only groups that are still there: of a day that was deleted, nothing is read.
  read_again := array(
    select change from unnest(changed) as change cross join lateral (
      select from audit.daily_activity a
      where a.organization = change.organization and a.day = change.day and a.log = change.log and a.activity_id = change.activity_id
        and change.hours = 1 offset 0
    ) here
  );
  if cardinality(read_again) > 0 then
    -- Each user's rows of a day are read once, by the index of users: the organization is compared in a way that no other index serves.
    with of_user as materialized (
      select organization, log, day, user_name, day::timestamptz as from_at, (day + 1)::timestamptz as to_at
      from unnest(read_again) group by organization, log, day, user_name
    ), found as materialized (
      select of_user.organization, of_user.log, of_user.day, audit.activity_id(category, action, source, of_user.user_name) as activity_id,
        first_at, last_at, hours
      from of_user cross join lateral (
        select category, action, source, min(created_on) as first_at, max(created_on) as last_at,
          bit_or(1 << date_part('hour', created_on)::integer) as hours
        from audit.events e
        where left(e.user_name, 500) = left(of_user.user_name, 500) and e.user_name = of_user.user_name
          and e.created_on >= of_user.from_at and e.created_on < of_user.to_at
          and e.organization is not distinct from of_user.organization and e.log is not distinct from of_user.log and e.superseded_by is null
        group by category, action, source offset 0
      ) in_day
      where of_user.user_name is not null
      union all
      select of_user.organization, of_user.log, of_user.day, audit.activity_id(category, action, source, null), first_at, last_at, hours
      from of_user cross join lateral (
        select category, action, source, min(created_on) as first_at, max(created_on) as last_at,
          bit_or(1 << date_part('hour', created_on)::integer) as hours
        from audit.events e
        where left(e.user_name, 500) is null and e.created_on >= of_user.from_at and e.created_on < of_user.to_at
          and e.organization is not distinct from of_user.organization and e.log is not distinct from of_user.log and e.superseded_by is null
        group by category, action, source offset 0
      ) in_day
      where of_user.user_name is null
    )
    -- The rows exist, and are found by key.
    insert into audit.daily_activity as stored
    select here.organization, here.day, here.activity_id, here.category, here.action, here.source, here.user_name, here.events,
      found.first_at, found.last_at, found.hours, here.log
    from found
    join unnest(read_again) as here on here.organization = found.organization and here.log = found.log and here.day = found.day
      and here.activity_id = found.activity_id
    on conflict (organization, day, log, activity_id) do update set first_at = excluded.first_at, last_at = excluded.last_at,
      hours = excluded.hours;
  end if;

  late := array(
    select change from unnest(changed) as change
    where change.day < (select h.day from audit.user_horizon h where h.organization = change.organization and h.log = change.log)
  );
  if cardinality(late) > 0 then perform audit.recount_users(late); end if;
  perform audit.settle_users(organization, log)
  from (select organization, log from unnest(changed) group by organization, log) logs;
  return null;
end $$;

create or replace function audit.forget_counted_events() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  truncate audit.daily_activity, audit.daily_totals, audit.time_totals, audit.user_actions, audit.user_totals, audit.user_horizon;
  return null;
end $$;

-- What is stored already, month by month.
do $$
declare
  of_month record;
begin
  for of_month in
    select organization, log, date_trunc('month', day::timestamp) at time zone 'UTC' as from_at,
      (date_trunc('month', day::timestamp) + interval '1 month') at time zone 'UTC' as to_at
    from audit.daily_totals group by 1, 2, 3, 4
  loop
    perform audit.add_time_totals(array(
      select row(organization, day, audit.activity_id(category, action, source, null), category, action, source,
        array_agg(array[quarter, events]), log)::audit.time_totals
      from (
        select organization, log, (created_on at time zone 'UTC')::date as day, category, action, source, audit.quarter_of(created_on) as quarter,
          count(*)::integer as events
        from audit.events
        where organization = of_month.organization and log = of_month.log and created_on >= of_month.from_at and created_on < of_month.to_at
          and superseded_by is null
        group by organization, log, day, category, action, source, quarter
      ) of_quarter group by organization, log, day, category, action, source
    ));
  end loop;
end $$;
analyze audit.time_totals;
-- The planner knows the days, the users and the targets from now on.
analyze audit.events;

do $$
begin
  if exists (select from pg_roles where rolname = 'audit_writer') then
    grant select on audit.time_totals to audit_writer;
  end if;
end $$;
