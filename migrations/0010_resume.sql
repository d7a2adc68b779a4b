-- Where a reading goes on is the source's own affair: the tables keep what it gave, as JSON, and give it back unseen. The offset
-- of the classic log becomes {"skip": offset}. Both tables are small: one row a log, and one a run.
--
-- Renamed, so that grants on the column stay. A worker of 0.1.0 that still runs names next_skip: each of its runs fails with
-- "column next_skip does not exist", before it reads (the watermark) or at its next commit, which stores nothing. Nothing is lost:
-- the watermark stays where the last commit left it, and the first run of this version continues there. Stop old workers before
-- or after; there is no need to wait for them.

-- bi.export_health selects all columns of a run inside. It shows none of these, and must not depend on them.
do $$
begin
  perform set_config('quote_all_identifiers', 'off', true);
  execute 'create or replace view bi.export_health as '
    || regexp_replace(pg_get_viewdef('bi.export_health'::regclass), '\w+\.next_skip,', '', 'g');
end $$;

alter table audit.watermarks alter column next_skip drop default;
alter table audit.watermarks alter column next_skip drop not null;
alter table audit.watermarks alter column next_skip type jsonb
  using case when created_on_ticks is not null then jsonb_build_object('skip', next_skip) end;
alter table audit.watermarks rename column next_skip to resume;
comment on column audit.watermarks.resume is 'Where the source continues behind the newest committed event, in the source''s own form ({"skip": offset} for the classic log). A hint: a wrong one costs requests, never rows. Null: none is known.';

alter table audit.runs alter column next_skip type jsonb
  using case when next_skip is not null then jsonb_build_object('skip', next_skip) end;
alter table audit.runs rename column next_skip to resume;
comment on column audit.runs.resume is 'Where the source continues from frontier_ticks, in the source''s own form ({"skip": offset} for the classic log). A hint.';
