-- Proof of what was stored: the integrity ledger, and the ranges of time known to be complete.

create function audit.content_digest(
  event_id uuid, created_on_raw text, user_name text, email text, message text, extra jsonb, raw text
) returns bytea
language sql stable parallel safe
-- Half the time of a JSON text: this is computed for every event that is stored.
return substring(sha256(record_send(row(
  event_id, created_on_raw, user_name, email, message, extra::text, raw
))) from 1 for 16);
comment on function audit.content_digest is 'First 128 bits of SHA-256 over the binary form of row(event_id, created_on_raw, user_name, email, message, extra as text, raw): the number of fields, then of each its type (2950 for uuid, 25 for text), its length in bytes (-1 for null) and its bytes, in UTF-8; numbers have 32 bits, the highest first. event_id stands for the columns it is made of; the others follow from these.';

create table audit.ledger (
  organization text not null,
  batch bigint not null,
  run_id bigint,
  committed_at timestamptz not null default now(),
  from_at timestamptz,
  to_at timestamptz,
  rows_inserted integer not null,
  rows_changed integer not null,
  inserted bytea not null,
  previous_digest bytea,
  digest bytea not null,
  primary key (organization, batch)
);
-- Digests do not compress.
alter table audit.ledger alter column inserted set storage external;
comment on table audit.ledger is 'One row per commit that stored or changed events, each chained to the one before: `verify --offline` recomputes it and finds what was edited, deleted or inserted by hand. Append only.';
comment on column audit.ledger.organization is 'UIPATH_ORGANIZATION of the worker. Each has a chain of its own.';
comment on column audit.ledger.batch is 'Counts the organization''s entries from 1, without a hole. Rows of audit.events name the batch they came with.';
comment on column audit.ledger.run_id is 'The run in audit.runs that committed it; null for rows that were stored before there was a ledger.';
comment on column audit.ledger.committed_at is 'first_seen_at of the rows it inserted, where it has a run, and updated_at of those it changed.';
comment on column audit.ledger.from_at is 'created_on of the oldest row inserted; null when none was.';
comment on column audit.ledger.to_at is 'created_on of the newest row inserted.';
comment on column audit.ledger.rows_inserted is 'How many rows came with it.';
comment on column audit.ledger.rows_changed is 'How many rows of earlier batches it changed: audit.ledger_changes.';
comment on column audit.ledger.inserted is '32 bytes for each row inserted: event_id, then audit.content_digest of the row as inserted.';
comment on column audit.ledger.previous_digest is 'digest of the batch before; null for the first.';
comment on column audit.ledger.digest is 'SHA-256 over the JSON array, of strings without spaces between them: organization, batch, run_id, committed_at, from_at, to_at (as 2026-01-31T08:00:00.000000Z), SHA-256 of inserted, SHA-256 of the changes (48 bytes each, in order of event_id: event_id, old_digest, new_digest), previous_digest. Bytes in hex; null stays null.';

create table audit.ledger_changes (
  organization text not null,
  row_batch bigint not null,
  event_id uuid not null,
  batch bigint not null,
  old_digest bytea not null,
  new_digest bytea not null,
  primary key (organization, row_batch, event_id, batch)
);
create index ledger_changes_by_batch on audit.ledger_changes (organization, batch);
comment on index audit.ledger_changes_by_batch is 'The changes of an entry, to recompute its digest.';
comment on table audit.ledger_changes is 'One row per event that a later batch changed, so that the entry it came with stays verifiable. Append only.';
comment on column audit.ledger_changes.organization is 'UIPATH_ORGANIZATION of the worker.';
comment on column audit.ledger_changes.row_batch is 'The batch the event came with.';
comment on column audit.ledger_changes.event_id is 'The event.';
comment on column audit.ledger_changes.batch is 'The batch that changed it.';
comment on column audit.ledger_changes.old_digest is 'audit.content_digest before the change.';
comment on column audit.ledger_changes.new_digest is 'audit.content_digest after it.';

alter table audit.events add column batch bigint;
comment on column audit.events.batch is 'The entry of audit.ledger that it came with.';

-- Events of before the ledger become its first entries.
do $$
declare
  org text;
  next_batch bigint;
  last_digest bytea;
  last_at timestamptz;
  last_id uuid;
begin
  for org in select distinct organization from audit.events order by organization loop
    next_batch := 1;
    last_digest := null;
    last_at := '-infinity';
    last_id := '00000000-0000-0000-0000-000000000000';
    loop
      with piece as (
        select created_on, event_id from audit.events
        where organization = org and created_on >= last_at and (created_on, event_id) > (last_at, last_id)
        order by created_on, event_id limit 10000
      ), moved as (
        update audit.events e set batch = next_batch from piece p
        where e.organization = org and e.created_on = p.created_on and e.event_id = p.event_id
        returning e.created_on, e.event_id, uuid_send(e.event_id) || audit.content_digest(
          e.event_id, e.created_on_raw, e.user_name, e.email, e.message, e.extra, e.raw) as leaf
      ), entry as (
        select min(created_on) as from_at, max(created_on) as to_at, count(*) as rows_inserted,
          string_agg(leaf, ''::bytea) as inserted
        from moved
      )
      insert into audit.ledger
      select org, next_batch, null, now(), from_at, to_at, rows_inserted, 0, inserted, last_digest,
        sha256(convert_to(array_to_json(array[
          org, next_batch::text, null,
          to_char(now() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
          to_char(from_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
          to_char(to_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
          encode(sha256(inserted), 'hex'), encode(sha256(''::bytea), 'hex'), encode(last_digest, 'hex')
        ])::text, 'UTF8'))
      from entry where rows_inserted > 0
      returning digest, to_at into last_digest, last_at;
      exit when not found;
      select max(event_id::text)::uuid into last_id from audit.events
      where organization = org and created_on = last_at and batch = next_batch;
      next_batch := next_batch + 1;
    end loop;
  end loop;
end $$;
alter table audit.events alter column batch set not null;

create table audit.coverage (
  organization text not null,
  from_ticks bigint not null,
  to_ticks bigint not null,
  from_at timestamptz not null,
  to_at timestamptz not null,
  proven_at timestamptz not null,
  begun_at timestamptz not null default now(),
  run_id bigint,
  primary key (organization, from_ticks)
);
comment on table audit.coverage is 'Ranges of time in which every event that the source showed is stored. Ranges that touch are one.';
comment on column audit.coverage.organization is 'UIPATH_ORGANIZATION of the worker.';
comment on column audit.coverage.from_ticks is 'from_at in units of 100 ns since 1970: the exact instant.';
comment on column audit.coverage.to_ticks is 'to_at in units of 100 ns since 1970: the exact instant.';
comment on column audit.coverage.from_at is 'The range begins here (inclusive): the oldest event the source had, or where a run was told to begin.';
comment on column audit.coverage.to_at is 'The range ends here (exclusive).';
comment on column audit.coverage.proven_at is 'Each part of the range that the source still had was read, and found or made complete, at this time or later.';
comment on column audit.coverage.begun_at is 'When the range was begun; if another one lies before it, when the gap between them was noticed.';
comment on column audit.coverage.run_id is 'The run in audit.runs that began it.';

-- What was read before there was a table for it: from the oldest event to just behind the newest one, or to when that was
-- read if it is dated later, but for the gaps. A range holds at least the event that it begins with.
with ends as (
  select organization,
    least(created_on_ticks + 1, (extract(epoch from read_at) * 10000000)::bigint) as ticks,
    least(created_on + case (created_on_ticks + 1) % 10 when 0 then interval '1 microsecond' else '0' end, read_at) as at
  from audit.watermarks where created_on_ticks is not null
), starts as (
  -- Proven by the oldest reading of any part; later ones read only parts again.
  select ends.organization, created_on_ticks as ticks, created_on as at, first_seen_at as begun_at, run_id,
    (select min(started_at) from audit.runs r where r.organization = ends.organization) as proven_at,
    null::bigint as gap_from_ticks, null::timestamptz as gap_from_at
  from ends cross join lateral (
    select * from audit.events e where e.organization = ends.organization order by created_on, created_on_ticks limit 1
  ) oldest
  union all
  select organization, to_ticks, to_at, noticed_at, run_id,
    (select started_at from audit.runs r where r.run_id = g.run_id), from_ticks, from_at
  from audit.gaps g
), ranges as (
  select starts.organization, starts.ticks as from_ticks, starts.at as from_at, proven_at, begun_at, run_id,
    greatest(starts.ticks + 1, coalesce(lead(gap_from_ticks) over next, ends.ticks)) as to_ticks,
    greatest(starts.at, coalesce(lead(gap_from_at) over next, ends.at)) as to_at
  from starts join ends using (organization)
  window next as (partition by organization order by starts.ticks)
)
insert into audit.coverage (organization, from_ticks, to_ticks, from_at, to_at, proven_at, begun_at, run_id)
select organization, from_ticks, to_ticks, from_at, to_at, least(proven_at, begun_at), begun_at, run_id from ranges;

drop view bi.export_health;
drop table audit.gaps;

create view audit.gaps as
select organization, from_ticks, to_ticks, from_at, to_at, noticed_at, run_id
from (
  select organization, lag(to_ticks) over o as from_ticks, from_ticks as to_ticks, lag(to_at) over o as from_at,
    from_at as to_at, begun_at as noticed_at, run_id
  from audit.coverage
  window o as (partition by organization order by from_ticks)
) ranges
where from_ticks is not null;
comment on view audit.gaps is 'Spans of time between the ranges of audit.coverage: the source may have deleted their events before they were read, or nobody asked for them.';
comment on column audit.gaps.organization is 'UIPATH_ORGANIZATION of the worker.';
comment on column audit.gaps.from_ticks is 'from_at in units of 100 ns since 1970: the exact instant.';
comment on column audit.gaps.to_ticks is 'to_at in units of 100 ns since 1970: the exact instant.';
comment on column audit.gaps.from_at is 'Up to here everything was read.';
comment on column audit.gaps.to_at is 'From here on everything was read.';
comment on column audit.gaps.noticed_at is 'When a run found that the two do not meet.';
comment on column audit.gaps.run_id is 'That run in audit.runs.';

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

create view bi.coverage as
select organization, from_at, to_at, proven_at from audit.coverage;
comment on view bi.coverage is 'One row per range of time in which every event that UiPath showed is stored; what lies between two ranges is in bi.gaps.';
comment on column bi.coverage.organization is 'The UiPath organization.';
comment on column bi.coverage.from_at is 'The range begins here (inclusive).';
comment on column bi.coverage.to_at is 'The range ends here (exclusive).';
comment on column bi.coverage.proven_at is 'Each part of the range that UiPath still had was read, and found or made complete, at this time or later.';

create view bi.gaps as
select organization, from_at, to_at, noticed_at from audit.gaps;
comment on view bi.gaps is 'One row per span of time that is not known to be complete, between two ranges that are.';
comment on column bi.gaps.organization is 'The UiPath organization.';
comment on column bi.gaps.from_at is 'Up to here everything was read.';
comment on column bi.gaps.to_at is 'From here on everything was read.';
comment on column bi.gaps.noticed_at is 'When a run found that the two do not meet.';

alter table audit.runs drop constraint runs_kind;
alter table audit.runs add constraint runs_kind check (kind in ('run', 'recheck', 'backfill', 'verify'));
comment on column audit.runs.kind is 'run (from the watermark), recheck (a wider window again), backfill, or verify (with --repair).';
