-- Events counted by day and by user, kept exact with the rows, so that a dashboard over years answers at once.

create table audit.daily_activity (
  organization text not null,
  day date not null,
  activity_id uuid not null,
  category text,
  action text,
  source text,
  user_name text,
  events bigint not null,
  first_at timestamptz not null,
  last_at timestamptz not null,
  hours integer not null,
  -- A digest in place of the four texts: they may be longer than an index entry can be.
  primary key (organization, day, activity_id)
);
comment on table audit.daily_activity is 'Events by day, category, action, source and user. Like the other roll-ups, changed by triggers on audit.events in the transaction that changes the rows, so that it always equals the aggregate.';
comment on column audit.daily_activity.organization is 'UIPATH_ORGANIZATION of the worker.';
comment on column audit.daily_activity.day is 'The day of created_on in UTC.';
comment on column audit.daily_activity.activity_id is 'Stands for category, action, source and user_name: audit.activity_id.';
comment on column audit.daily_activity.category is 'As in audit.events; null and the empty string are kept apart.';
comment on column audit.daily_activity.action is 'As in audit.events.';
comment on column audit.daily_activity.source is 'As in audit.events.';
comment on column audit.daily_activity.user_name is 'As in audit.events.';
comment on column audit.daily_activity.events is 'How many rows of audit.events are alike in these.';
comment on column audit.daily_activity.first_at is 'created_on of the first of them.';
comment on column audit.daily_activity.last_at is 'created_on of the last of them.';
comment on column audit.daily_activity.hours is 'The hours of the day, in UTC, in which they lie: bit 0 is midnight to one o''clock.';

create table audit.daily_totals (
  organization text not null,
  day date not null,
  activity_id uuid not null,
  category text,
  action text,
  source text,
  events bigint not null,
  primary key (organization, day, activity_id)
);
comment on table audit.daily_totals is 'audit.daily_activity without the user: a few rows a day.';
comment on column audit.daily_totals.organization is 'UIPATH_ORGANIZATION of the worker.';
comment on column audit.daily_totals.day is 'The day of created_on in UTC.';
comment on column audit.daily_totals.activity_id is 'Stands for category, action and source: audit.activity_id.';
comment on column audit.daily_totals.category is 'As in audit.events.';
comment on column audit.daily_totals.action is 'As in audit.events.';
comment on column audit.daily_totals.source is 'As in audit.events.';
comment on column audit.daily_totals.events is 'How many rows of audit.events are alike in these.';

create table audit.user_actions (
  organization text not null,
  activity_id uuid not null,
  category text,
  action text,
  source text,
  user_name text,
  events bigint not null,
  first_at timestamptz not null,
  last_at timestamptz not null,
  primary key (organization, activity_id)
) with (fillfactor = 50);
comment on table audit.user_actions is 'audit.daily_activity without the day: what each user ever did.';
comment on column audit.user_actions.organization is 'UIPATH_ORGANIZATION of the worker.';
comment on column audit.user_actions.activity_id is 'As in audit.daily_activity.';
comment on column audit.user_actions.category is 'As in audit.events.';
comment on column audit.user_actions.action is 'As in audit.events.';
comment on column audit.user_actions.source is 'As in audit.events.';
comment on column audit.user_actions.user_name is 'As in audit.events.';
comment on column audit.user_actions.events is 'How many rows of audit.events are alike in these.';
comment on column audit.user_actions.first_at is 'created_on of the first of them.';
comment on column audit.user_actions.last_at is 'created_on of the last of them.';

create table audit.user_totals (
  organization text not null,
  user_id uuid not null,
  user_name text,
  events bigint not null,
  days_active integer not null,
  first_at timestamptz not null,
  last_at timestamptz not null,
  primary key (organization, user_id)
) with (fillfactor = 50);
comment on table audit.user_totals is 'One row per user.';
comment on column audit.user_totals.organization is 'UIPATH_ORGANIZATION of the worker.';
comment on column audit.user_totals.user_id is 'Stands for user_name: audit.activity_id.';
comment on column audit.user_totals.user_name is 'As in audit.events.';
comment on column audit.user_totals.events is 'How many rows of audit.events the user has.';
comment on column audit.user_totals.days_active is 'On how many days, in UTC, those lie.';
comment on column audit.user_totals.first_at is 'created_on of the first of them.';
comment on column audit.user_totals.last_at is 'created_on of the last of them.';

create function audit.activity_id(category text, action text, source text, user_name text) returns uuid
language sql stable parallel safe
return md5(record_send(row(category, action, source, user_name)))::uuid;
comment on function audit.activity_id is 'A digest of the four, null and the empty string kept apart: a key for texts of any length.';

-- The worker is alone in its organization anyway. This is for people who change rows by hand at the same time: a count would
-- not suffer, but what is looked up before it is changed would.
create function audit.lock_roll_ups(organization text) returns void
language sql
return pg_advisory_xact_lock(hashtextextended('uipath-audit-export roll-ups ' || organization, 0));
comment on function audit.lock_roll_ups is 'Waits until no other transaction changes the roll-ups of the organization.';

create function audit.count_inserted_events() returns trigger
language plpgsql security definer
-- Hours and days are those of UTC. The planner is left only the plan that suits tables of any size, because it makes it once a
-- session, often while they are empty: each stored row looked up by its key.
set search_path = pg_catalog, pg_temp set timezone = 'UTC'
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
begin
  perform audit.lock_roll_ups(organization)
  from (select organization from added_rows group by organization order by organization) organizations;
  if not found then return null; end if;
  -- An update and an insert of each: together they take half the time of `on conflict do update`, and the lock makes them safe.
  with counted as (
    select organization, created_on::date as day, category, action, source, user_name, count(*) as events,
      min(created_on) as first_at, max(created_on) as last_at, bit_or(1 << date_part('hour', created_on)::integer) as hours
    from added_rows group by organization, day, category, action, source, user_name
  ), added as materialized (
    select *, audit.activity_id(category, action, source, user_name) as activity_id from counted
  ), changed_days as (
    update audit.daily_activity stored set events = stored.events + added.events,
      first_at = least(stored.first_at, added.first_at), last_at = greatest(stored.last_at, added.last_at),
      hours = stored.hours | added.hours
    from added
    where stored.organization = added.organization and stored.day = added.day and stored.activity_id = added.activity_id
    returning stored.organization, stored.day, stored.activity_id
  ), new_days as (
    insert into audit.daily_activity
    select organization, day, activity_id, category, action, source, user_name, events, first_at, last_at, hours
    from added where (organization, day, activity_id) not in (select organization, day, activity_id from changed_days)
  ), totals as (
    select organization, day, audit.activity_id(category, action, source, null) as activity_id, category, action, source,
      sum(events) as events
    from added group by organization, day, category, action, source
  ), changed_totals as (
    update audit.daily_totals stored set events = stored.events + totals.events from totals
    where stored.organization = totals.organization and stored.day = totals.day and stored.activity_id = totals.activity_id
    returning stored.organization, stored.day, stored.activity_id
  ), new_totals as (
    insert into audit.daily_totals
    select * from totals where (organization, day, activity_id) not in (select organization, day, activity_id from changed_totals)
  ), actions as (
    select organization, activity_id, category, action, source, user_name, sum(events) as events, min(first_at) as first_at,
      max(last_at) as last_at
    from added group by organization, activity_id, category, action, source, user_name
  ), changed_actions as (
    update audit.user_actions stored set events = stored.events + actions.events,
      first_at = least(stored.first_at, actions.first_at), last_at = greatest(stored.last_at, actions.last_at)
    from actions where stored.organization = actions.organization and stored.activity_id = actions.activity_id
    returning stored.organization, stored.activity_id
  ), new_actions as (
    insert into audit.user_actions
    select * from actions where (organization, activity_id) not in (select organization, activity_id from changed_actions)
  ), new_user_days as (
    select organization, day, user_name
    from (
      select organization, day, user_name, true as is_new from added
      union all
      select organization, day, unnest(array(
        select stored.user_name from audit.daily_activity stored
        where stored.organization = days.organization and stored.day = days.day
      )), false
      from (select organization, day from added group by organization, day) days
    ) user_days group by organization, day, user_name having bool_and(is_new)
  ), users as (
    select organization, audit.activity_id(null, null, null, user_name) as user_id, user_name, sum(events) as events,
      sum(days) as days_active, min(first_at) as first_at, max(last_at) as last_at
    from (
      select organization, user_name, events, 0 as days, first_at, last_at from added
      union all select organization, user_name, 0, 1, 'infinity', '-infinity' from new_user_days
    ) parts group by organization, user_name
  ), changed_users as (
    update audit.user_totals stored set events = stored.events + users.events,
      days_active = stored.days_active + users.days_active,
      first_at = least(stored.first_at, users.first_at), last_at = greatest(stored.last_at, users.last_at)
    from users where stored.organization = users.organization and stored.user_id = users.user_id
    returning stored.organization, stored.user_id
  )
  insert into audit.user_totals
  select * from users where (organization, user_id) not in (select organization, user_id from changed_users);
  return null;
end $$;
comment on function audit.count_inserted_events is 'Adds inserted events to the roll-ups.';

-- Rows are seldom changed or deleted, so here the groups that these belong to are looked up again where adding does not do.
create function audit.count_changed_events() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp set timezone = 'UTC' as $$
declare
  changed audit.daily_activity[];
begin
  if tg_op = 'DELETE' then
    changed := array(
      select row(organization, created_on::date, audit.activity_id(category, action, source, user_name), category, action,
        source, user_name, -count(*), min(created_on), max(created_on), 0)::audit.daily_activity
      from taken_rows group by organization, created_on::date, category, action, source, user_name
    );
  else
    changed := array(
      select row(organization, created_on::date, audit.activity_id(category, action, source, user_name), category, action,
        source, user_name, sum(change), min(created_on), max(created_on), 0)::audit.daily_activity
      from (
        -- What is the same before and after is left out: a re-read changes messages far more often than names.
        select organization, created_on, category, action, source, user_name, sum(change) as change
        from (
          select organization, created_on, category, action, source, user_name, -1 as change from taken_rows
          union all select organization, created_on, category, action, source, user_name, 1 from added_rows
        ) both_rows
        group by organization, created_on, category, action, source, user_name having sum(change) <> 0
      ) moved
      group by organization, created_on::date, category, action, source, user_name
    );
  end if;
  if cardinality(changed) = 0 then return null; end if;
  perform audit.lock_roll_ups(organization)
  from (select organization from unnest(changed) group by organization order by organization) organizations;

  -- Numbers are added, because a statement may also have inserted rows, which are counted elsewhere.
  insert into audit.daily_activity as stored select * from unnest(changed)
  on conflict (organization, day, activity_id) do update set events = stored.events + excluded.events;
  delete from audit.daily_activity as stored using unnest(changed) as gone
  where (stored.organization, stored.day, stored.activity_id) = (gone.organization, gone.day, gone.activity_id)
    and stored.events = 0;
  with found as (
    select e.organization, days.day, audit.activity_id(category, action, source, user_name) as activity_id,
      min(created_on) as first_at, max(created_on) as last_at, bit_or(1 << date_part('hour', created_on)::integer) as hours
    from (select organization, day from unnest(changed) group by organization, day) days
    join audit.events e on e.organization = days.organization
      and e.created_on >= days.day::timestamptz and e.created_on < (days.day + 1)::timestamptz
    group by e.organization, days.day, category, action, source, user_name
  )
  update audit.daily_activity as stored set first_at = found.first_at, last_at = found.last_at, hours = found.hours
  from found, unnest(changed) as here
  where (stored.organization, stored.day, stored.activity_id) = (found.organization, found.day, found.activity_id)
    and (stored.organization, stored.day, stored.activity_id) = (here.organization, here.day, here.activity_id);

  delete from audit.daily_totals as stored using unnest(changed) as here
  where (stored.organization, stored.day) = (here.organization, here.day);
  insert into audit.daily_totals
  select organization, day, audit.activity_id(category, action, source, null), category, action, source, sum(events)
  from audit.daily_activity where (organization, day) in (select organization, day from unnest(changed))
  group by organization, day, category, action, source;

  delete from audit.user_actions as stored using unnest(changed) as here
  where (stored.organization, stored.activity_id) = (here.organization, here.activity_id);
  insert into audit.user_actions
  select organization, activity_id, category, action, source, user_name, sum(events), min(first_at), max(last_at)
  from audit.daily_activity where (organization, activity_id) in (select organization, activity_id from unnest(changed))
  group by organization, activity_id, category, action, source, user_name;

  delete from audit.user_totals as stored using unnest(changed) as here
  where (stored.organization, stored.user_id) = (here.organization, audit.activity_id(null, null, null, here.user_name));
  insert into audit.user_totals
  select organization, audit.activity_id(null, null, null, user_name), user_name, sum(events), count(distinct day),
    min(first_at), max(last_at)
  from audit.daily_activity
  where (organization, audit.activity_id(null, null, null, user_name)) in (
    select organization, audit.activity_id(null, null, null, user_name) from unnest(changed))
  group by organization, user_name;
  return null;
end $$;
comment on function audit.count_changed_events is 'Brings the roll-ups up to date with events that were changed or deleted.';

create function audit.forget_counted_events() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  truncate audit.daily_activity, audit.daily_totals, audit.user_actions, audit.user_totals;
  return null;
end $$;
comment on function audit.forget_counted_events is 'Empties the roll-ups with audit.events.';

revoke execute on function audit.activity_id, audit.lock_roll_ups, audit.count_inserted_events, audit.count_changed_events,
  audit.forget_counted_events from public;

create trigger events_counted_when_inserted after insert on audit.events
  referencing new table as added_rows for each statement execute function audit.count_inserted_events();
create trigger events_counted_when_changed after update on audit.events
  referencing old table as taken_rows new table as added_rows for each statement execute function audit.count_changed_events();
create trigger events_counted_when_deleted after delete on audit.events
  referencing old table as taken_rows for each statement execute function audit.count_changed_events();
create trigger events_counted_when_truncated after truncate on audit.events
  for each statement execute function audit.forget_counted_events();

-- What is stored already.
insert into audit.daily_activity
select organization, (created_on at time zone 'UTC')::date, audit.activity_id(category, action, source, user_name),
  category, action, source, user_name, count(*), min(created_on), max(created_on),
  bit_or(1 << date_part('hour', created_on at time zone 'UTC')::integer)
from audit.events group by organization, 2, category, action, source, user_name;
insert into audit.daily_totals
select organization, day, audit.activity_id(category, action, source, null), category, action, source, sum(events)
from audit.daily_activity group by organization, day, category, action, source;
insert into audit.user_actions
select organization, activity_id, category, action, source, user_name, sum(events), min(first_at), max(last_at)
from audit.daily_activity group by organization, activity_id, category, action, source, user_name;
insert into audit.user_totals
select organization, audit.activity_id(null, null, null, user_name), user_name, sum(events), count(distinct day),
  min(first_at), max(last_at)
from audit.daily_activity group by organization, user_name;

do $$
begin
  if exists (select from pg_roles where rolname = 'audit_writer') then
    grant select on audit.daily_activity, audit.daily_totals, audit.user_actions, audit.user_totals to audit_writer;
  end if;
end $$;
