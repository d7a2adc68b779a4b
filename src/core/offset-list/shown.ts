/** Converts the rows of a page to what the store compares: events with identity, and rejected rows with their places. */
import type { AuditEvent, PlacedRejectedRow } from '../event.ts';
import { type IdentifiedEvent, identifyGroup } from '../identity.ts';
import { placeOfTicks } from '../place.ts';
import type { Shown } from '../store.ts';
import type { PageResult } from './frontier.ts';
import type { Page } from './page.ts';
import type { PartialGroup } from './places.ts';

/** Exact bounds in ticks; rows outside of them are left out. */
interface Bounds {
  from: bigint | undefined;
  until: bigint | undefined;
}

export function shownBy(
  { span, groups, others }: Pick<PageResult, 'span' | 'groups' | 'others'>,
  page: Page,
  bounds: Bounds = { from: undefined, until: undefined },
): Shown {
  const { from, until } = bounds;
  const isBounded = from !== undefined || until !== undefined;
  const isWithin = ({ event, place }: { event?: AuditEvent; place?: bigint | undefined }) => {
    const ticks = event?.createdOnTicks ?? place;
    return (
      ticks === undefined || ((from === undefined || ticks >= from) && (until === undefined || ticks < until))
    );
  };
  const rows = identifyGroups(groups);
  const rest = identifyGroups(others);
  const within = <T extends { event?: AuditEvent; place?: bigint | undefined }>(list: T[]) =>
    isBounded ? list.filter(isWithin) : list;
  return {
    span: span && boundSpan(span, bounds),
    events: within(rows.events),
    rejected: within(rows.rejected),
    others: { events: within(rest.events), rejected: within(rest.rejected) },
    oldest: page.skip === 0 ? oldestOf(page) : undefined,
  };
}

function boundSpan(span: NonNullable<Shown['span']>, { from, until }: Bounds): Shown['span'] {
  const start = from !== undefined && from > span.from ? from : span.from;
  const end = until !== undefined && (span.to === undefined || until < span.to) ? until : span.to;
  return end !== undefined && start >= end ? undefined : { from: start, to: end };
}

function identifyGroups(groups: readonly PartialGroup[]): {
  events: IdentifiedEvent[];
  rejected: PlacedRejectedRow[];
} {
  const events: IdentifiedEvent[] = [];
  const rejected: PlacedRejectedRow[] = [];
  for (const { place, rows } of groups) {
    const eventsOfGroup: AuditEvent[] = [];
    for (const row of rows) {
      if (row.event) eventsOfGroup.push(row.event);
      else rejected.push({ ...row.rejected, place });
    }
    for (const event of identifyGroup(inOrder(eventsOfGroup))) events.push(event);
  }
  return { events, rejected };
}

/** Sorted by ticks: the source may order the rows of a millisecond in any way. */
function inOrder(events: AuditEvent[]): AuditEvent[] {
  for (let i = 1; i < events.length; i++) {
    if (events[i]!.createdOnTicks < events[i - 1]!.createdOnTicks) {
      return events.sort((a, b) =>
        a.createdOnTicks < b.createdOnTicks ? -1 : a.createdOnTicks > b.createdOnTicks ? 1 : 0,
      );
    }
  }
  return events;
}

function oldestOf({ rows }: Page): bigint | undefined {
  const first = rows.find(({ ticks }) => ticks !== undefined);
  return first && placeOfTicks(first.ticks!);
}
