import type { Target, View } from './present.ts';
import type { Scene } from './scene.ts';

export interface Section {
  name: string;
  /** Throws only where something does not work; a figure that misses its target is a figure. */
  measure(scene: Scene): Promise<Findings>;
}

export interface Findings {
  views: View[];
  targets: Target[];
  /** What a reader of the tables must know, each a sentence. */
  notes: string[];
  /** Every single measurement, for the JSON. */
  figures: unknown;
}
