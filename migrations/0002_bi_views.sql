-- What dashboards and people read.

create schema if not exists bi;
comment on schema bi is 'Views for dashboards. Readable by the role audit_reader.';

create view bi.events as
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
  updated_at
from audit.events;
comment on view bi.events is 'One row per audit event. Filter by created_on: it is indexed per organization.';
comment on column bi.events.organization is 'The UiPath organization.';
comment on column bi.events.created_on is 'When it happened (UTC instant, to the microsecond).';
comment on column bi.events.category is 'What it is about, for example User or License Management.';
comment on column bi.events.action is 'What was done, for example Login or Create.';
comment on column bi.events.source is 'The UiPath service that wrote it, for example Cis, Governance or Licensing.';
comment on column bi.events.user_name is 'Who did it.';
comment on column bi.events.email is 'Null where UiPath sent none or an empty one.';
comment on column bi.events.message is 'A sentence for people, in the language the worker asks for.';
comment on column bi.events.details is 'The event''s details as JSON: details ->> ''userName'' and so on.';
comment on column bi.events.details_version is 'Version of the form of details.';
comment on column bi.events.extra is 'Fields of the event that UiPath added later, by name.';
comment on column bi.events.event_id is 'Identifies the event, also across copies of this database.';
comment on column bi.events.created_on_raw is 'created_on as UiPath wrote it, to 100 ns.';
comment on column bi.events.first_seen_at is 'When it was first stored here.';
comment on column bi.events.updated_at is 'When a changed name, email, message or extra was last stored.';

create view bi.export_health as
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
  (select count(*) from audit.rejected_events r where r.organization = w.organization) as rejected_events
from audit.watermarks w
left join lateral (
  select * from audit.runs r where r.organization = w.organization order by started_at desc limit 1
) last_run on true
left join lateral (
  select * from audit.runs r where r.organization = w.organization and outcome = 'succeeded' order by started_at desc limit 1
) last_success on true;
comment on view bi.export_health is 'One row per organization: is the copy current, and does anything need a person?';
comment on column bi.export_health.organization is 'The UiPath organization.';
comment on column bi.export_health.newest_event_at is 'When the newest stored event happened.';
comment on column bi.export_health.newest_event_age is 'Grows on a quiet organization too; last_success_age tells whether the export works.';
comment on column bi.export_health.last_run_at is 'When the newest run began.';
comment on column bi.export_health.last_run_outcome is 'succeeded, failed, interrupted or abandoned; null while it goes on.';
comment on column bi.export_health.last_run_error is 'Why it did not succeed.';
comment on column bi.export_health.last_success_at is 'When a run last succeeded.';
comment on column bi.export_health.last_success_age is 'More than two or three intervals of the schedule: the copy is out of date.';
comment on column bi.export_health.source_events is 'How many events UiPath said it has, when it was last asked.';
comment on column bi.export_health.gaps is 'Spans that the source may have deleted before they were read: audit.gaps.';
comment on column bi.export_health.rejected_events is 'Rows kept word for word in audit.rejected_events.';

-- The role is shared by all databases of the server, and creating it needs CREATEROLE; without that, an administrator
-- creates it and runs the grants below.
do $$
begin
  create role audit_reader nologin;
exception
  when duplicate_object or unique_violation then null;
  when insufficient_privilege then raise notice 'role audit_reader was not created: CREATEROLE is missing';
end $$;
do $$
begin
  if exists (select from pg_roles where rolname = 'audit_reader') then
    grant usage on schema bi to audit_reader;
    grant select on all tables in schema bi to audit_reader;
    alter default privileges in schema bi grant select on tables to audit_reader;
  end if;
end $$;
