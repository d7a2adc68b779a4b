/**
 * Decides at the start of a run whether the source is the one that the stored events came from, before anything is stored.
 *
 * The address is compared with the remembered one. If it changed, or none is remembered, stored events are looked for at the source,
 * at three places. It is accepted if it shows all of them; or if EXPORT_ACCEPT_SOURCE names it: then stored events that it does
 * not show are marked, and everything known about the former source is forgotten, so that the run reads from the oldest row.
 * A failed request is an error of the run and never decides.
 */
import type { App } from '../app.ts';
import { ExportError } from '../core/errors.ts';
import { afterPlace, placeOfTicks } from '../core/place.ts';
import { takenFrom } from '../core/source.ts';
import {
  describeSource,
  findHead,
  findMissingPlaces,
  isNews,
  isSameSource,
  PLACES,
  type Place,
  type SourceIdentity,
} from '../core/source-identity.ts';
import { newCounters, type RunCounters } from '../core/store.ts';
import { formatTicks, MIN_TICKS } from '../core/ticks.ts';
import { readPlaces, readStoredSource, type StoredSource } from '../postgres/read/source-identity.ts';
import type { RunKind } from '../postgres/write/session.ts';
import { count } from '../text/format.ts';
import type { Run } from './run.ts';
import { withStallTimeout } from './stall-timeout.ts';

interface Request {
  kind: RunKind;
  from?: bigint | undefined;
  to?: bigint | undefined;
  /** The run continues an earlier backfill. */
  isResumed: boolean;
  signal: AbortSignal;
}

/** How the stored events compare with what the source shows. */
interface Probe {
  places: readonly Place[];
  missing: readonly Place[];
  /** The oldest event at the source; `undefined` if it shows none. */
  head: bigint | undefined;
  /** Whether stored events are expected at the source. */
  hasStored: boolean;
}

interface Watch {
  signal: AbortSignal;
  meter: RunCounters;
  onProgress: () => void;
}

/** Throws `other-source` if the source is another one. Remembers a new address. Call before the run plans its start. */
export async function checkSourceOfRun(app: App, run: Run, request: Request): Promise<void> {
  const { session, log, counters } = run;
  const { identity: remembered, hasChanged } = session.source;
  const found = await app.source.identify({ signal: request.signal, meter: counters });
  const isAccepted = app.config.export.acceptSource === app.config.source.baseUrl;
  const isSame = remembered !== undefined && isSameSource(remembered, found);
  const { stallTimeoutMs } = app.config.export;
  await withStallTimeout({ stallTimeoutMs, signal: request.signal }, async (signal, onProgress) => {
    const watch = { signal, meter: counters, onProgress };
    if (isSame && !(isAccepted && hasChanged)) {
      if (isAccepted) log.info('the source has not changed; remove EXPORT_ACCEPT_SOURCE');
      if (isNews(remembered, found)) await session.rememberSource(found);
      return;
    }
    const probe = isSame ? undefined : await probeSource(app, watch);
    if (probe && isMatch(probe)) {
      if (remembered && probe.hasStored) log.info(describeMove(remembered, found, probe));
      await session.rememberSource({ ...found, partition: found.partition ?? remembered?.partition ?? null });
      return;
    }
    if (!isAccepted) throw otherSource(app, session.source, found, probe!);
    await acceptSource(app, run, { ...request, found, watch });
  });
}

/** For `verify`: throws `other-source` if the source is another one. Writes nothing. */
export async function assertSameSource(app: App, signal: AbortSignal): Promise<void> {
  const stored = await readStoredSource(app.pool, app.config.source);
  const found = await app.source.identify({ signal });
  if (stored.identity && isSameSource(stored.identity, found)) return;
  const { stallTimeoutMs } = app.config.export;
  const probe = await withStallTimeout({ stallTimeoutMs, signal }, (watched, onProgress) =>
    probeSource(app, { signal: watched, meter: newCounters(), onProgress }),
  );
  if (!isMatch(probe)) throw otherSource(app, stored, found, probe);
}

/** The source shows all of the events, or none is stored. */
function isMatch({ places, missing, hasStored }: Probe): boolean {
  return missing.length === 0 && (places.length > 0 || !hasStored);
}

/** Looks for stored events at the source. Looks for later ones if the source deleted its oldest events meanwhile. */
async function probeSource(app: App, watch: Watch): Promise<Probe> {
  const { pool, config, source } = app;
  const { settleMs } = config.export;
  const all = await readPlaces(pool, config.source, { from: MIN_TICKS, settleMs });
  if (all.length === 0) return { places: [], missing: [], head: undefined, hasStored: false };
  for (let head = await findHead(source, watch); ; ) {
    if (head === undefined) return { places: all, missing: all, head, hasStored: true };
    const places = await readPlacesFrom(app, head);
    const missing = await findMissingPlaces(source, places, watch);
    const newHead = missing.length === 0 ? head : await findHead(source, watch);
    const isStillExpected = missing.some(({ ticks }) => newHead !== undefined && ticks > newHead);
    if (newHead === head || isStillExpected) return { places, missing, head, hasStored: true };
    head = newHead;
  }
}

/** Retention may have deleted a part of the oldest millisecond: its events are used only where there are few others. */
async function readPlacesFrom(app: App, head: bigint): Promise<Place[]> {
  const { pool, config } = app;
  const { settleMs } = config.export;
  const oldest = placeOfTicks(head);
  const later = await readPlaces(pool, config.source, { from: afterPlace(oldest), settleMs });
  return later.length === PLACES ? later : readPlaces(pool, config.source, { from: oldest, settleMs });
}

/** Reads the whole list and marks the stored events that it does not contain. Safe to repeat after an interruption. */
async function acceptSource(
  app: App,
  { session, log }: Run,
  { kind, from, to, isResumed, found, watch }: Request & { found: SourceIdentity; watch: Watch },
): Promise<void> {
  const readsAll = kind !== 'backfill' || (from === undefined && to === undefined && !isResumed);
  if (!readsAll) {
    throw new ExportError(
      'configuration',
      'EXPORT_ACCEPT_SOURCE: accepting another source reads everything, and this backfill does not. Call `run`, or `backfill ' +
        '--restart` without --from and --to. Nothing was stored.',
    );
  }
  const address = describeSource(found);
  log.warn(
    `EXPORT_ACCEPT_SOURCE: accepting ${address} as the new source; comparing all stored events with it`,
  );
  const { pageSize, concurrency } = app.config.export;
  const { signal, meter, onProgress } = watch;
  let reached: bigint | undefined;
  let marked = 0;
  const mark = async (to: bigint | undefined, shown: Place[]) => {
    marked += await session.markFormerSource({ from: reached, to, shown }, onProgress);
    reached = to;
  };
  const options = { pageSize, concurrency, signal, meter };
  for await (const chunk of app.source.read({ frontier: undefined }, options)) {
    onProgress();
    const { events } = takenFrom(chunk, reached);
    const shown = events.map(({ event, eventId }) => ({ eventId, ticks: event.createdOnTicks }));
    if (shown.length > 0) await mark(chunk.frontier, shown);
  }
  await mark(undefined, []);
  await session.replaceSource(found);
  log.warn(
    `accepted ${address} as the new source: ${count(marked, 'stored event')} that it does not show ` +
      `${marked === 1 ? 'was' : 'were'} marked 'former source' in audit.gone_events. Remove EXPORT_ACCEPT_SOURCE`,
  );
}

function describeMove(remembered: SourceIdentity, found: SourceIdentity, { places }: Probe): string {
  return (
    `the source moved from ${describeSource(remembered)} to ${describeSource(found)}: it shows all of the ` +
    `${count(places.length, 'stored event')} that were looked for`
  );
}

function otherSource(app: App, stored: StoredSource, found: SourceIdentity, probe: Probe): ExportError {
  const { organization, baseUrl } = app.config.source;
  const { identity } = stored;
  const former = identity
    ? `They were read from ${describeSource(identity)}.`
    : 'A worker of an older version stored them without their address.';
  return new ExportError(
    'other-source',
    `${describeSource(found)} is not the source that the stored events of ${organization} came from: ${describeProbe(probe)}. ` +
      `${former} Nothing was stored. Check UIPATH_BASE_URL, UIPATH_ORGANIZATION and UIPATH_AUDIT_PATH, and whose token it is. If ` +
      `the source was replaced, set EXPORT_ACCEPT_SOURCE=${baseUrl} and call \`run\`; export another organization under ` +
      'another UIPATH_ORGANIZATION or into another database.',
  );
}

function describeProbe({ places, missing, head }: Probe): string {
  if (head === undefined) return 'it shows no event at all';
  if (places.length === 0) return `its oldest event, of ${formatTicks(head)}, is newer than all of them`;
  const found = places.length - missing.length;
  return `it shows ${found} of the ${count(places.length, 'stored event')} that were looked for`;
}
