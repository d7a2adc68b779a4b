import { describe, expect, test } from '@jest/globals';
import { playRounds, rotate } from '../../bench/rounds.ts';
import { crossingOf, ratioOf, spreadOf } from '../../bench/statistics.ts';

describe('a spread', () => {
  test.each([
    [[3], { median: 3, min: 3, max: 3, count: 1 }],
    [[5, 1, 3], { median: 3, min: 1, max: 5, count: 3 }],
    [[10, 9, 1, 2], { median: 5.5, min: 1, max: 10, count: 4 }],
  ])('of %j is %j', (values, expected) => {
    expect(spreadOf(values)).toEqual(expected);
  });

  test('of nothing is an error, not NaN', () => {
    expect(() => spreadOf([])).toThrow('nothing was measured');
  });
});

describe('a ratio', () => {
  test('is taken round by round: one slow round slows both, and does not count', () => {
    expect(ratioOf([10, 1, 30], [5, 0.5, 10])).toEqual({ median: 2, min: 2, max: 3, count: 3 });
  });

  test('of unlike rounds is an error', () => {
    expect(() => ratioOf([1, 2], [1])).toThrow('unlike numbers of rounds');
  });
});

describe('the moment a count is passed', () => {
  const looks = [
    { at: 0, count: 0 },
    { at: 10, count: 100 },
    { at: 20, count: 100 },
    { at: 30, count: 300 },
  ];

  test.each([
    [0, 0],
    [50, 5],
    [100, 10],
    [200, 25],
    [300, 30],
    [301, undefined],
  ])('%d is passed at %p', (count, at) => {
    expect(crossingOf(looks, count)).toBe(at);
  });
});

describe('rounds', () => {
  test('begin with another contestant each time, and forget the first round', async () => {
    const order: string[] = [];
    const contestants = ['a', 'b', 'c'].map((name) => ({ name, play: async () => order.push(name) }));
    const played = await playRounds(contestants, { rounds: 2 });
    expect(order.join('')).toBe('abcbcacab');
    expect(played).toEqual({ a: [6, 8], b: [4, 9], c: [5, 7] });
  });

  test('of nobody are empty', () => {
    expect(rotate([], 3)).toEqual([]);
  });
});
