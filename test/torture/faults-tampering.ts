/** Somebody edits the tables by hand between the runs. */
import { formatPrivateKey, generatePrivateKey } from '../../src/core/transparency-log/keys.ts';
import type { Fault } from './play.ts';
import type { Round } from './round.ts';
import { runUntilDone } from './settle.ts';
import { describeFinding, type Edit, type Finding, whileTampered } from './tampering.ts';

const HAS_DIFFERENCES = 3;

const tamperedByHand: Fault = {
  name: 'tampered by hand',
  does: 'rows of random tables are edited, inserted or deleted between runs, as audit_writer or as owner: verify --offline must name each, and nothing else',
  commands: ['run'],
  moves: 0,
  hadEarlierRun: 0,
  rows: [300, 600],
  environment: (random): Record<string, string> =>
    random() < 0.5 ? { EXPORT_LEDGER_KEY: formatPrivateKey(generatePrivateKey()).trim() } : {},
  async play(round) {
    const { simulator } = round;
    await runUntilDone(round);
    for (let runs = round.draw(1, 2); runs > 0; runs--) {
      simulator.append(round.draw(1, 200));
      if (round.chance(0.5)) simulator.deleteAt(round.draw(100, simulator.length - 2), 1);
      await runUntilDone(round);
      await whileTampered(round, round.draw(1, 6), (edits) => expectFound(round, edits));
    }
    await expectFound(round, []);
  },
};

async function expectFound(round: Round, edits: readonly Edit[]): Promise<void> {
  const program = round.workshop.start(['verify', '--offline', '--json'], round.environment);
  round.programs.push(program);
  const { code, stdout } = await program.ended;
  const reports: { ledger: { counts: Record<string, number>; examples: Finding[] } }[] =
    JSON.parse(stdout).organizations;
  const found = reports.flatMap(({ ledger }) => ledger.examples.map(describeFinding)).sort();
  const expected = edits.map(({ finding }) => finding).sort();
  const edited = edits.map(({ what }) => what).join('; ');
  round.demand(
    found.join() === expected.join(),
    `after ${edited || 'no edit'}, verify found [${found.join(', ')}] and not [${expected.join(', ')}]`,
  );
  const expectedCode = edits.length === 0 ? 0 : HAS_DIFFERENCES;
  round.demand(code === expectedCode, `after ${edited || 'no edit'}, verify ended with ${code}`);
  for (const { what } of edits) round.notes.push(what);
}

export const TAMPERING_FAULTS: Fault[] = [tamperedByHand];
