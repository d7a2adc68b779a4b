/** A queue of writes to a non-blocking descriptor, for `stdio.ts`. */
import { writeSync } from 'node:fs';

type Stream = NodeJS.WriteStream & { _handle?: { setBlocking?(isBlocking: boolean): void } | null };

const TOO_SLOW = 'standard error was not read fast enough';
/** How often the queue is tried again. */
export const RETRY_MS = 20;
/** Total time per period that writes may wait for a slow reader, so that its lines need no queue. */
const WAIT_BUDGET_MS = 500;
const WAIT_PERIOD_MS = 60_000;

interface WriterOptions {
  maxQueuedBytes: number;
  /** Called once for each lost write, including queued ones. */
  onDropped(error: NodeJS.ErrnoException, isCounted: boolean): void;
}

/** Creates a writer to a descriptor that writes in order. No method throws, or waits longer than documented. */
export function createWriter(stream: Stream, fd: number, { maxQueuedBytes, onDropped }: WriterOptions) {
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
