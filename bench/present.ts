/** Tables for a terminal. */
import Table from 'cli-table3';
import type { Spread } from './statistics.ts';

export interface View {
  title: string;
  head: readonly string[];
  /** The first column names the row; what could not be measured is `undefined`. */
  rows: readonly (readonly (string | undefined)[])[];
}

/** A figure the issue asks for, beside the one that was found. */
export interface Target {
  what: string;
  wanted: string;
  found: string;
  /** `undefined` where it could not be measured, or not as the target has it. */
  isMet: boolean | undefined;
}

const NONE = '-';

export function renderView({ title, head, rows }: View): string {
  const table = new Table({
    head: [...head],
    colAligns: head.map((_, column) => (column === 0 ? 'left' : 'right')),
    style: { head: [], border: [], compact: true },
  });
  for (const row of rows) table.push(row.map((cell) => cell ?? NONE));
  return `${title}\n${table.toString()}`;
}

/** `isShort` measurements show that the bench works; whether a target is met they cannot say. */
export function viewOfTargets(targets: readonly Target[], { isShort = false } = {}): View {
  const verdictOf = ({ isMet }: Target) => {
    if (isShort || isMet === undefined) return undefined;
    return isMet ? 'met' : 'not met';
  };
  return {
    title: isShort ? 'Targets (the short form is too small to say whether they are met)' : 'Targets',
    head: ['', 'wanted', 'found', ''],
    rows: targets.map((target) => [target.what, target.wanted, target.found, verdictOf(target)]),
  };
}

/** With so many digits behind the point, and commas between thousands. */
export function formatNumber(value: number, digits = 0): string {
  return value.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

/** The median and, of several measurements, the range. */
export function formatSpread({ median, min, max, count }: Spread, digits = 0): string {
  const shown = formatNumber(median, digits);
  if (count === 1) return shown;
  return `${shown} (${formatNumber(min, digits)}–${formatNumber(max, digits)})`;
}

export function formatBytes(bytes: number): string {
  if (bytes < 10_240) return `${formatNumber(bytes)} B`;
  if (bytes < 10 * 1_048_576) return `${formatNumber(bytes / 1024)} kB`;
  return `${formatNumber(bytes / 1_048_576)} MB`;
}
