import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import type { Claim } from './completeness.ts';

const WATCH_MS = 15;

/**
 * In one snapshot, so that all is of one moment. The watermark is a stored event that is not dated ahead of the source's clock. While
 * a run is under way newer ones may be stored: rows that were shown before their turn.
 */
const LOOK = `
  select w.created_on_ticks as watermark,
    (select max(created_on_ticks) from audit.events e
      where e.organization = $1 and e.created_on = (
        select max(created_on) from audit.events where organization = $1 and created_on <= now() + interval '2 seconds'
      )) as newest,
    exists (
      select from audit.events e
      where e.organization = $1 and e.created_on = w.created_on and e.created_on_ticks = w.created_on_ticks
    ) as is_stored,
    c.state, w.proven_at, clock_timestamp() as seen_at,
    (select max(run_id) from audit.runs where organization = $1) as run_id
  from audit.watermarks w join audit.completeness c using (organization, log) where w.organization = $1`;

interface Look {
  watermark: string | null;
  newest: string | null;
  is_stored: boolean;
  state: string;
  proven_at: Date | null;
  seen_at: Date;
  run_id: string | null;
}

export interface Watched {
  /** About the first time that the watermark was ahead of the stored events, or none of them. */
  sentence: string | undefined;
  /** Each time that a run said "complete". */
  claims: Claim[];
}

/**
 * Looks again and again, whatever befalls the worker and the database, whether the watermark is a stored event, and whether the
 * state is `complete`. The function it gives back ends that, and gives what was seen.
 */
export function watchTables(pool: pg.Pool, organization: string): () => Promise<Watched> {
  let isOver = false;
  const watch = async (): Promise<Watched> => {
    const watched: Watched = { sentence: undefined, claims: [] };
    while (!isOver) {
      const look = await lookAt(pool, organization);
      if (look) {
        watched.sentence ??= sayWrong(look);
        noteClaim(look, watched.claims);
      }
      await sleep(WATCH_MS);
    }
    return watched;
  };
  const watching = watch();
  return () => {
    isOver = true;
    return watching;
  };
}

/** `undefined` while the database is away, or without tables. */
async function lookAt(pool: pg.Pool, organization: string): Promise<Look | undefined> {
  const client = await pool.connect().catch(() => undefined);
  // The query that is under way fails as well.
  const ignore = () => {};
  client?.on('error', ignore);
  try {
    // Takes the snapshot before LOOK is planned: a plan from before it could lack the partition of a month whose first rows it shows.
    await client?.query('begin isolation level repeatable read; select 1');
    const found = await client?.query<Look>(LOOK, [organization]);
    await client?.query('commit');
    client?.off('error', ignore);
    client?.release();
    return found?.rows[0];
  } catch {
    client?.release(true);
    return undefined;
  }
}

function sayWrong({ watermark, newest, is_stored: isStored }: Look): string | undefined {
  if (watermark === null) return undefined;
  const isAhead = newest === null || BigInt(watermark) > BigInt(newest);
  if (!isAhead && isStored) return undefined;
  return `the watermark was ${watermark}, ${isStored ? 'stored' : 'not stored'}, while the newest stored event was ${newest}`;
}

function noteClaim({ state, proven_at: proven, seen_at: seen, run_id: runId }: Look, claims: Claim[]): void {
  if (state !== 'complete' || proven === null || runId === null) return;
  const [provenAt, before] = [proven.getTime(), claims.at(-1)];
  if (before?.provenAt === provenAt && before.runId === BigInt(runId)) return;
  claims.push({ provenAt, seenAt: seen.getTime(), runId: BigInt(runId) });
}
