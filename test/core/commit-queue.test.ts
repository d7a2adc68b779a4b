import { expect, test } from '@jest/globals';
import { createCommitQueue } from '../../src/core/commit-queue.ts';

test('whoever waits for room is let go when no further commit is to begin', async () => {
  let isWanted = true;
  let failures = 0;
  const begun: number[] = [];
  const commits = createCommitQueue<number>({
    async commit(item) {
      begun.push(item);
      await new Promise((resolve) => setTimeout(resolve, 5));
      isWanted = false;
    },
    merge: () => undefined,
    assertWanted() {
      if (!isWanted) throw new Error('not wanted');
    },
    onFailure: () => failures++,
  });
  await commits.add(1);
  await commits.add(2);
  await commits.add(3);
  await expect(commits.settled()).rejects.toThrow('not wanted');
  expect([begun, failures]).toEqual([[1], 1]);
});
