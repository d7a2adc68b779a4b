import { sep } from 'node:path';
import jestSequencer from '@jest/test-sequencer';

/**
 * The files that take longest, those that mostly wait beside those that mostly compute. They start first, so that none of them
 * runs alone at the end. Jest itself goes by the durations of the last run, which a fresh clone does not have.
 */
const SLOWEST = [
  'runs/completeness-scenarios',
  'runs/source-identity',
  'program/log-sinks',
  'runs/verify',
  'postgres/write/copy',
  'stdio',
  'runs/export.property',
  'commands/organizations',
  'postgres/schema/roles',
  'status/page/page-browser',
  'commands/verify',
  'program/secrets',
  'program/hostile-process',
  'program/odd-settings',
  'embedded-postgres/embedded-postgres',
  'commands/outage-schedule',
  'runs/export-backfill',
  'torture/torture',
  'commands/outage-database',
  'config/config.property',
  'commands/outage-source',
  'program/secrets-encoded',
  'postgres/schema/roll-ups',
  'commands/check',
].map((name) => `${sep}test${sep}${name.replaceAll('/', sep)}.test.ts`);

const rankOf = ({ path }) => {
  const rank = SLOWEST.findIndex((name) => path.endsWith(name));
  return rank < 0 ? SLOWEST.length : rank;
};

export default class Sequencer extends jestSequencer {
  sort(tests) {
    return super.sort(tests).sort((one, other) => rankOf(one) - rankOf(other));
  }
}
