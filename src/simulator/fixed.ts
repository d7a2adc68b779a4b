import { MIN_TICKS, parseTicks } from '../core/ticks.ts';
import type { EventRow } from './events.ts';
import type { Block, RenderedBlock } from './rows.ts';

/** A row supplied by the caller: its exact JSON text, a text that depends on the language, or the nine fields. */
export type RowInput = string | ((language: string) => string) | EventRow;

/**
 * Creates a block of the rows, sorted by `createdOn`; ties keep the order of `inputs`. A row without a readable `createdOn` follows
 * the row before it in `inputs`; if it is the first, its time is `fallbackTicks`.
 */
export function createFixedBlock(inputs: readonly RowInput[], fallbackTicks: bigint = MIN_TICKS): Block {
  let before = fallbackTicks;
  const rows = inputs.map((input) => {
    const render = rendererOf(input);
    const read = readTicks(render('en'));
    before = read ?? before;
    return { render, ticks: before, isReadable: read !== undefined };
  });
  rows.sort((a, b) => (a.ticks < b.ticks ? -1 : a.ticks > b.ticks ? 1 : 0));
  const ticks = BigInt64Array.from(rows, (row) => row.ticks);
  const unreadable = new Set(rows.flatMap((row, i) => (row.isReadable ? [] : [i])));
  return {
    length: rows.length,
    render: (language): RenderedBlock => {
      const texts = rows.map((row) => Buffer.from(`${row.render(language)},`));
      const starts = new Uint32Array(rows.length + 1);
      texts.forEach((text, i) => {
        starts[i + 1] = starts[i]! + text.length;
      });
      return { bytes: Buffer.concat(texts), starts, ticks, unreadable };
    },
  };
}

function rendererOf(input: RowInput): (language: string) => string {
  if (typeof input === 'function') return input;
  const text = typeof input === 'string' ? input : JSON.stringify(input);
  return () => text;
}

function readTicks(text: string): bigint | undefined {
  const row: unknown = JSON.parse(text);
  const createdOn = typeof row === 'object' && row !== null && 'createdOn' in row ? row.createdOn : undefined;
  return typeof createdOn === 'string' ? parseTicks(createdOn) : undefined;
}
