import type { Misbehaviour } from './misbehaviour.ts';
import { type Random, shuffle } from './random.ts';
import type { RowList } from './rows.ts';

const TICKS_PER_MILLISECOND = 10_000n;

interface ListQuery {
  skip: number;
  top: number | undefined;
  sortBy: string | undefined;
  sortOrder: string | undefined;
  language: string;
}

/** Parses the parameters of a list request, or returns the message of a 400 response. */
export function parseListQuery(parameters: URLSearchParams): ListQuery | string {
  const names = new Map([...parameters].map(([name, value]) => [name.toLowerCase(), value]));
  const top = names.get('top');
  const skip = names.get('skip');
  const sortOrder = names.get('sortorder');
  for (const [name, value] of Object.entries({ top, skip })) {
    if (value !== undefined && !(/^\d{1,10}$/.test(value) && Number(value) <= 2_147_483_647)) {
      return `The value '${value}' is not valid for ${name}.`;
    }
  }
  if (sortOrder !== undefined && sortOrder !== 'asc' && sortOrder !== 'desc') {
    return `The value '${sortOrder}' is not valid for sortOrder.`;
  }
  return {
    skip: Number(skip ?? 0),
    top: top === undefined ? undefined : Number(top),
    sortBy: names.get('sortby'),
    sortOrder,
    language: names.get('language') ?? 'en',
  };
}

interface Listing {
  body: Buffer;
  rows: number;
}

/** Renders the body of a list response from the current list. */
export function renderListing(
  list: RowList,
  query: ListQuery,
  how: {
    limit: number;
    totalCount: number | null | undefined;
    behaviour: Misbehaviour;
    random: Random;
    results?: 'empty' | 'null';
  },
): Listing {
  const { limit, totalCount, behaviour, random } = how;
  const isAscending = query.sortBy === 'createdOn' && query.sortOrder === 'asc' && !behaviour.ignoreSortOrder;
  const first = Math.min(query.skip, list.length);
  const end = how.results ? first : Math.min(first + limit, list.length);
  const slices =
    isAscending && !behaviour.shuffleTies && !behaviour.millisecondOrder
      ? [...list.slices(first, end, query.language)]
      : pickRows(list, query.language, {
          first,
          end,
          isAscending,
          random: behaviour.shuffleTies ? random : undefined,
          isByMillisecond: behaviour.millisecondOrder,
        });
  const last = slices.length - 1;
  if (last >= 0) slices[last] = slices[last]!.subarray(0, -1);
  const [open, close] = how.results === 'null' ? ['null', '}'] : ['[', ']}'];
  const total = totalCount === undefined ? '' : `"totalCount":${totalCount},`;
  const head = Buffer.from(`${behaviour.bom ? '\ufeff' : ''}{${total}"results":${open}`);
  return { body: Buffer.concat([head, ...slices, Buffer.from(close)]), rows: end - first };
}

/**
 * Returns the rows at `[first, end)` in the requested order. Ties are shuffled if there is a `random`; if `isByMillisecond`, the rows
 * of a millisecond are ties, in a fixed order without a `random`.
 */
function pickRows(
  list: RowList,
  language: string,
  {
    first,
    end,
    isAscending,
    random,
    isByMillisecond,
  }: {
    first: number;
    end: number;
    isAscending: boolean;
    random: Random | undefined;
    isByMillisecond: boolean;
  },
): Buffer[] {
  if (first === end) return [];
  const from = isAscending ? first : list.length - end;
  const to = isAscending ? end : list.length - first;
  const tieOf = isByMillisecond ? millisecondOf : (ticks: bigint) => ticks;
  const [low, high] = random || isByMillisecond ? widenToTies(list, from, to, tieOf) : [from, to];
  const rows = [...list.rows(low, high, language)];
  if (random || isByMillisecond) {
    for (let start = 0; start < rows.length; ) {
      let next = start + 1;
      while (next < rows.length && tieOf(rows[next]!.ticks) === tieOf(rows[start]!.ticks)) next++;
      if (next - start > 1) {
        const group = rows.slice(start, next);
        if (random) shuffle(random, group);
        else group.sort((a, b) => hashOf(a.bytes) - hashOf(b.bytes));
        rows.splice(start, group.length, ...group);
      }
      start = next;
    }
  }
  const picked = rows.slice(from - low, to - low).map((row) => row.bytes);
  return isAscending ? picked : picked.reverse();
}

/** Extends the range to whole tie groups: a group across a page boundary is shuffled as a whole, so a row may be on both pages. */
function widenToTies(
  list: RowList,
  from: number,
  to: number,
  tieOf: (ticks: bigint) => bigint,
): [number, number] {
  let low = from;
  let high = to;
  const [lowTie, highTie] = [tieOf(list.ticksAt(from)), tieOf(list.ticksAt(to - 1))];
  while (low > 0 && tieOf(list.ticksAt(low - 1)) === lowTie) low--;
  while (high < list.length && tieOf(list.ticksAt(high)) === highTie) high++;
  return [low, high];
}

/** Ticks at the start of the millisecond, also before 1970. */
function millisecondOf(ticks: bigint): bigint {
  const rest = ticks % TICKS_PER_MILLISECOND;
  return ticks - (rest < 0n ? rest + TICKS_PER_MILLISECOND : rest);
}

/** FNV-1a: an order that has nothing to do with the content. */
function hashOf(bytes: Buffer): number {
  let hash = 0x811c9dc5;
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}
