/** Builds the statements that remember the source of a log, and that mark the events of a former source. */
import type { LogKey } from '../../core/log-key.ts';
import type { Place, SourceIdentity } from '../../core/source-identity.ts';
import { formatMicroseconds, MAX_TICKS } from '../../core/ticks.ts';
import type { Statement } from '../connection/pipeline.ts';
import { RETURN_GONE } from '../format/state-records.ts';

/** Stored rows per transaction. */
const SLICE_ROWS = 10_000;

const REMEMBER_SOURCE = `
  update audit.watermarks set source_url = $3, source_path = $4, source_partition = $5, updated_at = now()
  where organization = $1 and log = $2`;

export function rememberSource(
  { organization, log }: LogKey,
  { url, path, partition }: SourceIdentity,
): Statement {
  return { text: REMEMBER_SOURCE, values: [organization, log, url, path, partition] };
}

/** A span of complete tie groups at the source, and the events that it shows there. */
export interface ShownSpan {
  /** Half-open, in ticks; `undefined` is unbounded. */
  from: bigint | undefined;
  to: bigint | undefined;
  shown: readonly Place[];
}

/** The key of the last row of a slice. */
export type SliceCursor = [createdOn: string, eventId: string];

/**
 * Marks the next stored rows of a span that the source does not show. Repeatable. Returns the key of the last row, or no row
 * after the end of the span.
 * $1 organization, $2 log, $3 run, $4 and $5 from as time and ticks, $6 and $7 to, $8 and $9 the key of the last row of the slice
 * before, $10 ids.
 */
const MARK_FORMER_SOURCE = `
  with slice as materialized (
    select created_on, event_id, created_on_ticks, superseded_by is null as is_current from audit.events
    where organization = $1 and log = $2
      and ($4::timestamptz is null or (created_on >= $4 and (created_on, created_on_ticks) >= ($4, $5::bigint)))
      and ($6::timestamptz is null or (created_on <= $6 and (created_on, created_on_ticks) < ($6, $7::bigint)))
      and ($8::timestamptz is null or (created_on >= $8 and (created_on, event_id) > ($8, $9::uuid)))
    order by created_on, event_id
    limit ${SLICE_ROWS}
  ), marked as (
    insert into audit.gone_events as g
      (organization, log, created_on, event_id, created_on_ticks, state, suspected_run_id, gone_at, gone_run_id)
    select $1, $2, created_on, event_id, created_on_ticks, 'former source', $3::bigint, now(), $3
    from slice where is_current and event_id not in (select unnest($10::uuid[]))
    on conflict (organization, log, created_on, event_id) do update
      set state = excluded.state, gone_at = excluded.gone_at, gone_run_id = excluded.gone_run_id
      where g.state in ('suspected', 'dismissed', 'shown again')
    returning ${RETURN_GONE}
  )
  select created_on::text, event_id, (select coalesce(json_agg(marked), '[]') from marked) as marked
  from slice order by slice.created_on desc, slice.event_id desc limit 1`;

/** Events that the source shows are not gone. $1 organization, $2 log, $3 run, $4 times, $5 ids. */
const UNMARK_SHOWN = `
  update audit.gone_events g set state = 'shown again', shown_again_at = now(), shown_again_run_id = $3
  from unnest($4::timestamptz[], $5::uuid[]) as shown (created_on, event_id)
  where g.organization = $1 and g.log = $2 and g.created_on = shown.created_on and g.event_id = shown.event_id
    and g.state in ('gone', 'former source')
  returning ${RETURN_GONE}`;

/** The statements of one slice, which begins behind `after`. Without a name: each is planned for the present size of the tables. */
export function markFormerSource(
  { organization, log, runId }: LogKey & { runId: string },
  { from, to, shown }: ShownSpan,
  after: SliceCursor | undefined,
): { unmark: Statement | undefined; slice: Statement } {
  const bounds = [from, to].flatMap((ticks) =>
    ticks === undefined || ticks > MAX_TICKS ? [null, null] : [formatMicroseconds(ticks), ticks.toString()],
  );
  const ids = shown.map(({ eventId }) => eventId);
  const times = shown.map(({ ticks }) => formatMicroseconds(ticks));
  const values = [organization, log, runId, ...bounds, ...(after ?? [null, null]), ids];
  // Once for each span. A statement of its own, since a statement does not see the rows that it inserts, but searches them.
  const unmark =
    after || ids.length === 0
      ? undefined
      : { text: UNMARK_SHOWN, values: [organization, log, runId, times, ids] };
  return { unmark, slice: { text: MARK_FORMER_SOURCE, values } };
}

/**
 * Forgets everything that was known about the former source: the next read starts from the oldest row, and nothing is proven.
 * The stored events stay. $1 organization, $2 log.
 */
const FORGET_SOURCE = `
  update audit.watermarks set
    created_on_ticks = null, created_on_raw = null, created_on = null, read_at = null, resume = null, source_total = null,
    head_ticks = null, head_at = null, ranks = null, missing_events = null, assessed_at = null, proven_at = null,
    completeness = 'not proven', completeness_reason = 'another source was accepted; no run has counted its events yet'
  where organization = $1 and log = $2`;

export function replaceSource(key: LogKey, identity: SourceIdentity) {
  const values = [key.organization, key.log];
  return {
    watermark: { text: FORGET_SOURCE, values },
    source: rememberSource(key, identity),
    coverage: { text: 'delete from audit.coverage where organization = $1 and log = $2', values },
    places: { text: 'delete from audit.rejected_places where organization = $1 and log = $2', values },
    // Those that the new source does not show are of the former source now. It shows the others.
    suspicions: {
      text: `update audit.gone_events g set state = 'dismissed' where organization = $1 and log = $2 and state = 'suspected'
        returning ${RETURN_GONE}`,
      values,
    },
  };
}
