/**
 * The identity of a source: whether it is the one that the stored events came from.
 *
 * - Address and partition are remembered. As long as they stay the same, nothing is requested and nothing is written.
 * - A partition that only one side knows is no difference: not every kind of token shows it.
 * - A changed address is not another source yet: organizations are renamed and moved. Stored events at several places decide
 *   (`findMissingPlaces`). An id is a digest of the content and the time of an event, so another source cannot show the
 *   same one by accident.
 */
import type { IdentifiedEvent } from './identity.ts';
import { afterPlace, placeOfTicks } from './place.ts';
import type { ReadMeter, Source } from './source.ts';

/** Where the events come from. Contains no secret. */
export interface SourceIdentity {
  /** Base URL: lower-case scheme and host, no default port, no `/` at the end. */
  url: string;
  /** Path of the log at that host, without a query and without a `/` at the end. */
  path: string;
  /** The partition that the credentials belong to; `null` if unknown. */
  partition: string | null;
}

/** A stored event to look for at the source. */
export type Place = Pick<IdentifiedEvent, 'eventId'> & { ticks: bigint };

/** How many stored events are looked for. */
export const PLACES = 3;

/** Rows per request while looking for one event. */
const SEARCH_PAGE_SIZE = 50;

/** Whether both are the same address with the same partition, as far as both know one. */
export function isSameSource(a: SourceIdentity, b: SourceIdentity): boolean {
  const isSamePartition = a.partition === null || b.partition === null || a.partition === b.partition;
  return addressOf(a) === addressOf(b) && isSamePartition;
}

/** Whether `found` has to be stored: it differs from `remembered`, or knows more. */
export function isNews(remembered: SourceIdentity | undefined, found: SourceIdentity): boolean {
  if (!remembered || !isSameSource(remembered, found)) return true;
  return remembered.partition === null && found.partition !== null;
}

/** `https://cloud.uipath.com/acme/audit_/api/auditlogs`, with the partition if it is known. */
export function describeSource(identity: SourceIdentity): string {
  const { partition } = identity;
  return addressOf(identity) + (partition === null ? '' : ` (partition ${partition})`);
}

/** URL of the log: the path may be split differently between base URL and path. */
function addressOf({ url, path }: SourceIdentity): string {
  return new URL(url).origin + path;
}

interface SearchOptions {
  signal: AbortSignal;
  meter: ReadMeter;
  /** Called after each response. */
  onProgress: () => void;
}

/** Returns the places that the source does not show. Throws the errors of `read`: a failed request is no result. */
export async function findMissingPlaces(
  source: Pick<Source, 'read'>,
  places: readonly Place[],
  options: SearchOptions,
): Promise<Place[]> {
  const missing: Place[] = [];
  for (const place of places) {
    if (!(await isShown(source, place, options))) missing.push(place);
  }
  return missing;
}

/** Reads the millisecond of the event: ids depend on the whole tie group. */
async function isShown(
  source: Pick<Source, 'read'>,
  { eventId, ticks }: Place,
  { signal, meter, onProgress }: SearchOptions,
): Promise<boolean> {
  const frontier = placeOfTicks(ticks);
  const until = afterPlace(frontier);
  const options = { until, pageSize: SEARCH_PAGE_SIZE, concurrency: 1, signal, meter };
  let isFound = false;
  for await (const { events } of source.read({ frontier }, options)) {
    onProgress();
    isFound ||= events.some((event) => event.eventId === eventId);
  }
  return isFound;
}

/** Reads the time of the oldest event that the source shows; `undefined` if it shows none. */
export async function findHead(
  source: Pick<Source, 'read'>,
  { signal, meter, onProgress }: SearchOptions,
): Promise<bigint | undefined> {
  const options = { pageSize: SEARCH_PAGE_SIZE, concurrency: 1, signal, meter };
  for await (const { events } of source.read({ frontier: undefined }, options)) {
    onProgress();
    const oldest = events[0]?.event.createdOnTicks;
    if (oldest !== undefined) return oldest;
  }
  return undefined;
}
