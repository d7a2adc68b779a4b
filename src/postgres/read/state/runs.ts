/** Compares `audit.runs` with the entries of the ledger, and the columns of a run with each other. */
import { readFindings, type StateCheck, timeOfTicks } from './finding.ts';

/** Entries that list events that they changed. Those of format 1 list them beside the inserted ones. */
const CHANGES = `kind in ('stored', 'changed')`;

/**
 * Rows that entries list but no run has counted, and the reverse. Runs from before the ledger have no entries, and `verify --repair` counts
 * its rows at its end.
 */
const COUNTS = `
  select r.organization, r.log, jsonb_build_object('run_id', r.run_id) as key,
    jsonb_build_object('rows_inserted', coalesce(e.inserted, 0), 'rows_updated', coalesce(e.changed, 0),
      'rows_superseded', least(r.rows_superseded, coalesce(e.superseded, 0))) as expected,
    jsonb_build_object('rows_inserted', r.rows_inserted, 'rows_updated', r.rows_updated, 'rows_superseded', r.rows_superseded) as found
  from audit.runs r
  left join (
    select organization, log, run_id, sum(rows_inserted) as inserted, sum(rows_changed) filter (where ${CHANGES}) as changed,
      sum(rows_changed) filter (where kind = 'superseded') as superseded
    from audit.ledger where run_id is not null group by organization, log, run_id
  ) e using (organization, log, run_id)
  left join (
    select organization, log, max(committed_at) as at from audit.ledger where run_id is null group by organization, log
  ) adopted using (organization, log)
  where ($1::text is null or r.organization = $1)
    and ((r.rows_inserted, r.rows_updated) is distinct from (coalesce(e.inserted, 0), coalesce(e.changed, 0))
      or r.rows_superseded > coalesce(e.superseded, 0))
    and (adopted.at is null or r.started_at >= adopted.at)
    and not (r.kind = 'verify' and r.outcome is distinct from 'succeeded')`;

/** Runs that entries name and that do not exist. */
const MISSING = `
  select organization, log, jsonb_build_object('run_id', run_id) as key,
    jsonb_build_object('rows_inserted', sum(rows_inserted), 'rows_updated', sum(rows_changed)) as expected, null::jsonb as found
  from audit.ledger l
  where run_id is not null and ($1::text is null or organization = $1) and not exists (
    select from audit.runs r where r.run_id = l.run_id and r.organization = l.organization and r.log = l.log
  )
  group by organization, log, run_id`;

/** What the columns of a run say about each other: the columns that should be different, and their values. */
const RULES: [isWrong: string, expected: string, columns: readonly string[]][] = [
  [
    'rows_read <> rows_inserted + rows_updated + rows_unchanged + rows_rejected',
    `jsonb_build_object('rows_read', rows_inserted + rows_updated + rows_unchanged + rows_rejected)`,
    ['rows_read'],
  ],
  [
    'rows_late not between 0 and rows_inserted',
    `jsonb_build_object('rows_late', 'from 0 to ' || rows_inserted)`,
    ['rows_late'],
  ],
  [
    'least(pages, requests, retries, rows_unchanged, rows_rejected) < 0',
    `jsonb_build_object('pages, requests, retries, rows_unchanged, rows_rejected', '0 or more')`,
    ['pages', 'requests', 'retries', 'rows_unchanged', 'rows_rejected'],
  ],
  [
    '(outcome is null) <> (ended_at is null)',
    `jsonb_build_object('outcome, ended_at', 'both or neither')`,
    ['outcome', 'ended_at'],
  ],
  [
    `outcome is not null and (outcome = 'succeeded') <> (error is null)`,
    `jsonb_build_object('error', case outcome when 'succeeded' then null else 'a reason' end)`,
    ['outcome', 'error'],
  ],
  [
    `from_at is distinct from ${timeOfTicks('from_ticks')}`,
    `jsonb_build_object('from_at', ${timeOfTicks('from_ticks')})`,
    ['from_at'],
  ],
  [
    `to_at is distinct from ${timeOfTicks('to_ticks')}`,
    `jsonb_build_object('to_at', ${timeOfTicks('to_ticks')})`,
    ['to_at'],
  ],
  [
    `(completeness_reason is null) <> (completeness is null or completeness = 'complete')`,
    `jsonb_build_object('completeness_reason', case when completeness is null or completeness = 'complete' then null else 'a reason' end)`,
    ['completeness', 'completeness_reason'],
  ],
  [
    `proven_at is not null and completeness is distinct from 'complete'`,
    `jsonb_build_object('proven_at', null)`,
    ['completeness', 'proven_at'],
  ],
  [
    `missing_events is not null and completeness is distinct from 'incomplete'`,
    `jsonb_build_object('missing_events', null)`,
    ['completeness', 'missing_events'],
  ],
];

const CONTRADICTIONS = RULES.map(
  ([isWrong, expected, columns]) => `
  select organization, log, jsonb_build_object('run_id', run_id) as key, ${expected} as expected,
    jsonb_build_object(${columns.map((column) => `'${column}', ${column}`).join(', ')}) as found
  from audit.runs where ($1::text is null or organization = $1) and (${isWrong})`,
).join(' union all ');

export const checkRuns: StateCheck = (client, organization) =>
  readFindings(client, 'audit.runs', [COUNTS, MISSING, CONTRADICTIONS].join(' union all '), organization);
