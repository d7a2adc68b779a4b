/**
 * Compares the rank of the newest group at the source with the number of stored rows in front of it. Where they differ, asks again,
 * because the list may have moved in between, and then searches for the difference.
 */
import { type Head, readHead } from './head.ts';
import { readEnd } from './read.ts';
import { search } from './search.ts';
import { count, type ListEnd, type RankRun, type Step } from './steps.ts';

const MAX_ROUNDS = 6;
/** End and head are requested again this often before the list counts as moving. */
const MAX_REPEATS = 2;
const MAX_SEARCHES = 3;

export type Verdict =
  | { kind: 'proven'; end: ListEnd }
  | { kind: 'empty' }
  /** The list has rows, and none of them is readable. */
  | { kind: 'unreadable' }
  | { kind: 'moving' }
  | { kind: 'large group' }
  /** The source lists `missing` rows more than are stored. */
  | { kind: 'difference'; missing: number; isConfined: boolean }
  | { kind: 'unknown' };

/** `remembered`: a difference that an earlier run could not resolve. It is not searched again. */
export function* prove(run: RankRun, firstEnd: ListEnd, remembered: number | undefined): Step<Verdict> {
  let end = firstEnd;
  let earlier: { head: bigint; offset: number } | undefined;
  let differences: number[] = [];
  let repeats = 0;
  let searches = 0;
  let isConfined = false;
  for (let round = 0; round < MAX_ROUNDS; round++) {
    if (!end.newest) return { kind: end.page.rows.length > 0 ? 'unreadable' : 'empty' };
    const head = yield* readHead(run);
    run.headOffset = head.offset;
    const difference = yield* compareRanks(run, end, head);
    if (difference === 0 && isValid(run, end)) {
      return end.newest.isChained ? { kind: 'large group' } : { kind: 'proven', end };
    }
    if (difference !== 0 && difference === remembered)
      return { kind: 'difference', missing: difference, isConfined: true };
    const lost = earlier === undefined ? Number.POSITIVE_INFINITY : yield* lostAtHead(run, earlier, head);
    earlier = { head: run.head, offset: head.offset };
    differences.push(difference);
    // What the head has lost between the two requests looks like missing rows.
    if (difference > 0 && difference <= lost) {
      if (repeats++ >= MAX_REPEATS) return { kind: 'moving' };
      end = yield* askAgain(run, end);
      continue;
    }
    const isRepeated = repeats >= MAX_REPEATS || differences.at(-1) === differences.at(-2);
    if (difference !== 0 && differences.length >= 2 && isRepeated && searches < MAX_SEARCHES) {
      searches += 1;
      differences = [];
      repeats = 0;
      if (!Number.isFinite(difference)) return { kind: 'unknown' };
      const found = yield* search(run, { ...end.newest, offset: end.newest.offset! }, head.offset);
      isConfined = found.isConfined;
      if (!found.hasNews) return { kind: 'difference', missing: difference, isConfined };
    } else if (repeats++ >= MAX_REPEATS && difference !== 0 && searches >= MAX_SEARCHES) {
      return { kind: 'difference', missing: difference, isConfined };
    }
    end = yield* askAgain(run, end);
  }
  return { kind: 'unknown' };
}

/** How many rows more the source lists between the head instant and the newest group than are stored; NaN: unknown. */
function* compareRanks(run: RankRun, { newest }: ListEnd, head: Head): Step<number> {
  if (!newest) return Number.NaN;
  const isBehindHead = newest.place <= run.head;
  if (head.isWhole || head.isEmpty) return isBehindHead ? 0 : Number.NaN;
  if (newest.offset === undefined) return Number.NaN;
  if (isBehindHead) return 0;
  const [stored] = yield* count(run.head, [newest.place]);
  return newest.offset - head.offset - stored!;
}

/** Whether the count mixes no responses of different moments: no row in front of the newest group has become known since. */
function isValid({ changes }: RankRun, { newest }: ListEnd): boolean {
  const { page, place: newestPlace } = newest!;
  return !changes.some(
    ({ sent, received, place }) => sent !== page.sent && received > page.sent && place < newestPlace,
  );
}

function* lostAtHead(run: RankRun, earlier: { head: bigint; offset: number }, head: Head): Step<number> {
  const [passed] = yield* count(earlier.head, [run.head + 1n]);
  return Math.max(0, earlier.offset + passed! - head.offset);
}

function* askAgain(run: RankRun, { newest }: ListEnd): Step<ListEnd> {
  return yield* readEnd(run, newest && { place: newest.place, offset: newest.offset ?? newest.page.skip });
}
