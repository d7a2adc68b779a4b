/**
 * Checks `audit.coverage`: its ranges are disjoint, begin where a run or verify may have begun them, and claim no more than runs and
 * verifications have proven.
 */
import { readFindings, type StateCheck, timeOfTicks } from './finding.ts';

/** Runs that found nothing new are removed after this time at the earliest (audit.prune_runs). */
const PRUNED_AFTER = `interval '30 days'`;
/** A range ends at the time of the source's clock, a run by the clock of the database. They may differ by this much. */
const CLOCK_DIFFERENCE = `interval '1 day'`;
/** Ranges end by the worker's clock where that is behind the source's. A clock that is wrong by a day is one with a wrong date. */
const CLOCK_BEHIND = `interval '25 hours'`;

const RULES: [isWrong: string, expected: string, columns: readonly string[]][] = [
  ['from_ticks >= to_ticks', `jsonb_build_object('to_ticks', 'more than ' || from_ticks)`, ['to_ticks']],
  [
    `from_at <> ${timeOfTicks('from_ticks')}`,
    `jsonb_build_object('from_at', ${timeOfTicks('from_ticks')})`,
    ['from_at'],
  ],
  [
    `to_at <> ${timeOfTicks('to_ticks')}`,
    `jsonb_build_object('to_at', ${timeOfTicks('to_ticks')})`,
    ['to_at'],
  ],
  [
    'to_ticks >= next_from_ticks',
    `jsonb_build_object('to_ticks', 'less than ' || next_from_ticks)`,
    ['to_ticks'],
  ],
  [
    `newest_run_at is null or to_at > newest_run_at + ${CLOCK_DIFFERENCE}`,
    `jsonb_build_object('to_at', coalesce('at most ' || newest_run_at, 'no range: no run has begun'))`,
    ['to_at'],
  ],
  [
    'not is_start',
    `jsonb_build_object('from_ticks', 'a stored row, or where a run was told to begin')`,
    ['from_ticks'],
  ],
  ['run_id is not null and not has_run', `jsonb_build_object('run_id', 'a run of this log')`, ['run_id']],
  [
    `begun_at > newest_run_at + ${CLOCK_DIFFERENCE} and run_id is not null
       or begun_at < least(oldest_run_at, oldest_event_seen_at) - ${CLOCK_DIFFERENCE}`,
    `jsonb_build_object('begun_at', 'during a run')`,
    ['begun_at'],
  ],
  [
    `proven_at is not null and not (
       proven_at < first_proof_at or first_proof_at is null and proven_at <= watermark_proven_at or is_proof
       or proven_at < now() - ${PRUNED_AFTER})`,
    `jsonb_build_object('proven_at', 'proven_at of a run')`,
    ['proven_at'],
  ],
  [
    'verified_at is not null and not is_verification',
    `jsonb_build_object('verified_at', 'started_at of a clean verification')`,
    ['verified_at'],
  ],
];

/** Proofs from before migration 0014 are not recorded: times before the first recorded one are not compared. */
const RANGES = `
  select c.*, lead(from_ticks) over (partition by organization, log order by from_ticks) as next_from_ticks,
    runs.newest_at as newest_run_at, runs.oldest_at as oldest_run_at, runs.first_proof_at, w.proven_at as watermark_proven_at,
    oldest_event_seen_at,
    exists (
      select from audit.runs r where r.run_id = c.run_id and r.organization = c.organization and r.log = c.log
    ) as has_run,
    exists (
      select from audit.runs r where r.organization = c.organization and r.log = c.log and r.proven_at = c.proven_at
    ) as is_proof,
    -- A range begins with the oldest row of the source, or in the millisecond after a group of rows.
    exists (
      select from audit.events e
      where e.organization = c.organization and e.log = c.log and e.created_on between c.from_at - interval '1 ms' and c.from_at
    ) or exists (
      select from audit.rejected_places p
      where p.organization = c.organization and p.log = c.log and p.created_on_ticks between c.from_ticks - 10000 and c.from_ticks
    ) or exists (
      select from audit.runs r where r.organization = c.organization and r.log = c.log and r.from_ticks = c.from_ticks
    ) or c.run_id is null and (lag(from_ticks) over (partition by organization, log order by from_ticks) is not null or exists (
      select from audit.verifications v where v.organization = c.organization and v.log = c.log and v.from_at = c.from_at
    )) as is_start,
    exists (
      select from audit.verifications v
      where v.organization = c.organization and v.log = c.log and v.started_at = c.verified_at and outcome = 'clean'
    ) as is_verification
  from audit.coverage c
  left join audit.watermarks w using (organization, log)
  cross join lateral (
    select max(coalesce(ended_at, now())) as newest_at, min(started_at) as oldest_at, min(r.proven_at) as first_proof_at
    from audit.runs r where r.organization = c.organization and r.log = c.log
  ) runs
  left join lateral (
    select first_seen_at as oldest_event_seen_at from audit.events e
    where e.organization = c.organization and e.log = c.log order by created_on limit 1
  ) oldest on true
  where $1::text is null or c.organization = $1`;

const FINDINGS = `
  with ranges as materialized (${RANGES})
  ${RULES.map(
    ([isWrong, expected, columns]) => `
  select organization, log, jsonb_build_object('from_at', from_at, 'to_at', to_at) as key, ${expected} as expected,
    jsonb_build_object(${columns.map((column) => `'${column}', ${column}`).join(', ')}) as found
  from ranges where ${isWrong}`,
  ).join(' union all ')}
  union all
  -- A count that agrees stores a range that ends after the newest event, or by how much the worker's clock is behind before it. Version 0.1
  -- moved the watermark to events dated ahead, too.
  select organization, log, '{}', jsonb_build_object('to_at', 'after ' || created_on), null
  from audit.watermarks w
  where ($1::text is null or organization = $1) and completeness = 'complete' and created_on <= assessed_at + ${CLOCK_DIFFERENCE}
    and not exists (
    select from audit.coverage c
    where c.organization = w.organization and c.log = w.log and c.to_at > w.created_on - ${CLOCK_BEHIND}
  )`;

export const checkCoverage: StateCheck = (client, organization) =>
  readFindings(client, 'audit.coverage', FINDINGS, organization);
