import progress from 'cli-progress';
import type { Logger } from '../log.ts';
import { standardError } from '../stdio.ts';
import { describeDuration, formatNumber } from '../text/format.ts';
import { widthOf } from './screen.ts';

/** Lines in a log come no oftener than this. */
const LOG_INTERVAL_MS = 5_000;

const WIDEST_BAR = 28;
const NARROWEST_BAR = 8;
/** What stands beside the bar at its widest: a title, `100%`, two numbers of millions, a rate and a time. */
const ROOM_FOR_WORDS = 66;

interface Progress {
  update(done: number, total: number): void;
  /** Says that all is done, whatever the total was thought to be: the source's list moves. */
  finish(): void;
  /** Leaves the last state standing. May be called twice, and after `finish`. */
  stop(): void;
}

/** Shows how far work came: a bar with rate and time left where standard error is a terminal, log lines elsewhere. */
export function createProgress(log: Logger, title: string): Progress {
  const startedAt = performance.now();
  let loggedAt = startedAt;
  let reached = 0;
  const bar = process.stderr.isTTY === true ? createBar(title) : undefined;
  return {
    update(done, total) {
      reached = done;
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
        log.info(facts, `${title.toLowerCase()} under way`);
      }
    },
    finish() {
      if (!bar?.isActive) return;
      bar.setTotal(reached);
      bar.update(reached);
      bar.stop();
    },
    stop() {
      if (bar?.isActive) bar.stop();
    },
  };
}

/** Standard error as far as cli-progress uses it. */
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
      barsize: Math.min(WIDEST_BAR, Math.max(NARROWEST_BAR, widthOf(process.stderr) - ROOM_FOR_WORDS)),
      stopOnComplete: false,
    },
    progress.Presets.shades_classic,
  );
}
