/** The state of completeness in words, the same for `status`, the page and the verdict. The state itself comes from audit.completeness. */
import type { Completeness, OrganizationStatus } from '../postgres/read/status.ts';
import { count, describeInstant, describeWhen } from '../text/format.ts';

/** The states, without the number of a copy that is complete but for N events. */
export const STATES = ['complete', 'not proven', 'complete but for N', 'source changed', 'gap'] as const;
export type State = (typeof STATES)[number];

/** `complete but for 7` is `complete but for N`. A state that this version does not know is not proven. */
export function kindOf({ state }: Pick<Completeness, 'state'>): State {
  const kind = state.replace(/^(complete but for) \d+$/, '$1 N');
  return STATES.find((known) => known === kind) ?? 'not proven';
}

/** `complete`, or `not proven: the list is moving`. */
export function describeState(completeness: Completeness): string {
  return completeness.state + describeReason(completeness);
}

/** What the last count found and what to do about it. */
export function explainState({ completeness }: OrganizationStatus, now: Date): string {
  const { provenAt } = completeness;
  const because = describeReason(completeness);
  const proven = provenAt === null ? '' : ` Last proven: ${describeWhen(provenAt, now)}.`;
  switch (kindOf(completeness)) {
    case 'complete':
    case 'gap':
      return `Every event that the source showed ${provenAt ? describeWhen(provenAt, now) : 'at the last count'} is stored.`;
    case 'not proven':
      return `Not proven${because}. Each run counts again; if this lasts for a day, see docs/completeness.md.${proven}`;
    case 'complete but for N':
      return `${explainMissing(completeness)}${proven}`;
    case 'source changed':
      return (
        `Source changed${because}. It was reset, restored or replaced; stored events are kept. Check UIPATH_BASE_URL and ` +
        `UIPATH_ORGANIZATION; to accept the change, set EXPORT_ACCEPT_SOURCE to the base URL.${proven}`
      );
  }
}

/** Which events the source deleted in the last 7 days; `undefined` if none. */
export function explainGone({ completeness, goneEvents }: OrganizationStatus, now: Date): string | undefined {
  const { recentlyGone } = completeness;
  if (recentlyGone === 0) return undefined;
  const newest = goneEvents[0];
  const what = newest && [newest.category, newest.action].filter(Boolean).join(' / ');
  const details = newest
    ? ` The newest, ${what || 'an event'} of ${describeInstant(newest.createdOn)}, was noticed ${describeWhen(newest.noticedAt, now)}.`
    : '';
  return (
    `The source deleted ${count(recentlyGone, 'stored event')} in the last 7 days.${details} Behind its oldest event, only an ` +
    'administrator of the source deletes single events. The copy keeps them: bi.gone_events lists them.'
  );
}

function explainMissing(completeness: Completeness): string {
  const because = describeReason(completeness);
  const number = completeness.missing ?? 0;
  if (number < 0) {
    const subject = number === -1 ? '1 stored event is' : `${count(-number, 'stored event')} are`;
    return `${subject} not at the source${because}. Each recheck tries again; \`node dist/main.js verify\` compares all events.`;
  }
  const subject = number === 1 ? '1 event at the source is' : `${count(number, 'event')} at the source are`;
  return `${subject} not stored${because}. Each recheck tries again; \`node dist/main.js backfill\` reads everything again.`;
}

/** `: the list is moving`, or nothing. */
function describeReason({ reason }: Completeness): string {
  return reason === null ? '' : `: ${reason.replace(/\.$/, '')}`;
}
