/**
 * How many requests the source bears at once, found as TCP finds it: half as many after an answer that shows strain, one more
 * after as many answers in a row as there are requests at once.
 *
 * Strain is a request that had to be sent again, as after HTTP 429, or an answer that took much longer than the quickest of
 * the last ones. What those requests say that were under way already when the pace was slowed is not counted against it again.
 */
export interface Pace {
  /** From 1 to the ceiling. */
  readonly depth: number;
  /** An answer came, `milliseconds` after it was asked for; `wasRefused` when a request had to be sent again meanwhile. */
  noteAnswer(answer: { milliseconds: number; wasRefused: boolean }): void;
  /** Requests were made in vain: a list that moves must not cost the source much. */
  noteWaste(): void;
}

const REMEMBERED_ANSWERS = 32;
/** An answer is slow that took so many times as long as the quickest, and so much longer: a busy worker delays some, too. */
const SLOW_FACTOR = 2;
const SLOW_MS = 250;

export function createPace(ceiling: number): Pace {
  let depth = ceiling;
  let goodAnswers = 0;
  let answersToIgnore = 0;
  let recentMs: number[] = [];

  const slowDown = () => {
    answersToIgnore = depth - 1;
    depth = Math.max(1, Math.floor(depth / 2));
    goodAnswers = 0;
  };

  return {
    get depth() {
      return depth;
    },
    noteAnswer({ milliseconds, wasRefused }) {
      const isSlow = milliseconds > SLOW_FACTOR * Math.min(...recentMs) + SLOW_MS;
      // What a refused request waited before it was sent again says nothing about the source's answers.
      if (!wasRefused) recentMs = [...recentMs.slice(1 - REMEMBERED_ANSWERS), milliseconds];
      if (answersToIgnore > 0) {
        answersToIgnore--;
      } else if (wasRefused || isSlow) {
        slowDown();
      } else if (++goodAnswers >= depth) {
        depth = Math.min(ceiling, depth + 1);
        goodAnswers = 0;
      }
    },
    noteWaste: slowDown,
  };
}
