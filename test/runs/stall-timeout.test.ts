import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from '@jest/globals';
import { withStallTimeout } from '../../src/runs/stall-timeout.ts';

const { signal } = new AbortController();

test('work that comes no further is ended, also when it does not heed the signal', async () => {
  let given: AbortSignal | undefined;
  const work = withStallTimeout({ stallTimeoutMs: 30, signal }, (inner) => {
    given = inner;
    return new Promise(() => {});
  });
  await expect(work).rejects.toMatchObject({ code: 'stalled', message: expect.stringContaining('0.03 s') });
  expect(given?.aborted).toBe(true);
});

test('work that heeds the signal is said to have stalled, not to be interrupted', async () => {
  const work = withStallTimeout({ stallTimeoutMs: 30, signal }, (inner) =>
    sleep(60_000, undefined, { signal: inner }),
  );
  await expect(work).rejects.toMatchObject({ code: 'stalled' });
});

test('work that moves may take longer than the limit', async () => {
  const work = withStallTimeout({ stallTimeoutMs: 400, signal }, async (inner, moved) => {
    for (let i = 0; i < 8; i++) {
      await sleep(100, undefined, { signal: inner });
      moved();
    }
    return 'done';
  });
  await expect(work).resolves.toBe('done');
});

test("the caller's own signal reaches the work", async () => {
  const controller = new AbortController();
  const work = withStallTimeout({ stallTimeoutMs: 60_000, signal: controller.signal }, (inner) =>
    sleep(60_000, undefined, { signal: inner }),
  );
  controller.abort();
  await expect(work).rejects.toMatchObject({ name: 'AbortError' });
});
