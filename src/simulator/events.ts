import { KINDS, type Kind, PRODUCTS, personOf, policy } from './kinds.ts';
import { below, createRandom, type Random } from './random.ts';

/** A row with the nine documented fields, in the documented order. It has no id. */
export interface EventRow {
  createdOn: string;
  category: string | null;
  action: string | null;
  auditLogDetails: string | null;
  userName: string | null;
  email: string | null;
  message: string | null;
  detailsVersion: string | null;
  source: string | null;
}

/** The documented kinds of event. */
export type EventKind = keyof typeof KINDS;

export const EVENT_KINDS = Object.keys(KINDS) as EventKind[];

/** Rows that one "Deploy To User" writes with the same `createdOn`: one per product. */
export const DEPLOY_BURST = PRODUCTS.length;

/** Number of different rows of the kind for one seed, ignoring their time. */
export function variantsOf(kind: EventKind): number {
  return KINDS[kind].variants;
}

interface EventOptions {
  /** Default 1. */
  seed?: number;
  /** Selects one of the kind's rows; any whole number, default 0. */
  variant?: number;
  /** Default: that of the login in UiPath's sample, `2021-10-14T13:10:15.1964174+00:00`. */
  createdOn?: string;
  /** Language of the message; default `en`, also for an unknown language. */
  language?: string;
  /** Approximate size of a policy's details; default 6,000. */
  policyBytes?: number;
  /** Approximate size of the details, if they would be smaller. */
  detailsBytes?: number | undefined;
}

/** Creates a realistic row of the kind. The same options give the same row; only `message` depends on the language. */
export function makeEvent(kind: EventKind, options: EventOptions = {}): EventRow {
  const { seed = 1, variant = 0, language = 'en', policyBytes = 6_000, detailsBytes = 0 } = options;
  const { category, action, source, variants, messages, draft }: Kind = KINDS[kind];
  const random = createRandom(seed, EVENT_KINDS.indexOf(kind), variant);
  const { details, names } = draft(random, variant % variants, policyBytes);
  const actor = kind === 'login' ? personOf(variant % variants) : personOf(below(random, 25));
  return {
    createdOn: options.createdOn ?? '2021-10-14T13:10:15.1964174+00:00',
    category,
    action,
    auditLogDetails: detailsText(detailsBytes > 0 ? enlarge(random, details, detailsBytes) : details),
    ...actor,
    message: (messages[language] ?? messages.en).replace(
      /\{(\d)\}/g,
      (_, index) => names[Number(index)] ?? '',
    ),
    detailsVersion: '1.0',
    source,
  };
}

/** Formats JSON like UiPath's `auditLogDetails`: indented by one space, CRLF. */
export function detailsText(details: unknown): string {
  return JSON.stringify(details, null, 1).replaceAll('\n', '\r\n');
}

/** The details with a policy in them, so that they have about `bytes` bytes. */
function enlarge(random: Random, details: unknown, bytes: number): unknown {
  const missing = bytes - detailsText(details).length;
  // Formatted for people, a policy has half as many bytes again.
  return missing > 0 ? { ...(details as object), policy: policy(random, 'Heavy', missing / 1.5) } : details;
}
