/** Contestants in turn within each round, so that a machine that slows down slows all of them. */
export interface Contestant<Measured> {
  name: string;
  play(): Promise<Measured>;
}

interface RoundOptions<Measured> {
  /** Counted ones. */
  rounds: number;
  /** No round goes ahead to warm up and be forgotten. */
  isWarm?: boolean;
  /** Told of each measurement, that of round 0 too. */
  onPlayed?: (name: string, round: number, measured: Measured) => void;
}

/** What each contestant measured, by name, in the order of the rounds. */
export async function playRounds<Measured>(
  contestants: readonly Contestant<Measured>[],
  { rounds, isWarm = false, onPlayed }: RoundOptions<Measured>,
): Promise<Record<string, Measured[]>> {
  const played: Record<string, Measured[]> = Object.fromEntries(contestants.map(({ name }) => [name, []]));
  for (let round = isWarm ? 1 : 0; round <= rounds; round++) {
    for (const { name, play } of rotate(contestants, round)) {
      const measured = await play();
      onPlayed?.(name, round, measured);
      if (round > 0) played[name]!.push(measured);
    }
  }
  return played;
}

/** The first to play is another one in each round. */
export function rotate<T>(items: readonly T[], round: number): T[] {
  const from = items.length === 0 ? 0 : round % items.length;
  return [...items.slice(from), ...items.slice(0, from)];
}
