-- A lease in the watermark's row excludes two workers of one organization. Version 0.1.0 used an advisory lock, which any login of
-- the database can take and keep, even a read-only one. Taking the lease needs the right to update the row.
--
-- A worker of version 0.1.0 knows advisory locks only. In a database that has this migration and not yet 0009, it and a newer worker do
-- not wait for each other: the one that begins a run ends the run of the other. The next commit of that run is refused, because every
-- commit of either version first locks its own row in audit.runs, which must still be open. Such a run is stored as abandoned; no row is
-- lost or stored twice. From 0009 on, a worker of 0.1.0 cannot begin a run at all.

alter table audit.watermarks
  add column lease_run_id bigint,
  add column lease_until timestamptz,
  add column lease_pid integer;
comment on column audit.watermarks.lease_run_id is 'The run that holds the lease and may write; null when no run is in progress.';
comment on column audit.watermarks.lease_until is 'When the lease expires, by the clock of the database. The run renews it with each commit and every quarter of EXPORT_LEASE.';
comment on column audit.watermarks.lease_pid is 'Server process (pg_stat_activity.pid) of the run''s connection. Its application_name ends with the run''s number. The lease ends when the process does.';
comment on column audit.watermarks.run_id is 'The run in audit.runs that last moved the watermark; before that, the first run.';
comment on column audit.watermarks.updated_at is 'When the watermark or source_total last changed. Changes of the lease do not count.';
comment on column audit.runs.started_at is 'When the run took the lease of the log.';

do $$
begin
  if exists (select from pg_roles where rolname = 'audit_writer') then
    grant update (lease_run_id, lease_until, lease_pid) on audit.watermarks to audit_writer;
  end if;
end $$;

-- No advisory lock here either. The conflict locks the row, and the condition leaves it unchanged.
create or replace function audit.lock_roll_ups(organization text) returns void
language sql
begin atomic
  insert into audit.user_horizon as horizon (organization, day) values (lock_roll_ups.organization, '-infinity')
  on conflict (organization) do update set day = excluded.day where false;
end;
comment on column audit.user_horizon.day is 'The days before this one are in user_actions and user_totals; this one and later ones are not. -infinity before the first days were counted there.';
