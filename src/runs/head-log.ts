/** Logs the head of the ledger once a day, so that any log store is a witness outside the database. */
import type { App } from '../app.ts';
import { checkpointOf } from '../core/ledger/sign.ts';
import { withLedger } from '../postgres/read/ledger.ts';

const DAY_CHARACTERS = '2026-01-31'.length;

export interface HeadLog {
  /** Logs the head if it was not logged on this day (UTC). A failure is logged, and does not end the run that it follows. */
  logOnce(now: Date): Promise<void>;
}

export function createHeadLog({ pool, log, config }: App): HeadLog {
  let loggedOn: string | undefined;
  return {
    async logOnce(now) {
      const day = now.toISOString().slice(0, DAY_CHARACTERS);
      if (day === loggedOn) return;
      try {
        const { organization, log: auditLog } = config.source;
        const key = { organization, log: auditLog };
        const head = await withLedger(pool, (ledger) => ledger.readHead(key));
        if (!head) return;
        loggedOn = day;
        const checkpoint = head.checkpoint ?? checkpointOf(key, head);
        log.info(
          { checkpoint },
          'head of the ledger: `verify --expect` proves later that it was only appended to',
        );
      } catch (error) {
        log.warn(`the head of the ledger was not logged: ${error instanceof Error ? error.message : error}`);
      }
    },
  };
}
