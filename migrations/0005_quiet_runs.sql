-- A run that finds nothing new writes nothing but its own row, which is also what keeps a worker that was overtaken from writing.

comment on column audit.watermarks.run_id is 'The run in audit.runs that last changed the row.';
comment on column audit.watermarks.updated_at is 'When the row was last changed: a run that finds nothing new leaves it alone.';
comment on column audit.runs.outcome is 'Null while the run goes on, and may write; abandoned when its process ended without a word.';
