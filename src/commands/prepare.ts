import { setTimeout as sleep } from 'node:timers/promises';
import type { DatabaseApp, OrganizationsApp } from '../app.ts';
import { ExportError } from '../core/errors.ts';
import { migrateTables } from '../postgres/schema/migrate.ts';
import { moveEvents } from '../postgres/schema/partition.ts';
import { createProgress } from '../terminal/progress.ts';

/** Applies pending migrations, moves rows if one requires it, and meanwhile requests the token that the first page needs. */
export async function prepareExport(app: OrganizationsApp, signal: AbortSignal): Promise<void> {
  // The run requests the same token, and reports what is wrong with it.
  app.organizations[0]!.source.fetchToken({ signal }).catch(() => {});
  await migrateTables(app.pool, { signal });
  try {
    await moveWithProgress(app, signal);
  } catch (error) {
    warnOfMove(app, error);
  }
}

/** Moves the rows of audit.events into partitions if that is pending, with a progress bar or log lines. Returns whether it moved them. */
export async function moveWithProgress({ pool, log }: DatabaseApp, signal: AbortSignal): Promise<boolean> {
  const progress = createProgress(log, 'Move into partitions');
  try {
    const hasMoved = await moveEvents(pool, {
      signal,
      onProgress: ({ rows, estimate }) => progress.update(rows, estimate),
    });
    progress.finish();
    if (hasMoved) log.info('audit.events is partitioned by month');
    return hasMoved;
  } finally {
    progress.stop();
  }
}

const RETRY_MOVE_MS = 60_000;

/** The same while the worker exports. Waits for locks and for a database that is down; other errors end it, and the table stays as it is. */
export async function moveWhileRunning(app: DatabaseApp, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    try {
      await moveWithProgress(app, signal);
      return;
    } catch (error) {
      if (signal.aborted) return;
      app.log.warn({ err: error }, 'audit.events is not partitioned yet');
      if (!(error instanceof ExportError) || error.code !== 'database-away') return;
      await sleep(RETRY_MOVE_MS, undefined, { signal }).catch(() => {});
    }
  }
}

/** The export works with the table as it is. */
function warnOfMove({ log }: DatabaseApp, error: unknown): void {
  if (!(error instanceof ExportError) || error.code === 'interrupted') throw error;
  log.warn(`audit.events is not partitioned yet: ${error.message}`);
}
