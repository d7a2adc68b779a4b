#!/usr/bin/env -S node --max-semi-space-size=4 --
/** The process edge: arguments, signals → AbortSignal, errors → exit code. */
import { readFileSync } from 'node:fs';
import { format } from 'node:util';
import { setFlagsFromString } from 'node:v8';
import { CommanderError } from 'commander';
import { createProgram, readArguments } from './commands/program.ts';
import { ExportError, factsOf, isInterrupted, treatmentOf } from './core/errors.ts';
import { closeLostTerminalsAtExit, standardError, standardOutput, writeNotice } from './stdio.ts';
import { describeError, describeMessage } from './terminal/help.ts';
import { createRedactor } from './text/redaction.ts';

/** Time limit of a clean shutdown after the first signal. */
const SHUTDOWN_TIMEOUT_MS = 9_500;

const USAGE = 2;
const FAILED = 1;
const STOPPED_AT_ONCE = 130;

/** This program writes nothing with `console`, but a library may. */
const CONSOLE = [
  ['debug', 'info'],
  ['log', 'info'],
  ['info', 'info'],
  ['warn', 'warn'],
  ['error', 'error'],
] as const;

// By default V8 lets the heap grow to several times the live objects before it collects garbage. With an earlier collection and
// half the young generation (the option in the first line and in the Dockerfile) a backfill needs 100 MB less.
setFlagsFromString('--heap-growing-percent=60');

// Each connection says itself whether it verifies certificates. Node would print a warning that none does.
delete process.env.NODE_TLS_REJECT_UNAUTHORIZED;

standardError();
const output = standardOutput();
// Must follow the two calls above: their exit listeners still write.
closeLostTerminalsAtExit();
logProcessEvents();
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
    return reportError(error);
  }
}

/** Reports the error that ends the program, and returns the exit code. */
function reportError(error: unknown): number {
  // The configuration is not known here, so this redacts only what looks like a secret. Messages contain none anyway.
  const redact = createRedactor();
  if (!(error instanceof ExportError)) {
    const { message, stack, name: type } = error instanceof Error ? error : new Error(String(error));
    const fields = {
      err: { type, message: redact(message), stack: redact(String(stack)) },
      ...factsOf(error),
    };
    writeNotice('fatal', redact(message), { text: describeError(redact(String(stack))), fields });
    return FAILED;
  }
  const message = redact(error.message);
  const { exitCode, logLevel } = treatmentOf(error.code);
  const text = isInterrupted(error) ? describeMessage(message) : describeError(message);
  const level = logLevel === 'error' ? 'error' : 'info';
  writeNotice(level, message, { text, fields: { code: error.code, ...factsOf(error) } });
  return exitCode;
}

/** Warnings of Node.js and of libraries, and a crash, are log lines too. */
function logProcessEvents(): void {
  const redact = createRedactor();
  // Without a listener warnings are disabled, by --no-warnings or NODE_NO_WARNINGS.
  if (process.listenerCount('warning') > 0) {
    process.removeAllListeners('warning');
    process.on('warning', ({ name, message }) => {
      const text = redact(message);
      writeNotice('warn', text, { text: describeMessage(`warning: ${text}`), fields: { type: name } });
    });
  }
  process.on('uncaughtException', (error) => process.exit(reportError(error)));
  for (const [name, level] of CONSOLE) {
    console[name] = (...args: unknown[]) => writeNotice(level, redact(format(...args)));
  }
}

/** Returns a signal. The first SIGTERM or SIGINT aborts it: the current page is committed or rolled back. The second exits. */
function listenForSignals(): AbortSignal {
  const controller = new AbortController();
  const stop = (name: NodeJS.Signals) => {
    if (controller.signal.aborted) process.exit(STOPPED_AT_ONCE);
    const fields = { signal: name };
    writeNotice('info', `${name}: stopping; send the signal again to stop at once`, { fields });
    controller.abort();
    setTimeout(() => {
      const message = 'The shutdown took too long. Committed events are kept.';
      writeNotice('error', message, { text: describeError(message) });
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
