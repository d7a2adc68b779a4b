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
  -- Room for what the next commit adds to the day, so that its index need not be touched: a fifth of the roll-ups' time.
) with (fillfactor = 70);
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
comment on table audit.user_actions is 'audit.daily_activity before audit.user_horizon, without the day: what each user ever did.';
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
comment on table audit.user_totals is 'One row per user, of what was before audit.user_horizon.';
comment on column audit.user_totals.organization is 'UIPATH_ORGANIZATION of the worker.';
comment on column audit.user_totals.user_id is 'Stands for user_name: audit.activity_id.';
comment on column audit.user_totals.user_name is 'As in audit.events.';
comment on column audit.user_totals.events is 'How many rows of audit.events the user has.';
comment on column audit.user_totals.days_active is 'On how many days, in UTC, those lie.';
comment on column audit.user_totals.first_at is 'created_on of the first of them.';
comment on column audit.user_totals.last_at is 'created_on of the last of them.';

create table audit.user_horizon (
  organization text primary key,
  day date not null
);
comment on table audit.user_horizon is 'Up to where user_actions and user_totals are counted. The newest days are few, and looked up when somebody asks: a load would else write a row per user with each commit.';
comment on column audit.user_horizon.organization is 'UIPATH_ORGANIZATION of the worker.';
comment on column audit.user_horizon.day is 'The days before this one are in user_actions and user_totals; this one and later ones are not.';

-- Not record_send: that writes texts in the encoding of the client.
create function audit.activity_id(category text, action text, source text, user_name text) returns uuid
language sql stable parallel safe
return md5(row(category, action, source, user_name)::text)::uuid;
comment on function audit.activity_id is 'A digest of the four, null and the empty string kept apart: a key for texts of any length.';

-- The worker is alone in its organization anyway. This is for people who change rows by hand at the same time: a count would
-- not suffer, but what is looked up before it is changed would.
create function audit.lock_roll_ups(organization text) returns void
language sql
return pg_advisory_xact_lock(hashtextextended('uipath-audit-export roll-ups ' || organization, 0));
comment on function audit.lock_roll_ups is 'Waits until no other transaction changes the roll-ups of the organization.';

-- Of each day that the late ones are of, all that is stored is read, to know on which the user did nothing before.
create function audit.add_late_events(late audit.daily_activity[]) returns void
language sql set search_path = pg_catalog, pg_temp
begin atomic
  insert into audit.user_actions as stored
  select organization, activity_id, category, action, source, user_name, sum(events), min(first_at), max(last_at)
  from unnest(late) group by organization, activity_id, category, action, source, user_name
  on conflict (organization, activity_id) do update set events = stored.events + excluded.events,
    first_at = least(stored.first_at, excluded.first_at), last_at = greatest(stored.last_at, excluded.last_at);
  insert into audit.user_totals as stored
  select here.organization, audit.activity_id(null, null, null, here.user_name), here.user_name, sum(here.events),
    count(*) filter (where here.events = of_user.events), min(first_at), max(last_at)
  from (
    select organization, day, user_name, sum(events) as events, min(first_at) as first_at, max(last_at) as last_at
    from unnest(late) group by organization, day, user_name
  ) here
  join (
    select days.organization, days.day, user_name, sum(events) as events
    from (select organization, day from unnest(late) group by organization, day) days cross join lateral (
      select user_name, events from audit.daily_activity a
      where a.organization = days.organization and a.day = days.day offset 0
    ) of_day
    group by days.organization, days.day, user_name
  ) of_user on of_user.organization = here.organization and of_user.day = here.day
    and coalesce(of_user.user_name, '') = coalesce(here.user_name, '') and (of_user.user_name is null) = (here.user_name is null)
  group by here.organization, here.user_name
  on conflict (organization, user_id) do update set events = stored.events + excluded.events,
    days_active = stored.days_active + excluded.days_active,
    first_at = least(stored.first_at, excluded.first_at), last_at = greatest(stored.last_at, excluded.last_at);
end;
comment on function audit.add_late_events is 'Adds inserted events of days before the horizon, which daily_activity has already, to user_actions and user_totals.';

-- What was first or last may be gone, so all days before the horizon are read, of these organizations alone. The settings are for
-- a plan that was made while the tables were small.
create function audit.recount_users(changed audit.daily_activity[]) returns void
language plpgsql set search_path = pg_catalog, pg_temp set enable_seqscan = off set enable_nestloop = off as $$
declare
  of_organization text;
  until date;
begin
  for of_organization, until in
    select organization, day from audit.user_horizon where organization = any (array(select organization from unnest(changed)))
  loop
    delete from audit.user_actions
    where organization = of_organization and activity_id = any (array(
      select activity_id from unnest(changed) where organization = of_organization));
    insert into audit.user_actions
    select organization, activity_id, category, action, source, user_name, sum(events), min(first_at), max(last_at)
    from audit.daily_activity
    where organization = of_organization and day < until and activity_id in (
      select activity_id from unnest(changed) where organization = of_organization)
    group by organization, activity_id, category, action, source, user_name;

    delete from audit.user_totals
    where organization = of_organization and user_id = any (array(
      select audit.activity_id(null, null, null, user_name) from unnest(changed) where organization = of_organization));
    insert into audit.user_totals
    select organization, audit.activity_id(null, null, null, user_name), user_name, sum(events), count(distinct day),
      min(first_at), max(last_at)
    from audit.daily_activity
    where organization = of_organization and day < until and (coalesce(user_name, ''), user_name is null) in (
      select coalesce(user_name, ''), user_name is null from unnest(changed) where organization = of_organization)
    group by organization, user_name;
  end loop;
end $$;
comment on function audit.recount_users is 'Counts again, in user_actions and user_totals, whom changed or deleted events of days before the horizon belong to.';

-- Moves the horizon on once 45 days lie behind it, to the tenth newest day that has events: one that is dated in the future counts
-- as one day.
create function audit.settle_users(organizations text[]) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  of_organization text;
  behind date[];
  since date;
begin
  foreach of_organization in array organizations loop
    since := (select day from audit.user_horizon where organization = of_organization);
    behind := array(
      select day from audit.daily_totals where organization = of_organization and day >= coalesce(since, '-infinity')
      group by day order by day
    );
    if since is null and cardinality(behind) > 0 then
      since := behind[1];
      insert into audit.user_horizon values (of_organization, since);
    end if;
    continue when cardinality(behind) <= 45;
    insert into audit.user_actions as stored
    select organization, activity_id, category, action, source, user_name, sum(events), min(first_at), max(last_at)
    from audit.daily_activity
    where organization = of_organization and day >= since and day < behind[cardinality(behind) - 9]
    group by organization, activity_id, category, action, source, user_name
    on conflict (organization, activity_id) do update set events = stored.events + excluded.events,
      first_at = least(stored.first_at, excluded.first_at), last_at = greatest(stored.last_at, excluded.last_at);
    insert into audit.user_totals as stored
    select organization, audit.activity_id(null, null, null, user_name), user_name, sum(events), count(distinct day),
      min(first_at), max(last_at)
    from audit.daily_activity
    where organization = of_organization and day >= since and day < behind[cardinality(behind) - 9]
    group by organization, user_name
    on conflict (organization, user_id) do update set events = stored.events + excluded.events,
      days_active = stored.days_active + excluded.days_active,
      first_at = least(stored.first_at, excluded.first_at), last_at = greatest(stored.last_at, excluded.last_at);
    update audit.user_horizon set day = behind[cardinality(behind) - 9] where organization = of_organization;
  end loop;
end $$;
comment on function audit.settle_users is 'Brings user_actions and user_totals up to the horizon, which it moves.';

create function audit.count_inserted_events() returns trigger
language plpgsql security definer
-- Hours and days are those of UTC. Nothing is joined to what is stored: a plan is made once a session, often while the tables are
-- empty, and one that looks for each stored row among the added ones took most of a first load's time.
set search_path = pg_catalog, pg_temp set timezone = 'UTC' as $$
declare
  organizations text[] := array(select organization from added_rows group by organization order by organization);
  late audit.daily_activity[];
begin
  if organizations = '{}' then return null; end if;
  perform audit.lock_roll_ups(organization) from unnest(organizations) as organization;
  with counted as (
    select organization, created_on::date as day, category, action, source, user_name, count(*) as events,
      min(created_on) as first_at, max(created_on) as last_at, bit_or(1 << date_part('hour', created_on)::integer) as hours
    from added_rows group by organization, day, category, action, source, user_name
  ), added as materialized (
    select organization, day, audit.activity_id(category, action, source, user_name) as activity_id, category, action, source,
      user_name, events, first_at, last_at, hours
    from counted
  ), by_day as (
    insert into audit.daily_activity as stored select * from added
    on conflict (organization, day, activity_id) do update set events = stored.events + excluded.events,
      first_at = least(stored.first_at, excluded.first_at), last_at = greatest(stored.last_at, excluded.last_at),
      hours = stored.hours | excluded.hours
  ), totals as (
    insert into audit.daily_totals as stored
    select organization, day, audit.activity_id(category, action, source, null), category, action, source, sum(events)
    from added group by organization, day, category, action, source
    on conflict (organization, day, activity_id) do update set events = stored.events + excluded.events
  )
  select array_agg(added::audit.daily_activity) into late
  from added join audit.user_horizon horizon on horizon.organization = added.organization and added.day < horizon.day;
  if late is not null then perform audit.add_late_events(late); end if;
  perform audit.settle_users(organizations);
  return null;
end $$;
comment on function audit.count_inserted_events is 'Adds inserted events to the roll-ups.';

-- Rows are seldom changed or deleted, so here the groups that these belong to are looked up again where adding does not do.
create function audit.count_changed_events() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp set timezone = 'UTC' as $$
declare
  changed audit.daily_activity[];
  late audit.daily_activity[];
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

  late := array(
    select here from unnest(changed) as here
    where here.day < (select h.day from audit.user_horizon h where h.organization = here.organization)
  );
  if cardinality(late) > 0 then perform audit.recount_users(late); end if;
  perform audit.settle_users(array(select organization from unnest(changed) group by organization));
  return null;
end $$;
comment on function audit.count_changed_events is 'Brings the roll-ups up to date with events that were changed or deleted.';

create function audit.forget_counted_events() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  truncate audit.daily_activity, audit.daily_totals, audit.user_actions, audit.user_totals, audit.user_horizon;
  return null;
end $$;
comment on function audit.forget_counted_events is 'Empties the roll-ups with audit.events.';

revoke execute on function audit.activity_id, audit.lock_roll_ups, audit.add_late_events, audit.recount_users, audit.settle_users, audit.count_inserted_events, audit.count_changed_events,
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
select audit.settle_users(array(select organization from audit.daily_totals group by organization));

-- All days, those behind the horizon included. Looked up by key: a bound on both sides and the fence of `offset` tell the planner how few.
create view audit.all_user_actions as
select organization, activity_id, category, action, source, user_name, sum(events)::bigint as events, min(first_at) as first_at,
  max(last_at) as last_at
from (
  select * from audit.user_actions
  union all
  select a.organization, activity_id, category, action, source, user_name, events, first_at, last_at
  from audit.user_horizon h cross join lateral (
    select * from audit.daily_activity of_day
    where of_day.organization = h.organization and of_day.day between h.day and 'infinity' offset 0
  ) a
) parts group by organization, activity_id, category, action, source, user_name;
comment on view audit.all_user_actions is 'What each user ever did: audit.user_actions, and the days behind the horizon.';
create view audit.all_user_totals as
select organization, user_name, sum(events)::bigint as events, sum(days)::integer as days_active, min(first_at) as first_at,
  max(last_at) as last_at
from (
  select organization, user_name, events, days_active as days, first_at, last_at from audit.user_totals
  union all
  select a.organization, user_name, sum(events), 1, min(first_at), max(last_at)
  from audit.user_horizon h cross join lateral (
    select * from audit.daily_activity of_day
    where of_day.organization = h.organization and of_day.day between h.day and 'infinity' offset 0
  ) a
  group by a.organization, user_name, a.day
) parts group by organization, user_name;
comment on view audit.all_user_totals is 'One row per user: audit.user_totals, and the days behind the horizon.';
do $$
declare
  said record;
begin
  for said in
    select c.relname as name, attname as part, col_description(attrelid, attnum) as comment
    from pg_attribute join pg_class c on c.oid = attrelid
    where attrelid in ('audit.user_actions'::regclass, 'audit.user_totals'::regclass) and attnum > 0 and attname <> 'user_id'
  loop
    execute format('comment on column audit.%I.%I is %L', 'all_' || said.name, said.part, said.comment);
  end loop;
end $$;

do $$
begin
  if exists (select from pg_roles where rolname = 'audit_writer') then
    grant select on audit.daily_activity, audit.daily_totals, audit.user_actions, audit.user_totals, audit.user_horizon,
      audit.all_user_actions, audit.all_user_totals to audit_writer;
  end if;
end $$;
