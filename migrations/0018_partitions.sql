-- Partitions by month: audit.events becomes a partitioned table, one partition per month of created_on (UTC), with its final key. Rows dated
-- outside of the months that have a partition are in audit.events_default.
--
-- This migration reads and moves no row, and takes its locks for milliseconds. Without rows it converts the table at once. With rows, the program
-- moves them afterwards (`src/postgres/schema/partition.ts`) by calling the functions below, each in a transaction of its own:
--   1. begin_events_by_month: an empty partitioned copy, audit.events_by_month, and triggers that note in audit.events_to_copy which rows change;
--   2. copy_events_month, for each month: audit.events is only read;
--   3. copy_changed_events, until few noted rows are left;
--   4. check_events_by_month: both tables hold the same number of rows;
--   5. finish_events_by_month: copies the last noted rows, gives the copy the name audit.events, points the views to it, and drops the table.
-- Until 5, audit.events is what it was, and workers of any version continue. After a kill, the next call continues: what is committed stays.
-- An older worker that is still running after 5: COPY of new events continues to work; a commit that upserts fails with "no unique or exclusion
-- constraint matching the ON CONFLICT specification" and stores nothing. Nothing is lost: the watermark stays, and the next run of this version continues.

-- Months that may have a partition: a log of made-up dates must not create a partition for each.
create function audit.is_events_month(month date) returns boolean
language sql stable parallel safe set search_path = pg_catalog, pg_temp
begin atomic
  select extract(day from month) = 1 and month >= date '2000-01-01'
    and month <= date_trunc('month', now() at time zone 'UTC') + interval '2 months';
end;
comment on function audit.is_events_month is 'Whether rows of this month (its first day) belong into a partition: from the year 2000 to two months ahead. Other rows are in audit.events_default.';

-- Not for callers: adds the month to any partitioned table that is laid out as audit.events. Attaching locks only the default partition, and that
-- of the table it is attached to; `create table … partition of` would lock the whole table.
create function audit.add_events_month(parent regclass, month date, source regclass default null) returns bigint
language plpgsql
-- Where and how tables are stored does not depend on the settings of the caller.
set search_path = pg_catalog, pg_temp set timezone = 'UTC' set datestyle = 'ISO' set default_tablespace = ''
set default_table_access_method = 'heap' as $$
declare
  partition text := coalesce(to_char(month, '"audit.events_"YYYY_MM'), 'audit.events_default');
  first_instant timestamptz := coalesce(month, date '2000-01-01')::timestamptz;
  end_instant timestamptz := coalesce(month + interval '1 month', date_trunc('month', now()) + interval '3 months');
  bounds text := format(case when month is null then 'not ' else '' end || '(created_on >= %L and created_on < %L)', first_instant, end_instant);
  default_partition regclass := (select nullif(partdefid, 0) from pg_partitioned_table where partrelid = parent);
  template regclass := coalesce(default_partition, source);
  settings text;
  index regclass;
  index_name text;
  index_comment text;
  copied bigint := 0;
begin
  perform set_config('default_tablespace', coalesce(
    (select spcname from pg_class join pg_tablespace t on t.oid = reltablespace where pg_class.oid = template), ''), false);
  -- Attaching makes the indexes: of sorted rows, in half the time.
  execute format('create table %s (like %s including all excluding indexes)', partition, parent);
  execute format('alter table %s owner to %I', partition, (select pg_get_userbyid(relowner) from pg_class where oid = parent));
  execute format('comment on table %s is %L', partition, case when month is null
    then 'Rows of audit.events that are dated outside of the months that have a partition.'
    else 'Rows of audit.events of ' || to_char(month, 'YYYY-MM') || ', in UTC.' end);
  settings := (
    select string_agg(format('%s%I = %L', prefix, split_part(setting, '=', 1), substr(setting, strpos(setting, '=') + 1)), ', ')
    from (
      select '' as prefix, unnest(reloptions) as setting from pg_class where oid = template
      union all
      select 'toast.', unnest(t.reloptions) from pg_class c join pg_class t on t.oid = c.reltoastrelid where c.oid = template
    ) of_template
  );
  if settings is not null then execute format('alter table %s set (%s)', partition, settings); end if;
  if source is null then
    if default_partition is not null then
      execute format('lock table %s in access exclusive mode', default_partition);
      execute format('with moved as (delete from %s where %s returning *) insert into %s select * from moved', default_partition, bounds,
        partition);
      get diagnostics copied = row_count;
    end if;
  else
    -- All organizations by name: without them, PostgreSQL before 18 reads the whole index.
    execute format('insert into %s select * from %s where organization = any (%L) and %s', partition, source,
      audit.organizations_of_events(), bounds);
    get diagnostics copied = row_count;
  end if;
  -- Rows that were noted before their month was copied.
  if source is not null and default_partition is not null then
    execute format('delete from %s where %s', default_partition, bounds);
  end if;
  execute format('alter table %s attach partition %s %s', parent, partition,
    case when month is null then 'default' else format('for values from (%L) to (%L)', first_instant, end_instant) end);
  for index, index_name, index_comment in
    select i.indexrelid::regclass, regexp_replace(relname, '^(moved_)?events_', substr(partition, 7) || '_'), obj_description(inhparent, 'pg_class')
    from pg_index i join pg_inherits on inhrelid = i.indexrelid join pg_class on pg_class.oid = inhparent
    where i.indrelid = partition::regclass
  loop
    -- As the index of the table: events_by_user and events_2026_11_by_user.
    if index_name like 'events\_%' and to_regclass('audit.' || quote_ident(index_name)) is null then
      execute format('alter index %s rename to %I', index, index_name);
    end if;
    execute format('comment on index %s is %L', index, index_comment);
  end loop;
  if copied > 0 then execute format('analyze %s', partition); end if;
  return copied;
end $$;
comment on function audit.add_events_month is 'Adds a partition for the month (null: the default partition) with its rows: copied from source, a table that is not partitioned; without source, moved from the default partition. Returns how many. Triggers of audit.events do not fire.';

create function audit.organizations_of_events() returns text[]
language sql stable set search_path = pg_catalog, pg_temp as $$
  with recursive names as (
    (select organization from audit.events order by organization limit 1)
    union all
    select (select e.organization from audit.events e where e.organization > names.organization order by e.organization limit 1)
    from names where names.organization is not null
  )
  select coalesce(array_agg(organization), '{}') from names where organization is not null
$$;
comment on function audit.organizations_of_events is 'The organizations with rows in audit.events, by one look-up in the key for each.';

-- Runs with the rights of the owner, so that the worker needs no right to create tables. Whatever a caller passes: it creates partitions of
-- audit.events for months of audit.is_events_month, under their own names, and nothing else.
create function audit.create_event_months(months date[]) returns date[]
language plpgsql security definer
-- A dashboard that reads the default partition delays the months, not the export: their rows are in the default partition until the next call.
-- The server cancels an autovacuum that is in the way after deadlock_timeout, one second by default: the wait is longer.
set search_path = pg_catalog, pg_temp set timezone = 'UTC' set datestyle = 'ISO' set lock_timeout = '2s' as $$
declare
  month date;
  -- Rows that were stored while a lock was not free.
  waiting date[] := '{}';
  default_partition regclass := (select nullif(partdefid, 0) from pg_partitioned_table where partrelid = 'audit.events'::regclass);
  created date[] := '{}';
begin
  if (select relkind from pg_class where oid = 'audit.events'::regclass) <> 'p' then return null; end if;
  if cardinality(months) > 1000 then
    raise 'create_event_months was called with % months, and at most 1000 are allowed', cardinality(months) using errcode = 'invalid_parameter_value';
  end if;
  begin
    if default_partition is not null then
      execute format(
        'select array_agg(distinct date_trunc(''month'', created_on)::date) from %s where created_on >= %L and created_on < %L',
        default_partition, timestamptz '2000-01-01', now() + interval '3 months'
      ) into waiting;
    end if;
  exception
    when lock_not_available then return created;
  end;
  for month in
    select distinct date_trunc('month', wanted)::date from (
      select unnest(months || waiting) as wanted
      union all select (now() + make_interval(months => ahead))::date from generate_series(0, 2) as ahead
    ) asked
    where isfinite(wanted) and audit.is_events_month(date_trunc('month', wanted)::date) order by 1
  loop
    continue when to_regclass(to_char(month, '"audit.events_"YYYY_MM')) is not null;
    begin
      -- Of two workers, the second waits here and then finds the partition. Reading and writing go on, and so does autovacuum of the partitions.
      lock table only audit.events in share update exclusive mode;
      continue when to_regclass(to_char(month, '"audit.events_"YYYY_MM')) is not null;
      perform audit.add_events_month('audit.events', month);
      created := created || month;
    exception
      when lock_not_available or deadlock_detected then exit;
      -- Another partition, made by hand, has the month.
      when invalid_object_definition then null;
    end;
  end loop;
  return created;
end $$;
comment on function audit.create_event_months is 'Creates the partitions of audit.events for these months (any day of them), for those of rows in the default partition, for the current month and the next two, where they are missing; moves their rows from the default partition. Returns the months it created; null before the table is partitioned. Months before 2000 or further ahead are left out, and so are all if a lock is not free within two seconds.';
revoke execute on function audit.is_events_month, audit.add_events_month, audit.organizations_of_events, audit.create_event_months from public;

create function audit.begin_events_by_month() returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  part record;
begin
  if to_regclass('audit.events_by_month') is not null then return; end if;
  create table audit.events_by_month (like audit.events including all excluding indexes excluding statistics) partition by range (created_on);
  execute format('alter table audit.events_by_month owner to %I', (select pg_get_userbyid(relowner) from pg_class where oid = 'audit.events'::regclass));
  comment on table audit.events_by_month is 'audit.events while it is copied into partitions: becomes audit.events.';
  alter table audit.events_by_month add constraint moved_events_pkey primary key (organization, log, created_on, event_id);
  comment on index audit.moved_events_pkey is 'Makes storing idempotent, and finds the events of a time range: runs, verify and queries for single events use it. New entries go to its end, so loads stay fast.';
  -- The key has the log between organization and time.
  create index moved_events_by_time on audit.events_by_month (created_on);
  comment on index audit.moved_events_by_time is 'The newest events, and events of a time range, without a log or without an organization in the condition.';
  -- Blocks of 128 pages with their ranges of values: 0.1 bytes an event. New blocks are read until autovacuum has summarized them, at the latest
  -- after a fifth of the table. Not autosummarize: a load fills the queue of these requests, and the server logs each one that it drops.
  create index moved_events_by_stored_at on audit.events_by_month using brin (
    updated_at timestamptz_minmax_multi_ops, first_seen_at timestamptz_minmax_multi_ops
  );
  comment on index audit.moved_events_by_stored_at is 'Rows that were stored or changed since a time: the incremental refresh of BI tools.';
  create index moved_events_by_day on audit.events_by_month using brin (
    ((created_on at time zone 'UTC')::date) date_minmax_multi_ops, created_on timestamptz_minmax_multi_ops
  );
  comment on index audit.moved_events_by_day is 'Conditions on the day, and on the time without an organization.';
  -- 500 characters: an index entry can have 2,704 bytes, and a name has any length. No two entries are alike, so looking for duplicates would only
  -- cost time.
  create index moved_events_by_user on audit.events_by_month (left(user_name, 500), created_on) with (deduplicate_items = off);
  comment on index audit.moved_events_by_user is 'The events of one user, also of one with few events or none.';
  create index moved_events_by_target on audit.events_by_month (
    left(coalesce(
      details ->> 'name', details #>> '{after,name}', details #>> '{user,userName}', details ->> 'userName',
      details ->> 'displayName', details ->> 'licenseCode'
    ), 500), created_on
  ) where superseded_by is null and (category, action) is distinct from ('User', 'Login');
  comment on index audit.moved_events_by_target is 'The changes of one group, user or policy.';
  create index moved_events_by_area on audit.events_by_month (
    (case
      when category ilike '%group%' then 'Groups'
      when category ilike '%role%' then 'Roles'
      when category ilike '%robot%' then 'Robot accounts'
      when category ilike '%client%' or category ilike '%application%' then 'External applications'
      when category ilike '%licen%' then 'Licences'
      when category ilike '%governance%' or category ilike '%policy%' then 'Policies'
      when category ilike '%setting%' then 'Settings'
      when category ilike '%user%' then 'Users'
      else 'Other'
    end), created_on
  ) where superseded_by is null and (category, action) is distinct from ('User', 'Login');
  comment on index audit.moved_events_by_area is 'The changes of one area, also of one with few changes or none.';
  for part in
    select relname as name, pg_get_indexdef(indexrelid) as definition, obj_description(indexrelid, 'pg_class') as comment
    from pg_index join pg_class on pg_class.oid = indexrelid
    where indrelid = 'audit.events'::regclass and indisvalid and not indisprimary
  loop
    execute replace(part.definition, format('INDEX %I ON audit.events USING', part.name),
      format('INDEX %I ON audit.events_by_month USING', 'moved_' || part.name));
    execute format('comment on index audit.%I is %L', 'moved_' || part.name, part.comment);
  end loop;
  for part in
    select stxname as name, pg_get_statisticsobjdef(oid) as definition, obj_description(oid, 'pg_statistic_ext') as comment,
      format('CREATE STATISTICS %I.%I ', stxnamespace::regnamespace, stxname) as beginning
    from pg_statistic_ext where stxrelid = 'audit.events'::regclass
  loop
    execute format('create statistics audit.%I ', 'moved_' || part.name)
      || regexp_replace(substr(part.definition, length(part.beginning) + 1), ' FROM audit\.events$', ' from audit.events_by_month');
    execute format('comment on statistics audit.%I is %L', 'moved_' || part.name, part.comment);
  end loop;
  for part in
    select conname as name, pg_get_constraintdef(oid) as definition from pg_constraint
    where conrelid = 'audit.events'::regclass and contype = 'f'
  loop
    execute format('alter table audit.events_by_month add constraint %I %s', part.name, part.definition);
  end loop;

  create table audit.events_to_copy (organization text, log text, created_on timestamptz, event_id uuid);
  comment on table audit.events_to_copy is 'Keys of rows of audit.events that changed while it is copied into partitions. Dropped at the end.';
  comment on column audit.events_to_copy.organization is 'As in audit.events.';
  comment on column audit.events_to_copy.log is 'As in audit.events.';
  comment on column audit.events_to_copy.created_on is 'As in audit.events.';
  comment on column audit.events_to_copy.event_id is 'As in audit.events.';

  -- With the rights of the owner: the worker has none on this table.
  create function audit.note_event_to_copy() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $body$
  begin
    if tg_op = 'TRUNCATE' then
      truncate audit.events_by_month, audit.events_to_copy;
      return null;
    end if;
    if tg_op <> 'INSERT' then
      insert into audit.events_to_copy select organization, log, created_on, event_id from taken_rows;
    end if;
    if tg_op <> 'DELETE' then
      insert into audit.events_to_copy select organization, log, created_on, event_id from added_rows;
    end if;
    return null;
  end $body$;
  comment on function audit.note_event_to_copy is 'Notes which rows of audit.events change while it is copied into partitions.';
  revoke execute on function audit.note_event_to_copy from public;
  -- Last: each waits until all open transactions that write to audit.events have ended, so that all later changes are noted.
  create trigger noted_when_inserted after insert on audit.events
    referencing new table as added_rows for each statement execute function audit.note_event_to_copy();
  create trigger noted_when_changed after update on audit.events
    referencing old table as taken_rows new table as added_rows for each statement execute function audit.note_event_to_copy();
  create trigger noted_when_deleted after delete on audit.events
    referencing old table as taken_rows for each statement execute function audit.note_event_to_copy();
  create trigger noted_when_truncated after truncate on audit.events
    for each statement execute function audit.note_event_to_copy();
end $$;
comment on function audit.begin_events_by_month is 'Begins the move of audit.events into partitions: an empty partitioned copy, and triggers that note which rows change.';

create function audit.event_months_to_copy() returns date[]
language sql stable set search_path = pg_catalog, pg_temp set timezone = 'UTC' as $$
  with recursive found as (
    select name as organization, date_trunc('month', first.created_on) as month
    from unnest(audit.organizations_of_events()) as name cross join lateral (
      select created_on from audit.events e where e.organization = name and e.created_on >= '2000-01-01' order by e.created_on limit 1
    ) first
    union all
    select found.organization, date_trunc('month', next.created_on) from found cross join lateral (
      select created_on from audit.events e
      where e.organization = found.organization and e.created_on >= found.month + interval '1 month' order by e.created_on limit 1
    ) next
    where found.month < 'infinity'
  )
  select coalesce(array_agg(distinct month::date order by month::date), '{}') from found
  where isfinite(month) and audit.is_events_month(month::date)
    and to_regclass(to_char(month, '"audit.events_"YYYY_MM')) is null
$$;
comment on function audit.event_months_to_copy is 'The months of audit.events that are not copied yet, by one look-up in the key for each.';

create function audit.copy_events_month(month date) returns bigint
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  -- Of two processes, the second waits here and then finds the partition.
  lock table only audit.events_by_month in share update exclusive mode;
  if to_regclass(coalesce(to_char(month, '"audit.events_"YYYY_MM'), 'audit.events_default')) is not null then return 0; end if;
  return audit.add_events_month('audit.events_by_month', month, 'audit.events');
end $$;
comment on function audit.copy_events_month is 'Copies a month of audit.events (null: all rows outside of the months) into a partition. Returns how many rows; 0 if it is copied already.';

create function audit.copy_changed_events() returns bigint
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  noted bigint;
begin
  lock table only audit.events_by_month in share update exclusive mode;
  create temp table noted_events on commit drop as
    with noted as (delete from audit.events_to_copy returning organization, log, created_on, event_id) select distinct * from noted;
  get diagnostics noted = row_count;
  if noted > 0 then
    analyze pg_temp.noted_events;
    delete from audit.events_by_month e using pg_temp.noted_events n
    where e.organization = n.organization and e.log = n.log and e.created_on = n.created_on and e.event_id = n.event_id;
    insert into audit.events_by_month
    select e.* from pg_temp.noted_events n join audit.events e
      on e.organization = n.organization and e.log = n.log and e.created_on = n.created_on and e.event_id = n.event_id;
  end if;
  drop table pg_temp.noted_events;
  return noted;
end $$;
comment on function audit.copy_changed_events is 'Copies the rows again that changed since they were copied. Returns how many.';

create function audit.check_events_by_month() returns bigint
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  rows_before bigint;
  rows_after bigint;
begin
  -- One statement, so one snapshot: rows that are noted in it may differ, all others may not.
  with noted as materialized (select distinct organization, log, created_on, event_id from audit.events_to_copy)
  select
    (select count(*) from audit.events) - (select count(*) from noted join audit.events using (organization, log, created_on, event_id)),
    (select count(*) from audit.events_by_month)
      - (select count(*) from noted join audit.events_by_month using (organization, log, created_on, event_id))
  into rows_before, rows_after;
  if rows_before <> rows_after then
    raise 'audit.events has % rows and its copy in partitions %; drop the copy (drop table audit.events_by_month, audit.events_to_copy; drop function audit.note_event_to_copy cascade) and run migrate again',
      rows_before, rows_after;
  end if;
  return rows_after;
end $$;
comment on function audit.check_events_by_month is 'Raises an error if the copy of audit.events in partitions has another number of rows.';

create function audit.finish_events_by_month() returns void
language plpgsql set search_path = pg_catalog, pg_temp set quote_all_identifiers = off as $$
declare
  events oid := 'audit.events'::regclass;
  owner oid := (select relowner from pg_class where oid = events);
  part record;
  -- Views and functions let go of the table before it is dropped. Its indexes give their names free with it.
  replacements text[] := '{}';
  statements text[] := '{}';
  statement text;
begin
  -- Views first: a query on a view locks the view before its tables. `lock table` would lock all tables of the view as well.
  for part in
    select distinct c.oid::regclass as name, reloptions, pg_get_userbyid(relowner) as view_owner from pg_depend d
    join pg_rewrite r on r.oid = d.objid join pg_class c on c.oid = r.ev_class
    where d.refobjid = events and d.classid = 'pg_rewrite'::regclass and c.relkind = 'v' order by c.oid::regclass
  loop
    execute format('alter view %s owner to %I', part.name, part.view_owner);
    replacements := replacements || format('create or replace view %s %s as %s', part.name,
      'with (' || array_to_string(part.reloptions, ', ') || ')', pg_get_viewdef(part.name));
  end loop;
  lock table audit.events in access exclusive mode;
  perform audit.copy_changed_events();

  for part in
    select relname as name from pg_index join pg_class on pg_class.oid = indexrelid
    where indrelid = events and indisvalid and to_regclass(format('audit.%I', 'moved_' || relname)) is null
  loop
    raise 'the index % was added to audit.events while its rows were moved; drop it (drop index audit.%), run migrate, and create it again',
      part.name, quote_ident(part.name) using errcode = 'object_not_in_prerequisite_state';
  end loop;

  replacements := replacements || array(
    select pg_get_functiondef(objid) from pg_depend where refobjid = events and classid = 'pg_proc'::regclass group by objid
  );
  for part in
    select tgname as name, tgenabled, pg_get_triggerdef(oid) as definition, obj_description(oid, 'pg_trigger') as comment from pg_trigger
    where tgrelid = events and not tgisinternal and tgname not like 'noted\_when\_%'
  loop
    statements := statements || array[part.definition,
      format('comment on trigger %I on audit.events is %L', part.name, part.comment)];
    if part.tgenabled <> 'O' then
      statements := statements || format('alter table audit.events %s trigger %I',
        case part.tgenabled when 'D' then 'disable' when 'A' then 'enable always' else 'enable replica' end, part.name);
    end if;
  end loop;
  for part in
    select null as columns, relacl as acl from pg_class where oid = events
    union all
    select format('(%I)', attname), attacl from pg_attribute where attrelid = events and attnum > 0 and not attisdropped
  loop
    statements := statements || array(
      select format('grant %s %s on audit.events to %s %s', privilege_type, part.columns,
        case grantee when 0 then 'public' else quote_ident(pg_get_userbyid(grantee)) end,
        case when is_grantable then 'with grant option' end)
      from aclexplode(part.acl) where grantee <> owner
    );
  end loop;
  statements := statements || format('comment on table audit.events is %L', obj_description(events, 'pg_class'))
    || array(
      select format('alter index audit.%I rename to %I', relname, substr(relname, length('moved_') + 1))
      from pg_index join pg_class on pg_class.oid = indexrelid where indrelid = 'audit.events_by_month'::regclass
    ) || array(select format('alter statistics audit.%I rename to %I', 'moved_' || stxname, stxname) from pg_statistic_ext where stxrelid = events);

  alter table audit.events rename to events_in_one;
  alter table audit.events_by_month rename to events;
  foreach statement in array replacements loop execute statement; end loop;
  drop table audit.events_in_one;
  foreach statement in array statements loop execute statement; end loop;
  drop table audit.events_to_copy;
  drop function audit.note_event_to_copy(), audit.begin_events_by_month(), audit.event_months_to_copy(), audit.copy_events_month(date),
    audit.copy_changed_events(), audit.check_events_by_month(), audit.organizations_of_events(), audit.finish_events_by_month();
  perform audit.create_event_months('{}');
end $$;
comment on function audit.finish_events_by_month is 'Ends the move: the copy becomes audit.events, with the views, functions, triggers, privileges and comments of the table, which is dropped. Drops the functions of the move, too.';

revoke execute on function audit.begin_events_by_month, audit.event_months_to_copy, audit.copy_events_month, audit.copy_changed_events,
  audit.check_events_by_month, audit.finish_events_by_month from public;
do $$
declare
  owner text := (select pg_get_userbyid(relowner) from pg_class where oid = 'audit.events'::regclass);
begin
  if owner <> current_user then
    execute format('alter function audit.create_event_months owner to %I', owner);
    execute format('alter function audit.add_events_month owner to %I', owner);
    execute format('alter function audit.is_events_month owner to %I', owner);
  end if;
  if exists (select from pg_roles where rolname = 'audit_writer') then
    grant execute on function audit.create_event_months to audit_writer;
  end if;
  if not exists (select from audit.events) then
    perform audit.begin_events_by_month();
    perform audit.copy_events_month(null);
    perform audit.finish_events_by_month();
  end if;
end $$;
