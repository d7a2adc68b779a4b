/**
 * Tries every list of a few rows and every placement of a few changes between any two requests of the runs, and checks the promises of
 * the rank rule. States that are equal after a run are merged, which makes that feasible. A prototype in plain JavaScript has checked the
 * wording of the rule in the same way; this checks the program's own code.
 */
import { BEFORE_ALL } from '../../src/core/ticks.ts';
import {
  isCounted,
  type ListRow,
  MemoryStore,
  type Respond,
  type RunResult,
  runOnce,
  ticksOf,
} from './world.ts';

export type Mode =
  | 'plain'
  | 'twins'
  | 'lag'
  | 'total-1'
  | 'total+1'
  | 'total-cap'
  | 'total-any'
  | 'rejected'
  | 'hole'
  | 'hand'
  | 'remainder'
  | 'retired'
  | 'prefetch';

export interface EnumerationOptions {
  maxRows: number;
  minRows?: number;
  changes: number;
  /** Rows in a response at most; also the page size, unless that is given. */
  cap: number;
  pageSize?: number;
  runs?: number;
  mode?: Mode;
  withScrub?: boolean;
  withoutTies?: boolean;
  ops?: readonly Op[];
  maxSeconds?: number;
  /** Histories to describe for each kind of fault. */
  describe?: number;
  /** Breaks the store, to see that the enumeration notices. */
  breakStore?: MemoryStore['fault'];
}

/** `render`: the source writes the details of one row, or of all, differently. */
export type Op = 'append' | 'late' | 'head' | 'inside' | 'newest' | 'reorder' | 'render';
const OPS: readonly Op[] = ['append', 'late', 'head', 'inside', 'newest', 'reorder'];

export type Fault =
  | 'falsely proven'
  | 'falsely gone'
  | 'not stored'
  | 'not gone'
  | 'doubled'
  | 'not proven'
  | 'endless';

export interface Enumeration {
  /** Runs with changes that were tried. */
  histories: number;
  states: number;
  proven: number;
  /** A deletion and a late row that cancel out in the count, which the scrub then finds. */
  cancelling: number;
  /** Tie groups that no page shows whole. */
  largeGroups: number;
  /**
   * Rows that retention deleted and that count as gone: a late row slipped in front of the head while retention deleted its neighbours.
   * Only a source that keeps an old row, or an unreadable one, in front gets that far.
   */
  knownLimit: number;
  maxRequests: number;
  maxQuietRequests: number;
  overBudget: number;
  faults: Record<Fault, number>;
  examples: string[];
  isComplete: boolean;
}

interface State {
  source: ListRow[];
  previous: ListRow[] | undefined;
  store: MemoryStore;
  changesLeft: number;
  lagsLeft: number;
  nextKey: number;
  /** Rows that the source deleted inside, by `time key`; rows deleted at the head by 2. */
  deleted: Map<string, 1 | 2>;
  parent?: { state: State; choices: readonly number[] };
}

type Choice = [taken: number, of: number];

export function enumerate(options: EnumerationOptions): Enumeration {
  const { runs = 2, mode = 'plain', cap, pageSize = cap, describe = 3 } = options;
  const ops = new Set(options.ops ?? OPS);
  const started = performance.now();
  const result: Enumeration = {
    ...{
      histories: 0,
      states: 0,
      proven: 0,
      cancelling: 0,
      largeGroups: 0,
      knownLimit: 0,
      maxRequests: 0,
      maxQuietRequests: 0,
    },
    overBudget: 0,
    faults: {
      'falsely proven': 0,
      'falsely gone': 0,
      'not stored': 0,
      'not gone': 0,
      doubled: 0,
      'not proven': 0,
      endless: 0,
    },
    examples: [],
    isComplete: true,
  };
  const isOverTime = () =>
    (performance.now() - started) / 1000 > (options.maxSeconds ?? Number.POSITIVE_INFINITY);

  let layer = new Map<string, State>();
  for (const state of firstStates()) layer.set(keyOf(state), state);
  for (let i = 0; i < runs; i++) {
    const next = new Map<string, State>();
    for (const state of layer.values()) {
      if (isOverTime()) {
        result.isComplete = false;
        break;
      }
      exploreRun(state, next);
    }
    layer = next;
    result.states += layer.size;
  }
  for (const state of layer.values()) {
    if (isOverTime()) {
      result.isComplete = false;
      break;
    }
    checkQuietRuns(state);
  }
  return result;

  /** Tries every sequence of choices in one run. */
  function exploreRun(state: State, next: Map<string, State>): void {
    let choices: number[] = [];
    for (;;) {
      const copy = cloneState(state);
      const { outcome, taken } = execute(copy, choices, false);
      result.histories += 1;
      if (outcome) {
        result.maxRequests = Math.max(result.maxRequests, outcome.requests);
        if (outcome.isOverBudget) result.overBudget += 1;
        checkProven(copy, outcome, state, taken);
        for (const gone of copy.store.gone) {
          if (isShown(copy, gone)) fault('falsely gone', state, taken, `${gone.time} is shown`);
          else if (copy.deleted.get(`${gone.time} ${gone.key}`) === 2)
            retentionGone(state, taken, `retention deleted ${gone.time}`);
        }
      } else fault('endless', state, taken, '');
      copy.store.gone = [];
      const key = keyOf(copy);
      if (!next.has(key)) {
        copy.parent = { state, choices: taken.map(([choice]) => choice) };
        next.set(key, copy);
      }
      let last = taken.length - 1;
      while (last >= 0 && taken[last]![0] + 1 >= taken[last]![1]) last--;
      if (last < 0) return;
      choices = [...taken.slice(0, last).map(([choice]) => choice), taken[last]![0] + 1];
    }
  }

  function execute(
    state: State,
    choices: readonly number[],
    isQuiet: boolean,
    lines?: string[],
    withScrub = options.withScrub ?? false,
  ): { outcome: (RunResult & { snapshots: Map<number, ListRow[]> }) | undefined; taken: Choice[] } {
    const taken: Choice[] = [];
    const choose = (of: number) => {
      if (of <= 1) return 0;
      const choice = choices[taken.length] ?? 0;
      taken.push([choice, of]);
      return choice;
    };
    const snapshots = new Map<number, ListRow[]>();
    let sent = 0;
    const respond: Respond = ({ skip, top }, why) => {
      while (!isQuiet && state.changesLeft > 0) {
        const possible = changesOf(state);
        const choice = choose(possible.length + 1);
        if (choice === 0) break;
        state.changesLeft -= 1;
        if (mode === 'lag') state.previous = state.source.map((row) => ({ ...row }));
        apply(state, possible[choice - 1]!);
        lines?.push(`* ${possible[choice - 1]!.join(' ')} → ${format(state.source)}`);
      }
      let list = state.source;
      if (!isQuiet && mode === 'lag' && state.previous && state.lagsLeft > 0 && choose(2) === 1) {
        list = state.previous;
        state.lagsLeft -= 1;
      }
      let totalCount = list.length;
      if (mode === 'total-1') totalCount = Math.max(0, totalCount - 1);
      else if (mode === 'total+1') totalCount += 1;
      else if (mode === 'total-cap') totalCount = Math.min(totalCount, 2);
      else if (mode === 'total-any') totalCount += choose(3) - 1;
      snapshots.set(++sent, [...list]);
      const rows = list.slice(skip, skip + Math.min(top, cap));
      lines?.push(`${why}(${skip}, ${top}) = ${format(rows)}`);
      return { rows, totalCount };
    };
    const isPrefetching = mode === 'prefetch' && !isQuiet;
    try {
      const run = runOnce(state.store, respond, { pageSize, scrubPages: withScrub ? 1 : 0, isPrefetching });
      for (const gone of state.store.events)
        if (
          !state.source.some((row) => isSame(row, gone)) &&
          !state.deleted.has(`${gone.time} ${gone.key}`) &&
          !gone.isHand
        )
          state.deleted.set(`${gone.time} ${gone.key}`, 1);
      lines?.push(
        `⇒ ${run.proof.state} after ${run.requests} requests; stored ${formatStored(state.store)}, head ${state.store.head}`,
      );
      return { outcome: { ...run, snapshots }, taken };
    } catch (error) {
      if ((error as Error).message !== 'endless' && !/contradicts itself/.test((error as Error).message))
        throw error;
      return { outcome: undefined, taken };
    }
  }

  function* firstStates(): Generator<State> {
    for (let count = options.minRows ?? 0; count <= options.maxRows; count++) {
      for (const source of listsOf(count)) yield* startsOf(source);
    }
  }

  function* listsOf(count: number): Generator<ListRow[]> {
    const masks = options.withoutTies ? 1 : 1 << Math.max(0, count - 1);
    for (let mask = 0; mask < masks; mask++) {
      let time = 16;
      yield Array.from({ length: count }, (_, i) => {
        if (i > 0 && !((mask >> (i - 1)) & 1)) time += 16;
        return { time, key: mode === 'twins' ? 0 : i, isBad: false, isKept: false };
      });
    }
  }

  function* startsOf(source: ListRow[]): Generator<State> {
    const state: State = {
      source,
      previous: undefined,
      store: Object.assign(new MemoryStore(), { fault: options.breakStore }),
      changesLeft: options.changes,
      lagsLeft: 2,
      nextKey: source.length + 1,
      deleted: new Map(),
    };
    if (mode === 'lag') state.store.settleRuns = 3;
    if (mode === 'remainder') {
      if (source.length < 2 || source[1]!.time === source[0]!.time) return;
      source[0]!.isKept = true;
    }
    if (mode === 'rejected') {
      for (let i = 0; i < source.length; i++) {
        const copy = cloneState(state);
        copy.source[i] = { ...copy.source[i]!, isBad: true };
        if (i > 0) copy.source[i]!.time = copy.source[i - 1]!.time;
        else if (source.length > 1) copy.source[0]!.time = copy.source[1]!.time;
        yield copy;
      }
      return;
    }
    // These begin after two undisturbed runs.
    if (['hole', 'hand', 'remainder', 'lag', 'retired'].includes(mode)) {
      execute(state, [], true);
      execute(state, [], true);
    }
    if (mode === 'hole') {
      for (let from = 1; from < source.length - 1; from++) {
        for (let to = from + 1; to < source.length; to++) {
          const copy = cloneState(state);
          copy.store.events = copy.store.events.filter(
            ({ time }) => !(time >= source[from]!.time && time < source[to]!.time),
          );
          yield copy;
        }
      }
      return;
    }
    if (mode === 'hand') {
      for (let i = 1; i < source.length; i++) {
        const [before, after] = [source[i - 1]!.time, source[i]!.time];
        if (before === after) continue;
        const copy = cloneState(state);
        const at = copy.store.events.findIndex(({ time }) => time >= after);
        const hand = {
          time: (before + after) / 2,
          key: 20,
          form: 0,
          ordinal: 0,
          supersededBy: undefined,
          batch: 0,
          absence: undefined,
          suspectedIn: 0,
          storedIn: -9,
          isHand: true,
        };
        copy.store.events.splice(at, 0, hand);
        yield copy;
      }
      return;
    }
    if (mode === 'retired') {
      // `retain` removed the oldest stored rows here; the source still lists them. The head instant is behind them.
      for (let n = 1; n < source.length; n++) {
        const { time } = source[n - 1]!;
        if (source[n]!.time === time) continue;
        const copy = cloneState(state);
        copy.store.events = copy.store.events.filter((event) => event.time > time);
        copy.store.head = ticksOf(time);
        yield copy;
      }
      return;
    }
    yield state;
  }

  function changesOf({ source }: State): (readonly [string, ...number[]])[] {
    const n = source.length;
    const kept = mode === 'remainder' && source[0]?.isKept ? 1 : 0;
    const changes: (readonly [string, ...number[]])[] = [];
    if (ops.has('append')) {
      changes.push(['append']);
      if (n > 0) changes.push(['append-tie']);
    }
    if (ops.has('late')) {
      for (let i = 0; i < n; i++) {
        if (i > 0 && source[i]!.time === source[i - 1]!.time) continue;
        if (!(kept && i === 0)) changes.push(['late-before', i]);
        if (source[i]!.time !== source[n - 1]!.time) changes.push(['late-tie', i]);
      }
    }
    if (ops.has('head')) {
      const most = Math.min(n - kept - (kept ? 1 : 0), 3);
      for (let count = 1; count <= most; count++) changes.push(['head', count]);
    }
    if (ops.has('inside')) {
      for (let i = 1; i < n - 1; i++) if (!source[i]!.isKept) changes.push(['inside', i]);
    }
    if (ops.has('newest') && n > 1 + kept) changes.push(['inside', n - 1]);
    if (ops.has('reorder') && mode !== 'twins') {
      for (let i = 0; i < n; ) {
        let j = i + 1;
        while (j < n && source[j]!.time === source[i]!.time) j++;
        const isReadable = source.slice(i, j).every(({ isBad }) => !isBad);
        if (j - i > 1 && isReadable) changes.push(['rotate', i, j]);
        if (j - i > 2 && isReadable) changes.push(['swap', i]);
        i = j;
      }
    }
    if (ops.has('render') && n > 0) {
      changes.push(['render', 0, n]);
      for (let i = 0; i < n && n > 1; i++) changes.push(['render', i, i + 1]);
    }
    if (mode === 'rejected' && n > 0) changes.push(['append-bad'], ['late-bad']);
    return changes;
  }

  function apply(state: State, [kind, a = 0, b = 0]: readonly [string, ...number[]]): void {
    const { source } = state;
    const n = source.length;
    const row = (time: number, isBad = false): ListRow => ({
      time,
      key: mode === 'twins' ? 0 : state.nextKey++,
      isBad,
      isKept: false,
    });
    const remove = (at: number, count: number, how: 1 | 2) => {
      for (const { time, key, isBad } of source.splice(at, count)) {
        if (!isBad) state.deleted.set(`${time} ${key}`, how);
      }
    };
    const newest = () => {
      const gone = [...state.deleted.keys()].map((name) => Number.parseFloat(name));
      return Math.max(
        0,
        ...source.map(({ time }) => time),
        ...state.store.events.map(({ time }) => time),
        ...gone,
      );
    };
    if (kind === 'append') source.push(row((n > 0 ? source[n - 1]!.time : newest()) + 16));
    else if (kind === 'append-tie') source.push(row(source[n - 1]!.time));
    else if (kind === 'append-bad') source.push(row(source[n - 1]!.time, true));
    else if (kind === 'late-bad') source.splice(1, 0, row(source[0]!.time, true));
    else if (kind === 'late-before') {
      const after = source[a]!.time;
      const before = a > 0 ? source[a - 1]!.time : after - 16;
      source.splice(a, 0, row((before + after) / 2));
    } else if (kind === 'late-tie') {
      let at = a;
      while (at < n && source[at]!.time === source[a]!.time) at++;
      source.splice(at, 0, row(source[a]!.time));
    } else if (kind === 'head') remove(source[0]?.isKept ? 1 : 0, a, 2);
    else if (kind === 'inside') remove(a, 1, 1);
    else if (kind === 'rotate') source.splice(b - 1, 0, ...source.splice(a, 1));
    else if (kind === 'render') {
      for (let i = a; i < b; i++)
        source[i] = { ...source[i]!, form: 1 - (source[i]!.form ?? 0), row: undefined };
    } else if (kind === 'swap') source.splice(a, 2, source[a + 1]!, source[a]!);
  }

  function isSame(row: ListRow, { time, key }: { time: number; key: number }): boolean {
    return !row.isBad && row.time === time && row.key === key;
  }

  function isShown({ source, store }: State, event: { time: number; key: number }): boolean {
    if (mode !== 'twins') return source.some((row) => isSame(row, event));
    const shown = source.filter((row) => isSame(row, event)).length;
    return (
      shown >
      store.events.filter(
        ({ time, absence, supersededBy }) => time === event.time && absence !== 'gone' && !supersededBy,
      ).length
    );
  }

  /** What the proof claims must be stored. */
  function checkProven(
    state: State,
    outcome: RunResult & { snapshots: Map<number, ListRow[]> },
    parent: State,
    taken: Choice[],
  ): void {
    const { proof, end } = outcome;
    if (proof.state !== 'complete' || !end?.newest) return;
    result.proven += 1;
    const { store, source } = state;
    const newestTime = Number(end.newest.place) / 10_000;
    const snapshot = outcome.snapshots.get(outcome.requestAt.get(end.newest.page.sent)!)!;
    const head = store.head ?? BEFORE_ALL;
    const isClaimed = (row: ListRow) =>
      row.time < newestTime &&
      (ticksOf(row.time) > head || source.some(({ time, key }) => time === row.time && key === row.key));
    const missing = missingOf(stillListed(snapshot.filter(isClaimed), state), store);
    if (missing.length === 0) return;
    const ghosts =
      store.events.filter(
        ({ time, key, absence }) =>
          absence === undefined &&
          ticksOf(time) > head &&
          time < newestTime &&
          !snapshot.some((row) => isSame(row, { time, key })),
      ).length + ghostTwins(store, snapshot, head, newestTime);
    const deep = missing.filter(({ time }) => ticksOf(time) > head);
    if (deep.length === missing.length && ghosts >= missing.length) result.cancelling += 1;
    else
      fault('falsely proven', parent, taken, `not stored: ${format(missing)}; list then ${format(snapshot)}`);
  }

  /** Without the twins at or before the head instant that the source has deleted since. */
  function stillListed(rows: ListRow[], { source, store }: State): ListRow[] {
    if (mode !== 'twins') return rows;
    return rows.filter((row, i) => {
      if (ticksOf(row.time) > (store.head ?? BEFORE_ALL)) return true;
      const before = rows.slice(0, i).filter(({ time }) => time === row.time).length;
      return before < source.filter(({ time }) => time === row.time).length;
    });
  }

  function ghostTwins(
    store: MemoryStore,
    snapshot: readonly ListRow[],
    head: bigint,
    newestTime: number,
  ): number {
    if (mode !== 'twins') return 0;
    let ghosts = 0;
    for (const time of new Set(store.events.map((event) => event.time))) {
      if (ticksOf(time) <= head || time >= newestTime) continue;
      const stored = store.events.filter((event) => event.time === time && isCounted(event)).length;
      const shown = snapshot.filter((row) => row.time === time).length;
      if (shown > 0) ghosts += Math.max(0, stored - shown);
    }
    return ghosts;
  }

  function missingOf(rows: readonly ListRow[], store: MemoryStore): ListRow[] {
    return rows.filter((row, i) => {
      if (row.isBad) return !store.kept.has(`bad ${row.key}`);
      const before = rows.slice(0, i).filter((other) => isSame(other, row)).length;
      return (
        store.events.filter((event) => event.time === row.time && event.key === row.key).length <= before
      );
    });
  }

  /** After the changes end, two quiet runs must have stored everything, know what is gone, and say so. */
  function checkQuietRuns(parent: State): void {
    const state = cloneState(parent);
    state.changesLeft = 0;
    let outcome: RunResult | undefined;
    for (let i = 0; i < (mode === 'lag' ? 5 : 2); i++) {
      outcome = execute(state, [], true).outcome;
      if (!outcome) {
        fault('endless', parent, [], 'in a quiet run');
        return;
      }
      result.maxQuietRequests = Math.max(result.maxQuietRequests, outcome.requests);
      if (outcome.isOverBudget) result.overBudget += 1;
      for (const gone of state.store.gone) {
        if (isShown(state, gone)) fault('falsely gone', parent, [], `${gone.time} is shown, in a quiet run`);
        else if (state.deleted.get(`${gone.time} ${gone.key}`) === 2)
          retentionGone(parent, [], `retention deleted ${gone.time}, in a quiet run`);
      }
      state.store.gone = [];
    }
    const problems = problemsIn(state);
    const isProven = outcome!.proof.state === 'complete';
    if (problems.length === 0 && isProven) return;
    const missing = problems.filter(({ kind }) => kind === 'not stored').length;
    const ghosts = problems.filter(({ kind }) => kind === 'not gone').length;
    const isCancelled = ghosts >= missing && (missing > 0 || (ghosts > 0 && hasWronglyGone(state)));
    if (isProven && isCancelled) {
      expectScrubToFind(state, parent, problems);
      return;
    }
    const sizes = new Map<number, number>();
    for (const { time } of state.source) sizes.set(time, (sizes.get(time) ?? 0) + 1);
    if (!isProven && missing === 0 && [...sizes.values()].some((size) => size + 2 > cap)) {
      result.largeGroups += 1;
      return;
    }
    const where = `${outcome!.proof.state}; source ${format(state.source)}, stored ${formatStored(state.store)}, head ${state.store.head}`;
    // The list was empty, and does not reach back: it may be another one.
    const hasChanged = outcome!.proof.state === 'source changed' && isNoted(state.store.ranks);
    if (hasChanged && missing === 0) return;
    // Such a run fails.
    if (state.source.length > 0 && state.source.every(({ isBad }) => isBad)) return;
    for (const { kind, text } of problems) fault(kind, parent, [], `${text}; ${where}`);
    if (problems.length === 0 && state.source.length > 0) fault('not proven', parent, [], where);
  }

  function isNoted(ranks: unknown): boolean {
    return (ranks as { newestBeforeChange: string | null }).newestBeforeChange !== null;
  }

  function hasWronglyGone({ store, source }: State): boolean {
    return store.events.some((event) => event.absence === 'gone' && source.some((row) => isSame(row, event)));
  }

  function expectScrubToFind(state: State, parent: State, problems: { text: string }[]): void {
    for (let i = 0; i < 40; i++) {
      execute(state, [], true, undefined, true);
      if (!problemsIn(state).some(({ kind }) => kind === 'not stored')) {
        result.cancelling += 1;
        return;
      }
    }
    fault('not stored', parent, [], `the scrub never finds: ${problems.map(({ text }) => text).join(', ')}`);
  }

  function problemsIn(state: State): { kind: Fault; text: string }[] {
    const { source, store, deleted } = state;
    const problems: { kind: Fault; text: string }[] = missingOf(source, store).map((row) => ({
      kind: 'not stored',
      text: format([row]),
    }));
    const head = store.head ?? BEFORE_ALL;
    if (ops.has('render')) problems.push(...doubledIn(state));
    if (mode === 'retired') {
      // What `retain` removed here is not stored again.
      const isRetired = ({ text }: { text: string }) => ticksOf(Number.parseFloat(text.slice(1))) <= head;
      for (let i = problems.length - 1; i >= 0; i--) if (isRetired(problems[i]!)) problems.splice(i, 1);
    }
    if (mode === 'twins') {
      for (const time of new Set(source.map((row) => row.time))) {
        const shown = source.filter((row) => row.time === time).length;
        const live = store.events.filter((event) => event.time === time && isCounted(event)).length;
        if (ticksOf(time) > head && live > shown)
          problems.push({ kind: 'not gone', text: `${live} of ${shown} twins at ${time}` });
      }
      return problems;
    }
    const oldest = source.find(({ isBad }) => !isBad)?.time ?? Number.POSITIVE_INFINITY;
    for (const event of store.events) {
      const isListed = source.some((row) => isSame(row, event));
      if (event.absence === 'gone' && isListed)
        problems.push({ kind: 'not gone', text: `${event.time} is gone, and shown` });
      const wasDeletedInside = deleted.get(`${event.time} ${event.key}`) === 1 && !isListed;
      if (
        wasDeletedInside &&
        event.absence !== 'gone' &&
        event.supersededBy === undefined &&
        event.time > oldest &&
        ticksOf(event.time) > head &&
        source.length > 0
      ) {
        problems.push({ kind: 'not gone', text: `${event.time} is not gone` });
      }
    }
    return problems;
  }

  /** Listed rows that are stored in several forms, of which more than one is current. */
  function doubledIn({ source, store }: State): { kind: Fault; text: string }[] {
    // A twin at the head that retention deleted stays stored.
    const from = mode === 'twins' ? (store.head ?? BEFORE_ALL) + 1n : BEFORE_ALL;
    return source
      .filter(({ time }) => ticksOf(time) >= from)
      .filter((row, i) => source.findIndex((other) => isSame(other, row)) === i)
      .flatMap((row) => {
        const forms = store.events.filter((event) => isSame(row, event) && isCounted(event));
        const listed = source.filter((other) => isSame(other, row)).length;
        if (forms.length === listed && (mode === 'twins' || forms[0]!.form === (row.form ?? 0))) return [];
        return forms.length < listed ? [] : [{ kind: 'doubled' as const, text: format([row]) }];
      });
  }

  function retentionGone(parent: State, taken: readonly Choice[], text: string): void {
    if (mode === 'remainder' || mode === 'rejected') result.knownLimit += 1;
    else fault('falsely gone', parent, taken, text);
  }

  function fault(kind: Fault, parent: State, taken: readonly Choice[], text: string): void {
    result.faults[kind] += 1;
    if (result.faults[kind] <= describe) {
      result.examples.push(
        `${kind}: ${text}\n${history(
          parent,
          taken.map(([choice]) => choice),
        )}`,
      );
    }
  }

  function history(last: State, choices: readonly number[]): string {
    const chain: { state: State; choices: readonly number[] }[] = [{ state: last, choices }];
    for (let state = last; state.parent; state = state.parent.state) chain.unshift(state.parent);
    const lines: string[] = [
      `source ${format(chain[0]!.state.source)}, stored ${formatStored(chain[0]!.state.store)}`,
    ];
    for (const step of chain) {
      const of: string[] = [];
      execute(cloneState(step.state), step.choices, step.choices.length === 0 && step === chain.at(-1), of);
      lines.push(`  run: ${of.join('; ')}`);
    }
    return lines.join('\n');
  }

  function cloneState({ source, previous, store, deleted, ...rest }: State): State {
    const { parent: _parent, ...numbers } = rest;
    return {
      ...numbers,
      source: source.map((row) => ({ ...row })),
      previous: previous?.map((row) => ({ ...row })),
      store: store.clone(),
      deleted: new Map(deleted),
    };
  }

  /** Equal for states that differ only in the numbers of times and keys. Renumbers both. */
  function keyOf(state: State): string {
    const { source, store, previous } = state;
    const times = new Set<number>();
    const add = (time: number | undefined) => time !== undefined && times.add(time);
    for (const { time } of [...source, ...store.events, ...(previous ?? [])]) add(time);
    for (const name of store.rejected.keys()) add(Number(BigInt(name.split(' ')[0]!)) / 10_000);
    add(store.watermark);
    add(store.head === undefined ? undefined : Number(store.head) / 10_000);
    const ranks = store.ranks as { scrub?: { place: string | null }; changedAt?: string | null } | null;
    add(ranks?.scrub?.place ? Number(BigInt(ranks.scrub.place)) / 10_000 : undefined);
    const order = [...times].sort((a, b) => a - b);
    const timeOf = new Map(order.map((time, i) => [time, (i + 1) * 16]));
    const keys = new Map<number, number>();
    const keyFor = (key: number) => {
      if (mode === 'twins') return key;
      if (!keys.has(key)) keys.set(key, keys.size);
      return keys.get(key)!;
    };
    const renumber = <T extends { time: number; key: number }>(row: T) => {
      row.time = timeOf.get(row.time)!;
      row.key = keyFor(row.key);
      (row as { row?: unknown }).row = undefined;
      return row;
    };
    const deleted = new Map(state.deleted);
    source.forEach(renumber);
    previous?.forEach(renumber);
    state.deleted = new Map();
    for (const event of store.events) {
      const how = deleted.get(`${event.time} ${event.key}`);
      renumber(event);
      event.known = undefined;
      if (how) state.deleted.set(`${event.time} ${event.key}`, how);
      event.suspectedIn = event.absence === 'suspected' ? -1 : 0;
    }
    if (mode !== 'twins') store.events.sort((a, b) => a.time - b.time || a.key - b.key);
    store.rejected = new Map(
      [...store.rejected].map(([name, count]) => {
        const [place, bad, key] = name.split(' ');
        const time = timeOf.get(Number(BigInt(place!)) / 10_000)!;
        return [`${ticksOf(time)} ${bad} ${keyFor(Number(key))}`, count];
      }),
    );
    store.kept = new Set([...store.kept].map((name) => `bad ${keyFor(Number(name.slice(4)))}`));
    if (store.watermark !== undefined) store.watermark = timeOf.get(store.watermark)!;
    if (store.head !== undefined) store.head = ticksOf(timeOf.get(Number(store.head) / 10_000)!);
    if (ranks?.scrub?.place) {
      const place = ticksOf(timeOf.get(Number(BigInt(ranks.scrub.place)) / 10_000)!);
      store.ranks = { ...ranks, scrub: { ...ranks.scrub, place: place.toString() } } as never;
    }
    for (const event of store.events) event.storedIn = Math.max(-3, event.storedIn - store.run);
    const earlier = store.events.map(
      (event) =>
        store.events.filter(
          ({ time, key, batch }) => time === event.time && key === event.key && batch < event.batch,
        ).length,
    );
    store.events.forEach((event, i) => {
      event.batch = earlier[i]! - 100;
    });
    store.run = 0;
    store.batch = 0;
    state.nextKey = keys.size + 1;
    return JSON.stringify([
      source.map(({ time, key, form = 0, isBad, isKept }) => [time, key, form, isBad, isKept]),
      store.events.map(({ time, key, form, ordinal, supersededBy, batch, absence, isHand, storedIn }) => [
        time,
        key,
        form,
        ordinal,
        supersededBy,
        ops.has('render') ? batch : 0,
        absence,
        isHand,
        state.deleted.get(`${time} ${key}`),
        mode === 'lag' ? storedIn : 0,
      ]),
      [...store.rejected].sort(),
      [...store.kept].sort(),
      `${store.head}`,
      store.watermark,
      store.hint,
      store.ranks,
      state.changesLeft,
      state.lagsLeft,
      previous?.map(({ time, key, form = 0 }) => [time, key, form]),
    ]);
  }
}

function format(rows: readonly ListRow[]): string {
  return `[${rows.map(({ time, key, form, isBad }) => `${time}${String.fromCharCode(97 + (key % 26))}${form || ''}${isBad ? '!' : ''}`).join(' ')}]`;
}

function formatStored({ events, rejected }: MemoryStore): string {
  const texts = events.map(({ time, key, form, supersededBy, absence, isHand }) => {
    const mark = supersededBy ? '<' : absence === 'gone' ? '†' : absence === 'suspected' ? '?' : '';
    return `${time}${String.fromCharCode(97 + (key % 26))}${form || ''}${mark}${isHand ? '+' : ''}`;
  });
  return `[${[...texts, ...rejected.keys()].join(' ')}]`;
}
