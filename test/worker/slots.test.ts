import { afterEach, expect, test } from '@jest/globals';
import type { ChunkProgress } from '../../src/core/export.ts';
import { newCounters } from '../../src/core/store.ts';
import type { RunKind } from '../../src/postgres/write/session.ts';
import { createSlots, type SlotOptions, type Turn } from '../../src/worker/slots.ts';

/** So short that waiting for them costs nothing, and so far apart that no busy machine takes one for the other. */
const SHORT_MS = 20;
const NEVER_MS = 1_000_000;

const stopping: AbortController[] = [];
afterEach(() => {
  for (const controller of stopping.splice(0)) controller.abort();
});

function page(inserted: number): ChunkProgress {
  return { counters: { ...newCounters(), inserted } } as ChunkProgress;
}

/** Slots, and what became of each claim on them. */
function open(options: Partial<SlotOptions>) {
  const slots = createSlots({ slots: 2, turnMs: NEVER_MS, idleMs: NEVER_MS, ...options });
  const stop = new AbortController();
  stopping.push(stop);
  const turns = new Map<string, { turn: Turn; end: () => void }>();
  const order: string[] = [];
  return {
    order,
    turn: (organization: string) => turns.get(organization)!.turn,
    running: () => [...turns.keys()],
    /** Resolves when its work has ended. */
    claim(organization: string, kind: RunKind = 'run'): Promise<void> {
      return slots.use({ organization, kind }, async (turn) => {
        const key = turns.has(organization) ? `${organization} twice` : organization;
        order.push(organization);
        await new Promise<void>((resolve) => {
          turns.set(key, { turn, end: resolve });
          if (stop.signal.aborted) resolve();
          stop.signal.addEventListener('abort', () => resolve());
        });
        turns.delete(key);
      });
    },
    async end(organization: string): Promise<void> {
      turns.get(organization)!.end();
      await settle();
    },
  };
}

/** Lets everything happen that waits for no time to pass. */
function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

async function until(condition: () => boolean): Promise<void> {
  const giveUpAt = performance.now() + 20_000;
  while (!condition()) {
    if (performance.now() > giveUpAt) throw new Error(`gave up waiting until ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

test('so many run at once, and the others follow in the order in which they asked', async () => {
  const { claim, running, end, order } = open({});
  for (const organization of ['a', 'b', 'c', 'd']) void claim(organization);
  await settle();
  expect(running()).toEqual(['a', 'b']);
  await end('b');
  expect(running()).toEqual(['a', 'c']);
  await end('a');
  await end('c');
  await end('d');
  expect(order).toEqual(['a', 'b', 'c', 'd']);
});

test('two kinds of one organization follow each other, and hold nobody up', async () => {
  const { claim, running, end } = open({});
  void claim('a');
  void claim('a', 'recheck');
  void claim('b');
  await settle();
  expect(running()).toEqual(['a', 'b']);
  await end('b');
  expect(running()).toEqual(['a']);
  await end('a');
  expect(running()).toEqual(['a']);
});

test('rechecks leave one slot to runs, unless there is only one', async () => {
  const { claim, running } = open({ slots: 2 });
  void claim('a', 'recheck');
  void claim('b', 'recheck');
  void claim('c', 'run');
  await settle();
  expect(running()).toEqual(['a', 'c']);
  const alone = open({ slots: 1 });
  void alone.claim('a', 'recheck');
  await settle();
  expect(alone.running()).toEqual(['a']);
});

test('a run that comes no further takes no slot', async () => {
  const { claim, running } = open({ slots: 1, idleMs: SHORT_MS });
  void claim('away');
  void claim('b');
  await until(() => running().includes('b'));
  expect(running()).toEqual(['away', 'b']);
});

test('a run that comes further keeps its slot', async () => {
  const { claim, running, turn } = open({ slots: 1, idleMs: 10_000 });
  void claim('a');
  void claim('b');
  await settle();
  turn('a').onChunk(page(0));
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(running()).toEqual(['a']);
});

test('a run that has stored new events for a turn makes room when another organization waits', async () => {
  const { claim, turn, running, end } = open({ slots: 1, turnMs: SHORT_MS, idleMs: 500 });
  void claim('a');
  await settle();
  const pages = setInterval(() => running().includes('a') && turn('a').onChunk(page(1)), 10);
  try {
    await new Promise((resolve) => setTimeout(resolve, 10 * SHORT_MS));
    // Alone, it goes on as long as it likes.
    expect(turn('a').signal.aborted).toBe(false);
    void claim('a', 'recheck');
    await new Promise((resolve) => setTimeout(resolve, 10 * SHORT_MS));
    expect(turn('a').signal.aborted).toBe(false);
    void claim('b');
    await until(() => turn('a').signal.aborted);
    expect(turn('a').signal.reason).toMatchObject({ code: 'interrupted' });
    await end('a');
    expect(running()[0]).toBe('a');
  } finally {
    clearInterval(pages);
  }
});

test('a run that has stored nothing new, and a recheck, go on to their end', async () => {
  const { claim, turn } = open({ slots: 2, turnMs: 0, idleMs: 100 });
  void claim('a');
  void claim('b', 'recheck');
  void claim('c');
  await settle();
  const pages = setInterval(() => {
    turn('a').onChunk(page(0));
    turn('b').onChunk(page(5));
  }, 10);
  await new Promise((resolve) => setTimeout(resolve, 300));
  clearInterval(pages);
  expect([turn('a').signal.aborted, turn('b').signal.aborted]).toEqual([false, false]);
});

test('as many make room as wait, those first that have stored for the longest', async () => {
  const { claim, turn } = open({ slots: 2, turnMs: SHORT_MS, idleMs: 200 });
  void claim('young');
  void claim('old');
  await settle();
  turn('old').onChunk(page(1));
  await new Promise((resolve) => setTimeout(resolve, 5));
  const pages = setInterval(() => {
    turn('young').onChunk(page(1));
    turn('old').onChunk(page(1));
  }, 10);
  void claim('c');
  await until(() => turn('old').signal.aborted);
  await new Promise((resolve) => setTimeout(resolve, 100));
  clearInterval(pages);
  expect(turn('young').signal.aborted).toBe(false);
});
