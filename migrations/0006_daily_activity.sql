-- Events counted by day, kept exact with the rows, so that a dashboard over years answers at once.

create table audit.daily_activity (
  organization text not null,
  day date not null,
  activity_id uuid not null,
  category text,
  action text,
  source text,
  user_name text,
  events bigint not null,
  -- A digest in place of the four texts: they may be longer than an index entry can be.
  primary key (organization, day, activity_id)
);
comment on table audit.daily_activity is 'Events by day, category, action, source and user. Changed by triggers on audit.events, in the transaction that changes the rows, so that it always equals the aggregate.';
comment on column audit.daily_activity.organization is 'UIPATH_ORGANIZATION of the worker.';
comment on column audit.daily_activity.day is 'The day of created_on in UTC.';
comment on column audit.daily_activity.activity_id is 'Stands for category, action, source and user_name: audit.activity_id.';
comment on column audit.daily_activity.category is 'As in audit.events; null and the empty string are kept apart.';
comment on column audit.daily_activity.action is 'As in audit.events.';
comment on column audit.daily_activity.source is 'As in audit.events.';
comment on column audit.daily_activity.user_name is 'As in audit.events.';
comment on column audit.daily_activity.events is 'How many rows of audit.events are alike in these.';

create function audit.activity_id(category text, action text, source text, user_name text) returns uuid
language sql immutable parallel safe
return md5(row(category, action, source, user_name)::text)::uuid;
comment on function audit.activity_id is 'A digest of the four, null and the empty string kept apart.';

-- One of the two per kind of statement: a trigger sees only the rows that its statement inserted, changed or deleted.
create function audit.add_daily_activity() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  insert into audit.daily_activity as stored (organization, day, activity_id, category, action, source, user_name, events)
  select organization, (created_on at time zone 'UTC')::date as day,
    audit.activity_id(category, action, source, user_name), category, action, source, user_name, count(*)
  from added_rows group by organization, day, category, action, source, user_name
  on conflict (organization, day, activity_id) do update set events = stored.events + excluded.events;
  return null;
end $$;
comment on function audit.add_daily_activity is 'Counts inserted events in audit.daily_activity.';

create function audit.take_daily_activity() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  with taken as (
    select organization, (created_on at time zone 'UTC')::date as day,
      audit.activity_id(category, action, source, user_name) as activity_id, count(*) as events
    from taken_rows group by organization, day, category, action, source, user_name
  ), emptied as (
    delete from audit.daily_activity as stored using taken
    where (stored.organization, stored.day, stored.activity_id) = (taken.organization, taken.day, taken.activity_id)
      and stored.events <= taken.events
  )
  update audit.daily_activity as stored set events = stored.events - taken.events from taken
  where (stored.organization, stored.day, stored.activity_id) = (taken.organization, taken.day, taken.activity_id)
    and stored.events > taken.events;
  return null;
end $$;
comment on function audit.take_daily_activity is 'Takes deleted events, and changed ones as they were, out of audit.daily_activity.';

create function audit.empty_daily_activity() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  truncate audit.daily_activity;
  return null;
end $$;
comment on function audit.empty_daily_activity is 'Empties audit.daily_activity with audit.events.';

create trigger daily_activity_inserted after insert on audit.events
  referencing new table as added_rows for each statement execute function audit.add_daily_activity();
create trigger daily_activity_deleted after delete on audit.events
  referencing old table as taken_rows for each statement execute function audit.take_daily_activity();
-- A change is counted out and in again, in the order of the triggers' names.
create trigger daily_activity_updated_1_out after update on audit.events
  referencing old table as taken_rows for each statement execute function audit.take_daily_activity();
create trigger daily_activity_updated_2_in after update on audit.events
  referencing new table as added_rows for each statement execute function audit.add_daily_activity();
create trigger daily_activity_truncated after truncate on audit.events
  for each statement execute function audit.empty_daily_activity();

insert into audit.daily_activity
select organization, (created_on at time zone 'UTC')::date, audit.activity_id(category, action, source, user_name),
  category, action, source, user_name, count(*)
from audit.events group by organization, 2, category, action, source, user_name;

do $$
begin
  if exists (select from pg_roles where rolname = 'audit_writer') then
    grant select on audit.daily_activity to audit_writer;
  end if;
end $$;
