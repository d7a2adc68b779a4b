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

/** Time limit of a clean shutdown after the first signal. */
const SHUTDOWN_TIMEOUT_MS = 9_500;

const USAGE = 2;
const FAILED = 1;
const STOPPED_AT_ONCE = 130;

// By default V8 lets the heap grow to several times the live objects before it collects garbage. With an earlier collection and
// half the young generation (the option in the first line and in the Dockerfile) a backfill needs 100 MB less.
setFlagsFromString('--heap-growing-percent=60');

// Each connection says itself whether it verifies certificates. Node would print a warning that none does.
delete process.env.NODE_TLS_REJECT_UNAUTHORIZED;

standardError();
const output = standardOutput();
// Must follow the two calls above: their exit listeners still write.
closeLostTerminalsAtExit();
const exitCode = await main(process.argv);
await output.written();
// A failed write, for example to a full disk, must not exit with 0.
process.exitCode = output.hasFailed() ? exitCode || FAILED : exitCode;
// A handle that a library left open must not keep the process alive.
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
    // The configuration is not known here, so this redacts only what looks like a secret. Messages contain none anyway.
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

/** Returns a signal. The first SIGTERM or SIGINT aborts it: the current page is committed or rolled back. The second exits. */
function listenForSignals(): AbortSignal {
  const controller = new AbortController();
  const stop = (name: NodeJS.Signals) => {
    if (controller.signal.aborted) process.exit(STOPPED_AT_ONCE);
    standardError().write(`${name}: stopping; send the signal again to stop at once\n`);
    controller.abort();
    setTimeout(() => {
      standardError().write('error: the shutdown took too long; committed events are kept\n');
      process.exit(treatmentOf('interrupted').exitCode);
    }, SHUTDOWN_TIMEOUT_MS).unref();
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  // Closing the terminal does not stop the work, as with nohup: only output to the terminal is lost. Before this line, in the first
  // 0.1 s, of which Node.js itself takes most, the signal ends the process, which has not read or changed anything yet.
  process.on('SIGHUP', () => {});
  return controller.signal;
}

function writeLine(line: string): void {
  standardOutput().write(`${line}\n`);
}
