#!/usr/bin/env -S node --max-semi-space-size=8 --
/** The process edge: arguments, signals → AbortSignal, errors → exit code. */
import { readFileSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { Command, CommanderError } from 'commander';
import type { CommandContext } from './app.ts';
import { describeError, prepare, withHelp } from './commands/help.ts';
import { type ErrorCode, ExportError } from './core/errors.ts';
import { createRedactor } from './redaction.ts';
import { versionText } from './version.ts';

/** In the order in which --help names them. Each is loaded only when it is asked for, so that it begins at once. */
const COMMANDS = new Map<string | undefined, () => Promise<(context: CommandContext) => Command>>([
  ['start', async () => (await import('./commands/start.ts')).startCommand],
  ['run', async () => (await import('./commands/run.ts')).runCommand],
  ['backfill', async () => (await import('./commands/backfill.ts')).backfillCommand],
  ['verify', async () => (await import('./commands/verify.ts')).verifyCommand],
  ['status', async () => (await import('./commands/status.ts')).statusCommand],
  ['check', async () => (await import('./commands/check.ts')).checkCommand],
  ['migrate', async () => (await import('./commands/migrate.ts')).migrateCommand],
  ['demo', async () => (await import('./commands/demo.ts')).demoCommand],
  ['simulate', async () => (await import('./commands/simulate.ts')).simulateCommand],
]);

/** A command that was told to stop has this long for it. */
const STOP_WITHIN_MS = 9_500;

const EXIT_CODES: Record<ErrorCode, number> = {
  configuration: 2,
  'source-away': 75,
  'source-invalid': 1,
  'database-away': 75,
  database: 1,
  locked: 75,
  superseded: 75,
  stalled: 75,
  differences: 3,
  fenced: 75,
  interrupted: 75,
};
const HELP = {
  notes: [
    'Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 `verify` found differences, 75 temporary: the same command ' +
      'later goes on.',
  ],
  examples: ['node dist/main.js demo', 'node dist/main.js check', 'node dist/main.js backfill --help'],
};
const USAGE = 2;
const FAILED = 1;
const STOPPED_AT_ONCE = 130;

// V8 lets the heap grow to several times of what is alive before it collects it. Collected sooner, and with a young generation
// half as large (the option in the first line, and in the Dockerfile), a backfill needs a hundred MB less.
setFlagsFromString('--heap-growing-percent=60');

// A reader that went away, as `| head -1`, must not end the work; a full disk must not look like success.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') process.exit(FAILED);
  });
}
const exitCode = await main(process.argv);
process.exitCode = exitCode;
// Whatever a library still holds open must not keep a finished command alive.
process.exit();

async function main(argv: string[]): Promise<number> {
  try {
    const context = { environment: process.env, signal: listenForSignals(), out: writeLine };
    const args = readArguments(argv.slice(2));
    const program = await createProgram(context, args[0]);
    await program.parseAsync(args, { from: 'user' });
    return 0;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : USAGE;
    // No configuration is known here, so this takes out only what looks like a secret; messages hold none to begin with.
    const redact = createRedactor();
    if (error instanceof ExportError) {
      process.stderr.write(describeError(redact(error.message)));
      return EXIT_CODES[error.code];
    }
    process.stderr.write(describeError(redact(error instanceof Error ? String(error.stack) : String(error))));
    return FAILED;
  }
}

/** Knows all commands, unless `asked` is the name of one. */
async function createProgram(context: CommandContext, asked: string | undefined): Promise<Command> {
  const { description } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
  const program = withHelp(
    new Command('uipath-audit-export').description(description).version(versionText),
    HELP,
  );
  const load = COMMANDS.get(asked);
  const commands = await Promise.all(load ? [load()] : [...COMMANDS.values()].map((loadEach) => loadEach()));
  for (const create of commands) program.addCommand(create(context));
  prepare(program);
  return program;
}

/** `help X` is `X --help`. Of what begins with no command only that is kept: a mistake comes before the help asked for. */
function readArguments(args: string[]): string[] {
  const [first, second] = args;
  if (first === undefined || first.startsWith('-') || COMMANDS.has(first)) return args;
  if (first !== 'help') return [first];
  return second === undefined || second.startsWith('-') ? args : readArguments([second, '--help']);
}

/** The first SIGTERM or SIGINT aborts, so that the page in hand is finished or rolled back; the second ends at once. */
function listenForSignals(): AbortSignal {
  const controller = new AbortController();
  const stop = (name: NodeJS.Signals) => {
    if (controller.signal.aborted) process.exit(STOPPED_AT_ONCE);
    process.stderr.write(`${name}: stopping; once more stops at once\n`);
    controller.abort();
    setTimeout(() => {
      process.stderr.write('error: stopping took too long; what was committed stays\n');
      process.exit(EXIT_CODES.interrupted);
    }, STOP_WITHIN_MS).unref();
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  return controller.signal;
}

function writeLine(line: string): void {
  process.stdout.write(`${line}\n`);
}
