/**
 * Decides which of several organizations a process exports at once.
 *
 * - At most `slots` runs are active, in the order of their requests. Each needs memory for its pages, and a connection.
 * - A run without progress for `idleMs` is waiting for its source and does not count, so that a slow or unavailable source does
 *   not delay the others. It counts again at its next chunk, so more than `slots` runs can be active for a time.
 * - A run is preempted after it has stored new events for `sliceMs` while another organization waits. It is interrupted and
 *   continues from its watermark in its next slot, here or in another process, so that a long first load delays the others by
 *   at most one slice. The slice starts at the first new event; otherwise a run with a long lookback might never reach one.
 * - Rechecks are not preempted, since they cannot be resumed. They leave one slot free for other runs.
 */
import { ExportError } from '../core/errors.ts';
import type { ChunkProgress } from '../core/export.ts';
import type { RunKind } from '../postgres/write/session.ts';

export interface Slots {
  /** Calls `work` once a slot is free and no other run of the organization is active. */
  use(request: SlotRequest, work: (slot: Slot) => Promise<void>): Promise<void>;
}

interface SlotRequest {
  organization: string;
  kind: RunKind;
}

/** Connects a run to its slot. */
export interface Slot {
  /** Aborted, with an `ExportError` as its reason, when the run is preempted. */
  signal: AbortSignal;
  /** Must be called for each committed chunk. */
  onChunk(progress: ChunkProgress): void;
}

export interface SlotOptions {
  slots: number;
  /** How long a run may store new events while another organization waits. */
  sliceMs?: number;
  /** A run without progress for this long does not occupy its slot. */
  idleMs?: number;
}

interface Running {
  request: SlotRequest;
  lastProgressAt: number;
  /** When the run stored its first new event. */
  storingSince: number | undefined;
  preemption: AbortController;
}

interface Waiting {
  request: SlotRequest;
  start: (run: Running) => void;
}

const SLICE_MS = 60_000;
const IDLE_MS = 10_000;
const CHECKS_PER_IDLE = 10;

export function createSlots({ slots, sliceMs = SLICE_MS, idleMs = IDLE_MS }: SlotOptions): Slots {
  const running = new Set<Running>();
  const waiting = new Set<Waiting>();
  let timer: NodeJS.Timeout | undefined;

  /** Adds the run synchronously, so that the next check sees one free slot less. */
  const begin = ({ request, start }: Waiting) => {
    const run = {
      request,
      lastProgressAt: performance.now(),
      storingSince: undefined,
      preemption: new AbortController(),
    };
    running.add(run);
    start(run);
  };
  const fill = () => {
    for (const next of waiting) {
      if (!hasFreeSlot([...running], next.request, { slots, idleMs })) continue;
      waiting.delete(next);
      begin(next);
    }
    // The timer runs only while a request waits.
    if (waiting.size > 0) timer ??= setInterval(checkWaiting, idleMs / CHECKS_PER_IDLE).unref();
    else {
      clearInterval(timer);
      timer = undefined;
    }
  };
  const checkWaiting = () => {
    const startable = [...waiting].filter(({ request }) => !isRunning([...running], request));
    preempt(running, startable.length, sliceMs);
    fill();
  };
  const waitForSlot = (request: SlotRequest) =>
    new Promise<Running>((start) => {
      waiting.add({ request, start });
      fill();
    });

  return {
    async use(request, work) {
      const run = await waitForSlot(request);
      try {
        await work({
          signal: run.preemption.signal,
          onChunk: (progress) => recordProgress(run, progress),
        });
      } finally {
        running.delete(run);
        fill();
      }
    },
  };
}

function hasFreeSlot(
  running: readonly Running[],
  request: SlotRequest,
  { slots, idleMs }: { slots: number; idleMs: number },
): boolean {
  if (isRunning(running, request)) return false;
  const active = running.filter(({ lastProgressAt }) => performance.now() - lastProgressAt < idleMs);
  if (active.length >= slots) return false;
  if (request.kind !== 'recheck' || slots === 1) return true;
  return active.filter((each) => each.request.kind === 'recheck').length < slots - 1;
}

function isRunning(running: readonly Running[], { organization }: SlotRequest): boolean {
  return running.some(({ request }) => request.organization === organization);
}

function recordProgress(run: Running, { counters }: ChunkProgress): void {
  run.lastProgressAt = performance.now();
  if (run.request.kind === 'run' && counters.inserted > 0) run.storingSince ??= run.lastProgressAt;
}

/** Preempts at most `count` runs that have used up their slice, those that have stored for the longest first. */
function preempt(running: ReadonlySet<Running>, count: number, sliceMs: number): void {
  const now = performance.now();
  const storing = [...running].filter(
    ({ storingSince }) => storingSince !== undefined && now - storingSince >= sliceMs,
  );
  storing.sort((a, b) => a.storingSince! - b.storingSince!);
  for (const { preemption } of storing.slice(0, count)) {
    if (!preemption.signal.aborted) preemption.abort(preempted());
  }
}

function preempted(): ExportError {
  return new ExportError(
    'interrupted',
    'Preempted: another organization was waiting for the slot. Committed events stay; the next run continues from there.',
  );
}
