/**
 * Checks `audit.watermarks` against the stored events and the runs: the watermark is an event that is stored, the newest one that is not
 * dated ahead, and its state of completeness is what the last run that counted found.
 */
import type { LogKey } from '../../../core/log-key.ts';
import { formatMicroseconds } from '../../../core/ticks.ts';
import { inUtc } from '../../format/utc.ts';
import {
  type CheckedWatermarkRow,
  checkStored,
  findContradiction,
  READ_WATERMARK,
  type WatermarkState,
} from '../watermark.ts';
import { type Columns, groupFindings, type StateCheck } from './finding.ts';

/** Every log that a run has begun, and every watermark. */
const LOGS = `
  select organization, log from audit.watermarks where $1::text is null or organization = $1
  union select organization, log from audit.runs where $1::text is null or organization = $1
  union select organization, log from audit.ledger where $1::text is null or organization = $1
  order by 1, 2`;

/** The newest run that counted, and those around it. $1 organization, $2 log. */
const FACTS = `
  select w.run_id, w.completeness, w.completeness_reason, w.missing_events, ${inUtc('w.assessed_at')} as assessed_at,
    ${inUtc('w.proven_at')} as proven_at, w.source_total, ${inUtc('w.head_at')} as head_at, w.head_ticks,
    last.run_id as last_run_id, last.completeness as run_completeness, last.completeness_reason as run_reason,
    last.missing_events as run_missing, ${inUtc('last.ended_at')} as run_ended_at, ${inUtc('proof.proven_at')} as run_proven_at,
    reached.source_total as run_source_total, reached.run_id as reached_run_id, proof.run_id as proof_run_id,
    exists (select from audit.runs r where r.organization = $1 and r.log = $2) as has_runs,
    exists (select from audit.runs r where r.organization = $1 and r.log = $2 and r.run_id = w.run_id) as has_run,
    exists (
      select from audit.runs r where r.organization = $1 and r.log = $2 and r.run_id > last.run_id and r.kind <> 'verify'
    ) as has_later_run,
    exists (
      select from audit.events e
      where e.organization = $1 and e.log = $2 and e.created_on = w.created_on and e.created_on_ticks = w.created_on_ticks
        and (e.created_on_raw = w.created_on_raw or e.updated_at <> e.first_seen_at)
    ) as is_raw_stored,
    (
      select created_on_raw from audit.events e
      where e.organization = $1 and e.log = $2 and e.created_on = w.created_on and e.created_on_ticks = w.created_on_ticks limit 1
    ) as stored_raw,
    (
      -- Repairs and backfills of a range store events without moving the watermark.
      select min(run_id) from audit.events e join audit.runs r using (organization, log, run_id)
      where e.organization = $1 and e.log = $2 and e.created_on = w.created_on and e.created_on_ticks = w.created_on_ticks
        and r.kind in ('run', 'recheck')
    ) as event_run_id,
    (
      -- By the source's clock, a range that a run has proven ends when the run requested the end of the list.
      select ${inUtc('max(e.created_on)')} from audit.events e
      where e.organization = $1 and e.log = $2 and e.created_on > w.created_on and e.run_id <= last.run_id
        and last.completeness = 'complete' and e.created_on < (
          select max(to_at) from audit.coverage c where c.organization = $1 and c.log = $2 and c.proven_at is not null
        ) - (last.ended_at - last.started_at) - interval '2 seconds'
    ) as newer_event
  from audit.watermarks w
  left join lateral (
    select * from audit.runs r where r.organization = $1 and r.log = $2 and r.completeness is not null order by run_id desc limit 1
  ) last on true
  left join lateral (
    select proven_at, run_id from audit.runs r where r.organization = $1 and r.log = $2 and r.proven_at is not null order by run_id desc limit 1
  ) proof on true
  left join lateral (
    select source_total, run_id from audit.runs r where r.organization = $1 and r.log = $2 and r.source_total is not null
    order by run_id desc limit 1
  ) reached on true
  where w.organization = $1 and w.log = $2`;

interface FactsRow {
  run_id: string | null;
  completeness: string | null;
  completeness_reason: string | null;
  missing_events: string | null;
  assessed_at: string | null;
  proven_at: string | null;
  source_total: string | null;
  head_at: string | null;
  head_ticks: string | null;
  last_run_id: string | null;
  run_completeness: string | null;
  run_reason: string | null;
  run_missing: string | null;
  run_ended_at: string | null;
  run_proven_at: string | null;
  run_source_total: string | null;
  reached_run_id: string | null;
  proof_run_id: string | null;
  has_runs: boolean;
  has_run: boolean;
  has_later_run: boolean;
  is_raw_stored: boolean;
  stored_raw: string | null;
  event_run_id: string | null;
  newer_event: string | null;
}

/** `run`: the run whose row says otherwise. One of the two was changed by hand, and both are named. */
type Difference = [expected: Columns | null, found: Columns | null, run?: string | null];

export const checkWatermarks: StateCheck = async (client, organization) => {
  const { rows: keys } = await client.query<LogKey>(LOGS, [organization]);
  const ofWatermarks = [];
  const ofRuns = [];
  for (const { organization: name, log } of keys) {
    const { rows: watermarks } = await client.query<WatermarkState>(READ_WATERMARK, [name, log]);
    const watermark =
      watermarks[0] && (await checkStored(client, { organization: name, log }, watermarks[0]));
    const { rows: facts } = await client.query<FactsRow>(FACTS, [name, log]);
    for (const [expected, found, run] of compare(watermark, facts[0])) {
      ofWatermarks.push({ organization: name, log, key: {}, expected, found });
      if (run != null) {
        const runColumns = [found, expected].map((columns) => columns && nameInRun(columns));
        ofRuns.push({
          organization: name,
          log,
          key: { run_id: run },
          expected: runColumns[0]!,
          found: runColumns[1]!,
        });
      }
    }
  }
  return [...groupFindings('audit.watermarks', ofWatermarks), ...groupFindings('audit.runs', ofRuns)];
};

function nameInRun(columns: Columns): Columns {
  return Object.fromEntries(
    Object.entries(columns).map(([column, value]) => [column === 'assessed_at' ? 'ended_at' : column, value]),
  );
}

function compare(watermark: CheckedWatermarkRow | undefined, facts: FactsRow | undefined): Difference[] {
  if (!watermark || !facts) return [[{ row: 'the watermark of the runs of this log' }, null]];
  if (!facts.has_runs) return [[null, { created_on_raw: watermark.created_on_raw }]];
  return [
    ...comparePosition(watermark, facts),
    ...compareRun(watermark, facts),
    ...compareHead(facts),
    ...compareState(facts),
  ];
}

function comparePosition(watermark: CheckedWatermarkRow, facts: FactsRow): Difference[] {
  const { created_on_ticks: ticks, created_on_raw: raw, created_on: createdOn } = watermark;
  const contradiction = findContradiction(watermark);
  if (contradiction !== undefined) {
    const found = { created_on_ticks: ticks, created_on_raw: raw, created_on: createdOn };
    return [[{ created_on: 'the newest stored event' }, { ...found, why: contradiction }]];
  }
  if (ticks === null) return [];
  const differences: Difference[] = [];
  if (!facts.is_raw_stored) differences.push([{ created_on_raw: facts.stored_raw }, { created_on_raw: raw }]);
  if (facts.newer_event !== null)
    differences.push([{ created_on: facts.newer_event }, { created_on: createdOn }]);
  return differences;
}

/** A later run may have moved nothing but the total: the run that stored the event is the earliest that it may be. */
function compareRun(watermark: CheckedWatermarkRow, facts: FactsRow): Difference[] {
  const { run_id: runId, event_run_id: stored, source_total: total, run_source_total: read } = facts;
  const differences: Difference[] = [];
  const isEarlier = runId !== null && stored !== null && BigInt(runId) < BigInt(stored);
  if (runId === null || !facts.has_run || isEarlier)
    differences.push([{ run_id: stored ?? 'a run of this log' }, { run_id: runId }]);
  if (watermark.created_on_ticks !== null && total !== null && total !== read)
    differences.push([{ source_total: read }, { source_total: total }, facts.reached_run_id]);
  return differences;
}

function compareHead({ head_ticks: ticks, head_at: at }: FactsRow): Difference[] {
  const expected = ticks === null ? null : formatMicroseconds(BigInt(ticks));
  return at === expected ? [] : [[{ head_at: expected }, { head_at: at }]];
}

/** The outcome of the last count is stored with the watermark and with its run, in one transaction. */
function compareState(facts: FactsRow): Difference[] {
  const {
    completeness,
    completeness_reason: reason,
    missing_events: missing,
    assessed_at: assessedAt,
  } = facts;
  if (wasReset(facts)) return [];
  const differences: Difference[] = [];
  const expect = (column: string, expected: string | null, found: string | null, run = facts.last_run_id) => {
    if (expected !== found) differences.push([{ [column]: expected }, { [column]: found }, run]);
  };
  expect('completeness', facts.run_completeness, completeness);
  expect('completeness_reason', facts.run_reason, reason);
  expect('assessed_at', facts.last_run_id === null ? null : facts.run_ended_at, assessedAt);
  // Runs from before migration 0014 have not recorded these.
  const isRecorded = facts.run_missing !== null || facts.run_completeness !== 'incomplete';
  if (isRecorded) expect('missing_events', facts.run_missing, missing);
  else if (missing === null) expect('missing_events', 'a number', missing, null);
  // A reset forgets the last proof, and the count after it need not prove anything.
  const isForgotten = facts.proven_at === null && completeness !== 'complete';
  if ((facts.run_proven_at !== null && !isForgotten) || facts.last_run_id === null)
    expect('proven_at', facts.run_proven_at, facts.proven_at, facts.proof_run_id);
  else if (completeness === 'complete' && facts.proven_at === null) expect('proven_at', 'a time', null, null);
  return differences;
}

/** A backfill resets a contradictory watermark, and a run that accepts another source forgets its state, before they count again. */
function wasReset({ completeness, completeness_reason: reason, has_later_run: hasLater }: FactsRow): boolean {
  const isForgotten = completeness === 'not proven' && reason?.startsWith('another source was accepted');
  return hasLater && (completeness === null || isForgotten === true);
}
