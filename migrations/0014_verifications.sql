-- The results of `verify`, so that status, metrics and reports can show when the copy was last compared and what was found.
--
-- One transaction. It rewrites no table and reads no event. A worker of an older version that is still running continues to work and
-- leaves the new columns unchanged.

-- What a count proved was stored only beside the watermark. A copy in the row of its run lets verify compare the two.
alter table audit.runs add column proven_at timestamptz, add column missing_events bigint;
comment on column audit.runs.proven_at is 'When the run requested the newest event of the source, if its count agreed: audit.watermarks.proven_at. Null for other runs and before migration 0014.';
comment on column audit.runs.missing_events is 'audit.watermarks.missing_events as the run left it. Set where completeness is incomplete.';

-- The last proof and the last result of verify are known.
update audit.runs r set proven_at = w.proven_at
from audit.watermarks w
where r.run_id = (
  select max(run_id) from audit.runs c where c.organization = w.organization and c.log = w.log and c.completeness = 'complete'
) and not exists (
  select from audit.runs later
  where later.organization = w.organization and later.log = w.log and later.run_id > r.run_id and later.kind = 'backfill'
);
update audit.runs r set missing_events = w.missing_events
from audit.watermarks w
where w.completeness = 'incomplete' and r.completeness = 'incomplete' and r.run_id = (
  select max(run_id) from audit.runs c where c.organization = w.organization and c.log = w.log and c.completeness is not null
);

create table audit.verifications (
  verification_id bigint generated always as identity primary key,
  organization text not null,
  log text not null,
  scope text not null,
  from_at timestamptz,
  to_at timestamptz,
  started_at timestamptz not null,
  ended_at timestamptz not null,
  outcome text not null,
  error text,
  entries bigint not null default 0,
  rows bigint not null default 0,
  differences jsonb not null default '{}',
  not_due bigint not null default 0,
  repaired bigint not null default 0,
  ledger_head text,
  version text not null,
  constraint verifications_scope check (scope in ('offline', 'online', 'archive')),
  constraint verifications_outcome check (outcome in ('clean', 'differences', 'failed'))
);
create index verifications_by_time on audit.verifications (organization, log, ended_at desc);
comment on index audit.verifications_pkey is 'One number per result.';
comment on index audit.verifications_by_time is 'The newest results of a log.';
comment on table audit.verifications is 'One row per log and call of verify. Append only.';
comment on column audit.verifications.verification_id is 'Number of the row.';
comment on column audit.verifications.organization is 'The organization whose rows were compared.';
comment on column audit.verifications.log is 'Which audit log of the organization: classic is the list of Get Audit Logs.';
comment on column audit.verifications.scope is 'What the rows were compared with. offline: the ledger, and what can be recomputed from the rows; online: the source as well; archive: the archived files as well.';
comment on column audit.verifications.from_at is 'Start of the compared range (inclusive); null: unbounded.';
comment on column audit.verifications.to_at is 'End of the compared range (exclusive); null: unbounded.';
comment on column audit.verifications.started_at is 'When it began, by the clock of the program that verified.';
comment on column audit.verifications.ended_at is 'When it ended, by the same clock.';
comment on column audit.verifications.outcome is 'clean (exit code 0), differences (exit code 3), or failed (it did not finish).';
comment on column audit.verifications.error is 'Why it did not finish.';
comment on column audit.verifications.entries is 'Entries of the ledger that were checked.';
comment on column audit.verifications.rows is 'Rows that these entries list.';
comment on column audit.verifications.differences is 'Number of differences by kind, without the repaired ones: missing, changed (against the source), edited, deleted, inserted, broken (against the ledger), state (against what is recomputed). {} if there are none.';
comment on column audit.verifications.not_due is 'Events that came to the source after the last proof: the next run stores them. They are no differences.';
comment on column audit.verifications.repaired is 'Differences that verify --repair repaired.';
comment on column audit.verifications.ledger_head is 'The newest entry of the ledger that was read, as verify prints it.';
comment on column audit.verifications.version is 'Version of the program that verified.';

insert into audit.verifications (organization, log, scope, from_at, to_at, started_at, ended_at, outcome, version)
select organization, log, 'online', min(from_at), max(to_at), verified_at, verified_at, 'clean', 'before migration 0014'
from audit.coverage where verified_at is not null group by organization, log, verified_at;

-- A later result replaces an earlier one if it compared at least as much: the same scope or online, and a range that contains the earlier one.
create view audit.verification_state as
select logs.organization, logs.log, last.ended_at as last_at, last.scope as last_scope, last.outcome as last_outcome, last.error as last_error,
  clean.ended_at as last_clean_at, coalesce(open.differences, '{}') as differences, open.ended_at as differences_at,
  open.scope as differences_scope, last.ledger_head as last_ledger_head, last.not_due as last_not_due
from (
  select organization, log from audit.watermarks union select organization, log from audit.verifications
) logs
left join lateral (
  select * from audit.verifications v where v.organization = logs.organization and v.log = logs.log
  order by ended_at desc, verification_id desc limit 1
) last on true
left join lateral (
  select ended_at from audit.verifications v
  where v.organization = logs.organization and v.log = logs.log and outcome = 'clean' and from_at is null and to_at is null
  order by ended_at desc limit 1
) clean on true
left join lateral (
  select * from audit.verifications v
  where v.organization = logs.organization and v.log = logs.log and outcome = 'differences' and not exists (
    select from audit.verifications later
    where later.organization = v.organization and later.log = v.log and later.outcome <> 'failed'
      and (later.ended_at, later.verification_id) > (v.ended_at, v.verification_id)
      and (later.scope = v.scope or later.scope = 'online' and v.scope = 'offline')
      and (later.from_at is null or later.from_at <= v.from_at) and (later.to_at is null or later.to_at >= v.to_at)
  )
  order by ended_at desc, verification_id desc limit 1
) open on true;
comment on view audit.verification_state is 'One row per log: the last result of verify, and the differences that no later one has cleared. Status, page, metrics and bi.export_health show it.';
comment on column audit.verification_state.organization is 'UIPATH_ORGANIZATION of the worker.';
comment on column audit.verification_state.log is 'Which audit log of the organization: classic is the list of Get Audit Logs.';
comment on column audit.verification_state.last_at is 'When the last verify ended; null: never.';
comment on column audit.verification_state.last_scope is 'What it compared: offline, online or archive.';
comment on column audit.verification_state.last_outcome is 'clean, differences or failed.';
comment on column audit.verification_state.last_error is 'Why it did not finish.';
comment on column audit.verification_state.last_clean_at is 'When a verify of the whole log last found no difference.';
comment on column audit.verification_state.differences is 'Number of differences by kind that the newest verify with differences found, and that no later one has cleared. {} if there are none.';
comment on column audit.verification_state.differences_at is 'When that verify ended.';
comment on column audit.verification_state.differences_scope is 'What that verify compared.';
comment on column audit.verification_state.last_ledger_head is 'The newest entry of the ledger that the last verify read.';
comment on column audit.verification_state.last_not_due is 'Events that the last verify found at the source and that the next run stores.';

create view bi.verifications as
select organization, scope, from_at, to_at, started_at, ended_at, outcome, error, entries, rows, differences,
  (select coalesce(sum(value::bigint), 0)::bigint from jsonb_each_text(differences)) as difference_count,
  not_due, repaired, ledger_head, version, log
from audit.verifications;
comment on view bi.verifications is 'One row per log and call of verify: what was compared, and what was found.';
comment on column bi.verifications.organization is 'The UiPath organization.';
comment on column bi.verifications.scope is 'offline: compared with the ledger and with what can be recomputed; online: with UiPath as well; archive: with the archived files as well.';
comment on column bi.verifications.from_at is 'Start of the compared range; null: unbounded.';
comment on column bi.verifications.to_at is 'End of the compared range; null: unbounded.';
comment on column bi.verifications.started_at is 'When it began.';
comment on column bi.verifications.ended_at is 'When it ended.';
comment on column bi.verifications.outcome is 'clean, differences, or failed (it did not finish).';
comment on column bi.verifications.error is 'Why it did not finish.';
comment on column bi.verifications.entries is 'Entries of the ledger that were checked.';
comment on column bi.verifications.rows is 'Rows that these entries list.';
comment on column bi.verifications.differences is 'Number of differences by kind; {} if there are none.';
comment on column bi.verifications.difference_count is 'Their sum.';
comment on column bi.verifications.not_due is 'Events that came to UiPath after the last proof; the next run stores them.';
comment on column bi.verifications.repaired is 'Differences that verify --repair repaired.';
comment on column bi.verifications.ledger_head is 'The newest entry of the ledger, as verify prints it.';
comment on column bi.verifications.version is 'Version of the program that verified.';
comment on column bi.verifications.log is 'Which audit log of the organization: classic is the list of Get Audit Logs.';

-- The definition as it is now, whichever migration made it, with the last result of verify at its end.
do $$
declare
  definition text;
begin
  perform set_config('quote_all_identifiers', 'off', true);
  definition := rtrim(pg_get_viewdef('bi.export_health'::regclass), E'; \n');
  execute 'create or replace view bi.export_health as select health.*, v.last_at as last_verify_at, v.last_scope as last_verify_scope,'
    || ' v.last_outcome as last_verify_outcome, v.last_clean_at as last_clean_verify_at, v.differences as verify_differences,'
    || ' v.differences_at as verify_differences_at'
    || ' from (' || definition || ') health left join audit.verification_state v using (organization, log)';
end $$;
comment on column bi.export_health.last_verify_at is 'When the last verify ended; null: never.';
comment on column bi.export_health.last_verify_scope is 'What it compared: offline, online or archive.';
comment on column bi.export_health.last_verify_outcome is 'clean, differences or failed.';
comment on column bi.export_health.last_clean_verify_at is 'When a verify of the whole log last found no difference.';
comment on column bi.export_health.verify_differences is 'Number of differences by kind that verify found and that no later verify has cleared. {} if there are none.';
comment on column bi.export_health.verify_differences_at is 'When they were found.';

comment on column audit.coverage.proven_at is 'Every event that the source showed at this time, dated in the range, is stored: a run counted both. Null: not counted yet, or verify found since that an event of the range is missing.';
comment on column audit.coverage.verified_at is 'When verify last compared the whole range with the source and the ledger, in every field, and found no difference. Null: never.';
comment on column bi.coverage.proven_at is 'Every event that UiPath showed at this time, dated in the range, is stored: a run counted both. Null: not counted yet, or verify found since that an event of the range is missing.';

do $$
begin
  if exists (select from pg_roles where rolname = 'audit_writer') then
    grant select, insert on audit.verifications to audit_writer;
    grant select on audit.verification_state, bi.verifications to audit_writer;
    grant update (proven_at, missing_events) on audit.runs to audit_writer;
  end if;
  if exists (select from pg_roles where rolname = 'audit_reader') then
    grant select on bi.verifications to audit_reader;
  end if;
end $$;
