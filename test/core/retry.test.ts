import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { decideRetry, type Failure, parseRetryAfter } from '../../src/core/retry.ts';

const now = Date.parse('2024-05-01T12:00:00Z');
const first = { attempt: 1, limit: 8, maxDelayMs: 120_000, now, random: 0.5 };

describe('which failures are retried', () => {
  test.each([
    [{ kind: 'network' }, true, 'network fault'],
    [{ kind: 'timeout' }, true, 'time-out'],
    [{ kind: 'truncated' }, true, 'unreadable body'],
    [{ kind: 'status', status: 408 }, true, 'HTTP 408'],
    [{ kind: 'status', status: 425 }, true, 'HTTP 425'],
    [{ kind: 'status', status: 429 }, true, 'HTTP 429'],
    [{ kind: 'status', status: 500 }, true, 'HTTP 500'],
    [{ kind: 'status', status: 501 }, true, 'HTTP 501'],
    [{ kind: 'status', status: 524 }, true, 'HTTP 524'],
    [{ kind: 'status', status: 599 }, true, 'HTTP 599'],
    [{ kind: 'status', status: 302 }, false, 'HTTP 302 is not retried'],
    [{ kind: 'status', status: 400 }, false, 'HTTP 400 is not retried'],
    [{ kind: 'status', status: 401 }, false, 'HTTP 401 is not retried'],
    [{ kind: 'status', status: 403 }, false, 'HTTP 403 is not retried'],
    [{ kind: 'status', status: 404 }, false, 'HTTP 404 is not retried'],
    [{ kind: 'status', status: 499 }, false, 'HTTP 499 is not retried'],
  ] as [Failure, boolean, string][])('%j: %s, %s', (failure, retry, reason) => {
    expect(decideRetry(failure, first)).toMatchObject({ retry, reason });
  });

  test('the last attempt is not retried', () => {
    expect(decideRetry({ kind: 'timeout' }, { ...first, attempt: 7 })).toMatchObject({ retry: true });
    expect(decideRetry({ kind: 'timeout' }, { ...first, attempt: 8 })).toEqual({
      retry: false,
      reason: 'time-out at the last of 8 attempts',
    });
  });
});

test.each([
  [1, 500],
  [2, 1000],
  [3, 2000],
  [7, 32_000],
  [9, 60_000],
  [2000, 60_000],
])('after attempt %i the wait is drawn from twice %i ms', (attempt, delayMs) => {
  expect(decideRetry({ kind: 'network' }, { ...first, attempt, limit: 5000 })).toMatchObject({ delayMs });
});

describe('Retry-After', () => {
  test.each([
    ['0', 0],
    ['7', 7000],
    [' 7 ', 7000],
    ['1.5', 1500],
    ['Wed, 01 May 2024 12:00:09 GMT', 9000],
    ['Wednesday, 01-May-24 12:00:09 GMT', 9000],
    ['Wed, 01 May 2024 11:00:00 GMT', 0],
    ['', undefined],
    ['-5', undefined],
    ['soon', undefined],
    ['2024-05-01T12:00:09Z', undefined],
    ['Wed, 99 May 2024 12:00:09 GMT', undefined],
    ['5 seconds', undefined],
    ['0x10', undefined],
  ])('%j is %s ms', (text, milliseconds) => {
    expect(parseRetryAfter(text, now)).toBe(milliseconds);
  });

  test.each([
    ['30', 30_000],
    ['0', 500],
    ['-5', 500],
    ['999999999999', 120_000],
    ['9'.repeat(400), 120_000],
  ])('%s is a lower bound of the wait, within the cap', (retryAfter, delayMs) => {
    expect(decideRetry({ kind: 'status', status: 429, retryAfter }, first)).toMatchObject({ delayMs });
  });
});

test('a Retry-After shorter than the backoff does not shorten it', () => {
  const failure = { kind: 'status', status: 503, retryAfter: '2' } as const;
  expect(decideRetry(failure, { ...first, attempt: 5 })).toMatchObject({ delayMs: 8000 });
});

test('a wait is a number from 0 to the cap, and never shorter than a Retry-After the cap allows', () => {
  const header = fc.oneof(
    fc.nat().map(String),
    fc.string(),
    fc.date().map((date) => date.toUTCString()),
  );
  fc.assert(
    fc.property(
      fc.record({
        attempt: fc.integer({ min: 1, max: 3000 }),
        limit: fc.constant(5000),
        maxDelayMs: fc.integer({ min: 0, max: 10_000_000 }),
        now: fc.integer({ min: 0, max: 4_000_000_000_000 }),
        random: fc.double({ min: 0, max: 1, noNaN: true }),
      }),
      header,
      (circumstances, retryAfter) => {
        const decision = decideRetry({ kind: 'status', status: 503, retryAfter }, circumstances);
        if (!decision.retry) throw new Error('not retried');
        const requestedMs = parseRetryAfter(retryAfter, circumstances.now) ?? 0;
        expect(decision.delayMs).toBeGreaterThanOrEqual(
          Math.floor(Math.min(requestedMs, circumstances.maxDelayMs)),
        );
        expect(decision.delayMs).toBeLessThanOrEqual(circumstances.maxDelayMs);
      },
    ),
  );
});

test('with full jitter the wait grows with what is drawn, from none at all', () => {
  const delay = (random: number) => decideRetry({ kind: 'network' }, { ...first, attempt: 5, random });
  expect([0, 0.25, 1].map((random) => delay(random))).toMatchObject([
    { delayMs: 0 },
    { delayMs: 4000 },
    { delayMs: 16_000 },
  ]);
});
