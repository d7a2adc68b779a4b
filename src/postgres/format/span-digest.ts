/** Digests of the events of a span: PostgreSQL computes the same from the stored rows, so that equal rows need not be read. */
import { hash } from 'node:crypto';
import type { AuditEvent } from '../../core/event.ts';
import type { IdentifiedEvent } from '../../core/identity.ts';
import { floorToMicrosecond } from '../../core/ticks.ts';

/** An event whose columns contain all of it. */
export function isPlainEvent({ event }: { event: AuditEvent }): boolean {
  return event.extra === null && event.raw === null;
}

/** SHA-256, in hex, of a JSON array for each event, in the order of the table's key: its id, and the fields that may change. */
export function digestOf(events: readonly IdentifiedEvent[]): string {
  const texts = [...events].sort(compareKeys).map(({ event, eventId }) => {
    return JSON.stringify([eventId, event.createdOnRaw, event.userName, event.email, event.message]);
  });
  return hash('sha256', texts.join(''), 'hex');
}

/** The array of an event as PostgreSQL writes it. */
export const CONTENT_TEXT = 'array_to_json(array[event_id::text, created_on_raw, user_name, email, message])';

/** The digest, of rows with the columns created_on, event_id and text. */
export const DIGEST_OF_TEXTS = `encode(sha256(convert_to(coalesce(string_agg(text, '' order by created_on, event_id), ''), 'UTF8')), 'hex')`;

function compareKeys(a: IdentifiedEvent, b: IdentifiedEvent): number {
  const apart = floorToMicrosecond(a.event.createdOnTicks) - floorToMicrosecond(b.event.createdOnTicks);
  if (apart !== 0n) return apart < 0n ? -1 : 1;
  return a.eventId < b.eventId ? -1 : 1;
}
