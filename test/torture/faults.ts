import { COMPANY_FAULTS } from './faults-company.ts';
import { DATABASE_FAULTS } from './faults-database.ts';
import { HISTORY_FAULTS } from './faults-history.ts';
import { LIST_FAULTS } from './faults-list.ts';
import { PROCESS_FAULTS } from './faults-process.ts';
import { SOURCE_FAULTS } from './faults-source.ts';
import { TAMPERING_FAULTS } from './faults-tampering.ts';
import type { Fault } from './play.ts';

export const FAULTS: readonly Fault[] = [
  ...PROCESS_FAULTS,
  ...DATABASE_FAULTS,
  ...SOURCE_FAULTS,
  ...LIST_FAULTS,
  ...HISTORY_FAULTS,
  ...COMPANY_FAULTS,
  ...TAMPERING_FAULTS,
];
