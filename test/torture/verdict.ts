/** The table, the watermark and the history against the source's truth. Shares no code with the program. */
import type pg from 'pg';
import type { SimulatedRow } from '../../src/simulator/rows.ts';
import type { Simulator } from '../../src/simulator/simulator.ts';
import {
  fieldsOf,
  type Row,
  STORED_EVENTS,
  storedFieldsOf,
  storedIdOf,
  withoutEach,
} from '../support/compare.ts';

interface Differences {
  /** Shown by the source now, and not stored. */
  lost: string[];
  /** Stored more often than the source ever showed it. */
  doubled: string[];
  /** Stored with a byte that the source never sent, or under an id that is not its own. */
  altered: string[];
}

/** `shown` and `gone` are the source's rows as JSON texts: those it shows now, and those it has deleted. */
export function compareWithTruth(
  events: readonly Row[],
  shown: readonly string[],
  gone: readonly string[],
): Differences {
  const sent = shown.map((text) => fieldsOf(JSON.parse(text)));
  const everSent = [...sent, ...gone.map((text) => fieldsOf(JSON.parse(text)))];
  const known = new Set(everSent);
  const stored = events.map((row) => ({ row, fields: storedFieldsOf(row) }));
  const [right, wrong] = [stored.filter(isRight), stored.filter((each) => !isRight(each))];
  function isRight({ row, fields }: { row: Row; fields: string }): boolean {
    return known.has(fields) && row.event_id === storedIdOf(row);
  }
  return {
    lost: withoutEach(sent, right.map(fieldsAlone)),
    doubled: withoutEach(right.map(fieldsAlone), everSent),
    altered: wrong.map(fieldsAlone),
  };
}

function fieldsAlone({ fields }: { fields: string }): string {
  return fields;
}

/** What the other tables promise of the events beside them; each sentence is a promise broken. */
async function findBrokenPromises(pool: pg.Pool, organization: string): Promise<string[]> {
  const { rows } = await pool.query<{ sentence: string }>(PROMISES, [organization]);
  return rows.map(({ sentence }) => sentence);
}

const PROMISES = `
  with runs as (
    select *, lead(started_at) over (order by run_id) as next_started_at,
      lead(run_id) over (order by run_id) as next_run_id
    from audit.runs where organization = $1
  ), stored as (
    select run_id, count(*) as events from audit.events where organization = $1 group by run_id
  )
  select format('the watermark is %s, and the newest stored event %s', w.created_on_ticks, newest.ticks) as sentence
  from audit.watermarks w,
    (select max(created_on_ticks) as ticks from audit.events where organization = $1) newest
  where organization = $1 and w.created_on_ticks is distinct from newest.ticks
  union all
  select format('run %s is still open though run %s began', run_id, next_run_id)
  from runs where outcome is null and next_run_id is not null
  union all
  select format('the last run, %s, is still open', run_id) from runs where outcome is null and next_run_id is null
  union all
  select format('run %s began before run %s had ended', next_run_id, run_id) from runs where next_started_at < ended_at
  union all
  select format('run %s %s without a reason', run_id, outcome) from runs
  where (outcome = 'succeeded') <> (error is null)
  union all
  select format('run %s says it stored %s events, and %s are stored', run_id, rows_inserted, coalesce(events, 0))
  from runs left join stored using (run_id) where rows_inserted <> coalesce(events, 0)
  union all
  select format('events are stored by run %s, which is not in the history', run_id)
  from stored where run_id not in (select run_id from runs)
  union all
  select format('ledger entry %s lists %s rows, and %s are stored', batch, rows_inserted, coalesce(events, 0))
  from (select * from audit.ledger where organization = $1) entries left join (
    select batch, count(*) as events from audit.events where organization = $1 group by batch
  ) rows using (batch) where rows_inserted <> coalesce(events, 0)
  union all
  select format('ledger entry %s does not follow the one before', batch) from (
    select batch, previous_digest, lag(digest) over (order by batch) as digest_before,
      row_number() over (order by batch) as number
    from audit.ledger where organization = $1
  ) chain where previous_digest is distinct from digest_before or batch <> number
  union all
  select 'rows were rejected' where exists (select from audit.rejected_events where organization = $1)`;

export interface Verdict extends Differences {
  rows: number;
  broken: string[];
}

/** The newest row when the fault began, and the last run before: a later run that succeeded must have come beyond it. */
export interface Target {
  row: SimulatedRow;
  runId: string;
}

/** The whole verdict on an organization, when nothing moves any more. */
export async function judge(
  pool: pg.Pool,
  simulator: Simulator,
  target: Target | undefined,
): Promise<Verdict> {
  const { organization, rows: shown, removed: gone } = simulator;
  const events = await pool.query(STORED_EVENTS, [organization]);
  const texts = (rows: readonly SimulatedRow[]) => rows.map(({ text }) => text);
  const early = target && shown.some(({ text }) => text === target.row.text) ? await findEarlyEnds() : [];
  async function findEarlyEnds(): Promise<string[]> {
    const { row, runId } = target!;
    const { rows } = await pool.query<{ run_id: string }>(EARLY_ENDS, [
      organization,
      runId,
      String(row.ticks),
    ]);
    return rows.map((run) => `run ${run.run_id} succeeded without having read the whole list`);
  }
  return {
    rows: events.rows.length,
    ...compareWithTruth(events.rows, texts(shown), texts(gone)),
    broken: [...(await findBrokenPromises(pool, organization)), ...early],
  };
}

const EARLY_ENDS = `
  select run_id from audit.runs
  where organization = $1 and run_id > $2 and outcome = 'succeeded' and not coalesce(frontier_ticks > $3, false)`;
