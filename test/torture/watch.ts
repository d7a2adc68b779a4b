import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';

const WATCH_MS = 15;

/** In one statement, so that both are of one moment. */
const WATERMARK_AHEAD = `
  select w.created_on_ticks as watermark, newest.ticks as newest
  from audit.watermarks w, (
    select max(created_on_ticks) as ticks from audit.events
    where organization = $1 and created_on = (select max(created_on) from audit.events where organization = $1)
  ) newest
  where w.organization = $1 and w.created_on_ticks is distinct from newest.ticks`;

/**
 * Looks again and again, whatever befalls the worker and the database, whether the watermark is the newest stored event.
 * The function it gives back ends that, and gives the sentence about the first time it was not.
 */
export function watchWatermark(pool: pg.Pool, organization: string): () => Promise<string | undefined> {
  let isOver = false;
  const watch = async () => {
    while (!isOver) {
      // The database may be away, or without tables.
      const found = await pool.query(WATERMARK_AHEAD, [organization]).catch(() => undefined);
      const row = found?.rows[0];
      if (row) return `the watermark was ${row.watermark} while the newest stored event was ${row.newest}`;
      await sleep(WATCH_MS);
    }
    return undefined;
  };
  const watching = watch();
  return () => {
    isOver = true;
    return watching;
  };
}
