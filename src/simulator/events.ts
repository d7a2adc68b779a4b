import { KINDS, type Kind, PRODUCTS, personOf } from './kinds.ts';
import { below, createRandom } from './random.ts';

/** A row as UiPath documents it: nine fields, in the documented order, and no id. */
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

/** The documented kinds of event that can be made. */
export type EventKind = keyof typeof KINDS;

export const EVENT_KINDS = Object.keys(KINDS) as EventKind[];

/** One row of the kind for each product: what one "Deploy To User" writes with one `createdOn`. */
export const DEPLOY_BURST = PRODUCTS.length;

/** How many different rows of the kind exist for one seed, their time aside. */
export function variantsOf(kind: EventKind): number {
  return KINDS[kind].variants;
}

interface EventOptions {
  /** Default 1. */
  seed?: number;
  /** Which of the kind's rows; any whole number, default 0. */
  variant?: number;
  /** Default the login's of UiPath's own sample, `2021-10-14T13:10:15.1964174+00:00`. */
  createdOn?: string;
  /** What the message is written in; default `en`, also for a language that is not known. */
  language?: string;
  /** About how long a policy's details are; default 6,000. */
  policyBytes?: number;
}

/** A realistic row of the kind: the same options give the same row. Only `message` depends on the language. */
export function makeEvent(kind: EventKind, options: EventOptions = {}): EventRow {
  const { seed = 1, variant = 0, language = 'en', policyBytes = 6_000 } = options;
  const { category, action, source, variants, messages, draft }: Kind = KINDS[kind];
  const random = createRandom(seed, EVENT_KINDS.indexOf(kind), variant);
  const { details, names } = draft(random, variant % variants, policyBytes);
  const actor = kind === 'login' ? personOf(variant % variants) : personOf(below(random, 25));
  return {
    createdOn: options.createdOn ?? '2021-10-14T13:10:15.1964174+00:00',
    category,
    action,
    auditLogDetails: detailsText(details),
    ...actor,
    message: (messages[language] ?? messages.en).replace(
      /\{(\d)\}/g,
      (_, index) => names[Number(index)] ?? '',
    ),
    detailsVersion: '1.0',
    source,
  };
}

/** JSON as UiPath's server writes it into `auditLogDetails`: one space a level, CRLF. */
export function detailsText(details: unknown): string {
  return JSON.stringify(details, null, 1).replaceAll('\n', '\r\n');
}
