-- The tables the worker writes. Forward only: a later change is a file of its own.

create schema if not exists audit;
comment on schema audit is 'UiPath audit log, as exported. Written by uipath-audit-export only; dashboards read schema bi.';

create table audit.events (
  organization text not null,
  created_on timestamptz not null,
  event_id uuid not null,
  created_on_ticks bigint not null,
  created_on_raw text not null,
  category text,
  action text,
  source text,
  user_name text,
  email text,
  message text,
  details_version text,
  details jsonb,
  details_raw text,
  extra jsonb,
  raw text,
  ordinal integer not null,
  first_seen_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  run_id bigint not null,
  -- Time-ordered, so that a load appends to the index and a time range needs no second one.
  primary key (organization, created_on, event_id)
);
comment on table audit.events is 'One row per audit event, exactly as UiPath sent it.';
comment on column audit.events.organization is 'UIPATH_ORGANIZATION of the worker that stored the row.';
comment on column audit.events.created_on is 'createdOn, cut (not rounded) from 100 ns to the microsecond.';
comment on column audit.events.event_id is 'First 128 bits of SHA-256 over the JSON array [ticks as text, source, category, action, detailsVersion, auditLogDetails, ordinal]; where raw is set, over the values in raw.';
comment on column audit.events.created_on_ticks is 'createdOn in units of 100 ns since 1970-01-01T00:00:00Z: the exact instant.';
comment on column audit.events.created_on_raw is 'createdOn as sent.';
comment on column audit.events.category is 'As sent; null and the empty string are kept apart.';
comment on column audit.events.action is 'As sent.';
comment on column audit.events.source is 'The UiPath service that wrote the event, for example Cis, Governance or Licensing.';
comment on column audit.events.user_name is 'userName as last seen.';
comment on column audit.events.email is 'As last seen.';
comment on column audit.events.message is 'As last seen: UiPath composes it at read time in UIPATH_LANGUAGE.';
comment on column audit.events.details_version is 'detailsVersion as sent.';
comment on column audit.events.details is 'details_raw parsed, for queries; null where it is not JSON or PostgreSQL cannot hold it (a NUL escape, a lone surrogate, 1e400000, more than 1,000 levels or 16 Mi characters).';
comment on column audit.events.details_raw is 'auditLogDetails as sent, byte for byte.';
comment on column audit.events.extra is 'Fields of the event that this version does not know, by name.';
comment on column audit.events.raw is 'The exact JSON text of the row, only where the other columns cannot give it back (U+0000, lone surrogates, duplicate keys, values in extra that jsonb would change). Then U+FFFD stands in those columns for what PostgreSQL text cannot hold.';
comment on column audit.events.ordinal is 'Counts events that are alike in everything event_id is made of; 0 for nearly all.';
comment on column audit.events.first_seen_at is 'When this worker first stored the event.';
comment on column audit.events.updated_at is 'When a re-read last found a changed user_name, email, message or extra.';
comment on column audit.events.run_id is 'The run in audit.runs that first stored the event.';

create table audit.runs (
  run_id bigint generated always as identity primary key,
  organization text not null,
  kind text not null,
  started_at timestamptz not null default now(),
  ended_at timestamptz,
  outcome text,
  error text,
  warnings text[] not null default '{}',
  pages bigint not null default 0,
  requests bigint not null default 0,
  retries bigint not null default 0,
  rows_read bigint not null default 0,
  rows_inserted bigint not null default 0,
  rows_updated bigint not null default 0,
  rows_unchanged bigint not null default 0,
  rows_rejected bigint not null default 0,
  rows_late bigint not null default 0,
  from_ticks bigint,
  to_ticks bigint,
  from_at timestamptz,
  to_at timestamptz,
  frontier_ticks bigint,
  next_skip bigint,
  source_total bigint,
  worker text,
  constraint runs_kind check (kind in ('run', 'recheck', 'backfill')),
  constraint runs_outcome check (outcome in ('succeeded', 'failed', 'interrupted', 'abandoned'))
);
create index runs_by_time on audit.runs (organization, started_at desc);
comment on index audit.runs_by_time is 'The newest runs of an organization: status, and the backfill to go on with.';
comment on table audit.runs is 'One row per run, also of those that failed.';
comment on column audit.runs.run_id is 'Number of the run; the log names it too.';
comment on column audit.runs.organization is 'UIPATH_ORGANIZATION of the worker.';
comment on column audit.runs.kind is 'run (from the watermark), recheck (a wider window again) or backfill.';
comment on column audit.runs.started_at is 'When it took the organization''s lock.';
comment on column audit.runs.ended_at is 'Null while the run goes on.';
comment on column audit.runs.outcome is 'Null while the run goes on; abandoned when its process ended without a word.';
comment on column audit.runs.error is 'Why it did not succeed.';
comment on column audit.runs.warnings is 'What a person should know about how the rows were read.';
comment on column audit.runs.pages is 'Pages judged; one that gave no row counts too.';
comment on column audit.runs.requests is 'List requests, retries included.';
comment on column audit.runs.retries is 'List requests sent again after a failure.';
comment on column audit.runs.rows_read is 'Rows taken: inserted + updated + unchanged + rejected. Rows a page repeats are not counted.';
comment on column audit.runs.rows_inserted is 'Events that were not stored before.';
comment on column audit.runs.rows_updated is 'Events stored before whose user_name, email, message or extra had changed.';
comment on column audit.runs.rows_unchanged is 'Events stored before, and left as they were.';
comment on column audit.runs.rows_rejected is 'Rows kept in audit.rejected_events, those kept before included.';
comment on column audit.runs.rows_late is 'Inserted rows older than what was known when the run began: the watermark, or the last reading where an event is dated in the future.';
comment on column audit.runs.from_ticks is 'Rows older than this were not asked for; null: from the oldest. For a run: the lookback before the watermark.';
comment on column audit.runs.to_ticks is 'Rows at or after this were not asked for; null: to the newest.';
comment on column audit.runs.from_at is 'from_ticks as a time.';
comment on column audit.runs.to_at is 'to_ticks as a time.';
comment on column audit.runs.frontier_ticks is 'How far the run came: every row older than this, and at or after from_ticks, is stored.';
comment on column audit.runs.next_skip is 'Offset in the source''s list that belongs to frontier_ticks. A hint.';
comment on column audit.runs.source_total is 'totalCount as the source last gave it.';
comment on column audit.runs.worker is 'Host and process that ran it.';

create table audit.watermarks (
  organization text primary key,
  created_on_ticks bigint,
  created_on_raw text,
  created_on timestamptz,
  read_at timestamptz,
  next_skip bigint not null default 0,
  source_total bigint,
  run_id bigint,
  updated_at timestamptz not null default now()
);
comment on table audit.watermarks is 'Where the next run of an organization begins. Committed together with the rows it stands for.';
comment on column audit.watermarks.organization is 'UIPATH_ORGANIZATION of the worker.';
comment on column audit.watermarks.created_on_ticks is 'Ticks of the newest committed event; null before the first.';
comment on column audit.watermarks.created_on_raw is 'createdOn of that event as sent.';
comment on column audit.watermarks.created_on is 'created_on_ticks as a time.';
comment on column audit.watermarks.read_at is 'When the run began that last read beyond the watermark: what came late since then is still to be found, and an event dated in the future says nothing about what follows.';
comment on column audit.watermarks.next_skip is 'Offset behind the newest committed event. A hint: a wrong one costs requests, never rows.';
comment on column audit.watermarks.source_total is 'totalCount as the source last gave it.';
comment on column audit.watermarks.run_id is 'The run that may write: a worker with another run was overtaken and is refused.';
comment on column audit.watermarks.updated_at is 'When a worker last began a run or committed a page.';

create table audit.gaps (
  organization text not null,
  from_ticks bigint not null,
  to_ticks bigint not null,
  from_at timestamptz not null,
  to_at timestamptz not null,
  noticed_at timestamptz not null default now(),
  run_id bigint not null,
  primary key (organization, from_ticks)
);
comment on table audit.gaps is 'Spans of time that the source may have deleted before they were read.';
comment on column audit.gaps.organization is 'UIPATH_ORGANIZATION of the worker.';
comment on column audit.gaps.from_ticks is 'from_at in units of 100 ns since 1970: the exact instant.';
comment on column audit.gaps.to_ticks is 'to_at in units of 100 ns since 1970: the exact instant.';
comment on column audit.gaps.from_at is 'Up to here everything was read.';
comment on column audit.gaps.to_at is 'The oldest event the source still had.';
comment on column audit.gaps.noticed_at is 'When a run found that the two do not meet.';
comment on column audit.gaps.run_id is 'That run in audit.runs.';

create table audit.rejected_events (
  organization text not null,
  content_hash bytea not null,
  source_text text not null,
  source_bytes bytea,
  reason text not null,
  first_seen_at timestamptz not null default now(),
  last_seen_at timestamptz not null default now(),
  run_id bigint not null,
  primary key (organization, content_hash)
);
comment on table audit.rejected_events is 'Rows of the source that cannot be stored as an event, word for word.';
comment on column audit.rejected_events.organization is 'UIPATH_ORGANIZATION of the worker.';
comment on column audit.rejected_events.content_hash is 'SHA-256 of the row''s text, so that a re-read adds nothing.';
comment on column audit.rejected_events.source_text is 'The row as the source sent it.';
comment on column audit.rejected_events.source_bytes is 'The row''s UTF-8 bytes, only where text cannot hold them (U+0000); then U+FFFD stands for those in source_text.';
comment on column audit.rejected_events.reason is 'Why it is no event.';
comment on column audit.rejected_events.first_seen_at is 'When it was kept.';
comment on column audit.rejected_events.last_seen_at is 'When the source last showed it.';
comment on column audit.rejected_events.run_id is 'The run in audit.runs that kept it.';

-- Made by node-pg-migrate before it runs this file.
comment on table audit.migrations is 'The migrations this database has.';
comment on column audit.migrations.id is 'Their order.';
comment on column audit.migrations.name is 'Name of the file in migrations/, without its ending.';
comment on column audit.migrations.run_on is 'When it was applied.';
