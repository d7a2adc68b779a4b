/** Reads the state of a log that entries of kind `state` record: the ranges of `audit.coverage`, and where the events come from. */
import { inUtc } from '../format/utc.ts';

/** $1 organization, $2 log. */
export const READ_STATE = `
  select coalesce((
    select json_agg(json_build_array(from_ticks::text, to_ticks::text, ${inUtc('begun_at')}, run_id::text) order by from_ticks)
    from audit.coverage where organization = $1 and log = $2
  ), '[]') as ranges, source_url, source_path, source_partition
  from audit.watermarks where organization = $1 and log = $2`;

/** $1 organization, $2 log. */
export const READ_RECORDED_STATE = `
  select facts, batch from audit.ledger where organization = $1 and log = $2 and kind = 'state' order by batch desc limit 1`;

export interface StateRow {
  ranges: [from: string, to: string | null, begunAt: string, runId: string | null][];
  source_url: string | null;
  source_path: string | null;
  source_partition: string | null;
}

/** The state as the text that an entry records. The end of the newest range is left out. */
export function stateFacts({ ranges, source_url, source_path, source_partition }: StateRow): string {
  const last = ranges.length - 1;
  return JSON.stringify({
    ranges: ranges.map(([from, to, begunAt, runId], i) => [from, i === last ? null : to, begunAt, runId]),
    source: [source_url, source_path, source_partition],
  });
}
