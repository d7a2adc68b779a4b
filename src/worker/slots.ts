/**
 * Which of several organizations a process exports at once.
 *
 * - So many runs at a time, in the order in which they ask. Each costs memory for its pages, and a connection.
 * - A run that has come no further for some seconds waits for its source: it takes no slot until it goes on. So one that is
 *   slow, or away, delays no other.
 * - A run that has stored new events for the length of a turn makes room when another organization waits: it is ended, and goes
 *   on from its watermark when it is its turn again, here or in another process. So a long first load delays no other for more
 *   than a turn. Only time since its first new event counts, or a run that reads a long lookback again might never come further.
 * - Rechecks go on to their end, since they have no place to go on from; one slot is kept free of them.
 */
import { ExportError } from '../core/errors.ts';
import type { ChunkProgress } from '../core/export.ts';
import type { RunKind } from '../postgres/write/session.ts';

export interface Slots {
  /** Does `work` when there is room and nothing else goes on for the organization. */
  use(claim: Claim, work: (turn: Turn) => Promise<void>): Promise<void>;
}

export interface Claim {
  organization: string;
  kind: RunKind;
}

/** What a run tells of itself, and is told, while it has a slot. */
export interface Turn {
  /** Aborted, with an `ExportError` as its reason, when the run is to make room. */
  signal: AbortSignal;
  onChunk(progress: ChunkProgress): void;
}

export interface SlotOptions {
  slots: number;
  /** How long a run may store new events while others wait. */
  turnMs?: number;
  /** A run that has come no further for so long takes no slot. */
  idleMs?: number;
}

interface Running {
  claim: Claim;
  movedAt: number;
  /** Since it stored the first new event. */
  storesSince: number | undefined;
  room: AbortController;
}

interface Waiting {
  claim: Claim;
  start: (turn: Running) => void;
}

const TURN_MS = 60_000;
const IDLE_MS = 10_000;
const LOOKS_PER_IDLE = 10;

export function createSlots({ slots, turnMs = TURN_MS, idleMs = IDLE_MS }: SlotOptions): Slots {
  const running = new Set<Running>();
  const waiting = new Set<Waiting>();
  let look: NodeJS.Timeout | undefined;

  /** Counted at once, so that the next request finds one slot less. */
  const begin = ({ claim, start }: Waiting) => {
    const turn = { claim, movedAt: performance.now(), storesSince: undefined, room: new AbortController() };
    running.add(turn);
    start(turn);
  };
  const fill = () => {
    for (const next of waiting) {
      if (!hasFreeSlot([...running], next.claim, { slots, idleMs })) continue;
      waiting.delete(next);
      begin(next);
    }
    // Nobody waits as a rule, and then there is nothing to look for.
    if (waiting.size > 0) look ??= setInterval(checkWaiting, idleMs / LOOKS_PER_IDLE).unref();
    else {
      clearInterval(look);
      look = undefined;
    }
  };
  const checkWaiting = () => {
    const wanted = [...waiting].filter(({ claim }) => !isRunning([...running], claim));
    preemptOldest(running, wanted.length, turnMs);
    fill();
  };
  const turnFor = (claim: Claim) =>
    new Promise<Running>((start) => {
      waiting.add({ claim, start });
      fill();
    });

  return {
    async use(claim, work) {
      const turn = await turnFor(claim);
      try {
        await work({ signal: turn.room.signal, onChunk: (progress) => noteChunk(turn, progress) });
      } finally {
        running.delete(turn);
        fill();
      }
    },
  };
}

function hasFreeSlot(
  running: readonly Running[],
  claim: Claim,
  { slots, idleMs }: { slots: number; idleMs: number },
): boolean {
  if (isRunning(running, claim)) return false;
  const moving = running.filter(({ movedAt }) => performance.now() - movedAt < idleMs);
  if (moving.length >= slots) return false;
  if (claim.kind !== 'recheck' || slots === 1) return true;
  return moving.filter((each) => each.claim.kind === 'recheck').length < slots - 1;
}

function isRunning(running: readonly Running[], { organization }: Claim): boolean {
  return running.some(({ claim }) => claim.organization === organization);
}

function noteChunk(turn: Running, { counters }: ChunkProgress): void {
  turn.movedAt = performance.now();
  if (turn.claim.kind === 'run' && counters.inserted > 0) turn.storesSince ??= turn.movedAt;
}

/** Of those that have stored for the longest, as many as there are who wait. */
function preemptOldest(running: ReadonlySet<Running>, wanted: number, turnMs: number): void {
  const now = performance.now();
  const storing = [...running].filter(
    ({ storesSince }) => storesSince !== undefined && now - storesSince >= turnMs,
  );
  storing.sort((a, b) => a.storesSince! - b.storesSince!);
  for (const { room } of storing.slice(0, wanted)) {
    if (!room.signal.aborted) room.abort(preempted());
  }
}

function preempted(): ExportError {
  return new ExportError(
    'interrupted',
    'Made room for another organization. What was committed stays; a run that follows goes on there.',
  );
}
