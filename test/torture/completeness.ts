/** Whether what the program says about completeness is true, by when the source showed which row. Shares no code with the program. */

/** A time in which the source showed a row. `fields` are the row's fields as one text, the same for each form of an event. */
export interface Shown {
  fields: string;
  ticks: bigint | undefined;
  from: number;
  /** `undefined`: it is shown now. */
  to: number | undefined;
  isRetention: boolean;
  /** The source shows the event in another form since. */
  isRewritten?: boolean;
}

/** A current row. */
export interface Stored {
  fields: string;
  /** The run that stored it first, in any form. */
  runId: bigint;
}

/** A row of audit.gone_events. */
export interface Gone {
  fields: string;
  state: string;
  /** The run that suspected it first. */
  suspectedRunId: bigint;
}

export interface Facts {
  spans: readonly Shown[];
  stored: readonly Stored[];
  gone: readonly Gone[];
}

/** The state `complete`, as it was seen while the round was on. */
export interface Claim {
  /** `audit.watermarks.proven_at`. */
  provenAt: number;
  seenAt: number;
  /** The run that claimed it. */
  runId: bigint;
}

const TICKS_PER_MILLISECOND = 10_000n;

/** Events noted as gone that the source still shows, or that only retention deleted. */
export function findFalselyGone({ spans, stored, gone }: Facts): string[] {
  const marked = countBy(gone.filter(({ state }) => state === 'gone'));
  const all = countBy(stored);
  const shown = countBy(spans.filter(({ to }) => to === undefined));
  const deleted = countBy(spans.filter(isDeletedInside));
  return [...marked].flatMap(([fields, count]) => {
    const missing = (all.get(fields) ?? 0) - (shown.get(fields) ?? 0);
    const allowed = Math.min(missing, deleted.get(fields) ?? 0);
    return Array<string>(Math.max(0, count - Math.max(0, allowed))).fill(fields);
  });
}

/** Stored events that were deleted behind the head, and are not noted as gone. Leaves out those that may have aged out. */
export function findUnnoticed({ spans, stored, gone }: Facts): string[] {
  const noted = countBy(gone.filter(({ state }) => state === 'gone'));
  const all = countBy(stored);
  const open = spans.filter(({ to }) => to === undefined);
  const shown = countBy(open);
  const isBehindHead = createHeadCheck(open);
  const deleted = countBy(spans.filter((span) => isDeletedInside(span) && isBehindHead(span)));
  return [...deleted].flatMap(([fields, count]) => {
    const missing = (all.get(fields) ?? 0) - (shown.get(fields) ?? 0);
    const expected = Math.min(count, missing) - (noted.get(fields) ?? 0);
    return Array<string>(Math.max(0, expected)).fill(fields);
  });
}

/** Stored events that the source deleted other than by retention: so many, whether they were noticed or not. */
export function countDeletedInside({ spans, stored }: Pick<Facts, 'spans' | 'stored'>): number {
  const all = countBy(stored);
  return spans.filter((span) => isDeletedInside(span) && all.has(span.fields)).length;
}

/**
 * Claims that were false: the source had shown a row since before the claim was proven, it shows it still, and the claiming run
 * had not stored it. A row that came late and another one that was deleted, both unseen, cancel in the count: so many are no fault.
 */
export function findFalseClaims(claims: readonly Claim[], facts: Facts): string[] {
  return claims.flatMap((claim) => {
    const missing = missingAt(claim, facts);
    if (missing.length <= countUnnoticedAt(claim, facts)) return [];
    return missing.map((fields) => `run ${claim.runId} said "complete" without ${fields}`);
  });
}

function missingAt({ provenAt, seenAt, runId }: Claim, { spans, stored }: Facts): string[] {
  const before = Math.min(provenAt, seenAt);
  const shown = countBy(spans.filter(({ from, to }) => from < before && to === undefined));
  const known = countBy(stored.filter((row) => row.runId <= runId));
  return [...shown].flatMap(([fields, count]) =>
    Array<string>(Math.max(0, count - (known.get(fields) ?? 0))).fill(fields),
  );
}

function countUnnoticedAt({ seenAt, runId }: Claim, { spans, stored, gone }: Facts): number {
  const known = countBy(stored.filter((row) => row.runId <= runId));
  const noticed = countBy(gone.filter(({ suspectedRunId }) => suspectedRunId <= runId));
  const deleted = countBy(spans.filter((span) => isDeletedInside(span) && span.to! <= seenAt));
  return [...deleted].reduce((sum, [fields, count]) => {
    const stale = Math.min(count, known.get(fields) ?? 0) - (noticed.get(fields) ?? 0);
    return sum + Math.max(0, stale);
  }, 0);
}

function isDeletedInside({ to, isRetention, isRewritten }: Shown): boolean {
  return to !== undefined && !isRetention && !isRewritten;
}

/** Events of which more rows are current than the source ever had: a row was not recognized in another form. */
export function findDoubled({ spans, stored }: Pick<Facts, 'spans' | 'stored'>): string[] {
  const events = countBy(spans.filter(({ isRewritten }) => !isRewritten));
  return [...countBy(stored)].flatMap(([fields, count]) =>
    Array<string>(Math.max(0, count - (events.get(fields) ?? 0))).fill(fields),
  );
}

/**
 * Whether two groups that are shown now stood in front of the row when it was deleted. With fewer it may have aged out: rows that
 * are missing right behind the oldest group count as deleted by retention.
 */
function createHeadCheck(open: readonly Shown[]): (span: Shown) => boolean {
  const sorted = open
    .flatMap(({ ticks, from }) => (ticks === undefined ? [] : { group: groupOf(ticks), from }))
    .sort((a, b) => (a.group < b.group ? -1 : a.group > b.group ? 1 : 0));
  return ({ ticks, to }) => {
    const groups = new Set<bigint>();
    for (const { group, from } of sorted) {
      if (ticks === undefined || group >= groupOf(ticks)) return false;
      if (from < to!) groups.add(group);
      if (groups.size === 2) return true;
    }
    return false;
  };
}

/** Ticks of year 1 count from zero here, so that the division cuts down. */
function groupOf(ticks: bigint): bigint {
  return (ticks + 10n ** 18n) / TICKS_PER_MILLISECOND;
}

function countBy(rows: Iterable<{ fields: string }>): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { fields } of rows) counts.set(fields, (counts.get(fields) ?? 0) + 1);
  return counts;
}
