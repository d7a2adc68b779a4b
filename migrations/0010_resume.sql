-- Only the source reads its resume value: the tables store it as JSON and return it unchanged. The offset of the classic log
-- becomes {"skip": offset}. Both tables are small: one row per log, one per run.
--
-- Renamed, so that grants on the column stay. A worker of 0.1.0 that is still running uses next_skip: each of its runs fails with
-- "column next_skip does not exist", before it reads (the watermark) or at its next commit, which stores nothing. Nothing is lost:
-- the watermark stays where the last commit left it, and the first run of this version continues there. Old workers may be stopped
-- before or after this migration.

-- bi.export_health selects all columns of a run in a subquery. It shows neither of the two, and must not depend on them.
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
comment on column audit.watermarks.resume is 'Resume value of the source after the newest committed event, in the form of the source ({"skip": offset} for the classic log). A wrong value costs requests, not rows. Null: unknown.';

alter table audit.runs alter column next_skip type jsonb
  using case when next_skip is not null then jsonb_build_object('skip', next_skip) end;
alter table audit.runs rename column next_skip to resume;
comment on column audit.runs.resume is 'Resume value of the source at frontier_ticks, in the form of the source ({"skip": offset} for the classic log). A wrong value costs requests, not rows.';
