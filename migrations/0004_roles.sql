-- Who may do what. May be run again by hand, as the owner of the tables: the grants are all there is to it.

-- Roles are shared by all databases of the server, and creating one needs CREATEROLE; without that, an administrator
-- creates them, and the owner of the tables runs this file.
do $$
begin
  create role audit_writer nologin;
exception
  when duplicate_object or unique_violation then null;
  when insufficient_privilege then raise notice 'role audit_writer was not created: CREATEROLE is missing';
end $$;
do $$
begin
  create role audit_reader nologin;
exception
  when duplicate_object or unique_violation then null;
  when insufficient_privilege then raise notice 'role audit_reader was not created: CREATEROLE is missing';
end $$;
do $$
begin
  comment on role audit_writer is 'uipath-audit-export: what the worker needs, and no more. Adds events, rewrites of them what UiPath may change (name, email, message, unknown fields), appends to the ledger; deletes nothing but ranges of audit.coverage.';
  comment on role audit_reader is 'uipath-audit-export: for people and dashboards. Reads the views of schema bi, and nothing else.';
exception
  -- A comment is worth no failure: it needs a right to the role, and another database may be writing it at this moment.
  when others then raise notice 'the roles were not commented: %', sqlerrm;
end $$;

revoke execute on function audit.content_digest from public;

do $$
begin
  if not exists (select from pg_roles where rolname = 'audit_writer') then return; end if;
  grant usage on schema audit, bi to audit_writer;
  grant execute on function audit.content_digest to audit_writer;
  -- `status` and `verify` read all; `start`, `run` and `backfill` see in audit.migrations that nothing is pending.
  grant select on all tables in schema audit, bi to audit_writer;
  -- But partitions only through their table: migration 0018.
  execute coalesce((
    select 'revoke select on ' || string_agg(oid::regclass::text, ', ') || ' from audit_writer'
    from pg_class where relnamespace = 'audit'::regnamespace and relispartition and relkind = 'r'
  ), 'select');

  -- The ledger grows only. What is proven complete is one row per range, so that ranges that meet are replaced by one.
  grant insert on audit.events, audit.ledger, audit.ledger_changes, audit.coverage, audit.runs, audit.watermarks,
    audit.rejected_events to audit_writer;
  grant delete on audit.coverage to audit_writer;

  -- Never what a row is identified by.
  grant update (user_name, email, message, extra, raw, created_on_raw, updated_at) on audit.events to audit_writer;
  grant update (last_seen_at) on audit.rejected_events to audit_writer;
  -- All columns but the key, so that those of later migrations are granted as well when this file is run again.
  execute (
    select format('grant update (%s) on audit.watermarks to audit_writer', string_agg(quote_ident(attname), ', ' order by attnum))
    from pg_attribute
    where attrelid = 'audit.watermarks'::regclass and attnum > 0 and not attisdropped and attnum <> all (
      select unnest(conkey) from pg_constraint where conrelid = attrelid and contype = 'p')
  );
  grant update (ended_at, outcome, error, warnings, pages, requests, retries, rows_read, rows_inserted, rows_updated,
    rows_unchanged, rows_rejected, rows_late, from_ticks, to_ticks, from_at, to_at, frontier_ticks, source_total)
    on audit.runs to audit_writer;
  -- Migration 0010 renames next_skip to resume.
  if exists (select from pg_attribute where attrelid = 'audit.runs'::regclass and attname = 'resume') then
    grant update (resume) on audit.runs to audit_writer;
  else
    grant update (next_skip) on audit.runs to audit_writer;
  end if;
  -- Migration 0013 adds it.
  if exists (select from pg_attribute where attrelid = 'audit.events'::regclass and attname = 'superseded_by') then
    grant update (superseded_by) on audit.events to audit_writer;
  end if;
  -- Migration 0012 adds these.
  if to_regclass('audit.gone_events') is not null then
    grant insert, update on audit.gone_events to audit_writer;
    grant insert, delete, update on audit.rejected_places to audit_writer;
    grant update (completeness, completeness_reason) on audit.runs to audit_writer;
  end if;
  -- Migration 0014 adds these.
  if to_regclass('audit.verifications') is not null then
    grant insert on audit.verifications to audit_writer;
    grant update (proven_at, missing_events) on audit.runs to audit_writer;
  end if;
  -- Migration 0015 adds these.
  if exists (select from pg_attribute where attrelid = 'audit.runs'::regclass and attname = 'rows_superseded') then
    grant update (superseded_by) on audit.events to audit_writer;
    grant update (rows_superseded) on audit.runs to audit_writer;
  end if;
  -- Migration 0016 adds this one.
  if to_regproc('audit.prune_runs') is not null then
    grant execute on function audit.prune_runs to audit_writer;
  end if;
  -- Migration 0018 adds this one.
  if to_regproc('audit.create_event_months') is not null then
    grant execute on function audit.create_event_months to audit_writer;
  end if;
end $$;

do $$
begin
  if not exists (select from pg_roles where rolname = 'audit_reader') then return; end if;
  grant usage on schema bi to audit_reader;
  -- Those of migration 0003 too: the default of 0002 holds only for views of the role that ran it.
  grant select on all tables in schema bi to audit_reader;
end $$;
