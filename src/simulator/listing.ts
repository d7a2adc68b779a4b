import type { Misbehaviour } from './misbehaviour.ts';
import { type Random, shuffle } from './random.ts';
import type { RowList } from './rows.ts';

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
    totalCount: number;
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
    isAscending && !behaviour.shuffleTies
      ? [...list.slices(first, end, query.language)]
      : pickRows(list, query.language, {
          first,
          end,
          isAscending,
          random: behaviour.shuffleTies ? random : undefined,
        });
  const last = slices.length - 1;
  if (last >= 0) slices[last] = slices[last]!.subarray(0, -1);
  const [open, close] = how.results === 'null' ? ['null', '}'] : ['[', ']}'];
  const head = Buffer.from(`${behaviour.bom ? '\ufeff' : ''}{"totalCount":${totalCount},"results":${open}`);
  return { body: Buffer.concat([head, ...slices, Buffer.from(close)]), rows: end - first };
}

/** Returns the rows at `[first, end)` in the requested order; ties are shuffled if there is a `random`. */
function pickRows(
  list: RowList,
  language: string,
  {
    first,
    end,
    isAscending,
    random,
  }: { first: number; end: number; isAscending: boolean; random: Random | undefined },
): Buffer[] {
  if (first === end) return [];
  const from = isAscending ? first : list.length - end;
  const to = isAscending ? end : list.length - first;
  const [low, high] = random ? widenToTies(list, from, to) : [from, to];
  const rows = [...list.rows(low, high, language)];
  if (random) {
    for (let start = 0; start < rows.length; ) {
      let next = start + 1;
      while (next < rows.length && rows[next]!.ticks === rows[start]!.ticks) next++;
      if (next - start > 1) {
        const group = rows.slice(start, next);
        shuffle(random, group);
        rows.splice(start, group.length, ...group);
      }
      start = next;
    }
  }
  const picked = rows.slice(from - low, to - low).map((row) => row.bytes);
  return isAscending ? picked : picked.reverse();
}

/** Extends the range to whole tie groups: a group across a page boundary is shuffled as a whole, so a row may be on both pages. */
function widenToTies(list: RowList, from: number, to: number): [number, number] {
  let low = from;
  let high = to;
  const [lowTicks, highTicks] = [list.ticksAt(from), list.ticksAt(to - 1)];
  while (low > 0 && list.ticksAt(low - 1) === lowTicks) low--;
  while (high < list.length && list.ticksAt(high) === highTicks) high++;
  return [low, high];
}
