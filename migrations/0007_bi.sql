-- One view for each question people ask of an audit log. What is counted over years comes from the roll-ups of migration 0006.

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
  details ->> 'product' as product
from audit.events;
comment on column bi.events.day is 'The day of created_on in UTC.';
comment on column bi.events.target_name is 'Name of what it was done to, from details: a user, a group, a policy and so on; null where details do not say.';
comment on column bi.events.target_id is 'UiPath''s id of it, where details have one.';
comment on column bi.events.target_email is 'Its email address, where details have one.';
comment on column bi.events.product is 'The product that a policy is for, where details say so.';

create view bi.activity_by_day as
select organization, day, category, action, source, user_name, events, first_at, last_at from audit.daily_activity;
comment on view bi.activity_by_day is 'Events counted by day, category, action, source and user: always equal to counting bi.events, and quick over years.';
comment on column bi.activity_by_day.organization is 'The UiPath organization.';
comment on column bi.activity_by_day.day is 'The day in UTC.';
comment on column bi.activity_by_day.category is 'As in bi.events.';
comment on column bi.activity_by_day.action is 'As in bi.events.';
comment on column bi.activity_by_day.source is 'As in bi.events.';
comment on column bi.activity_by_day.user_name is 'Who did it.';
comment on column bi.activity_by_day.events is 'How many events.';
comment on column bi.activity_by_day.first_at is 'When the first of them happened.';
comment on column bi.activity_by_day.last_at is 'When the last of them happened.';

create view bi.totals_by_day as
select organization, day, category, action, source, events from audit.daily_totals;
comment on view bi.totals_by_day is 'Events counted by day, category, action and source: a few rows a day, for charts over years.';
comment on column bi.totals_by_day.organization is 'The UiPath organization.';
comment on column bi.totals_by_day.day is 'The day in UTC.';
comment on column bi.totals_by_day.category is 'As in bi.events.';
comment on column bi.totals_by_day.action is 'As in bi.events.';
comment on column bi.totals_by_day.source is 'As in bi.events.';
comment on column bi.totals_by_day.events is 'How many events.';

-- A name may be null: `=` finds those neither, and `is not distinct from` finds nothing quickly.
create view bi.users as
select
  u.organization, u.user_name, u.events, u.days_active, u.first_at as first_seen_at, u.last_at as last_seen_at,
  coalesce(logins.events, 0) as logins, logins.first_at as first_login_at, logins.last_at as last_login_at,
  u.events - coalesce(logins.events, 0) as other_events
from audit.all_user_totals u
left join (
  select organization, user_name, sum(events)::bigint as events, min(first_at) as first_at, max(last_at) as last_at
  from audit.all_user_actions where category = 'User' and action = 'Login'
  group by organization, user_name
) logins on logins.organization = u.organization
  and coalesce(logins.user_name, '') = coalesce(u.user_name, '') and (logins.user_name is null) = (u.user_name is null);
comment on view bi.users is 'One row per user that ever did something.';
comment on column bi.users.organization is 'The UiPath organization.';
comment on column bi.users.user_name is 'As UiPath last gave it. Whoever was renamed is two users, where UiPath no longer shows the old events or did not rename them.';
comment on column bi.users.events is 'How many events the user caused.';
comment on column bi.users.days_active is 'On how many days, in UTC.';
comment on column bi.users.first_seen_at is 'When the first of them happened, as far as this copy goes back.';
comment on column bi.users.last_seen_at is 'When the last of them happened.';
comment on column bi.users.logins is 'How many of them are logins.';
comment on column bi.users.first_login_at is 'When the user first logged in, as far as this copy goes back.';
comment on column bi.users.last_login_at is 'When the user last logged in.';
comment on column bi.users.other_events is 'How many are not.';

create view bi.user_actions as
select
  organization, user_name, category, action, source, events, first_at as first_done_at, last_at as last_done_at,
  count(*) over what as users_who_did_it,
  first_at = min(first_at) over what as was_the_first_of_all,
  round(100 * events / sum(events) over (partition by organization, user_name), 3) as percent_of_user
from audit.all_user_actions
window what as (partition by organization, category, action, source);
comment on view bi.user_actions is 'One row per user and kind of action that the user ever did: first-ever and rare actions.';
comment on column bi.user_actions.organization is 'The UiPath organization.';
comment on column bi.user_actions.user_name is 'Who did it.';
comment on column bi.user_actions.category is 'As in bi.events.';
comment on column bi.user_actions.action is 'As in bi.events.';
comment on column bi.user_actions.source is 'As in bi.events.';
comment on column bi.user_actions.events is 'How often.';
comment on column bi.user_actions.first_done_at is 'When this user did it for the first time, as far as this copy goes back.';
comment on column bi.user_actions.last_done_at is 'When this user did it last.';
comment on column bi.user_actions.users_who_did_it is 'How many users ever did it.';
comment on column bi.user_actions.was_the_first_of_all is 'No user had done it before this one.';
comment on column bi.user_actions.percent_of_user is 'Its share of all that this user did, in percent.';

create view bi.rare_actions as
select * from bi.user_actions where events <= 3 or users_who_did_it <= 2;
comment on view bi.rare_actions is 'What a user did three times at most, or only one or two users ever did.';
do $$
declare
  said record;
begin
  for said in
    select attname as name, col_description(attrelid, attnum) as comment from pg_attribute
    where attrelid = 'bi.user_actions'::regclass and attnum > 0
  loop
    execute format('comment on column bi.rare_actions.%I is %L', said.name, said.comment);
  end loop;
end $$;

-- Of half a year alone, which is habit enough, and a sixth of the work where there are three years. Counted by the days that have
-- events, not from the newest one, which may be dated in the future.
create view audit.login_habits as
select organization, user_name, hour::integer - 1 as hour, days,
  greatest(days_by_hour[1 + (hour + 22) % 24], days_in_hour, days_by_hour[1 + hour % 24]) as days_near_hour
from (
  select organization, user_name, count(*) as days, array[
    sum(hours & 1), sum(hours >> 1 & 1), sum(hours >> 2 & 1), sum(hours >> 3 & 1), sum(hours >> 4 & 1), sum(hours >> 5 & 1),
    sum(hours >> 6 & 1), sum(hours >> 7 & 1), sum(hours >> 8 & 1), sum(hours >> 9 & 1), sum(hours >> 10 & 1),
    sum(hours >> 11 & 1), sum(hours >> 12 & 1), sum(hours >> 13 & 1), sum(hours >> 14 & 1), sum(hours >> 15 & 1),
    sum(hours >> 16 & 1), sum(hours >> 17 & 1), sum(hours >> 18 & 1), sum(hours >> 19 & 1), sum(hours >> 20 & 1),
    sum(hours >> 21 & 1), sum(hours >> 22 & 1), sum(hours >> 23 & 1)
  ] as days_by_hour
  from (
    -- Whoever logs in by two sources on one day has two rows of it.
    select of_day.organization, user_name, day, bit_or(hours) as hours
    from (
      select organization, (
        select min(day) from (
          select day from audit.daily_totals t where t.organization = h.organization group by day order by day desc limit 180
        ) newest
      ) as since
      from audit.user_horizon h
    ) half_year join audit.daily_activity of_day on of_day.organization = half_year.organization and of_day.day >= since
    where category = 'User' and action = 'Login'
    group by of_day.organization, user_name, day
  ) days
  group by organization, user_name
) users cross join unnest(days_by_hour) with ordinality as by_hour (days_in_hour, hour);
comment on view audit.login_habits is 'Who logs in when: one row per user and hour of the day (UTC), over the newest 180 days on which the organization has events.';
comment on column audit.login_habits.organization is 'UIPATH_ORGANIZATION of the worker.';
comment on column audit.login_habits.user_name is 'Who logged in.';
comment on column audit.login_habits.hour is 'The hour of the day in UTC, 0 to 23.';
comment on column audit.login_habits.days is 'On how many days the user logged in.';
comment on column audit.login_habits.days_near_hour is 'On how many of them within the hour, the one before or the one after: the most of the three.';

create view bi.logins as
select
  organization, created_on as logged_in_at, user_name, nullif(email, '') as email,
  (created_on at time zone 'UTC')::date as day,
  date_part('isodow', created_on at time zone 'UTC')::integer as weekday,
  date_part('hour', created_on at time zone 'UTC')::integer as hour,
  message, details, event_id
from audit.events
where category = 'User' and action = 'Login';
comment on view bi.logins is 'One row per login. Filter by logged_in_at.';
comment on column bi.logins.organization is 'The UiPath organization.';
comment on column bi.logins.logged_in_at is 'When it happened.';
comment on column bi.logins.user_name is 'Who logged in.';
comment on column bi.logins.email is 'Null where UiPath sent none or an empty one.';
comment on column bi.logins.day is 'The day in UTC.';
comment on column bi.logins.weekday is 'The day of the week in UTC: 1 is Monday, 7 is Sunday.';
comment on column bi.logins.hour is 'The hour of the day in UTC, 0 to 23.';
comment on column bi.logins.message is 'A sentence for people, in the language the worker asks for.';
comment on column bi.logins.details is 'The event''s details as JSON.';
comment on column bi.logins.event_id is 'The event in bi.events.';

create view bi.unusual_logins as
select logins.*, habits.days as days_with_logins, habits.days_near_hour as days_near_this_hour
from bi.logins logins
join audit.login_habits habits on habits.organization = logins.organization and habits.user_name = logins.user_name
  and habits.hour = logins.hour
where habits.days >= 20 and 20 * habits.days_near_hour < habits.days;
comment on view bi.unusual_logins is 'Logins at an hour that is unusual for their user: within an hour of it the user logged in on fewer than one in twenty days. Users with fewer than 20 days of logins have no habit. Filter by logged_in_at.';
do $$
declare
  said record;
begin
  for said in
    select attname as name, col_description(attrelid, attnum) as comment from pg_attribute
    where attrelid = 'bi.logins'::regclass and attnum > 0
  loop
    execute format('comment on column bi.unusual_logins.%I is %L', said.name, said.comment);
  end loop;
end $$;
comment on column bi.unusual_logins.days_with_logins is 'On how many days the user logged in, of the newest 180 on which the organization has events.';
comment on column bi.unusual_logins.days_near_this_hour is 'On how many of them within the hour of this login, the one before or the one after: the most of the three.';

-- The first day of all is a Monday; date_part would take longer than everything else here.
create view bi.login_hours as
select organization, day, (day - date '0001-01-01') % 7 + 1 as weekday, hour, user_name
from (
  select organization, day, user_name, bit_or(hours) as hours from audit.daily_activity
  where category = 'User' and action = 'Login'
  group by organization, day, user_name
) days
join (values
  (0, 1), (1, 2), (2, 4), (3, 8), (4, 16), (5, 32), (6, 64), (7, 128), (8, 256), (9, 512), (10, 1024), (11, 2048), (12,
  4096), (13, 8192), (14, 16384), (15, 32768), (16, 65536), (17, 131072), (18, 262144), (19, 524288), (20, 1048576),
  (21, 2097152), (22, 4194304), (23, 8388608)
) as of_day (hour, bit) on hours & bit <> 0;
comment on view bi.login_hours is 'One row per user, day and hour in which the user logged in at least once: when people work, and who.';
comment on column bi.login_hours.organization is 'The UiPath organization.';
comment on column bi.login_hours.day is 'The day in UTC.';
comment on column bi.login_hours.weekday is 'The day of the week: 1 is Monday, 7 is Sunday.';
comment on column bi.login_hours.hour is 'The hour of the day in UTC, 0 to 23.';
comment on column bi.login_hours.user_name is 'Who logged in.';

create view bi.administrative_changes as
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
  message, details, event_id
from bi.events
where (category, action) is distinct from ('User', 'Login');
comment on view bi.administrative_changes is 'One row per event that is no login: who changed what. Filter by changed_at.';
comment on column bi.administrative_changes.organization is 'The UiPath organization.';
comment on column bi.administrative_changes.changed_at is 'When it happened.';
comment on column bi.administrative_changes.changed_by is 'Who did it.';
comment on column bi.administrative_changes.changed_by_email is 'Null where UiPath sent none or an empty one.';
comment on column bi.administrative_changes.area is 'Groups, Roles, Robot accounts, External applications, Licences, Policies, Settings, Users or Other, by the words in category.';
comment on column bi.administrative_changes.category is 'As in bi.events.';
comment on column bi.administrative_changes.action is 'As in bi.events.';
comment on column bi.administrative_changes.source is 'As in bi.events.';
comment on column bi.administrative_changes.target_name is 'Name of what was changed, where details say so.';
comment on column bi.administrative_changes.target_id is 'UiPath''s id of it, where details have one.';
comment on column bi.administrative_changes.target_email is 'Its email address, where details have one.';
comment on column bi.administrative_changes.product is 'The product that a policy is for, where details say so.';
comment on column bi.administrative_changes.before is 'How it was, where details have that.';
comment on column bi.administrative_changes.after is 'How it is now, where details have that.';
comment on column bi.administrative_changes.added_members is 'Ids of who was added to a group, where details have that.';
comment on column bi.administrative_changes.removed_members is 'Ids of who was removed from a group, where details have that.';
comment on column bi.administrative_changes.message is 'A sentence for people, in the language the worker asks for.';
comment on column bi.administrative_changes.details is 'The event''s details as JSON.';
comment on column bi.administrative_changes.event_id is 'The event in bi.events.';

create view bi.runs as
select
  run_id, organization, kind, started_at, ended_at, ended_at - started_at as duration, outcome, error, warnings, requests, retries,
  rows_read, rows_inserted, rows_updated, rows_unchanged, rows_rejected, rows_late
from audit.runs;
comment on view bi.runs is 'One row per run of the export, also of those that failed.';
comment on column bi.runs.run_id is 'Number of the run; the log names it too.';
comment on column bi.runs.organization is 'The UiPath organization.';
comment on column bi.runs.kind is 'run, recheck (a wider window again), backfill, or verify (with --repair).';
comment on column bi.runs.started_at is 'When it began.';
comment on column bi.runs.ended_at is 'Null while it goes on.';
comment on column bi.runs.duration is 'How long it took.';
comment on column bi.runs.outcome is 'succeeded, failed, interrupted or abandoned; null while it goes on.';
comment on column bi.runs.error is 'Why it did not succeed.';
comment on column bi.runs.warnings is 'What a person should know about how the rows were read.';
comment on column bi.runs.requests is 'List requests, retries included.';
comment on column bi.runs.retries is 'List requests sent again after a failure.';
comment on column bi.runs.rows_read is 'Rows taken from UiPath.';
comment on column bi.runs.rows_inserted is 'Events that were not stored before.';
comment on column bi.runs.rows_updated is 'Events stored before of which UiPath changed the name, email, message or extra.';
comment on column bi.runs.rows_unchanged is 'Events stored before, and left as they were.';
comment on column bi.runs.rows_rejected is 'Rows kept in bi.rejected_events, those kept before included.';
comment on column bi.runs.rows_late is 'Inserted events that became visible only after later ones had been read.';

create view bi.rejected_events as
select organization, source_text, reason, first_seen_at, last_seen_at, run_id from audit.rejected_events;
comment on view bi.rejected_events is 'Rows of UiPath''s list that cannot be stored as events, word for word.';
comment on column bi.rejected_events.organization is 'The UiPath organization.';
comment on column bi.rejected_events.source_text is 'The row as UiPath sent it.';
comment on column bi.rejected_events.reason is 'Why it is no event.';
comment on column bi.rejected_events.first_seen_at is 'When it was kept.';
comment on column bi.rejected_events.last_seen_at is 'When UiPath last showed it.';
comment on column bi.rejected_events.run_id is 'The run in bi.runs that kept it.';

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
  (select count(*) from audit.gaps g where g.organization = w.organization) as gaps,
  (select count(*) from audit.rejected_events r where r.organization = w.organization) as rejected_events,
  (select sum(events)::bigint from audit.daily_totals t where t.organization = w.organization) as stored_events,
  (select created_on from audit.events e where e.organization = w.organization order by created_on limit 1) as oldest_event_at,
  covered.from_at as complete_from,
  covered.to_at as complete_to,
  covered.proven_at as complete_proven_at
from audit.watermarks w
left join lateral (
  select * from audit.runs r where r.organization = w.organization order by started_at desc limit 1
) last_run on true
left join lateral (
  select * from audit.runs r where r.organization = w.organization and outcome = 'succeeded' order by started_at desc limit 1
) last_success on true
left join lateral (
  select * from audit.coverage c where c.organization = w.organization order by to_ticks desc limit 1
) covered on true;
comment on column bi.export_health.stored_events is 'How many events are stored: more than source_events once UiPath has deleted some.';
comment on column bi.export_health.oldest_event_at is 'When the oldest stored event happened.';
comment on column bi.export_health.complete_from is 'Begin of the newest range of bi.coverage: without a gap, all there was.';
comment on column bi.export_health.complete_to is 'Its end: newer events may still come.';
comment on column bi.export_health.complete_proven_at is 'When it was last read in full, or later.';

comment on index audit.events_pkey is 'Stores an event once, and finds those of a range of time: what every run, verify and each question about single events asks for. It grows at its end, so that loads stay quick.';
comment on index audit.daily_activity_pkey is 'Counts an event in its place, and finds the days of a range.';
comment on index audit.daily_totals_pkey is 'Counts an event in its place, and finds the days of a range.';
comment on index audit.user_actions_pkey is 'Counts an event in its place.';
comment on index audit.user_horizon_pkey is 'One horizon an organization.';
comment on index audit.user_totals_pkey is 'Counts an event in its place.';
comment on index audit.ledger_pkey is 'The newest entry, to append to, and the entries in order, to recompute the chain.';
comment on index audit.ledger_changes_pkey is 'The changes of the events of an entry.';
comment on index audit.coverage_pkey is 'The range that a run extends.';
comment on index audit.rejected_events_pkey is 'Keeps a row once, however often it is read.';
comment on index audit.runs_pkey is 'The run that writes, and the one a row came with.';
comment on index audit.watermarks_pkey is 'One watermark an organization.';
comment on index audit.migrations_pkey is 'One row a migration.';

do $$
begin
  if exists (select from pg_roles where rolname = 'audit_reader') then
    grant select on all tables in schema bi to audit_reader;
  end if;
  if exists (select from pg_roles where rolname = 'audit_writer') then
    grant select on audit.login_habits to audit_writer;
    grant select on all tables in schema bi to audit_writer;
  end if;
end $$;
