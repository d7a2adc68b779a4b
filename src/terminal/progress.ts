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

/** The bar in at most `width` columns: where these are few, without remaining time, rate, or the bar itself. */
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
  const texts = [
    [percent, counts, `${formatNumber(rate)}/s`, left],
    [percent, counts, left],
    [percent, counts],
  ].map((words) => words.join('  '));
  const spaces = 2;
  const fitting = texts.find((text) => title.length + spaces + MIN_BAR_WIDTH + text.length <= width);
  if (fitting === undefined) return cut(`${title} ${percent.trim()}  ${counts}`, width);
  const barWidth = Math.min(MAX_BAR_WIDTH, width - title.length - spaces - fitting.length);
  const filled = Math.round(part * barWidth);
  return `${title} ${'█'.repeat(filled)}${'░'.repeat(barWidth - filled)} ${fitting}`;
}
