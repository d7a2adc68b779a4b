/** Stores where the source lists rejected rows, and how often: a count includes them. */
import type { PlacedRejectedRow } from '../../core/event.ts';
import type { LogKey } from '../../core/log-key.ts';
import { afterPlace } from '../../core/place.ts';
import type { Shown } from '../../core/store.ts';
import { MAX_TICKS } from '../../core/ticks.ts';
import type { Client } from '../connection/pool.ts';
import { hashOfRejected } from './rejected.ts';
import { FIND_UNPLACED, PLACE_REJECTED } from './span-statements.ts';

/** Later than every event. */
export const OPEN_TICKS = afterPlace(MAX_TICKS);

/** Returns the oldest place at which a rejected row was not counted. */
export async function placeRejected(
  client: Client,
  { organization, log }: LogKey,
  shown: Shown,
): Promise<bigint | undefined> {
  const placed = countPlaces(shown.rejected);
  const others = countPlaces(shown.others.rejected);
  const all = [...placed, ...others];
  const { rows } = await client.query<{ ticks: string | null }>(FIND_UNPLACED, [
    organization,
    log,
    ...columnsOfPlaces(all),
  ]);
  await client.query(PLACE_REJECTED, [
    organization,
    log,
    shown.span?.from.toString() ?? null,
    shown.span ? (shown.span.to ?? OPEN_TICKS).toString() : null,
    ...columnsOfPlaces(placed),
    ...columnsOfPlaces(others),
  ]);
  const oldest = rows[0]!.ticks;
  return oldest === null ? undefined : BigInt(oldest);
}

interface RejectedPlace {
  place: bigint;
  hash: Buffer;
  times: number;
}

/** How often each row is shown at each place. */
function countPlaces(rows: readonly PlacedRejectedRow[]): RejectedPlace[] {
  const places = new Map<string, RejectedPlace>();
  for (const row of rows) {
    if (row.place === undefined) continue;
    const digest = hashOfRejected(row);
    const name = `${row.place} ${digest.toString('hex')}`;
    const found = places.get(name);
    if (found) found.times += 1;
    else places.set(name, { place: row.place, hash: digest, times: 1 });
  }
  return [...places.values()];
}

function columnsOfPlaces(places: readonly RejectedPlace[]): unknown[][] {
  return [
    places.map(({ place }) => place.toString()),
    places.map(({ hash: digest }) => digest),
    places.map(({ times }) => times),
  ];
}

/** The text of DIGEST_SPAN for these rows. */
export function placesText(rows: readonly PlacedRejectedRow[]): string {
  return countPlaces(rows)
    .map(({ place, hash: digest, times }) => ({ place, text: `${place} ${digest.toString('hex')} ${times}` }))
    .sort((a, b) => (a.place < b.place ? -1 : a.place > b.place ? 1 : a.text < b.text ? -1 : 1))
    .map(({ text }) => text)
    .join(',');
}
