-- Completeness by rank: each run counts what the source lists and what is stored, and stores the result. Events that the source no
-- longer shows are kept and noted.
--
-- One transaction. It rewrites no table and reads no event: the new tables are empty, the new columns are null, and audit.coverage
-- has a few rows. The first run afterwards proves the history; until then the state is "not proven". A worker of an older version
-- that is still running continues to work and leaves the new columns unchanged.

alter table audit.watermarks
  add column head_ticks bigint,
  add column head_at timestamptz,
  add column ranks jsonb,
  add column source_url text,
  add column source_path text,
  add column source_partition text,
  add column completeness text,
  add column completeness_reason text,
  add column missing_events bigint,
  add column assessed_at timestamptz,
  add column proven_at timestamptz,
  add constraint watermarks_completeness
    check (completeness in ('complete', 'not proven', 'incomplete', 'source changed'));
comment on column audit.watermarks.head_ticks is 'Head instant: stored events at or before it may have been deleted at the source by its retention. Start of a millisecond, in units of 100 ns since 1970.';
comment on column audit.watermarks.head_at is 'head_ticks as a time.';
comment on column audit.watermarks.ranks is 'What the source needs to count from run to run, in the form of the source.';
comment on column audit.watermarks.source_url is 'Base URL of the source that the events came from.';
comment on column audit.watermarks.source_path is 'Path of its audit log.';
comment on column audit.watermarks.source_partition is 'Its partition (prt_id of the token), where the token shows it.';
comment on column audit.watermarks.completeness is 'Result of the last count: complete, not proven, incomplete (missing_events are not stored), or source changed. Null before the first count.';
comment on column audit.watermarks.completeness_reason is 'Why the state is not complete.';
comment on column audit.watermarks.missing_events is 'How many events the source lists that are not stored; negative: how many stored events it does not list. Set where completeness is incomplete.';
comment on column audit.watermarks.assessed_at is 'When the last count ended.';
comment on column audit.watermarks.proven_at is 'When the source was last requested for its newest event by a run whose count agreed: every event that it showed then is stored.';

alter table audit.runs add column completeness text, add column completeness_reason text;
comment on column audit.runs.completeness is 'What the run proved: complete, not proven, incomplete or source changed. Null where it did not count.';
comment on column audit.runs.completeness_reason is 'Why the state is not complete.';

-- Until now proven_at was the time of a reading that could miss late events.
alter table audit.coverage alter column proven_at drop not null, add column verified_at timestamptz;
update audit.coverage set proven_at = null;
comment on column audit.coverage.proven_at is 'Every event that the source showed at this time, dated in the range, is stored: a run counted both. Null: not counted yet.';
comment on column audit.coverage.verified_at is 'When verify last compared the range with the source and the ledger, in every field, and found no difference. Null: never.';
comment on column audit.coverage.to_at is 'End of the range (exclusive): the last event read or, where a run reached the end of the list, when it requested the end.';

comment on table audit.coverage is 'Ranges of time that were read without a gap. Ranges that touch are one.';

create table audit.gone_events (
  organization text not null,
  log text not null,
  created_on timestamptz not null,
  event_id uuid not null,
  created_on_ticks bigint not null,
  state text not null,
  suspected_at timestamptz not null default now(),
  suspected_run_id bigint not null,
  gone_at timestamptz,
  gone_run_id bigint,
  shown_again_at timestamptz,
  shown_again_run_id bigint,
  primary key (organization, log, created_on, event_id),
  constraint gone_events_state check (state in ('suspected', 'dismissed', 'gone', 'former source', 'shown again'))
);
comment on table audit.gone_events is 'Stored events that the source stopped showing between its oldest and its newest event. The events stay in audit.events.';
comment on column audit.gone_events.organization is 'UIPATH_ORGANIZATION of the worker.';
comment on column audit.gone_events.log is 'Which audit log of the organization: classic is the list of Get Audit Logs.';
comment on column audit.gone_events.created_on is 'When the event happened: with event_id the key of audit.events.';
comment on column audit.gone_events.event_id is 'The event.';
comment on column audit.gone_events.created_on_ticks is 'created_on in units of 100 ns since 1970: the exact instant.';
comment on column audit.gone_events.state is 'suspected (one run missed it), dismissed (the source shows it, or changed as a whole), gone (the next run agreed), former source (the source was replaced by another one that does not have it), or shown again.';
comment on column audit.gone_events.suspected_at is 'When a run first found that the source does not show it.';
comment on column audit.gone_events.suspected_run_id is 'That run in audit.runs.';
comment on column audit.gone_events.gone_at is 'When a second run agreed, or the other source was accepted.';
comment on column audit.gone_events.gone_run_id is 'That run in audit.runs.';
comment on column audit.gone_events.shown_again_at is 'When the source showed it again.';
comment on column audit.gone_events.shown_again_run_id is 'That run in audit.runs.';
create index gone_events_open on audit.gone_events (organization, log) where state in ('suspected', 'gone');
comment on index audit.gone_events_open is 'Counts suspected and gone events, also where a former source left millions of rows.';
comment on index audit.gone_events_pkey is 'Finds the events of a range of time, which a count leaves out.';

create table audit.rejected_places (
  organization text not null,
  log text not null,
  created_on_ticks bigint not null,
  content_hash bytea not null,
  times_shown integer not null,
  primary key (organization, log, created_on_ticks, content_hash)
);
comment on table audit.rejected_places is 'Where the source lists the rows of audit.rejected_events, and how often: a count includes them.';
comment on column audit.rejected_places.organization is 'UIPATH_ORGANIZATION of the worker.';
comment on column audit.rejected_places.log is 'Which audit log of the organization: classic is the list of Get Audit Logs.';
comment on column audit.rejected_places.created_on_ticks is 'Time of the row or, where it is unreadable, of the row before it: start of the millisecond, in units of 100 ns since 1970.';
comment on column audit.rejected_places.content_hash is 'The row in audit.rejected_events.';
comment on column audit.rejected_places.times_shown is 'How often the source lists the row there.';
comment on index audit.rejected_places_pkey is 'Finds the rows of a range of time.';

create view audit.completeness as
select w.organization, w.log,
  case
    when w.completeness = 'source changed' then 'source changed'
    when w.completeness = 'incomplete' and w.missing_events is not null then 'complete but for ' || abs(w.missing_events)
    when w.completeness is distinct from 'complete' then 'not proven'
    when gaps.count > 0 then 'gap'
    else 'complete'
  end as state,
  case
    when w.completeness is null then 'no run has counted the events yet'
    when w.completeness = 'complete' and gaps.count > 0 then
      'events may have been deleted at the source before they were read; see audit.gaps'
    else w.completeness_reason
  end as reason,
  w.missing_events, w.proven_at, w.assessed_at, gone.suspected as suspected_events, gone.events as gone_events,
  gone.last_at as last_gone_at, gone.recent as recently_gone_events
from audit.watermarks w
cross join lateral (
  select count(*) from audit.gaps g where g.organization = w.organization and g.log = w.log
) gaps
cross join lateral (
  select count(*) filter (where state = 'suspected') as suspected, count(*) filter (where state = 'gone') as events,
    max(gone_at) filter (where state = 'gone') as last_at,
    count(*) filter (where state = 'gone' and gone_at > now() - interval '7 days') as recent
  from audit.gone_events g where g.organization = w.organization and g.log = w.log and g.state in ('suspected', 'gone')
) gone;
comment on view audit.completeness is 'One row per log: is every event stored that the source shows? Status, page, metrics and bi.export_health show these states.';
comment on column audit.completeness.organization is 'UIPATH_ORGANIZATION of the worker.';
comment on column audit.completeness.log is 'Which audit log of the organization: classic is the list of Get Audit Logs.';
comment on column audit.completeness.state is 'complete, not proven, complete but for N, source changed, or gap.';
comment on column audit.completeness.reason is 'Why the state is not complete.';
comment on column audit.completeness.missing_events is 'How many events the source lists that are not stored; negative: how many stored events it does not list.';
comment on column audit.completeness.proven_at is 'When the source was last requested for its newest event by a run whose count agreed: every event that it showed then is stored.';
comment on column audit.completeness.assessed_at is 'When the last count ended.';
comment on column audit.completeness.suspected_events is 'Stored events that the last run did not find at the source. The next run decides.';
comment on column audit.completeness.gone_events is 'Stored events that the source deleted between its oldest and its newest event.';
comment on column audit.completeness.last_gone_at is 'When the newest of them was found to be gone.';
comment on column audit.completeness.recently_gone_events is 'How many were found to be gone in the last 7 days.';

create view bi.gone_events as
select g.organization, g.created_on, e.category, e.action, e.source, e.user_name, nullif(e.email, '') as email, e.message, g.state,
  g.suspected_at as noticed_at, g.gone_at, g.shown_again_at, g.event_id, g.log
from audit.gone_events g
left join audit.events e on e.organization = g.organization and e.created_on = g.created_on and e.event_id = g.event_id and e.log = g.log
where g.gone_at is not null;
comment on view bi.gone_events is 'One row per stored event that UiPath stopped showing between its oldest and its newest event. The events are still in bi.events.';
comment on column bi.gone_events.organization is 'The UiPath organization.';
comment on column bi.gone_events.created_on is 'When the event happened.';
comment on column bi.gone_events.category is 'As in bi.events.';
comment on column bi.gone_events.action is 'As in bi.events.';
comment on column bi.gone_events.source is 'As in bi.events.';
comment on column bi.gone_events.user_name is 'Who caused the event, not who deleted it.';
comment on column bi.gone_events.email is 'As in bi.events.';
comment on column bi.gone_events.message is 'As in bi.events.';
comment on column bi.gone_events.state is 'gone, former source (the source was replaced by another one that does not have it), or shown again.';
comment on column bi.gone_events.noticed_at is 'When a run first found that UiPath does not show it.';
comment on column bi.gone_events.gone_at is 'When a second run agreed.';
comment on column bi.gone_events.shown_again_at is 'When UiPath showed it again.';
comment on column bi.gone_events.event_id is 'The event in bi.events.';
comment on column bi.gone_events.log is 'Which audit log of the organization: classic is the list of Get Audit Logs.';

create or replace view bi.coverage as
select organization, from_at, to_at, proven_at, log, verified_at from audit.coverage;
comment on view bi.coverage is 'One row per range of time that was read without a gap; proven_at says whether a count proved that all its events are stored. What lies between two ranges is in bi.gaps.';
comment on view bi.gaps is 'One row per span of time between two ranges of bi.coverage: UiPath may have deleted its events before they were read, or no run requested them.';
comment on column bi.coverage.proven_at is 'Every event that UiPath showed at this time, dated in the range, is stored: a run counted both. Null: not counted yet.';
comment on column bi.coverage.verified_at is 'When verify last compared the range in every field and found no difference. Null: never.';
comment on column bi.coverage.to_at is 'End of the range (exclusive): the last event read or, where a run reached the end of the list, when it requested the end.';

create or replace view bi.runs as
select
  run_id, organization, kind, started_at, ended_at, ended_at - started_at as duration, outcome, error, warnings, requests, retries,
  rows_read, rows_inserted, rows_updated, rows_unchanged, rows_rejected, rows_late, log, completeness, completeness_reason
from audit.runs;
comment on column bi.runs.completeness is 'What the run proved: complete, not proven, incomplete or source changed. Null where it did not count.';
comment on column bi.runs.completeness_reason is 'Why the state is not complete.';

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
  w.log,
  c.state as completeness,
  c.reason as completeness_reason,
  c.missing_events,
  c.proven_at,
  c.suspected_events,
  c.gone_events,
  c.recently_gone_events
from audit.watermarks w
join audit.completeness c using (organization, log)
left join lateral (
  select started_at, outcome, error from audit.runs r
  where r.organization = w.organization and r.log = w.log order by started_at desc limit 1
) last_run on true
left join lateral (
  select ended_at from audit.runs r
  where r.organization = w.organization and r.log = w.log and outcome = 'succeeded' order by started_at desc limit 1
) last_success on true
left join lateral (
  select * from audit.coverage c where c.organization = w.organization and c.log = w.log order by to_ticks desc limit 1
) covered on true;
comment on column bi.export_health.complete_from is 'Start of the newest range of bi.coverage; without a gap, the oldest event that UiPath had.';
comment on column bi.export_health.complete_to is 'End of that range. Whether its events are complete says complete_proven_at.';
comment on column bi.export_health.complete_proven_at is 'Every event that UiPath showed at this time, dated in the range, is stored. Null: not counted yet.';
comment on column bi.export_health.completeness is 'complete (every event that UiPath showed at proven_at is stored), not proven, complete but for N, source changed, or gap.';
comment on column bi.export_health.completeness_reason is 'Why the state is not complete.';
comment on column bi.export_health.missing_events is 'How many events UiPath lists that are not stored; negative: how many stored events it does not list.';
comment on column bi.export_health.proven_at is 'When UiPath was last requested for its newest event by a run whose count agreed.';
comment on column bi.export_health.suspected_events is 'Stored events that the last run did not find at UiPath. The next run decides.';
comment on column bi.export_health.gone_events is 'Stored events that UiPath deleted between its oldest and its newest event: bi.gone_events.';
comment on column bi.export_health.recently_gone_events is 'How many were found to be gone in the last 7 days.';

do $$
begin
  if exists (select from pg_roles where rolname = 'audit_writer') then
    grant select on audit.gone_events, audit.rejected_places, audit.completeness, bi.gone_events to audit_writer;
    grant insert, update on audit.gone_events to audit_writer;
    grant insert, delete, update on audit.rejected_places to audit_writer;
    grant update (head_ticks, head_at, ranks, source_url, source_path, source_partition, completeness, completeness_reason,
      missing_events, assessed_at, proven_at) on audit.watermarks to audit_writer;
    grant update (completeness, completeness_reason) on audit.runs to audit_writer;
  end if;
  if exists (select from pg_roles where rolname = 'audit_reader') then
    grant select on bi.gone_events to audit_reader;
  end if;
end $$;
