import { expect, test } from '@jest/globals';
import { createWorkQueue } from '../../src/core/work-queue.ts';

test('a waiting add is released when no further work may start', async () => {
  let isStopped = false;
  let failures = 0;
  const begun: number[] = [];
  const commits = createWorkQueue<number>({
    async work(item) {
      begun.push(item);
      await new Promise((resolve) => setTimeout(resolve, 5));
      isStopped = true;
    },
    merge: () => undefined,
    throwIfStopped() {
      if (isStopped) throw new Error('stopped');
    },
    onFailure: () => failures++,
  });
  await commits.add(1);
  await commits.add(2);
  await commits.add(3);
  await expect(commits.settled()).rejects.toThrow('stopped');
  expect([begun, failures]).toEqual([[1], 1]);
});
