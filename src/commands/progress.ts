import progress from 'cli-progress';
import type { PageProgress } from '../core/export.ts';
import type { Logger } from '../log.ts';

/** Lines in a log come no oftener than this. */
const LOG_INTERVAL_MS = 5_000;

export interface Progress {
  update(page: PageProgress): void;
  /** Leaves the last state standing. May be called twice. */
  stop(): void;
}

/**
 * Shows how far a backfill came: a bar with rate and time left where standard error is a terminal, log lines elsewhere.
 * `end` is the offset at which the range ends, if that is not the end of the list.
 */
export function createProgress(log: Logger, end: number | undefined): Progress {
  const isTerminal = process.stderr.isTTY === true;
  const startedAt = Date.now();
  let first: number | undefined;
  let loggedAt = startedAt;
  const bar = isTerminal ? createBar() : undefined;

  const measure = (page: PageProgress) => {
    first ??= Math.min(page.skip, page.reached);
    const done = page.reached - first;
    const total = Math.max(done, (end ?? page.totalCount) - first);
    const rate = done / Math.max(0.001, (Date.now() - startedAt) / 1000);
    return { done, total, rate, secondsLeft: (total - done) / Math.max(rate, 0.001) };
  };

  return {
    update(page) {
      const { done, total, rate, secondsLeft } = measure(page);
      const facts = { rate: Math.round(rate).toLocaleString('en'), left: Math.ceil(secondsLeft) };
      if (bar) {
        if (!bar.isActive) bar.start(total, done, facts);
        bar.setTotal(total);
        bar.update(done, facts);
      } else if (Date.now() - loggedAt >= LOG_INTERVAL_MS) {
        loggedAt = Date.now();
        log.info(
          { done, total, rowsPerSecond: Math.round(rate), secondsLeft: Math.ceil(secondsLeft) },
          'backfill under way',
        );
      }
    },
    stop() {
      if (bar?.isActive) bar.stop();
    },
  };
}

function createBar(): progress.SingleBar {
  return new progress.SingleBar(
    {
      format: (options, params, payload) => {
        const part = params.total === 0 ? 1 : params.value / params.total;
        const filled = progress.Format.BarFormat(part, options);
        const counts = `${params.value.toLocaleString('en')} of ${params.total.toLocaleString('en')} events`;
        const left =
          params.value >= params.total
            ? 'done'
            : `${progress.Format.TimeFormat(payload.left, options, 1)} left`;
        return `Backfill ${filled} ${Math.floor(part * 100)}%  ${counts}  ${payload.rate}/s  ${left}`;
      },
      stream: process.stderr,
      hideCursor: true,
      barsize: 28,
      stopOnComplete: false,
    },
    progress.Presets.shades_classic,
  );
}
