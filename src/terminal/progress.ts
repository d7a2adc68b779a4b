import progress from 'cli-progress';
import type { Logger } from '../log.ts';
import { standardError } from '../stdio.ts';
import { describeDuration, formatNumber } from '../text/format.ts';
import { widthOf } from './screen.ts';

/** Minimum time between two log lines. */
const LOG_INTERVAL_MS = 5_000;

const MAX_BAR_WIDTH = 28;
const MIN_BAR_WIDTH = 8;
/** Maximum width of the text beside the bar: a title, `100%`, two numbers of millions, a rate and a time. */
const MAX_TEXT_WIDTH = 66;

interface Progress {
  update(done: number, total: number): void;
  /** Shows 100%, with the rows done as the total: the total changes while the source is read. */
  finish(): void;
  /** Ends the bar in its last state. May be called twice, and after `finish`. */
  stop(): void;
}

/** Shows progress: a bar with rate and remaining time if standard error is a terminal, otherwise log lines. */
export function createProgress(log: Logger, title: string): Progress {
  const startedAt = performance.now();
  let loggedAt = startedAt;
  let lastDone = 0;
  const bar = process.stderr.isTTY === true ? createBar(title) : undefined;
  return {
    update(done, total) {
      lastDone = done;
      const rate = done / Math.max(0.001, (performance.now() - startedAt) / 1000);
      const secondsLeft = Math.ceil((total - done) / Math.max(rate, 0.001));
      if (bar) {
        const facts = { rate: formatNumber(Math.round(rate)), left: secondsLeft };
        if (!bar.isActive) bar.start(total, done, facts);
        bar.setTotal(total);
        bar.update(done, facts);
      } else if (performance.now() - loggedAt >= LOG_INTERVAL_MS) {
        loggedAt = performance.now();
        const facts = { done, total, rowsPerSecond: Math.round(rate), secondsLeft };
        log.info(facts, `${title.toLowerCase()} in progress`);
      }
    },
    finish() {
      if (!bar?.isActive) return;
      bar.setTotal(lastDone);
      bar.update(lastDone);
      bar.stop();
    },
    stop() {
      if (bar?.isActive) bar.stop();
    },
  };
}

/** The part of standard error that cli-progress uses. */
function screen(): NodeJS.WritableStream {
  const { isTTY, columns } = process.stderr;
  return { isTTY, columns, write: (text: string) => standardError().draw(text) } as never;
}

function createBar(title: string): progress.SingleBar {
  return new progress.SingleBar(
    {
      format: (options, params, payload) => {
        const part = params.total === 0 ? 1 : params.value / params.total;
        const filled = progress.Format.BarFormat(part, options);
        const percent = `${Math.floor(part * 100)}%`.padStart(4);
        const counts = `${formatNumber(params.value)} of ${formatNumber(params.total)}`;
        const left =
          params.value >= params.total
            ? 'done'
            : `${payload.left < 10 ? `${payload.left} s` : describeDuration(payload.left * 1000)} left`;
        return `${title} ${filled} ${percent}  ${counts}  ${payload.rate}/s  ${left}`;
      },
      stream: screen(),
      hideCursor: true,
      barsize: Math.min(MAX_BAR_WIDTH, Math.max(MIN_BAR_WIDTH, widthOf(process.stderr) - MAX_TEXT_WIDTH)),
      stopOnComplete: false,
    },
    progress.Presets.shades_classic,
  );
}
