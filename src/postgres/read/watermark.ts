/** The watermark of a log, from which a run starts. */
import type { Json } from '../../core/source.ts';

export interface StoredWatermark {
  ticks: bigint;
  /** When the run began that last read beyond the watermark. */
  readAt: Date;
  /** Resume value of the source after the newest committed event. A wrong value costs requests, not rows. */
  resume: Json;
}

export interface WatermarkRow {
  created_on_ticks: string | null;
  read_at: Date;
  resume: Json;
}

export function toWatermark(row: WatermarkRow): StoredWatermark | undefined {
  if (row.created_on_ticks === null) return undefined;
  return {
    ticks: BigInt(row.created_on_ticks),
    readAt: row.read_at,
    resume: row.resume,
  };
}
