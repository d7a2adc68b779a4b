import { describe, expect, test } from '@jest/globals';
import { createPace, type Pace } from '../../../src/core/offset-list/concurrency-limit.ts';

const QUICK = { milliseconds: 100, wasRefused: false };
const REFUSED = { milliseconds: 3000, wasRefused: true };
const SLOW = { milliseconds: 451, wasRefused: false };

/** The depth after each answer. */
function depthsOf(pace: Pace, answers: { milliseconds: number; wasRefused: boolean }[]): number[] {
  return answers.map((answer) => {
    pace.noteAnswer(answer);
    return pace.depth;
  });
}

describe('the number of requests at once', () => {
  test('is the ceiling at first, and never more', () => {
    expect(depthsOf(createPace(4), Array(20).fill(QUICK))).toEqual(Array(20).fill(4));
  });

  test('is halved by a refused request, and those under way with it are not counted again', () => {
    expect(depthsOf(createPace(8), Array(8).fill(REFUSED))).toEqual(Array(8).fill(4));
  });

  test('is halved again by the next round that is refused, down to one', () => {
    expect(depthsOf(createPace(8), Array(16).fill(REFUSED)).slice(8)).toEqual([2, 2, 2, 2, 1, 1, 1, 1]);
  });

  test('grows by one for each round of good answers, up to the ceiling', () => {
    const pace = createPace(4);
    depthsOf(pace, [REFUSED, ...Array(3).fill(QUICK)]);
    expect(depthsOf(pace, Array(7).fill(QUICK))).toEqual([2, 3, 3, 3, 4, 4, 4]);
  });

  test('is halved by an answer that takes over twice as long as the quickest and 250 ms longer', () => {
    expect(depthsOf(createPace(4), [QUICK, { ...SLOW, milliseconds: 450 }, SLOW])).toEqual([4, 4, 2]);
  });

  test('grows again where the source stays slow: that is its pace now', () => {
    const pace = createPace(4);
    depthsOf(pace, Array(10).fill(QUICK));
    const depths = depthsOf(pace, Array(60).fill(SLOW));
    expect(Math.min(...depths)).toBe(1);
    expect(depths.at(-1)).toBe(4);
  });

  test('does not learn what is quick from how long a refused request waited', () => {
    const pace = createPace(2);
    depthsOf(pace, Array(40).fill(REFUSED));
    expect(depthsOf(pace, [SLOW, SLOW, QUICK])).toEqual([2, 2, 2]);
  });

  test('is halved when requests were made in vain', () => {
    const pace = createPace(8);
    pace.noteWaste();
    expect(pace.depth).toBe(4);
    pace.noteWaste();
    pace.noteWaste();
    pace.noteWaste();
    expect(pace.depth).toBe(1);
  });
});
