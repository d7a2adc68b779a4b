import type pg from 'pg';

/** What the other tables promise of the events beside them; each sentence is a promise broken. */
export async function findBrokenPromises(pool: pg.Pool, organization: string): Promise<string[]> {
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
