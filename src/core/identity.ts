/**
 * Identity: the source gives its events no id, so one is computed from what never changes about an event.
 *
 * - `eventId` is the first 128 bits of SHA-256 over a canonical encoding of ticks, source, category, action,
 *   detailsVersion, auditLogDetails and an ordinal.
 * - The ordinal counts the rows of one tie group that are equal in all of these, so that byte-identical twins stay two
 *   events. It follows the rows' content, not their place: a source may give ties in any order.
 * - `message`, `userName`, `email` and unknown fields may change between two reads and are no part of it.
 */
import { hash } from 'node:crypto';
import type { AuditEvent } from './event.ts';

/** An event with the identity it has inside its tie group. */
export interface IdentifiedEvent {
  event: AuditEvent;
  /** 128 bits in UUID notation, lower case. No version bits: it is a digest. */
  eventId: string;
  /** 0 for the first of the rows that are equal in identity, 1 for the second, and so on. */
  ordinal: number;
}

export type IdentityFields = Pick<
  AuditEvent,
  'createdOnTicks' | 'source' | 'category' | 'action' | 'detailsVersion' | 'auditLogDetails'
>;

/**
 * The id of an event: SHA-256 of the JSON array of its identity fields and ordinal, cut to 128 bits. JSON keeps `null`
 * and `""` apart, and JSON.stringify writes every string one way, lone surrogates included (as `\ud800`).
 */
export function eventIdOf(event: IdentityFields, ordinal: number): string {
  const hex = hash('sha256', canonicalText(event, ordinal), 'hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20, 32)}`;
}

/** Gives each event of one complete tie group its identity. The result does not depend on the order of `group`. */
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
