import { afterEach, expect, test } from '@jest/globals';
import type { ChunkProgress } from '../../src/core/export.ts';
import { newCounters } from '../../src/core/store.ts';
import type { RunKind } from '../../src/postgres/write/session.ts';
import { createSlots, type Slot, type SlotOptions } from '../../src/worker/slots.ts';

/** Short enough to wait for, and far enough apart to be told apart on a busy machine. */
const SHORT_MS = 20;
const NEVER_MS = 1_000_000;

const stopping: AbortController[] = [];
afterEach(() => {
  for (const controller of stopping.splice(0)) controller.abort();
});

function page(inserted: number): ChunkProgress {
  return { counters: { ...newCounters(), inserted } } as ChunkProgress;
}

/** Slots, and the state of each request. */
function open(options: Partial<SlotOptions>) {
  const slots = createSlots({ slots: 2, sliceMs: NEVER_MS, idleMs: NEVER_MS, ...options });
  const stop = new AbortController();
  stopping.push(stop);
  const granted = new Map<string, { slot: Slot; end: () => void }>();
  const order: string[] = [];
  return {
    order,
    slot: (organization: string) => granted.get(organization)!.slot,
    running: () => [...granted.keys()],
    /** Resolves when the work has ended. */
    request(organization: string, kind: RunKind = 'run'): Promise<void> {
      return slots.use({ organization, kind }, async (slot) => {
        const key = granted.has(organization) ? `${organization} twice` : organization;
        order.push(organization);
        await new Promise<void>((resolve) => {
          granted.set(key, { slot, end: resolve });
          if (stop.signal.aborted) resolve();
          stop.signal.addEventListener('abort', () => resolve());
        });
        granted.delete(key);
      });
    },
    async end(organization: string): Promise<void> {
      granted.get(organization)!.end();
      await settle();
    },
  };
}

/** Waits for everything that needs no timer. */
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

test('as many run at once as there are slots, and the others follow in the order of their requests', async () => {
  const { request, running, end, order } = open({});
  for (const organization of ['a', 'b', 'c', 'd']) void request(organization);
  await settle();
  expect(running()).toEqual(['a', 'b']);
  await end('b');
  expect(running()).toEqual(['a', 'c']);
  await end('a');
  await end('c');
  await end('d');
  expect(order).toEqual(['a', 'b', 'c', 'd']);
});

test('two kinds of run of one organization run one after the other and delay no other organization', async () => {
  const { request, running, end } = open({});
  void request('a');
  void request('a', 'recheck');
  void request('b');
  await settle();
  expect(running()).toEqual(['a', 'b']);
  await end('b');
  expect(running()).toEqual(['a']);
  await end('a');
  expect(running()).toEqual(['a']);
});

test('rechecks leave one slot to runs, unless there is only one', async () => {
  const { request, running } = open({ slots: 2 });
  void request('a', 'recheck');
  void request('b', 'recheck');
  void request('c', 'run');
  await settle();
  expect(running()).toEqual(['a', 'c']);
  const alone = open({ slots: 1 });
  void alone.request('a', 'recheck');
  await settle();
  expect(alone.running()).toEqual(['a']);
});

test('a run without progress does not occupy a slot', async () => {
  const { request, running } = open({ slots: 1, idleMs: SHORT_MS });
  void request('away');
  void request('b');
  await until(() => running().includes('b'));
  expect(running()).toEqual(['away', 'b']);
});

test('a run with progress keeps its slot', async () => {
  const { request, running, slot } = open({ slots: 1, idleMs: 10_000 });
  void request('a');
  void request('b');
  await settle();
  slot('a').onChunk(page(0));
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(running()).toEqual(['a']);
});

test('a run that has stored new events for a slice is preempted when another organization waits', async () => {
  const { request, slot, running, end } = open({ slots: 1, sliceMs: SHORT_MS, idleMs: 500 });
  void request('a');
  await settle();
  const pages = setInterval(() => running().includes('a') && slot('a').onChunk(page(1)), 10);
  try {
    await new Promise((resolve) => setTimeout(resolve, 10 * SHORT_MS));
    // Without a waiting organization it is not preempted.
    expect(slot('a').signal.aborted).toBe(false);
    void request('a', 'recheck');
    await new Promise((resolve) => setTimeout(resolve, 10 * SHORT_MS));
    expect(slot('a').signal.aborted).toBe(false);
    void request('b');
    await until(() => slot('a').signal.aborted);
    expect(slot('a').signal.reason).toMatchObject({ code: 'interrupted' });
    await end('a');
    expect(running()[0]).toBe('a');
  } finally {
    clearInterval(pages);
  }
});

test('a run without new events and a recheck are not preempted', async () => {
  const { request, slot } = open({ slots: 2, sliceMs: 0, idleMs: 100 });
  void request('a');
  void request('b', 'recheck');
  void request('c');
  await settle();
  const pages = setInterval(() => {
    slot('a').onChunk(page(0));
    slot('b').onChunk(page(5));
  }, 10);
  await new Promise((resolve) => setTimeout(resolve, 300));
  clearInterval(pages);
  expect([slot('a').signal.aborted, slot('b').signal.aborted]).toEqual([false, false]);
});

test('as many runs are preempted as organizations wait, those that have stored for the longest first', async () => {
  const { request, slot } = open({ slots: 2, sliceMs: SHORT_MS, idleMs: 200 });
  void request('young');
  void request('old');
  await settle();
  slot('old').onChunk(page(1));
  await new Promise((resolve) => setTimeout(resolve, 5));
  const pages = setInterval(() => {
    slot('young').onChunk(page(1));
    slot('old').onChunk(page(1));
  }, 10);
  void request('c');
  await until(() => slot('old').signal.aborted);
  await new Promise((resolve) => setTimeout(resolve, 100));
  clearInterval(pages);
  expect(slot('young').signal.aborted).toBe(false);
});
