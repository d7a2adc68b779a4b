/**
 * Standard output and standard error, written so that neither blocks the process, ends it or makes a call throw.
 *
 * - A write goes to the descriptor at once, so that a line is not lost when the process is killed right after it.
 * - The descriptors are non-blocking. What a full pipe, socket or stopped terminal does not take waits in memory, in order, and
 *   a timer writes it.
 * - Standard error is for logs: what cannot be written is dropped and counted, and the next write that succeeds says how many.
 * - Standard output is for results: after the first failure nothing more is written to it, and `main.ts` exits with 1.
 *
 * A descriptor that is closed at start (`2>&-`) needs no care: Node.js opens /dev/null in its place before anything else can get
 * the number.
 */
import { closeSync, fstatSync, writeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { isatty } from 'node:tty';

type Stream = NodeJS.WriteStream & { _handle?: { setBlocking?(isBlocking: boolean): void } | null };

/** Beyond this, what a reader of standard error does not take is dropped. */
const MAX_QUEUED_BYTES = 1024 * 1024;
const TOO_SLOW = 'standard error was not read fast enough';
const RETRY_MS = 20;
/** A write may wait for a slow reader, so that no line stays in memory; all together for this long in each period. */
const PATIENCE_MS = 500;
const PATIENCE_PERIOD_MS = 60_000;
/** How long the last lines may take at exit. */
const EXIT_MS = 1_000;

export interface StandardError {
  /** Writes whole lines. Those that cannot be written are dropped and counted. */
  write(text: string): void;
  /** Writes a part of a progress bar, which counts as no line when it is dropped. */
  draw(text: string): void;
  /** Dropped lines of this process. */
  readonly dropped: number;
  /** Renders the line that tells of dropped lines once writing works again. */
  describeDropped: (lines: number, reason: string) => string;
}

export interface StandardOutput {
  write(text: string): void;
  /** Resolves once everything is written or has failed; a reader may take as long as it likes, as a pager does. */
  written(): Promise<void>;
  /**
   * Whether the result is incomplete; standard error says why. Not where the reader went away, as `| head -1` does: it has
   * what it wanted.
   */
  hasFailed(): boolean;
}

let sharedError: StandardError | undefined;
let sharedOutput: StandardOutput | undefined;

/** The one of this process. */
export function standardError(): StandardError {
  sharedError ??= createStandardError();
  return sharedError;
}

/** The one of this process. */
export function standardOutput(): StandardOutput {
  sharedOutput ??= createStandardOutput();
  return sharedOutput;
}

/**
 * Closes the descriptors of a terminal that was closed, as the last thing before the process exits. Node.js restores the mode of
 * each terminal at exit, and aborts (exit code 134) where it fails for another reason than a closed descriptor.
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
    mostQueuedBytes: MAX_QUEUED_BYTES,
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
  let isOver = false;
  let hasFailed = false;
  const writer = createWriter(process.stdout, 1, {
    mostQueuedBytes: Number.POSITIVE_INFINITY,
    onDropped(error) {
      if (isOver) return;
      isOver = true;
      if (isReaderGone(error)) return;
      hasFailed = true;
      standardError().write(
        `error: Could not write the result to standard output: ${error.message}. Make room or redirect it, and call the command ` +
          'again. What it stores in the database is stored all the same.\n',
      );
    },
  });
  process.on('exit', () => writer.flush(0));
  return {
    write(text) {
      if (!isOver) writer.write(text, true);
    },
    async written() {
      while (writer.isQueued() && !isOver) await sleep(RETRY_MS);
    },
    hasFailed: () => hasFailed,
  };
}

/** EIO from a device is a terminal that was closed; from a file it is a broken disk. */
function isReaderGone({ code }: NodeJS.ErrnoException): boolean {
  if (code === 'EPIPE' || code === 'ECONNRESET') return true;
  return code === 'EIO' && fstatSync(1).isCharacterDevice();
}

interface WriterOptions {
  mostQueuedBytes: number;
  /** Told once for each write that is lost, also for one that was queued. */
  onDropped(error: NodeJS.ErrnoException, isCounted: boolean): void;
}

/** Writes to a descriptor in order; no method throws or waits for longer than it says. */
function createWriter(stream: Stream, fd: number, { mostQueuedBytes, onDropped }: WriterOptions) {
  const queue: { bytes: Buffer; isCounted: boolean }[] = [];
  const mayWait = createPatience();
  let queuedBytes = 0;
  let timer: NodeJS.Timeout | undefined;
  /** The last write was cut short: the rest, or a line break, comes first. */
  let isTorn = false;
  // For what Node.js itself and libraries write to the stream.
  stream.on('error', () => {});

  /** Writes what the descriptor takes and gives the rest. Throws any error but that the descriptor is full. */
  const writeNow = (bytes: Buffer, mayWaitNow: () => boolean): Buffer => {
    let rest = bytes;
    while (rest.length > 0) {
      const count = tryWrite(fd, rest);
      if (count > 0) {
        rest = rest.subarray(count);
        isTorn = rest.length > 0;
      } else if (!mayWaitNow()) break;
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
        const bytes = Buffer.from(isTorn && !isBehind ? `\n${text}` : text);
        if (isBehind && queuedBytes + bytes.length > mostQueuedBytes) throw new Error(TOO_SLOW);
        if (!isBehind) keepNonBlocking(stream);
        const rest = isBehind ? bytes : writeNow(bytes, mayWait);
        if (rest.length > 0) enqueue(rest, isCounted);
        return true;
      } catch (error) {
        onDropped(error as NodeJS.ErrnoException, isCounted);
        return false;
      }
    },
    /** Writes what is queued, as far as the reader takes it within `mostMs`. */
    flush(mostMs: number): void {
      const deadline = performance.now() + mostMs;
      for (drain(); queue.length > 0 && performance.now() < deadline; drain()) pause(RETRY_MS);
    },
  };
}

/** How many bytes were written; 0 where the descriptor is full. */
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

/** Waits a moment; false once too much of the present period went by in waiting. */
function createPatience(): () => boolean {
  let periodEndsAt = 0;
  let leftMs = 0;
  return () => {
    const now = performance.now();
    if (now >= periodEndsAt) {
      periodEndsAt = now + PATIENCE_PERIOD_MS;
      leftMs = PATIENCE_MS;
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
