/** Stores what `verify --repair` puts right. */
import type { SourceFinding } from '../core/compare.ts';
import type { Superseded } from '../core/judge.ts';
import type { Chunk, takenFrom } from '../core/source.ts';
import { addCommitted } from '../core/store.ts';
import { ROW_FORM } from '../postgres/read/row-form.ts';
import type { Run } from './run.ts';

/** Stores the missing and changed events of a chunk. Returns how many rows that changed. */
export async function repairChunk(
  { session, counters, watchers }: Run,
  chunk: ReturnType<typeof takenFrom>,
  {
    findings,
    rejected,
    notDue,
  }: { findings: readonly SourceFinding[]; rejected: Chunk['rejected']; notDue: number },
): Promise<number> {
  const events = findings.flatMap(({ expected, isStored }) => (expected && !isStored ? expected : []));
  const superseded = findings.flatMap(supersededBy);
  const hasWork = events.length + superseded.length + rejected.length > 0;
  const stored = hasWork
    ? await session.restore({ events, superseded, rejected })
    : { inserted: 0, updated: 0 };
  const unchanged = chunk.events.length - notDue - stored.inserted - stored.updated;
  const rerendered = findings.filter(({ kind }) => kind === 'rerendered');
  const result = { ...stored, unchanged, superseded: rerendered.length, lateTicks: [] };
  Object.assign(counters, addCommitted(counters, chunk, result));
  for (const row of rejected) watchers.onRejected(row);
  for (const warning of chunk.warnings) watchers.onWarning(warning);
  const replacing = rerendered.filter(({ isStored }) => !isStored).length;
  return stored.inserted + stored.updated - replacing + rejected.length;
}

/** The rows to mark as superseded, or as current again, for a difference. */
function supersededBy({
  kind,
  eventId,
  createdOnTicks: ticks,
  expected,
  isStored,
  fields,
}: SourceFinding): Superseded[] {
  if (kind === 'rerendered') {
    const row = { eventId, ticks };
    const by = expected!.eventId;
    return isStored
      ? [
          { row, by },
          { row: { eventId: by, ticks }, by: undefined },
        ]
      : [{ row, by }];
  }
  const isHidden = fields.includes(ROW_FORM.columns.supersededBy);
  return isHidden ? [{ row: { eventId, ticks }, by: undefined }] : [];
}
