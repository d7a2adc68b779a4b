/**
 * Identity: the source's events have no id, so one is computed from the fields of an event that never change.
 *
 * - `eventId` is the first 128 bits of SHA-256 over a canonical encoding of ticks, source, category, action,
 *   detailsVersion, auditLogDetails and an ordinal.
 * - The ordinal numbers the rows of one tie group that are equal in all of these, so that byte-identical twins stay two
 *   events. It depends on the rows' content, not their position: a source may return ties in any order.
 * - `message`, `userName`, `email` and unknown fields may change between two reads and are not part of the identity.
 */
import { hash } from 'node:crypto';
import type { AuditEvent } from './event.ts';

/** An event with its identity within its tie group. */
export interface IdentifiedEvent {
  event: AuditEvent;
  /** 128 bits in UUID notation, lower case. A digest: it has no version bits. */
  eventId: string;
  /** 0 for the first row of an identity, 1 for its first twin, and so on. */
  ordinal: number;
}

export type IdentityFields = Pick<
  AuditEvent,
  'createdOnTicks' | 'source' | 'category' | 'action' | 'detailsVersion' | 'auditLogDetails'
>;

/**
 * The id of an event: SHA-256 of the JSON array of its identity fields and ordinal, truncated to 128 bits. JSON distinguishes
 * `null` from `""`, and JSON.stringify is deterministic for every string, including lone surrogates (as `\ud800`).
 */
export function eventIdOf(event: IdentityFields, ordinal: number): string {
  const hex = hash('sha256', canonicalText(event, ordinal), 'hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20, 32)}`;
}

/** Computes the identity of each event of one complete tie group. The result does not depend on the order of `group`. */
export function identifyGroup(group: readonly AuditEvent[]): IdentifiedEvent[] {
  if (group.length === 1) return [identified(group[0]!, 0)];
  const twinsByIdentity = new Map<string, AuditEvent[]>();
  for (const event of group) {
    const identity = canonicalText(event, 0);
    const twins = twinsByIdentity.get(identity);
    if (twins) twins.push(event);
    else twinsByIdentity.set(identity, [event]);
  }
  return [...twinsByIdentity.values()].flatMap((twins) => numberTwins(twins));
}

function numberTwins(twins: AuditEvent[]): IdentifiedEvent[] {
  if (twins.length === 1) return [identified(twins[0]!, 0)];
  return twins
    .map((event) => ({ event, content: changeableText(event) }))
    .sort((a, b) => (a.content < b.content ? -1 : a.content > b.content ? 1 : 0))
    .map(({ event }, ordinal) => identified(event, ordinal));
}

function identified(event: AuditEvent, ordinal: number): IdentifiedEvent {
  return { event, eventId: eventIdOf(event, ordinal), ordinal };
}

function canonicalText(event: IdentityFields, ordinal: number): string {
  return JSON.stringify([
    event.createdOnTicks.toString(),
    event.source,
    event.category,
    event.action,
    event.detailsVersion,
    event.auditLogDetails,
    ordinal,
  ]);
}

function changeableText(event: AuditEvent): string {
  return JSON.stringify([
    event.userName,
    event.email,
    event.message,
    event.extra,
    event.createdOnRaw,
    event.raw,
  ]);
}
