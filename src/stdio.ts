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
import { closeSync, fstatSync, writeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { isatty } from 'node:tty';

type Stream = NodeJS.WriteStream & { _handle?: { setBlocking?(isBlocking: boolean): void } | null };

/** Limit of the queue of standard error; further lines are dropped. */
const MAX_QUEUED_BYTES = 1024 * 1024;
const TOO_SLOW = 'standard error was not read fast enough';
const RETRY_MS = 20;
/** Total time per period that writes may wait for a slow reader, so that its lines need no queue. */
const WAIT_BUDGET_MS = 500;
const WAIT_PERIOD_MS = 60_000;
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

interface WriterOptions {
  maxQueuedBytes: number;
  /** Called once for each lost write, including queued ones. */
  onDropped(error: NodeJS.ErrnoException, isCounted: boolean): void;
}

/** Writes to a descriptor in order. No method throws, or waits longer than documented. */
function createWriter(stream: Stream, fd: number, { maxQueuedBytes, onDropped }: WriterOptions) {
  const queue: { bytes: Buffer; isCounted: boolean }[] = [];
  const mayWait = createWaitBudget();
  let queuedBytes = 0;
  let timer: NodeJS.Timeout | undefined;
  /** The last write was incomplete: the rest, or a line break, must come next. */
  let isPartial = false;
  // Ignores errors of writes by Node.js and libraries to the stream.
  stream.on('error', () => {});

  /** Writes what the descriptor accepts and returns the rest. Throws every error except a full descriptor. */
  const writeNow = (bytes: Buffer, canWait: () => boolean): Buffer => {
    let rest = bytes;
    while (rest.length > 0) {
      const count = tryWrite(fd, rest);
      if (count > 0) {
        rest = rest.subarray(count);
        isPartial = rest.length > 0;
      } else if (!canWait()) break;
    }
    return rest;
  };

  const drain = () => {
    keepNonBlocking(stream);
    for (let first = queue[0]; first; first = queue[0]) {
      queuedBytes -= first.bytes.length;
      try {
        first.bytes = writeNow(first.bytes, () => false);
      } catch (error) {
        onDropped(error as NodeJS.ErrnoException, first.isCounted);
        first.bytes = Buffer.alloc(0);
      }
      queuedBytes += first.bytes.length;
      if (first.bytes.length > 0) return;
      queue.shift();
    }
    clearInterval(timer);
    timer = undefined;
  };

  const enqueue = (bytes: Buffer, isCounted: boolean) => {
    queue.push({ bytes, isCounted });
    queuedBytes += bytes.length;
    timer ??= setInterval(drain, RETRY_MS).unref();
  };

  return {
    isQueued: () => queue.length > 0,
    /** Whether `text` was written or queued. */
    write(text: string, isCounted: boolean): boolean {
      try {
        const isBehind = queue.length > 0;
        const bytes = Buffer.from(isPartial && !isBehind ? `\n${text}` : text);
        if (isBehind && queuedBytes + bytes.length > maxQueuedBytes) throw new Error(TOO_SLOW);
        if (!isBehind) keepNonBlocking(stream);
        const rest = isBehind ? bytes : writeNow(bytes, mayWait);
        if (rest.length > 0) enqueue(rest, isCounted);
        return true;
      } catch (error) {
        onDropped(error as NodeJS.ErrnoException, isCounted);
        return false;
      }
    },
    /** Writes the queue, as far as the reader accepts it within `maxMs`. */
    flush(maxMs: number): void {
      const deadline = performance.now() + maxMs;
      for (drain(); queue.length > 0 && performance.now() < deadline; drain()) pause(RETRY_MS);
    },
  };
}

/** Returns the number of bytes written; 0 if the descriptor is full. */
function tryWrite(fd: number, bytes: Buffer): number {
  try {
    return writeSync(fd, bytes);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EAGAIN' || code === 'EINTR') return 0;
    throw error;
  }
}

/**
 * Node.js makes pipes non-blocking and terminals blocking, and another process that shares the pipe may change it at any time.
 * Files have no such handle and do not block.
 */
function keepNonBlocking(stream: Stream): void {
  stream._handle?.setBlocking?.(false);
}

/** Returns a function that waits briefly, or returns false once the budget of the current period is used up. */
function createWaitBudget(): () => boolean {
  let periodEndsAt = 0;
  let leftMs = 0;
  return () => {
    const now = performance.now();
    if (now >= periodEndsAt) {
      periodEndsAt = now + WAIT_PERIOD_MS;
      leftMs = WAIT_BUDGET_MS;
    }
    if (leftMs <= 0) return false;
    pause(1);
    leftMs -= performance.now() - now;
    return true;
  };
}

function pause(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}
