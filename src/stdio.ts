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
 * - A progress bar is the last line of a terminal: each write clears it first and draws it again below.
 * - Without a terminal each line of standard error is a log line as JSON, also those of the process itself.
 *
 * A descriptor that is closed at start (`2>&-`) needs no handling: Node.js opens /dev/null in its place before another file can get
 * the number.
 */
import { closeSync, fstatSync } from 'node:fs';
import { hostname } from 'node:os';
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
  /** Draws the last line of the terminal again. It is not counted when it is dropped; an empty text removes it. */
  drawLastLine(text: string): void;
  /** Makes the last line a line like any other. */
  keepLastLine(): void;
  removeLastLine(): void;
  /** Removes the last line until the returned function is called. */
  hideLastLine(): () => void;
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

/** A level of pino, for messages of the process itself. */
type NoticeLevel = 'info' | 'warn' | 'error' | 'fatal';

/**
 * Writes a message of the process itself to standard error: `text` to a terminal, by default the message; else a log line as JSON with
 * `fields`.
 */
export function writeNotice(
  level: NoticeLevel,
  message: string,
  { text = `${message}\n`, fields = {} }: { text?: string; fields?: object } = {},
): void {
  standardError().write(process.stderr.isTTY ? text : noticeLine(level, message, fields));
}

function noticeLine(level: NoticeLevel, msg: string, fields: object = {}): string {
  const time = new Date().toISOString();
  const line = { level, time, pid: process.pid, hostname: hostname(), ...fields, msg };
  return `${JSON.stringify(line, (_, value) => (typeof value === 'bigint' ? value.toString() : value))}\n`;
}

/** Back to the first column, and clear the line. */
const CLEAR_LINE = '\r\x1b[K';

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
  /** The progress bar, if there is one. */
  let lastLine = '';
  const writeAbove = (text: string) =>
    writer.write(lastLine === '' ? text : `${CLEAR_LINE}${text}${lastLine}`, true);
  const write = (text: string) => {
    const lines = dropped - reported;
    if (lines === 0) writeAbove(text);
    else if (writeAbove(sink.describeDropped(lines, reason) + text)) reported += lines;
  };
  const drawLastLine = (text: string) => {
    lastLine = text;
    writer.write(`${CLEAR_LINE}${text}`, false);
  };
  const sink: StandardError = {
    write,
    drawLastLine,
    keepLastLine() {
      if (lastLine !== '') writer.write('\n', false);
      lastLine = '';
    },
    removeLastLine() {
      if (lastLine !== '') drawLastLine('');
    },
    hideLastLine() {
      const hidden = lastLine;
      if (hidden !== '') drawLastLine('');
      return () => {
        if (hidden !== '') drawLastLine(hidden);
      };
    },
    get dropped() {
      return dropped;
    },
    describeDropped: (lines, why) => {
      const message = `${lines} lines could not be written here (${why})`;
      return process.stderr.isTTY ? `warning: ${message}\n` : noticeLine('warn', message);
    },
  };
  process.on('exit', () => {
    sink.removeLastLine();
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
      const message =
        `Could not write the result to standard output: ${error.message}. Free disk space or redirect the output, ` +
        'then run the command again. Its changes to the database are not affected.';
      writeNotice('error', message, { text: `error: ${message}\n` });
    },
  });
  process.on('exit', () => writer.flush(0));
  return {
    write(text) {
      if (isClosed) return;
      // Both may be the same terminal.
      const showLastLine = standardError().hideLastLine();
      writer.write(text, true);
      showLastLine();
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
