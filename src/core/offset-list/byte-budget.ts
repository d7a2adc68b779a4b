/**
 * Bounds the bytes of prefetched responses: those in flight by their expected size, those that wait to be processed by their real one.
 * All sources of a process share one budget. It limits only requests made ahead: the one that a read waits for is always sent.
 */
export interface ByteBudget {
  /** Whether `bytes` more are within the budget. */
  fits(bytes: number): boolean;
  /** Adds `bytes`, which may be negative. */
  add(bytes: number): void;
  /** The bytes held at present. */
  readonly held: number;
}

/** Six pages of the usual size, and more than the largest page. */
export const MAX_PREFETCHED_BYTES = 6 * 1024 * 1024;

export function createByteBudget(maxBytes = MAX_PREFETCHED_BYTES): ByteBudget {
  let held = 0;
  return {
    fits: (bytes) => held + bytes <= maxBytes,
    add(bytes) {
      held += bytes;
    },
    get held() {
      return held;
    },
  };
}
