/** The table, the watermark and the history against the source's truth. Shares no code with the program. */
import type pg from 'pg';
import type { SimulatedRow } from '../../src/simulator/rows.ts';
import type { Simulator } from '../../src/simulator/simulator.ts';
import type { RowSpan } from '../../src/simulator/spans.ts';
import {
  fieldsOf,
  type Row,
  STORED_EVENTS,
  storedFieldsOf,
  storedIdOf,
  withoutEach,
} from '../support/compare.ts';
import {
  type Claim,
  countDeletedInside,
  type Facts,
  findFalseClaims,
  findFalselyGone,
  findUnnoticed,
} from './completeness.ts';

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
 -- Events dated ahead of the source's clock do not move the watermark, and the last minute may have been ahead then.
  select format('the watermark is %s, and the newest stored event %s', w.created_on_ticks, newest.ticks) as sentence
  from audit.watermarks w,
    (
      select max(created_on_ticks) filter (where created_on <= now() - interval '1 minute') as least,
        max(created_on_ticks) filter (where created_on <= now()) as ticks
      from audit.events where organization = $1
    ) newest
  where organization = $1 and (w.created_on_ticks < newest.least or w.created_on_ticks > newest.ticks
    or (w.created_on_ticks is null) <> (newest.ticks is null))
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
  select format('%s noted as gone are not stored', count(*)) from audit.gone_events g
  where organization = $1 and not exists (
    select from audit.events e
    where (e.organization, e.log, e.created_on, e.event_id) = (g.organization, g.log, g.created_on, g.event_id)
  ) having count(*) > 0
  union all
  select 'rows were rejected' where exists (select from audit.rejected_events where organization = $1)`;

export interface Verdict extends Differences {
  rows: number;
  broken: string[];
  /** Why "complete" was false, for each time. */
  falselyComplete: string[];
  /** Events noted as gone that are not. */
  falselyGone: string[];
  completeness: Completeness;
}

/** What the program says, and what there is to notice. */
export interface Completeness {
  state: string | undefined;
  reason: string | null;
  /** Deleted behind the head, and not noted as gone. */
  unnoticed: string[];
  /** Stored events that the source deleted other than by retention. */
  deletedInside: number;
}

export interface JudgeOptions {
  target: Target | undefined;
  claims: readonly Claim[];
  /** The list was replaced by another one then: what the source shows need not be stored, and no run may say "complete". */
  replacedAt: number | undefined;
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
  { target, claims, replacedAt }: JudgeOptions,
): Promise<Verdict> {
  const { organization, rows: shown, removed: gone } = simulator;
  const events = await pool.query(STORED_EVENTS, [organization]);
  const texts = (rows: readonly SimulatedRow[]) => rows.map(({ text }) => text);
  const isTold = target && replacedAt === undefined;
  const early = isTold && shown.some(({ text }) => text === target.row.text) ? await findEarlyEnds() : [];
  async function findEarlyEnds(): Promise<string[]> {
    const { row, runId } = target!;
    const { rows } = await pool.query<{ run_id: string }>(EARLY_ENDS, [
      organization,
      runId,
      String(row.ticks),
    ]);
    return rows.map((run) => `run ${run.run_id} succeeded without having read the whole list`);
  }
  const differences = compareWithTruth(events.rows, texts(shown), texts(gone));
  const facts = { ...factsOf(simulator.spans(), events.rows), gone: await readGone(pool, organization) };
  const completeness = await readCompleteness(pool, organization, facts);
  const hole = [...differences.lost, ...completeness.unnoticed];
  return {
    rows: events.rows.length,
    ...differences,
    lost: replacedAt === undefined ? differences.lost : [],
    broken: [...(await findBrokenPromises(pool, organization)), ...early],
    falselyComplete: [
      ...findFalseClaims(claims, facts),
      ...claims
        .filter(({ provenAt }) => replacedAt !== undefined && provenAt > replacedAt)
        .map(({ runId }) => `run ${runId} said "complete" of a list that was replaced`),
      ...(completeness.state === 'complete' ? hole.map((fields) => `"complete" without ${fields}`) : []),
    ],
    falselyGone: findFalselyGone(facts),
    completeness,
  };
}

function factsOf(spans: readonly RowSpan[], events: readonly Row[]): Pick<Facts, 'spans' | 'stored'> {
  return {
    spans: spans.map(({ text, ...span }) => ({ fields: fieldsOf(JSON.parse(text)), ...span })),
    stored: events.map((row) => ({ fields: storedFieldsOf(row), runId: BigInt(row.run_id as string) })),
  };
}

async function readGone(pool: pg.Pool, organization: string): Promise<Facts['gone']> {
  const { rows } = await pool.query<Row>(
    `select e.*, g.state, g.suspected_run_id from audit.gone_events g
     join audit.events e using (organization, log, created_on, event_id) where g.organization = $1`,
    [organization],
  );
  return rows.map((row) => ({
    fields: storedFieldsOf(row),
    state: String(row.state),
    suspectedRunId: BigInt(row.suspected_run_id as string),
  }));
}

async function readCompleteness(pool: pg.Pool, organization: string, facts: Facts): Promise<Completeness> {
  const { rows } = await pool.query<{ state: string; reason: string | null }>(
    'select state, reason from audit.completeness where organization = $1',
    [organization],
  );
  return {
    state: rows[0]?.state,
    reason: rows[0]?.reason ?? null,
    unnoticed: findUnnoticed(facts),
    deletedInside: countDeletedInside(facts),
  };
}

const EARLY_ENDS = `
  select run_id from audit.runs
  where organization = $1 and run_id > $2 and outcome = 'succeeded' and not coalesce(frontier_ticks > $3, false)`;
