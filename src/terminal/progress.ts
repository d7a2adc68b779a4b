import type { Logger } from '../log.ts';
import { standardError } from '../stdio.ts';
import { describeDuration, formatNumber } from '../text/format.ts';
import { canRedraw, cut } from './screen.ts';

/** Minimum time between two log lines. */
const LOG_INTERVAL_MS = 5_000;
const DRAW_INTERVAL_MS = 100;

const MAX_BAR_WIDTH = 28;
const MIN_BAR_WIDTH = 8;
const USUAL_COLUMNS = 80;
const GAP = '  ';
const MAX_LEFT_WIDTH = '59 minutes left'.length;
const MAX_RATE_WIDTH = '10,000/s'.length;

export interface Progress {
  update(done: number, total: number): void;
  /** The last update; `undefined` before the first one. */
  readonly last: Counts | undefined;
  /** Shows 100%, with the rows done as the total: the total changes while the source is read. */
  finish(): void;
  /** Removes the bar unless it has finished. May be called twice, and after `finish`. */
  stop(): void;
}

export interface Counts {
  done: number;
  total: number;
}

/**
 * Shows progress: the last line of standard error with rate and remaining time if that is a terminal, otherwise log lines. Messages
 * appear above the bar.
 */
export function createProgress(log: Logger, title: string): Progress {
  const startedAt = performance.now();
  const isDrawn = canRedraw(process.stderr);
  let writtenAt = isDrawn ? Number.NEGATIVE_INFINITY : startedAt;
  let last: Counts | undefined;
  const draw = (counts: Counts) => {
    const columns = process.stderr.columns || USUAL_COLUMNS;
    // A character in the last column would wrap on some terminals.
    standardError().drawLastLine(drawBar(title, { ...counts, ...speedOf(counts) }, columns - 1));
  };
  const speedOf = ({ done, total }: Counts) => {
    const rate = done / Math.max(0.001, (performance.now() - startedAt) / 1000);
    return { rate: Math.round(rate), secondsLeft: Math.ceil((total - done) / Math.max(rate, 0.001)) };
  };
  return {
    update(done, total) {
      last = { done, total };
      const now = performance.now();
      if (now - writtenAt < (isDrawn ? DRAW_INTERVAL_MS : LOG_INTERVAL_MS)) return;
      writtenAt = now;
      if (isDrawn) draw(last);
      else {
        const { rate: rowsPerSecond, secondsLeft } = speedOf(last);
        log.info({ done, total, rowsPerSecond, secondsLeft }, `${title.toLowerCase()} in progress`);
      }
    },
    get last() {
      return last;
    },
    finish() {
      if (!isDrawn || !last) return;
      draw({ done: last.done, total: last.done });
      standardError().keepLastLine();
    },
    stop() {
      if (isDrawn) standardError().removeLastLine();
    },
  };
}

/** The bar in at most `width` columns: where these are few, without rate, remaining time, or the bar itself. */
export function drawBar(
  title: string,
  { done, total, rate, secondsLeft }: Counts & { rate: number; secondsLeft: number },
  width: number,
): string {
  const part = total === 0 ? 1 : Math.min(1, done / total);
  const percent = `${Math.floor(part * 100)}%`.padStart(4);
  const counts = `${formatNumber(done)} of ${formatNumber(total)}`;
  const wait = secondsLeft < 10 ? `${secondsLeft} s` : describeDuration(secondsLeft * 1000);
  const left = done >= total ? 'done' : `${wait} left`;
  const words = [percent, counts, left, `${formatNumber(rate)}/s`];
  // By the longest texts, so that the bar keeps its length.
  const countsWidth = 2 * formatNumber(total).length + ' of '.length;
  const widths = [percent.length, countsWidth, MAX_LEFT_WIDTH, MAX_RATE_WIDTH].map(
    (each) => each + GAP.length,
  );
  const free = width - title.length - GAP.length - MIN_BAR_WIDTH;
  const shown = [4, 3, 2].find((number) => sum(widths.slice(0, number)) <= free);
  if (shown === undefined) return cut(`${title} ${percent.trim()}  ${counts}`, width);
  const barWidth = Math.min(MAX_BAR_WIDTH, MIN_BAR_WIDTH + free - sum(widths.slice(0, shown)));
  const filled = Math.round(part * barWidth);
  const text = words.slice(0, shown).join(GAP);
  return cut(`${title} ${'█'.repeat(filled)}${'░'.repeat(barWidth - filled)} ${text}`, width);
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
