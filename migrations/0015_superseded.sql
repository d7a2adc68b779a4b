-- Re-renderings: after an upgrade, UiPath may write the details of its events differently, and each event arrives as another row. The old
-- row is kept and marked as superseded; views, roll-ups and counts leave it out.
--
-- One transaction. It rewrites no table: the new columns are null or have a constant default. A worker of an older version that is still
-- running continues to work; it marks nothing.

alter table audit.events add column if not exists superseded_by uuid;
comment on column audit.events.superseded_by is 'event_id of the row that replaced this one: UiPath shows the same event with its details written differently. Null: the row is current.';

alter table audit.runs add column rows_superseded bigint not null default 0;
comment on column audit.runs.rows_superseded is 'Stored events that the run marked as superseded: UiPath shows them with their details written differently.';

-- The roll-ups count current rows.

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
  from (select organization, log from added_rows where superseded_by is null group by organization, log) one;
  if organizations is null then return null; end if;
  perform audit.lock_roll_ups(organization, log) from unnest(organizations, logs) as one (organization, log);
  with counted as (
    select organization, log, created_on::date as day, category, action, source, user_name, count(*) as events,
      min(created_on) as first_at, max(created_on) as last_at, bit_or(1 << date_part('hour', created_on)::integer) as hours
    from added_rows where superseded_by is null group by organization, log, day, category, action, source, user_name
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

-- A row that leaves a group is replaced if another row of the group has its time, as after a re-rendering: then only the number changes.
-- Groups that a row left otherwise, or came to, are read again.
create or replace function audit.count_changed_events() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp set timezone = 'UTC' as $$
declare
  -- hours is 1 if the group must be read again.
  changed audit.daily_activity[];
  read_again audit.daily_activity[];
  late audit.daily_activity[];
begin
  if tg_op = 'DELETE' then
    changed := array(
      select row(organization, created_on::date, audit.activity_id(category, action, source, user_name), category, action,
        source, user_name, -count(*), min(created_on), max(created_on), 1, log)::audit.daily_activity
      from taken_rows where superseded_by is null
      group by organization, log, created_on::date, category, action, source, user_name
    );
  else
    changed := array(
      select row(organization, created_on::date, audit.activity_id(category, action, source, user_name), category, action,
        source, user_name, sum(change), min(created_on), max(created_on), max(case when is_replaced then 0 else 1 end), log)::audit.daily_activity
      from (
        select moved.*, change < 0 and exists (
          select from audit.events e
          where e.organization = moved.organization and e.created_on = moved.created_on and e.log = moved.log
            and e.category is not distinct from moved.category and e.action is not distinct from moved.action
            and e.source is not distinct from moved.source and e.user_name is not distinct from moved.user_name
            and e.superseded_by is null
        ) as is_replaced
        from (
          -- Rows that count the same before and after are left out: a re-read changes messages far more often than names.
          select organization, log, created_on, category, action, source, user_name, sum(change) as change
          from (
            select organization, log, created_on, category, action, source, user_name, -1 as change from taken_rows where superseded_by is null
            union all
            select organization, log, created_on, category, action, source, user_name, 1 from added_rows where superseded_by is null
          ) both_rows
          group by organization, log, created_on, category, action, source, user_name having sum(change) <> 0
        ) moved
      ) compared
      group by organization, log, created_on::date, category, action, source, user_name
    );
  end if;
  if cardinality(changed) = 0 then return null; end if;
  read_again := array(select here from unnest(changed) as here where here.hours = 1);
  perform audit.lock_roll_ups(organization, log)
  from (select organization, log from unnest(changed) group by organization, log order by organization, log) logs;

  -- Numbers are added, because a statement may also have inserted rows, which are counted elsewhere.
  insert into audit.daily_activity as stored select * from unnest(changed)
  on conflict (organization, day, log, activity_id) do update set events = stored.events + excluded.events;
  delete from audit.daily_activity as stored using unnest(changed) as gone
  where (stored.organization, stored.log, stored.day, stored.activity_id) = (gone.organization, gone.log, gone.day, gone.activity_id)
    and stored.events = 0;
  if cardinality(read_again) > 0 then
    with found as (
      select e.organization, e.log, days.day, audit.activity_id(category, action, source, user_name) as activity_id,
        min(created_on) as first_at, max(created_on) as last_at, bit_or(1 << date_part('hour', created_on)::integer) as hours
      from (select organization, log, day from unnest(read_again) group by organization, log, day) days
      join audit.events e on e.organization = days.organization and e.log = days.log
        and e.created_on >= days.day::timestamptz and e.created_on < (days.day + 1)::timestamptz
      where e.superseded_by is null
      group by e.organization, e.log, days.day, category, action, source, user_name
    )
    update audit.daily_activity as stored set first_at = found.first_at, last_at = found.last_at, hours = found.hours
    from found, unnest(read_again) as here
    where (stored.organization, stored.log, stored.day, stored.activity_id) = (found.organization, found.log, found.day, found.activity_id)
      and (stored.organization, stored.log, stored.day, stored.activity_id) = (here.organization, here.log, here.day, here.activity_id);
  end if;

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
  if cardinality(late) > 0 then
    -- Their days, their first and their last event stay: another row of the same time counts instead.
    update audit.user_actions as stored set events = stored.events + here.events
    from (
      select organization, log, activity_id, sum(events) as events from unnest(late) where hours = 0
      group by organization, log, activity_id
    ) here
    where (stored.organization, stored.log, stored.activity_id) = (here.organization, here.log, here.activity_id);
    update audit.user_totals as stored set events = stored.events + here.events
    from (
      select organization, log, audit.activity_id(null, null, null, user_name) as user_id, sum(events) as events
      from unnest(late) where hours = 0 group by organization, log, user_name
    ) here
    where (stored.organization, stored.log, stored.user_id) = (here.organization, here.log, here.user_id);
    late := array(select here from unnest(late) as here where here.hours = 1);
    if cardinality(late) > 0 then perform audit.recount_users(late); end if;
  end if;
  perform audit.settle_users(organization, log)
  from (select organization, log from unnest(changed) group by organization, log) logs;
  return null;
end $$;

-- The views show current rows.

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
from audit.events
where superseded_by is null;
comment on view bi.events is 'One row per audit event. Filter by created_on: it is indexed per organization. Older forms of an event, whose details UiPath has since written differently, are in bi.superseded_events.';

create or replace view bi.logins as
select
  organization, created_on as logged_in_at, user_name, nullif(email, '') as email,
  (created_on at time zone 'UTC')::date as day,
  date_part('isodow', created_on at time zone 'UTC')::integer as weekday,
  date_part('hour', created_on at time zone 'UTC')::integer as hour,
  message, details, event_id, log
from audit.events
where category = 'User' and action = 'Login' and superseded_by is null;

create view bi.superseded_events as
select organization, created_on, category, action, source, user_name, nullif(email, '') as email, message, details, details_version,
  details_raw, event_id, superseded_by, first_seen_at, log
from audit.events
where superseded_by is not null;
comment on view bi.superseded_events is 'One row per older form of an event: UiPath shows the event with its details written differently. Not counted anywhere.';
comment on column bi.superseded_events.organization is 'The UiPath organization.';
comment on column bi.superseded_events.created_on is 'When the event happened.';
comment on column bi.superseded_events.category is 'As in bi.events.';
comment on column bi.superseded_events.action is 'As in bi.events.';
comment on column bi.superseded_events.source is 'As in bi.events.';
comment on column bi.superseded_events.user_name is 'Who caused the event.';
comment on column bi.superseded_events.email is 'As in bi.events.';
comment on column bi.superseded_events.message is 'As in bi.events.';
comment on column bi.superseded_events.details is 'The details as JSON: the same value as that of superseded_by.';
comment on column bi.superseded_events.details_version is 'The version of the details.';
comment on column bi.superseded_events.details_raw is 'The details as UiPath wrote them then.';
comment on column bi.superseded_events.event_id is 'The row, as in audit.events.';
comment on column bi.superseded_events.superseded_by is 'The row that replaced it: usually an event in bi.events.';
comment on column bi.superseded_events.first_seen_at is 'When the row was stored.';
comment on column bi.superseded_events.log is 'Which audit log of the organization: classic is the list of Get Audit Logs.';

create or replace view bi.runs as
select
  run_id, organization, kind, started_at, ended_at, ended_at - started_at as duration, outcome, error, warnings, requests, retries,
  rows_read, rows_inserted, rows_updated, rows_unchanged, rows_rejected, rows_late, log, completeness, completeness_reason,
  rows_superseded
from audit.runs;
comment on column bi.runs.rows_superseded is 'Stored events that UiPath shows with their details written differently: the new form replaced the old one in bi.events.';

do $$
begin
  if exists (select from pg_roles where rolname = 'audit_writer') then
    grant update (superseded_by) on audit.events to audit_writer;
    grant update (rows_superseded) on audit.runs to audit_writer;
    grant select on bi.superseded_events to audit_writer;
  end if;
  if exists (select from pg_roles where rolname = 'audit_reader') then
    grant select on bi.superseded_events to audit_reader;
  end if;
end $$;
