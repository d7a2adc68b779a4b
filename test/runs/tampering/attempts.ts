/**
 * What somebody may try on the tables, who may, and what `verify --offline` says of it. SECURITY.md shows the rows; tampering.test.ts plays each
 * attempt as each login, without and with a key.
 */
import type { Attempt } from './attempt.ts';
import { EVENT_ATTEMPTS } from './event-attempts.ts';
import { LEDGER_ATTEMPTS, SIGNATURE_ATTEMPTS } from './ledger-attempts.ts';
import { STATE_ATTEMPTS } from './state-attempts.ts';
import { WORKER_ATTEMPTS } from './worker-attempts.ts';

export const ATTEMPTS: readonly Attempt[] = [
  ...EVENT_ATTEMPTS,
  ...LEDGER_ATTEMPTS,
  ...SIGNATURE_ATTEMPTS,
  ...STATE_ATTEMPTS,
  ...WORKER_ATTEMPTS,
];
