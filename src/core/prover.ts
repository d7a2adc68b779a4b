/** The port for proving that the copy is complete. Each source proves it in its own way. */
import type { Chunk, Json, ReadMeter } from './source.ts';
import type { Comparison } from './store.ts';

export interface ProverOptions {
  pageSize: number;
  /** Pages of old history to compare before the read. */
  scrubPages: number;
  /** Look again for a difference that an earlier run could not resolve. */
  shouldRetry: boolean;
  signal: AbortSignal;
  meter: ReadMeter;
}

/** What a run proved. `reason` is a part of a sentence for a person. */
export type Proof =
  /** Every event is stored that the source showed at `provenAt`, from `from` on; those dated before `to` by its clock. */
  | { state: 'complete'; from: bigint; to: bigint; provenAt: Date }
  | { state: 'not proven'; reason: string }
  /** `missing` events are not stored; if negative, so many stored events are not shown. */
  | { state: 'incomplete'; missing: number; reason: string }
  /** The source was reset, restored, or is another one. */
  | { state: 'source changed'; reason: string };

/** The steps of one run, in this order. */
export interface Prover {
  /** Compares a part of the old history with the source. Call it before the read. */
  review(): Promise<void>;
  /** Call it after each commit of the read, in order, with the chunks that it stored. */
  observe(chunks: readonly Chunk[], result: Comparison): void;
  /** Call it after the end of the log is read and everything is committed. */
  prove(): Promise<Proof>;
  /** What the next run's prover needs. Stored with the proof. */
  readonly ranks: Json;
}
