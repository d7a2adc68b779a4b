/** The commands of the program, and how their arguments are read. */
import { Command } from 'commander';
import type { CommandContext } from '../app.ts';
import { prepare, withHelp } from '../terminal/help.ts';
import { versionText } from '../version.ts';

/** In the order in which --help names them. Each is loaded only when it is called, so that it starts quickly. */
const COMMANDS = new Map<string | undefined, () => Promise<(context: CommandContext) => Command>>([
  ['start', async () => (await import('./start.ts')).startCommand],
  ['run', async () => (await import('./run.ts')).runCommand],
  ['backfill', async () => (await import('./backfill.ts')).backfillCommand],
  ['verify', async () => (await import('./verify.ts')).verifyCommand],
  ['status', async () => (await import('./status.ts')).statusCommand],
  ['check', async () => (await import('./check.ts')).checkCommand],
  ['migrate', async () => (await import('./migrate.ts')).migrateCommand],
  ['ledger', async () => (await import('./ledger.ts')).ledgerCommand],
  ['prove', async () => (await import('./prove.ts')).proveCommand],
  ['report', async () => (await import('./report.ts')).reportCommand],
  ['demo', async () => (await import('./demo.ts')).demoCommand],
  ['simulate', async () => (await import('./simulate.ts')).simulateCommand],
]);

const HELP = {
  notes: [
    'Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 `verify` found differences, 75 temporary: run the same ' +
      'command again later.',
  ],
  examples: ['node dist/main.js demo', 'node dist/main.js check', 'node dist/main.js backfill --help'],
};

/** Creates the command line with the command `requested` alone, or with all commands where none has that name. */
export async function createProgram(
  context: CommandContext,
  { description }: { description: string },
  requested: string | undefined,
): Promise<Command> {
  const program = withHelp(
    new Command('uipath-audit-export').description(description).version(versionText),
    HELP,
  );
  const load = COMMANDS.get(requested);
  const commands = await Promise.all(load ? [load()] : [...COMMANDS.values()].map((loadEach) => loadEach()));
  for (const create of commands) program.addCommand(create(context));
  prepare(program);
  return program;
}

/** `help X` is `X --help`. If the first word is no command, only it is kept: the mistake is reported before help is shown. */
export function readArguments(args: string[]): string[] {
  const [first, second] = args;
  if (first === undefined || first.startsWith('-') || COMMANDS.has(first)) return args;
  if (first !== 'help') return [first];
  return second === undefined || second.startsWith('-') ? args : readArguments([second, '--help']);
}
