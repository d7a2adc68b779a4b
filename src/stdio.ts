/**
 * Writes to standard output and standard error. No write blocks the process, ends it or throws.
 *
 * - A write is synchronous, so that a line is not lost if the process is killed right after it.
 * - The descriptors are non-blocking. Output that a full pipe, socket or stopped terminal does not accept is queued in order, and a
 *   timer writes it.
 * - Standard error is for logs: lines that cannot be written are dropped and counted, and the next successful write reports the
 *   count.
 * - Standard output is for results: after the first failure nothing more is written to it, and `main.ts` exits with 1.
 *
 * A descriptor that is closed at start (`2>&-`) needs no handling: Node.js opens /dev/null in its place before another file can get
 * the number.
 */
import { closeSync, fstatSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { isatty } from 'node:tty';
import { createWriter, RETRY_MS } from './stdio-writer.ts';

/** Limit of the queue of standard error; further lines are dropped. */
const MAX_QUEUED_BYTES = 1024 * 1024;
/** Time limit for writing the queue at exit. */
const EXIT_MS = 1_000;

export interface StandardError {
  /** Writes whole lines. Lines that cannot be written are dropped and counted. */
  write(text: string): void;
  /** Writes a part of a progress bar, which is not counted when it is dropped. */
  draw(text: string): void;
  /** Number of lines that this process dropped. */
  readonly dropped: number;
  /** Renders the line that reports dropped lines once writing works again. */
  describeDropped: (lines: number, reason: string) => string;
}

export interface StandardOutput {
  write(text: string): void;
  /** Resolves once everything is written or has failed. There is no timeout, since the reader may be a pager. */
  written(): Promise<void>;
  /**
   * Whether the result is incomplete; standard error says why. False if the reader closed the pipe, as `| head -1` does when it has
   * read enough.
   */
  hasFailed(): boolean;
}

let sharedError: StandardError | undefined;
let sharedOutput: StandardOutput | undefined;

/** Returns the standard error of this process. */
export function standardError(): StandardError {
  sharedError ??= createStandardError();
  return sharedError;
}

/** Returns the standard output of this process. */
export function standardOutput(): StandardOutput {
  sharedOutput ??= createStandardOutput();
  return sharedOutput;
}

/**
 * Closes the descriptors of a terminal that no longer exists, just before the process exits. Node.js restores the mode of each
 * terminal at exit, and aborts (exit code 134) if that fails for any reason but a closed descriptor.
 */
export function closeLostTerminalsAtExit(): void {
  const terminals = [0, 1, 2].filter((fd) => isatty(fd));
  process.on('exit', () => {
    for (const fd of terminals) if (!isatty(fd)) closeSync(fd);
  });
}

function createStandardError(): StandardError {
  let dropped = 0;
  let reported = 0;
  let reason = '';
  const writer = createWriter(process.stderr, 2, {
    maxQueuedBytes: MAX_QUEUED_BYTES,
    onDropped(error, isCounted) {
      reason = error.message;
      if (isCounted) dropped++;
    },
  });
  const write = (text: string) => {
    const lines = dropped - reported;
    if (lines === 0) writer.write(text, true);
    else if (writer.write(sink.describeDropped(lines, reason) + text, true)) reported += lines;
  };
  const sink: StandardError = {
    write,
    draw: (text) => void writer.write(text, false),
    get dropped() {
      return dropped;
    },
    describeDropped: (lines, why) => `warning: ${lines} lines could not be written here (${why})\n`,
  };
  process.on('exit', () => {
    if (dropped > reported) write('');
    writer.flush(EXIT_MS);
  });
  return sink;
}

function createStandardOutput(): StandardOutput {
  let isClosed = false;
  let hasFailed = false;
  const writer = createWriter(process.stdout, 1, {
    maxQueuedBytes: Number.POSITIVE_INFINITY,
    onDropped(error) {
      if (isClosed) return;
      isClosed = true;
      if (isReaderGone(error)) return;
      hasFailed = true;
      standardError().write(
        `error: Could not write the result to standard output: ${error.message}. Free disk space or redirect the output, ` +
          'then run the command again. Its changes to the database are not affected.\n',
      );
    },
  });
  process.on('exit', () => writer.flush(0));
  return {
    write(text) {
      if (!isClosed) writer.write(text, true);
    },
    async written() {
      while (writer.isQueued() && !isClosed) await sleep(RETRY_MS);
    },
    hasFailed: () => hasFailed,
  };
}

/** EIO from a device means a closed terminal; from a file it means a broken disk. */
function isReaderGone({ code }: NodeJS.ErrnoException): boolean {
  if (code === 'EPIPE' || code === 'ECONNRESET') return true;
  return code === 'EIO' && fstatSync(1).isCharacterDevice();
}
