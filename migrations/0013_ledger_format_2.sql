-- Format 2 of the ledger. An entry has a kind, lists what was sent, and is a leaf of an RFC 6962 Merkle tree. Entries of format 1 stay as
-- they are, and are leaves of the same tree.
--
-- No default for format and kind: a worker of an older version fails before it appends an entry. It rewrites no table.

alter table audit.events add column superseded_by uuid;
comment on column audit.events.superseded_by is 'event_id of the row that replaced this one: UiPath shows the same event with its details written differently. Null: the row is current.';

alter table audit.ledger add column format smallint not null default 1, add column kind text not null default 'stored',
  add column facts text, add column peaks bytea, add column checkpoint text;
alter table audit.ledger alter column format drop default, alter column kind drop default;
alter table audit.ledger add constraint ledger_kind
  check (kind in ('stored', 'changed', 'superseded', 'gone', 'rejected', 'state', 'run', 'retired', 'pseudonymised'));
comment on table audit.ledger is 'Entries of a transparency log: each commit that stored or changed rows appended one for each kind of change. `verify --offline` recomputes them and finds what was edited, deleted or inserted by hand. Append only.';
comment on column audit.ledger.format is '1: until version 0.2. 2: since version 0.3, with kinds and a tree.';
comment on column audit.ledger.kind is 'stored, changed, superseded (rows of audit.events), gone (audit.gone_events), rejected (audit.rejected_events), state (audit.coverage, and the source in audit.watermarks), run (audit.runs). An entry of format 1 has the kind stored, and may also have changed rows.';
comment on column audit.ledger.facts is 'Kind state: the ranges and the source, as a JSON text. Null for the other kinds.';
comment on column audit.ledger.peaks is 'Hashes of the perfect subtrees of the tree that ends with this entry, largest first, 32 bytes each: enough to append the next. Null for format 1.';
comment on column audit.ledger.checkpoint is 'The head of the tree after this entry as a signed note (c2sp.org/tlog-checkpoint), on the last entry of a commit, if EXPORT_LEDGER_KEY_FILE was set.';
comment on column audit.ledger.rows_inserted is 'How many events the entry inserted.';
comment on column audit.ledger.rows_changed is 'How many rows it lists that it did not insert as events. Format 1: how many events of earlier entries it changed, see audit.ledger_changes.';
comment on column audit.ledger.inserted is 'Format 2: 48 bytes for each row: its key (16 bytes), then the leaf hash of its record as it was sent (32 bytes, docs/ledger.md). Format 1: 32 bytes for each row inserted: event_id, then audit.content_digest.';
comment on column audit.ledger.digest is 'Format 2: the leaf hash of the text of the entry (docs/ledger.md). Format 1: SHA-256 over the JSON array, of strings without spaces between them: organization, log (left out for log classic), batch, run_id, committed_at, from_at, to_at (as 2026-01-31T08:00:00.000000Z), SHA-256 of inserted, SHA-256 of the changes (48 bytes each, in order of event_id: event_id, old_digest, new_digest), previous_digest. Bytes in hex; null stays null.';
comment on table audit.ledger_changes is 'One row per change of an event by a later entry, so that the entry that inserted the event stays verifiable. Append only; an entry covers its changes.';
comment on column audit.ledger_changes.old_digest is 'Before the change. Format 2: leaf hash of the record (32 bytes). Format 1: audit.content_digest (16 bytes).';
comment on column audit.ledger_changes.new_digest is 'After it, as old_digest.';

do $$
begin
  if exists (select from pg_roles where rolname = 'audit_writer') then
    grant update (superseded_by) on audit.events to audit_writer;
  end if;
end $$;

create index ledger_states on audit.ledger (organization, log, batch) where kind = 'state';
comment on index audit.ledger_states is 'The newest entry that records the state of a log.';
