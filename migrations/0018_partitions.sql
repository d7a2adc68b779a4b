-- The views for what BI tools send first, and partitions by month: audit.events becomes a partitioned table, one partition per month of created_on (UTC), with its final key. Rows dated
-- outside of the months that have a partition are in audit.events_default.
--
-- This migration reads and moves no row, and takes its locks for milliseconds. Without rows it converts the table at once. With rows, the program
-- moves them afterwards (`src/postgres/schema/partition.ts`) by calling the functions below, each in a transaction of its own:
--   1. begin_events_by_month: an empty partitioned copy, audit.events_by_month, and triggers that note in audit.events_to_copy which rows change;
--   2. copy_events_month, for each month: audit.events is only read;
--   3. copy_changed_events, until few noted rows are left;
--   4. check_events_by_month: both tables hold the same number of rows;
--   5. finish_events_by_month: copies the last noted rows, gives the copy the name audit.events, points the views to it, and drops the table.
-- Until 5, audit.events is what it was, and workers of any version continue. After a kill, the next call continues: what is committed stays.
-- An older worker that is still running after 5: COPY of new events continues to work; a commit that upserts fails with "no unique or exclusion
-- constraint matching the ON CONFLICT specification" and stores nothing. Nothing is lost: the watermark stays, and the next run of this version continues.

-- 1. Views for BI tools. Names of users and targets are cut to what the indexes hold, so that a condition on the view is one on the index.

create or replace view bi.events as
select
  organization,
  created_on,
  category,
  action,
  source,
  left(user_name, 500) as user_name,
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
  left(coalesce(
    details ->> 'name', details #>> '{after,name}', details #>> '{user,userName}', details ->> 'userName',
    details ->> 'displayName', details ->> 'licenseCode'
  ), 500) as target_name,
  coalesce(details ->> 'id', details ->> 'groupId', details ->> 'clientId') as target_id,
  nullif(coalesce(details ->> 'email', details #>> '{user,email}'), '') as target_email,
  details ->> 'product' as product,
  log
from audit.events
where superseded_by is null;
comment on view bi.events is 'One row per audit event. Filter by organization and created_on, day, updated_at or user_name: they are indexed. Lists for filters are in bi.organizations, bi.users and bi.event_kinds. Older forms of an event, whose details UiPath has since written differently, are in bi.superseded_events.';
comment on column bi.events.user_name is 'Who caused the event: its first 500 characters.';
comment on column bi.events.target_name is 'Name of what it was done to, from details: a user, a group, a policy and so on; its first 500 characters. Null where details do not say.';
comment on view bi.administrative_changes is 'One row per event that is not a login: who changed what. area and target_name are indexed.';

create or replace view bi.logins as
select
  organization, created_on as logged_in_at, left(user_name, 500) as user_name, nullif(email, '') as email,
  (created_on at time zone 'UTC')::date as day,
  date_part('isodow', created_on at time zone 'UTC')::integer as weekday,
  date_part('hour', created_on at time zone 'UTC')::integer as hour,
  message, details, event_id, log
from audit.events
where category = 'User' and action = 'Login' and superseded_by is null;

-- Read from the days on which a user logged in at an unusual hour: the cost follows these, not the logins. Other logins are not read.
create or replace view bi.unusual_logins as
select users.organization, e.created_on as logged_in_at, left(e.user_name, 500) as user_name, nullif(e.email, '') as email, of_day.day,
  date_part('isodow', of_day.day)::integer as weekday, of_day.hour, e.message, e.details, e.event_id, users.days as days_with_logins,
  of_day.days_near_hour as days_near_this_hour, users.log
from (
  select organization, log, user_name, count(*) as days, array_agg(day) as login_days, array_agg(hours) as login_hours, array[
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
    where category = 'User' and action = 'Login' and user_name is not null
    group by of_day.organization, of_day.log, user_name, day
  ) days
  group by organization, log, user_name having count(*) >= 20
) users
cross join lateral (
  select bit_or(1 << hour) as hours from generate_series(0, 23) as hour
  where 20 * greatest(days_by_hour[1 + (hour + 23) % 24], days_by_hour[1 + hour], days_by_hour[1 + (hour + 1) % 24]) < users.days
) unusual
cross join lateral (
  select day, hour, greatest(days_by_hour[1 + (hour + 23) % 24], days_by_hour[1 + hour], days_by_hour[1 + (hour + 1) % 24]) as days_near_hour
  from unnest(login_days, login_hours) as login (day, hours) cross join generate_series(0, 23) as hour
  where login.hours & unusual.hours <> 0 and login.hours & unusual.hours & (1 << hour) <> 0
) of_day
cross join lateral (
  select * from audit.events stored
  where stored.organization = users.organization and stored.log = users.log
    and left(stored.user_name, 500) = left(users.user_name, 500) and stored.user_name = users.user_name
    and stored.created_on >= (of_day.day::timestamp + of_day.hour * interval '1 hour') at time zone 'UTC'
    and stored.created_on < (of_day.day::timestamp + (of_day.hour + 1) * interval '1 hour') at time zone 'UTC'
    and stored.category = 'User' and stored.action = 'Login' and stored.superseded_by is null
  offset 0
) e;
comment on view bi.unusual_logins is 'Logins at an hour at which the user seldom logs in: the hour, and the hours before and after, each on less than a twentieth of the days with logins. Of users with at least 20 such days. Habits and logins are those of the newest 180 days on which the log has events.';

create view bi.totals_by_quarter_hour as
select organization, day, day::timestamp at time zone 'UTC' + (place - 1) * interval '15 minutes' as starts_at, category, action, source,
  counted as events, log
from audit.time_totals cross join lateral unnest(events) with ordinality as quarters (counted, place)
where counted > 0;
comment on view bi.totals_by_quarter_hour is 'Events counted by quarter of an hour, category, action and source: for hours and days of any time zone. Filter by organization and day; a local day lies on at most two days in UTC.';
comment on column bi.totals_by_quarter_hour.organization is 'The UiPath organization.';
comment on column bi.totals_by_quarter_hour.day is 'The day in UTC. Filter by it: starts_at is not indexed.';
comment on column bi.totals_by_quarter_hour.starts_at is 'Start of the quarter of an hour.';
comment on column bi.totals_by_quarter_hour.category is 'As in bi.events.';
comment on column bi.totals_by_quarter_hour.action is 'As in bi.events.';
comment on column bi.totals_by_quarter_hour.source is 'As in bi.events.';
comment on column bi.totals_by_quarter_hour.events is 'How many events.';
comment on column bi.totals_by_quarter_hour.log is 'Which audit log of the organization: classic is the list of Get Audit Logs.';

create view bi.organizations as
select organization, sum(events)::bigint as events, count(distinct day)::integer as days_active, min(day) as first_day, max(day) as last_day, log
from audit.daily_totals group by organization, log;
comment on view bi.organizations is 'One row per organization and log with events: for filter lists.';
comment on column bi.organizations.organization is 'The UiPath organization.';
comment on column bi.organizations.events is 'How many events.';
comment on column bi.organizations.days_active is 'On how many days, in UTC.';
comment on column bi.organizations.first_day is 'The first of these days.';
comment on column bi.organizations.last_day is 'The last of these days.';
comment on column bi.organizations.log is 'Which audit log of the organization: classic is the list of Get Audit Logs.';

create view bi.event_kinds as
select organization, category, action, source, case when (category, action) is distinct from ('User', 'Login') then case
      when category ilike '%group%' then 'Groups'
      when category ilike '%role%' then 'Roles'
      when category ilike '%robot%' then 'Robot accounts'
      when category ilike '%client%' or category ilike '%application%' then 'External applications'
      when category ilike '%licen%' then 'Licences'
      when category ilike '%governance%' or category ilike '%policy%' then 'Policies'
      when category ilike '%setting%' then 'Settings'
      when category ilike '%user%' then 'Users'
      else 'Other'
    end end as area,
  sum(events)::bigint as events, min(day) as first_day, max(day) as last_day, log
from audit.daily_totals group by organization, category, action, source, log;
comment on view bi.event_kinds is 'One row per organization, log, category, action and source that has events: for filter lists.';
comment on column bi.event_kinds.organization is 'The UiPath organization.';
comment on column bi.event_kinds.category is 'As in bi.events.';
comment on column bi.event_kinds.action is 'As in bi.events.';
comment on column bi.event_kinds.source is 'As in bi.events.';
comment on column bi.event_kinds.area is 'As in bi.administrative_changes; null for logins.';
comment on column bi.event_kinds.events is 'How many events.';
comment on column bi.event_kinds.first_day is 'The first day with one, in UTC.';
comment on column bi.event_kinds.last_day is 'The last day with one.';
comment on column bi.event_kinds.log is 'Which audit log of the organization: classic is the list of Get Audit Logs.';

do $$
begin
  if exists (select from pg_roles where rolname = 'audit_writer') then
    grant select on bi.totals_by_quarter_hour, bi.organizations, bi.event_kinds to audit_writer;
  end if;
  if exists (select from pg_roles where rolname = 'audit_reader') then
    grant select on bi.totals_by_quarter_hour, bi.organizations, bi.event_kinds to audit_reader;
  end if;
end $$;

-- 2. Partitions.

-- Months that may have a partition: a log of made-up dates must not create a partition for each.
create function audit.is_events_month(month date) returns boolean
language sql stable parallel safe set search_path = pg_catalog, pg_temp
begin atomic
  select extract(day from month) = 1 and month >= date '2000-01-01'
    and month <= date_trunc('month', now() at time zone 'UTC') + interval '2 months';
end;
comment on function audit.is_events_month is 'Whether rows of this month (its first day) belong into a partition: from the year 2000 to two months ahead. Other rows are in audit.events_default.';

-- Not for callers: adds the month to any partitioned table that is laid out as audit.events. Attaching locks only the default partition, and that
-- of the table it is attached to; `create table … partition of` would lock the whole table.
create function audit.add_events_month(parent regclass, month date, source regclass default null) returns bigint
language plpgsql
-- Where and how tables are stored does not depend on the settings of the caller.
set search_path = pg_catalog, pg_temp set timezone = 'UTC' set datestyle = 'ISO' set default_tablespace = ''
set default_table_access_method = 'heap' as $$
declare
  partition text := coalesce(to_char(month, '"audit.events_"YYYY_MM'), 'audit.events_default');
  first_instant timestamptz := coalesce(month, date '2000-01-01')::timestamptz;
  end_instant timestamptz := coalesce(month + interval '1 month', date_trunc('month', now()) + interval '3 months');
  bounds text := format(case when month is null then 'not ' else '' end || '(created_on >= %L and created_on < %L)', first_instant, end_instant);
  default_partition regclass := (select nullif(partdefid, 0) from pg_partitioned_table where partrelid = parent);
  template regclass := coalesce(default_partition, source);
  settings text;
  index regclass;
  index_name text;
  index_comment text;
  copied bigint := 0;
begin
  perform set_config('default_tablespace', coalesce(
    (select spcname from pg_class join pg_tablespace t on t.oid = reltablespace where pg_class.oid = template), ''), false);
  -- Attaching makes the indexes: of sorted rows, in half the time.
  execute format('create table %s (like %s including all excluding indexes)', partition, parent);
  execute format('alter table %s owner to %I', partition, (select pg_get_userbyid(relowner) from pg_class where oid = parent));
  execute format('comment on table %s is %L', partition, case when month is null
    then 'Rows of audit.events that are dated outside of the months that have a partition.'
    else 'Rows of audit.events of ' || to_char(month, 'YYYY-MM') || ', in UTC.' end);
  settings := (
    select string_agg(format('%s%I = %L', prefix, split_part(setting, '=', 1), substr(setting, strpos(setting, '=') + 1)), ', ')
    from (
      select '' as prefix, unnest(reloptions) as setting from pg_class where oid = template
      union all
      select 'toast.', unnest(t.reloptions) from pg_class c join pg_class t on t.oid = c.reltoastrelid where c.oid = template
    ) of_template
  );
  if settings is not null then execute format('alter table %s set (%s)', partition, settings); end if;
  if source is null then
    if default_partition is not null then
      execute format('lock table %s in access exclusive mode', default_partition);
      execute format('with moved as (delete from %s where %s returning *) insert into %s select * from moved', default_partition, bounds,
        partition);
      get diagnostics copied = row_count;
    end if;
  else
    -- All organizations by name: without them, PostgreSQL before 18 reads the whole index.
    execute format('insert into %s select * from %s where organization = any (%L) and %s', partition, source,
      audit.organizations_of_events(), bounds);
    get diagnostics copied = row_count;
  end if;
  -- Rows that were noted before their month was copied.
  if source is not null and default_partition is not null then
    execute format('delete from %s where %s', default_partition, bounds);
  end if;
  execute format('alter table %s attach partition %s %s', parent, partition,
    case when month is null then 'default' else format('for values from (%L) to (%L)', first_instant, end_instant) end);
  for index, index_name, index_comment in
    select i.indexrelid::regclass, regexp_replace(relname, '^(moved_)?events_', substr(partition, 7) || '_'), obj_description(inhparent, 'pg_class')
    from pg_index i join pg_inherits on inhrelid = i.indexrelid join pg_class on pg_class.oid = inhparent
    where i.indrelid = partition::regclass
  loop
    -- As the index of the table: events_by_user and events_2026_11_by_user.
    if index_name like 'events\_%' and to_regclass('audit.' || quote_ident(index_name)) is null then
      execute format('alter index %s rename to %I', index, index_name);
    end if;
    execute format('comment on index %s is %L', index, index_comment);
  end loop;
  if copied > 0 then execute format('analyze %s', partition); end if;
  return copied;
end $$;
comment on function audit.add_events_month is 'Adds a partition for the month (null: the default partition) with its rows: copied from source, a table that is not partitioned; without source, moved from the default partition. Returns how many. Triggers of audit.events do not fire.';

create function audit.organizations_of_events() returns text[]
language sql stable set search_path = pg_catalog, pg_temp as $$
  with recursive names as (
    (select organization from audit.events order by organization limit 1)
    union all
    select (select e.organization from audit.events e where e.organization > names.organization order by e.organization limit 1)
    from names where names.organization is not null
  )
  select coalesce(array_agg(organization), '{}') from names where organization is not null
$$;
comment on function audit.organizations_of_events is 'The organizations with rows in audit.events, by one look-up in the key for each.';

-- Runs with the rights of the owner, so that the worker needs no right to create tables. Whatever a caller passes: it creates partitions of
-- audit.events for months of audit.is_events_month, under their own names, and nothing else.
create function audit.create_event_months(months date[]) returns date[]
language plpgsql security definer
-- A dashboard that reads the default partition delays the months, not the export: their rows are in the default partition until the next call.
-- The server cancels an autovacuum that is in the way after deadlock_timeout, one second by default: the wait is longer.
set search_path = pg_catalog, pg_temp set timezone = 'UTC' set datestyle = 'ISO' set lock_timeout = '2s' as $$
declare
  month date;
  -- Rows that were stored while a lock was not free.
  waiting date[] := '{}';
  default_partition regclass := (select nullif(partdefid, 0) from pg_partitioned_table where partrelid = 'audit.events'::regclass);
  created date[] := '{}';
begin
  if (select relkind from pg_class where oid = 'audit.events'::regclass) <> 'p' then return null; end if;
  if cardinality(months) > 1000 then
    raise 'create_event_months was called with % months, and at most 1000 are allowed', cardinality(months) using errcode = 'invalid_parameter_value';
  end if;
  begin
    if default_partition is not null then
      execute format(
        'select array_agg(distinct date_trunc(''month'', created_on)::date) from %s where created_on >= %L and created_on < %L',
        default_partition, timestamptz '2000-01-01', now() + interval '3 months'
      ) into waiting;
    end if;
  exception
    when lock_not_available then return created;
  end;
  for month in
    select distinct date_trunc('month', wanted)::date from (
      select unnest(months || waiting) as wanted
      union all select (now() + make_interval(months => ahead))::date from generate_series(0, 2) as ahead
    ) asked
    where isfinite(wanted) and audit.is_events_month(date_trunc('month', wanted)::date) order by 1
  loop
    continue when to_regclass(to_char(month, '"audit.events_"YYYY_MM')) is not null;
    begin
      -- Of two workers, the second waits here and then finds the partition. Reading and writing go on, and so does autovacuum of the partitions.
      lock table only audit.events in share update exclusive mode;
      continue when to_regclass(to_char(month, '"audit.events_"YYYY_MM')) is not null;
      perform audit.add_events_month('audit.events', month);
      created := created || month;
    exception
      when lock_not_available or deadlock_detected then exit;
      -- Another partition, made by hand, has the month.
      when invalid_object_definition then null;
    end;
  end loop;
  return created;
end $$;
comment on function audit.create_event_months is 'Creates the partitions of audit.events for these months (any day of them), for those of rows in the default partition, for the current month and the next two, where they are missing; moves their rows from the default partition. Returns the months it created; null before the table is partitioned. Months before 2000 or further ahead are left out, and so are all if a lock is not free within two seconds.';
revoke execute on function audit.is_events_month, audit.add_events_month, audit.organizations_of_events, audit.create_event_months from public;

create function audit.begin_events_by_month() returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  part record;
begin
  if to_regclass('audit.events_by_month') is not null then return; end if;
  create table audit.events_by_month (like audit.events including all excluding indexes excluding statistics) partition by range (created_on);
  execute format('alter table audit.events_by_month owner to %I', (select pg_get_userbyid(relowner) from pg_class where oid = 'audit.events'::regclass));
  comment on table audit.events_by_month is 'audit.events while it is copied into partitions: becomes audit.events.';
  alter table audit.events_by_month add constraint moved_events_pkey primary key (organization, log, created_on, event_id);
  comment on index audit.moved_events_pkey is 'Makes storing idempotent, and finds the events of a time range: runs, verify and queries for single events use it. New entries go to its end, so loads stay fast.';
  -- The key has the log between organization and time.
  create index moved_events_by_time on audit.events_by_month (created_on);
  comment on index audit.moved_events_by_time is 'The newest events, and events of a time range, without a log or without an organization in the condition.';
  -- Blocks of 128 pages with their ranges of values: 0.1 bytes an event. New blocks are read until autovacuum has summarized them, at the latest
  -- after a fifth of the table. Not autosummarize: a load fills the queue of these requests, and the server logs each one that it drops.
  create index moved_events_by_stored_at on audit.events_by_month using brin (
    updated_at timestamptz_minmax_multi_ops, first_seen_at timestamptz_minmax_multi_ops
  );
  comment on index audit.moved_events_by_stored_at is 'Rows that were stored or changed since a time: the incremental refresh of BI tools.';
  create index moved_events_by_day on audit.events_by_month using brin (
    ((created_on at time zone 'UTC')::date) date_minmax_multi_ops, created_on timestamptz_minmax_multi_ops
  );
  comment on index audit.moved_events_by_day is 'Conditions on the day, and on the time without an organization.';
  -- 500 characters: an index entry can have 2,704 bytes, and a name has any length. No two entries are alike, so looking for duplicates would only
  -- cost time.
  create index moved_events_by_user on audit.events_by_month (left(user_name, 500), created_on) with (deduplicate_items = off);
  comment on index audit.moved_events_by_user is 'The events of one user, also of one with few events or none.';
  create index moved_events_by_target on audit.events_by_month (
    left(coalesce(
      details ->> 'name', details #>> '{after,name}', details #>> '{user,userName}', details ->> 'userName',
      details ->> 'displayName', details ->> 'licenseCode'
    ), 500), created_on
  ) where superseded_by is null and (category, action) is distinct from ('User', 'Login');
  comment on index audit.moved_events_by_target is 'The changes of one group, user or policy.';
  create index moved_events_by_area on audit.events_by_month (
    (case
      when category ilike '%group%' then 'Groups'
      when category ilike '%role%' then 'Roles'
      when category ilike '%robot%' then 'Robot accounts'
      when category ilike '%client%' or category ilike '%application%' then 'External applications'
      when category ilike '%licen%' then 'Licences'
      when category ilike '%governance%' or category ilike '%policy%' then 'Policies'
      when category ilike '%setting%' then 'Settings'
      when category ilike '%user%' then 'Users'
      else 'Other'
    end), created_on
  ) where superseded_by is null and (category, action) is distinct from ('User', 'Login');
  comment on index audit.moved_events_by_area is 'The changes of one area, also of one with few changes or none.';
  -- What else the table has, by number: a name may be too long for a prefix.
  for part in
    select relname as name, 'moved_' || indexrelid as copy, pg_get_indexdef(indexrelid) as definition,
      obj_description(indexrelid, 'pg_class') as comment
    from pg_index join pg_class on pg_class.oid = indexrelid
    where indrelid = 'audit.events'::regclass and indisvalid and not indisprimary
  loop
    execute replace(part.definition, format('INDEX %I ON audit.events USING', part.name),
      format('INDEX %I ON audit.events_by_month USING', part.copy));
    execute format('comment on index audit.%I is %L', part.copy, part.comment);
  end loop;
  for part in
    select stxname as name, 'moved_' || oid as copy, pg_get_statisticsobjdef(oid) as definition, obj_description(oid, 'pg_statistic_ext') as comment,
      format('CREATE STATISTICS %I.%I ', stxnamespace::regnamespace, stxname) as beginning
    from pg_statistic_ext where stxrelid = 'audit.events'::regclass
  loop
    execute format('create statistics audit.%I ', part.copy)
      || regexp_replace(substr(part.definition, length(part.beginning) + 1), ' FROM audit\.events$', ' from audit.events_by_month');
    execute format('comment on statistics audit.%I is %L', part.copy, part.comment);
  end loop;
  for part in
    select conname as name, pg_get_constraintdef(oid) as definition from pg_constraint
    where conrelid = 'audit.events'::regclass and contype = 'f'
  loop
    execute format('alter table audit.events_by_month add constraint %I %s', part.name, part.definition);
  end loop;

  create table audit.events_to_copy (organization text, log text, created_on timestamptz, event_id uuid);
  comment on table audit.events_to_copy is 'Keys of rows of audit.events that changed while it is copied into partitions. Dropped at the end.';
  comment on column audit.events_to_copy.organization is 'As in audit.events.';
  comment on column audit.events_to_copy.log is 'As in audit.events.';
  comment on column audit.events_to_copy.created_on is 'As in audit.events.';
  comment on column audit.events_to_copy.event_id is 'As in audit.events.';

  -- With the rights of the owner: the worker has none on this table.
  create function audit.note_event_to_copy() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $body$
  begin
    if tg_op = 'TRUNCATE' then
      truncate audit.events_by_month, audit.events_to_copy;
      return null;
    end if;
    if tg_op <> 'INSERT' then
      insert into audit.events_to_copy select organization, log, created_on, event_id from taken_rows;
    end if;
    if tg_op <> 'DELETE' then
      insert into audit.events_to_copy select organization, log, created_on, event_id from added_rows;
    end if;
    return null;
  end $body$;
  comment on function audit.note_event_to_copy is 'Notes which rows of audit.events change while it is copied into partitions.';
  revoke execute on function audit.note_event_to_copy from public;
  -- Last: each waits until all open transactions that write to audit.events have ended, so that all later changes are noted.
  create trigger noted_when_inserted after insert on audit.events
    referencing new table as added_rows for each statement execute function audit.note_event_to_copy();
  create trigger noted_when_changed after update on audit.events
    referencing old table as taken_rows new table as added_rows for each statement execute function audit.note_event_to_copy();
  create trigger noted_when_deleted after delete on audit.events
    referencing old table as taken_rows for each statement execute function audit.note_event_to_copy();
  create trigger noted_when_truncated after truncate on audit.events
    for each statement execute function audit.note_event_to_copy();
end $$;
comment on function audit.begin_events_by_month is 'Begins the move of audit.events into partitions: an empty partitioned copy, and triggers that note which rows change.';

create function audit.event_months_to_copy() returns date[]
language sql stable set search_path = pg_catalog, pg_temp set timezone = 'UTC' as $$
  with recursive found as (
    select name as organization, date_trunc('month', first.created_on) as month
    from unnest(audit.organizations_of_events()) as name cross join lateral (
      select created_on from audit.events e where e.organization = name and e.created_on >= '2000-01-01' order by e.created_on limit 1
    ) first
    union all
    select found.organization, date_trunc('month', next.created_on) from found cross join lateral (
      select created_on from audit.events e
      where e.organization = found.organization and e.created_on >= found.month + interval '1 month' order by e.created_on limit 1
    ) next
    where found.month < 'infinity'
  )
  select coalesce(array_agg(distinct month::date order by month::date), '{}') from found
  where isfinite(month) and audit.is_events_month(month::date)
    and to_regclass(to_char(month, '"audit.events_"YYYY_MM')) is null
$$;
comment on function audit.event_months_to_copy is 'The months of audit.events that are not copied yet, by one look-up in the key for each.';

create function audit.copy_events_month(month date) returns bigint
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  -- Of two processes, the second waits here and then finds the partition.
  lock table only audit.events_by_month in share update exclusive mode;
  if to_regclass(coalesce(to_char(month, '"audit.events_"YYYY_MM'), 'audit.events_default')) is not null then return 0; end if;
  return audit.add_events_month('audit.events_by_month', month, 'audit.events');
end $$;
comment on function audit.copy_events_month is 'Copies a month of audit.events (null: all rows outside of the months) into a partition. Returns how many rows; 0 if it is copied already.';

create function audit.copy_changed_events() returns bigint
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  noted bigint;
begin
  lock table only audit.events_by_month in share update exclusive mode;
  create temp table noted_events on commit drop as
    with noted as (delete from audit.events_to_copy returning organization, log, created_on, event_id) select distinct * from noted;
  get diagnostics noted = row_count;
  if noted > 0 then
    analyze pg_temp.noted_events;
    delete from audit.events_by_month e using pg_temp.noted_events n
    where e.organization = n.organization and e.log = n.log and e.created_on = n.created_on and e.event_id = n.event_id;
    insert into audit.events_by_month
    select e.* from pg_temp.noted_events n join audit.events e
      on e.organization = n.organization and e.log = n.log and e.created_on = n.created_on and e.event_id = n.event_id;
  end if;
  drop table pg_temp.noted_events;
  return noted;
end $$;
comment on function audit.copy_changed_events is 'Copies the rows again that changed since they were copied. Returns how many.';

create function audit.check_events_by_month() returns bigint
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  rows_before bigint;
  rows_after bigint;
begin
  -- One statement, so one snapshot: rows that are noted in it may differ, all others may not.
  with noted as materialized (select distinct organization, log, created_on, event_id from audit.events_to_copy)
  select
    (select count(*) from audit.events) - (select count(*) from noted join audit.events using (organization, log, created_on, event_id)),
    (select count(*) from audit.events_by_month)
      - (select count(*) from noted join audit.events_by_month using (organization, log, created_on, event_id))
  into rows_before, rows_after;
  if rows_before <> rows_after then
    raise 'audit.events has % rows and its copy in partitions %; drop the copy (drop table audit.events_by_month, audit.events_to_copy; drop function audit.note_event_to_copy cascade) and run migrate again',
      rows_before, rows_after;
  end if;
  return rows_after;
end $$;
comment on function audit.check_events_by_month is 'Raises an error if the copy of audit.events in partitions has another number of rows.';

create function audit.finish_events_by_month() returns void
language plpgsql set search_path = pg_catalog, pg_temp set quote_all_identifiers = off as $$
declare
  events oid := 'audit.events'::regclass;
  owner oid := (select relowner from pg_class where oid = events);
  part record;
  -- Views and functions let go of the table before it is dropped. Its indexes give their names free with it.
  replacements text[] := '{}';
  statements text[] := '{}';
  statement text;
begin
  -- Views first: a query on a view locks the view before its tables. `lock table` would lock all tables of the view as well.
  for part in
    select distinct c.oid::regclass as name, reloptions, pg_get_userbyid(relowner) as view_owner from pg_depend d
    join pg_rewrite r on r.oid = d.objid join pg_class c on c.oid = r.ev_class
    where d.refobjid = events and d.classid = 'pg_rewrite'::regclass and c.relkind = 'v' order by c.oid::regclass
  loop
    execute format('alter view %s owner to %I', part.name, part.view_owner);
    replacements := replacements || format('create or replace view %s %s as %s', part.name,
      'with (' || array_to_string(part.reloptions, ', ') || ')', pg_get_viewdef(part.name));
  end loop;
  lock table audit.events in access exclusive mode;
  perform audit.copy_changed_events();

  for part in
    select 'index ' || relname as name from pg_index join pg_class on pg_class.oid = indexrelid
    where indrelid = events and indisvalid and not indisprimary and to_regclass('audit.moved_' || indexrelid) is null
    union all
    select 'statistics ' || stxname from pg_statistic_ext old
    where stxrelid = events and not exists (select from pg_statistic_ext where stxname = 'moved_' || old.oid)
  loop
    raise 'added to audit.events while its rows were moved: the %; drop it, run migrate, and create it again', part.name
      using errcode = 'object_not_in_prerequisite_state';
  end loop;

  replacements := replacements || array(
    select pg_get_functiondef(objid) from pg_depend where refobjid = events and classid = 'pg_proc'::regclass group by objid
  );
  for part in
    select tgname as name, tgenabled, pg_get_triggerdef(oid) as definition, obj_description(oid, 'pg_trigger') as comment from pg_trigger
    where tgrelid = events and not tgisinternal and tgname not like 'noted\_when\_%'
  loop
    statements := statements || array[part.definition,
      format('comment on trigger %I on audit.events is %L', part.name, part.comment)];
    if part.tgenabled <> 'O' then
      statements := statements || format('alter table audit.events %s trigger %I',
        case part.tgenabled when 'D' then 'disable' when 'A' then 'enable always' else 'enable replica' end, part.name);
    end if;
  end loop;
  for part in
    select null as columns, relacl as acl from pg_class where oid = events
    union all
    select format('(%I)', attname), attacl from pg_attribute where attrelid = events and attnum > 0 and not attisdropped
  loop
    statements := statements || array(
      select format('grant %s %s on audit.events to %s %s', privilege_type, part.columns,
        case grantee when 0 then 'public' else quote_ident(pg_get_userbyid(grantee)) end,
        case when is_grantable then 'with grant option' end)
      from aclexplode(part.acl) where grantee <> owner
    );
  end loop;
  statements := statements || format('comment on table audit.events is %L', obj_description(events, 'pg_class'))
    || array(
      select format('alter index audit.%I rename to %I', copy.relname, coalesce(old.relname, substr(copy.relname, length('moved_') + 1)))
      from pg_index i join pg_class copy on copy.oid = i.indexrelid
      left join pg_class old on copy.relname = 'moved_' || old.oid
      where i.indrelid = 'audit.events_by_month'::regclass and (old.oid is not null or copy.relname like 'moved\_events\_%')
    ) || array(select format('alter statistics audit.%I rename to %I', 'moved_' || oid, stxname) from pg_statistic_ext where stxrelid = events);

  alter table audit.events rename to events_in_one;
  alter table audit.events_by_month rename to events;
  foreach statement in array replacements loop execute statement; end loop;
  drop table audit.events_in_one;
  foreach statement in array statements loop execute statement; end loop;
  drop table audit.events_to_copy;
  drop function audit.note_event_to_copy(), audit.begin_events_by_month(), audit.event_months_to_copy(), audit.copy_events_month(date),
    audit.copy_changed_events(), audit.check_events_by_month(), audit.organizations_of_events(), audit.finish_events_by_month();
  perform audit.create_event_months('{}');
end $$;
comment on function audit.finish_events_by_month is 'Ends the move: the copy becomes audit.events, with the views, functions, triggers, privileges and comments of the table, which is dropped. Drops the functions of the move, too.';

revoke execute on function audit.begin_events_by_month, audit.event_months_to_copy, audit.copy_events_month, audit.copy_changed_events,
  audit.check_events_by_month, audit.finish_events_by_month from public;
do $$
declare
  owner text := (select pg_get_userbyid(relowner) from pg_class where oid = 'audit.events'::regclass);
begin
  if owner <> current_user then
    execute format('alter function audit.create_event_months owner to %I', owner);
    execute format('alter function audit.add_events_month owner to %I', owner);
    execute format('alter function audit.is_events_month owner to %I', owner);
  end if;
  if exists (select from pg_roles where rolname = 'audit_writer') then
    grant execute on function audit.create_event_months to audit_writer;
  end if;
  if not exists (select from audit.events) then
    perform audit.begin_events_by_month();
    perform audit.copy_events_month(null);
    perform audit.finish_events_by_month();
  end if;
end $$;
