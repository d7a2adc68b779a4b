#!/usr/bin/env -S node --max-semi-space-size=8 --
/** The process edge: arguments, signals → AbortSignal, errors → exit code. */
import { readFileSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { CommanderError } from 'commander';
import { createProgram, readArguments } from './commands/program.ts';
import { ExportError, treatmentOf } from './core/errors.ts';
import { closeLostTerminalsAtExit, standardError, standardOutput } from './stdio.ts';
import { describeError } from './terminal/help.ts';
import { createRedactor } from './text/redaction.ts';

/** A command that was told to stop has this long for it. */
const STOP_WITHIN_MS = 9_500;

const USAGE = 2;
const FAILED = 1;
const STOPPED_AT_ONCE = 130;

// V8 lets the heap grow to several times of what is alive before it collects it. Collected sooner, and with a young generation
// half as large (the option in the first line, and in the Dockerfile), a backfill needs a hundred MB less.
setFlagsFromString('--heap-growing-percent=60');

standardError();
const output = standardOutput();
// After the two above, whose own listeners still write at exit.
closeLostTerminalsAtExit();
const exitCode = await main(process.argv);
await output.written();
// A full disk must not look like success.
process.exitCode = output.hasFailed() ? exitCode || FAILED : exitCode;
// Whatever a library still holds open must not keep a finished command alive.
process.exit();

async function main(argv: string[]): Promise<number> {
  try {
    const context = { environment: process.env, signal: listenForSignals(), out: writeLine };
    const args = readArguments(argv.slice(2));
    const manifest = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
    const program = await createProgram(context, manifest, args[0]);
    await program.parseAsync(args, { from: 'user' });
    return 0;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : USAGE;
    // No configuration is known here, so this takes out only what looks like a secret; messages hold none to begin with.
    const redact = createRedactor();
    if (error instanceof ExportError) {
      standardError().write(describeError(redact(error.message)));
      return treatmentOf(error.code).exitCode;
    }
    standardError().write(
      describeError(redact(error instanceof Error ? String(error.stack) : String(error))),
    );
    return FAILED;
  }
}

/** The first SIGTERM or SIGINT aborts, so that the page in hand is finished or rolled back; the second ends at once. */
function listenForSignals(): AbortSignal {
  const controller = new AbortController();
  const stop = (name: NodeJS.Signals) => {
    if (controller.signal.aborted) process.exit(STOPPED_AT_ONCE);
    standardError().write(`${name}: stopping; once more stops at once\n`);
    controller.abort();
    setTimeout(() => {
      standardError().write('error: stopping took too long; what was committed stays\n');
      process.exit(treatmentOf('interrupted').exitCode);
    }, STOP_WITHIN_MS).unref();
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  // A terminal that is closed ends no work, as under nohup: only what would be written to it is lost.
  process.on('SIGHUP', () => {});
  return controller.signal;
}

function writeLine(line: string): void {
  standardOutput().write(`${line}\n`);
}
