import { expect, test } from '@jest/globals';
import { createCommitQueue } from '../../src/core/commit-queue.ts';

test('a waiting add is released when no further commit may start', async () => {
  let isStopped = false;
  let failures = 0;
  const begun: number[] = [];
  const commits = createCommitQueue<number>({
    async commit(item) {
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
