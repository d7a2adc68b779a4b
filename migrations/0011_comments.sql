-- Comments only, in the terms of docs/glossary.md. No table, view, function or row changes.

comment on column audit.events.category is 'As sent; null and the empty string are different values.';
comment on column audit.events.raw is 'The exact JSON text of the row, only where the other columns cannot give it back (U+0000, lone surrogates, duplicate keys, values in extra that jsonb would change). Those columns then have U+FFFD in place of each character that PostgreSQL text cannot store.';
comment on column audit.events.ordinal is 'Numbers twins from 0: events that are equal in everything event_id is made of.';
comment on column audit.events.batch is 'The entry of audit.ledger that inserted the row.';
comment on index audit.events_pkey is 'Makes storing idempotent, and finds the events of a time range: runs, verify and queries for single events use it. New entries go to its end, so loads stay fast.';

comment on table audit.runs is 'One row per run, failed runs included.';
comment on column audit.runs.kind is 'run (from the watermark), recheck (a wider recent window), backfill, or verify (with --repair).';
comment on column audit.runs.ended_at is 'Null while the run is in progress.';
comment on column audit.runs.outcome is 'Null while the run is in progress and may write; abandoned when its process exited without recording an outcome.';
comment on column audit.runs.error is 'Why the run did not succeed.';
comment on column audit.runs.warnings is 'Warnings about how the rows were read.';
comment on column audit.runs.pages is 'Pages processed, pages without a new row included.';
comment on column audit.runs.rows_read is 'Rows taken: inserted + updated + unchanged + rejected. A row that several pages contain is counted once.';
comment on column audit.runs.rows_unchanged is 'Events stored before, without a change.';
comment on column audit.runs.rows_rejected is 'Rejected rows, in audit.rejected_events; rows stored there before included.';
comment on column audit.runs.rows_late is 'Inserted rows older than what was known when the run began: the watermark, or the last read where an event is dated in the future.';
comment on column audit.runs.from_ticks is 'Start of the requested range (inclusive); null: from the oldest row. For a run: the lookback before the watermark.';
comment on column audit.runs.to_ticks is 'End of the requested range (exclusive); null: to the newest row.';
comment on column audit.runs.frontier_ticks is 'Frontier of the run: every row older than this, and at or after from_ticks, is stored.';
comment on column audit.runs.source_total is 'totalCount as the source last sent it.';
comment on index audit.runs_pkey is 'Finds the run that writes, and the run that stored a row.';

comment on column audit.watermarks.read_at is 'When the run began that last read beyond the watermark. A later run still looks for events that became visible after this time, and for events newer than this where the watermark is dated in the future.';
comment on column audit.watermarks.source_total is 'totalCount as the source last sent it.';

comment on view audit.gaps is 'Spans of time between the ranges of audit.coverage: the source may have deleted their events before they were read, or no run requested them.';
comment on column audit.gaps.noticed_at is 'When a run found the gap.';
comment on column audit.gaps.run_id is 'The run in audit.runs that found the gap.';

comment on column audit.coverage.from_at is 'Start of the range (inclusive): the oldest event that the source had, or the start of a requested range.';
comment on column audit.coverage.to_at is 'End of the range (exclusive).';
comment on column audit.coverage.begun_at is 'When the range was created; where a gap precedes it, when that gap was found.';
comment on column audit.coverage.run_id is 'The run in audit.runs that created the range.';

comment on table audit.rejected_events is 'Rows of the source that cannot be stored as an event, verbatim.';
comment on column audit.rejected_events.source_bytes is 'The row''s UTF-8 bytes, only where text cannot store them (U+0000); source_text then has U+FFFD in their place.';
comment on column audit.rejected_events.reason is 'Why the row is not an event.';
comment on column audit.rejected_events.first_seen_at is 'When the row was first stored.';
comment on column audit.rejected_events.run_id is 'The run in audit.runs that first stored the row.';

comment on column audit.ledger.rows_inserted is 'How many rows the entry inserted.';
comment on column audit.ledger.rows_changed is 'How many rows of earlier entries it changed: audit.ledger_changes.';
comment on table audit.ledger_changes is 'One row per change of an event by a later entry, so that the entry that inserted the event stays verifiable. Append only.';
comment on column audit.ledger_changes.row_batch is 'The entry that inserted the event.';
comment on column audit.ledger_changes.batch is 'The entry that changed the event.';

comment on column audit.daily_activity.category is 'As in audit.events; null and the empty string are different values.';
comment on column audit.daily_activity.activity_id is 'Key for category, action, source and user_name: audit.activity_id.';
comment on column audit.daily_activity.events is 'Number of rows of audit.events with these values.';
comment on column audit.daily_totals.activity_id is 'Key for category, action and source: audit.activity_id.';
comment on column audit.daily_totals.events is 'Number of rows of audit.events with these values.';
comment on column audit.user_actions.events is 'Number of rows of audit.events with these values.';
comment on column audit.user_totals.user_id is 'Key for user_name: audit.activity_id.';
comment on table audit.user_horizon is 'The day up to which user_actions and user_totals are counted. Later days are few, and each query counts them: otherwise each commit of a load would write a row per user.';
comment on function audit.activity_id is 'Digest of the four values: a key for texts of any length. Null and the empty string give different keys.';
comment on function audit.add_late_events is 'Adds inserted events of days before the horizon to user_actions and user_totals. daily_activity counts them already.';
comment on function audit.recount_users is 'Recounts user_actions and user_totals for the users whose events of days before the horizon were changed or deleted.';
comment on function audit.forget_counted_events is 'Empties the roll-ups when audit.events is truncated.';
comment on view audit.all_user_actions is 'What each user ever did: audit.user_actions, and the days from the horizon on.';

comment on column bi.events.message is 'A sentence for people, in the language of UIPATH_LANGUAGE.';
comment on column bi.logins.message is 'A sentence for people, in the language of UIPATH_LANGUAGE.';
comment on column bi.unusual_logins.message is 'A sentence for people, in the language of UIPATH_LANGUAGE.';
comment on column bi.administrative_changes.message is 'A sentence for people, in the language of UIPATH_LANGUAGE.';
comment on view bi.administrative_changes is 'One row per event that is not a login: who changed what. Filter by changed_at.';
comment on column bi.administrative_changes.before is 'The state before the change, where details have it.';
comment on column bi.administrative_changes.after is 'The state after the change, where details have it.';
comment on column bi.administrative_changes.added_members is 'Ids of the members added to a group, where details have them.';
comment on column bi.administrative_changes.removed_members is 'Ids of the members removed from a group, where details have them.';
comment on column bi.users.user_name is 'As UiPath last sent it. A renamed user counts as two users where UiPath no longer shows the old events or did not rename them.';
comment on column bi.users.other_events is 'How many of them are not logins.';
comment on column bi.gaps.noticed_at is 'When a run found the gap.';
comment on view bi.runs is 'One row per run of the export, failed runs included.';
comment on column bi.runs.kind is 'run, recheck (a wider recent window), backfill, or verify (with --repair).';
comment on column bi.runs.ended_at is 'Null while the run is in progress.';
comment on column bi.runs.outcome is 'succeeded, failed, interrupted or abandoned; null while the run is in progress.';
comment on column bi.runs.error is 'Why the run did not succeed.';
comment on column bi.runs.warnings is 'Warnings about how the rows were read.';
comment on column bi.runs.rows_unchanged is 'Events stored before, without a change.';
comment on column bi.runs.rows_rejected is 'Rejected rows, in bi.rejected_events; rows stored there before included.';
comment on view bi.rejected_events is 'Rows of UiPath''s list that cannot be stored as events, verbatim.';
comment on column bi.rejected_events.reason is 'Why the row is not an event.';
comment on column bi.rejected_events.first_seen_at is 'When the row was first stored.';
comment on column bi.rejected_events.run_id is 'The run in bi.runs that first stored the row.';
comment on column bi.export_health.last_run_outcome is 'succeeded, failed, interrupted or abandoned; null while the run is in progress.';
comment on column bi.export_health.last_run_error is 'Why the run did not succeed.';
comment on column bi.export_health.source_events is 'How many events UiPath had, by its last response.';
comment on column bi.export_health.rejected_events is 'How many rows are stored verbatim in audit.rejected_events.';
comment on column bi.export_health.complete_from is 'Start of the newest range of bi.coverage; without a gap, the oldest event that UiPath had.';
comment on column bi.export_health.complete_to is 'End of that range; newer events may still appear.';
comment on column bi.export_health.complete_proven_at is 'Each part of that range was read at this time or later.';
