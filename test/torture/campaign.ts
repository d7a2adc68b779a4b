/** The rounds of one seed, one after another. */
import { createRandom, shuffle } from '../../src/simulator/random.ts';
import { countFindings, type Fault, type Played, playRound } from './play.ts';
import type { Workshop } from './workshop.ts';

/** A round that was missed is played again so often at most. */
const MAX_ATTEMPTS = 8;

/** The fault of each round, from 1: every fault once, in an order drawn from the seed, then again in another order. */
export function faultOf(faults: readonly Fault[], seed: number, number: number): Fault {
  const turn = Math.floor((number - 1) / faults.length);
  const order = [...faults];
  shuffle(createRandom(seed, 1, turn), order);
  return order[(number - 1) % faults.length]!;
}

export interface CampaignOptions {
  faults: readonly Fault[];
  seed: number;
  /** The first round, and the attempt it begins with. */
  from: { number: number; attempt: number };
  rounds: number;
  signal: AbortSignal;
  onRound: (played: Played) => void;
}

/** Plays the rounds; each attempt that was missed is told to `onRound` as well. */
export async function playCampaign(workshop: Workshop, options: CampaignOptions): Promise<void> {
  const { faults, seed, from, rounds, signal } = options;
  for (let number = from.number; number < from.number + rounds; number++) {
    const fault = faultOf(faults, seed, number);
    if (fault.needsDisk && workshop.noDisk !== undefined) continue;
    for (let attempt = number === from.number ? from.attempt : 0; attempt < MAX_ATTEMPTS; attempt++) {
      if (signal.aborted) return;
      const played = await playRound(workshop, fault, { seed, number, attempt });
      if (signal.aborted) return;
      options.onRound(played);
      if (!played.isMissed) break;
    }
  }
}

export function isWrong(played: Played): boolean {
  return countFindings(played) > 0;
}
