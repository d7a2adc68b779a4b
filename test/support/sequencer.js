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
  'commands/run',
  'postgres/write/copy',
  'postgres/schema/roles',
  'uipath/classic/parse-page.property',
  'runs/watermark',
  'runs/export',
  'status/page/page-browser',
  'postgres/schema/upgrade-release',
  'enumeration/enumeration',
  'stdio',
  'commands/verify',
  'program/secrets',
  'torture/torture',
  'runs/export-failures',
  'commands/check',
  'program/hostile-process',
  'program/odd-settings',
  'commands/organizations',
  'core/offset-list/frontier.property',
  'core/offset-list/frontier-ties.property',
  'core/export',
  'runs/export.property',
  'runs/export-backfill',
  'postgres/write/span-store',
  'commands/help',
  'embedded-postgres/embedded-postgres',
  'enumeration/random',
  'uipath/error-secrets.property',
  'commands/outage-schedule',
  'commands/outage-database',
  'config/config.property',
  'commands/outage-source',
  'program/secrets-encoded',
  'postgres/schema/roll-ups',
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
