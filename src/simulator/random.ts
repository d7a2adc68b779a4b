/** Returns numbers in [0, 1), the same sequence for the same seed. */
export type Random = () => number;

/** Creates a generator (mulberry32) from all parts of the seed, in order. */
export function createRandom(...seed: number[]): Random {
  let state = seed.reduce(
    (mixed, part) => Math.imul(mixed ^ (part + 0x9e3779b9), 0x85ebca6b) ^ (mixed >>> 13),
    1,
  );
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let value = Math.imul(state ^ (state >>> 15), state | 1);
    value ^= value + Math.imul(value ^ (value >>> 7), value | 61);
    return ((value ^ (value >>> 14)) >>> 0) / 4_294_967_296;
  };
}

export function below(random: Random, limit: number): number {
  return Math.floor(random() * limit);
}

export function pick<T>(random: Random, items: readonly T[]): T {
  return items[below(random, items.length)]!;
}

/** Draws a whole number with mean `rate`: 2.3 gives 2 or 3. */
export function drawCount(random: Random, rate: number): number {
  return Math.floor(rate) + (random() < rate % 1 ? 1 : 0);
}

export function shuffle<T>(random: Random, items: T[]): void {
  for (let i = items.length - 1; i > 0; i--) {
    const j = below(random, i + 1);
    [items[i], items[j]] = [items[j]!, items[i]!];
  }
}
