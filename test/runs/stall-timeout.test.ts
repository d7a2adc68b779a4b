import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from '@jest/globals';
import { withStallTimeout } from '../../src/runs/stall-timeout.ts';

const { signal } = new AbortController();

test('work without progress is stopped, even if it ignores the signal', async () => {
  let received: AbortSignal | undefined;
  const work = withStallTimeout({ stallTimeoutMs: 30, signal }, (inner) => {
    received = inner;
    return new Promise(() => {});
  });
  await expect(work).rejects.toMatchObject({ code: 'stalled', message: expect.stringContaining('0.03 s') });
  expect(received?.aborted).toBe(true);
});

test('work that heeds the signal fails as stalled, not as interrupted', async () => {
  const work = withStallTimeout({ stallTimeoutMs: 30, signal }, (inner) =>
    sleep(60_000, undefined, { signal: inner }),
  );
  await expect(work).rejects.toMatchObject({ code: 'stalled' });
});

test('work with progress may take longer than the limit', async () => {
  const work = withStallTimeout({ stallTimeoutMs: 400, signal }, async (inner, onProgress) => {
    for (let i = 0; i < 8; i++) {
      await sleep(100, undefined, { signal: inner });
      onProgress();
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
