/** How results look in a terminal. */
import Table from 'cli-table3';
import colours from 'picocolors';
import type { CommandContext } from '../app.ts';
import { loadEnvironment } from '../config.ts';

/**
 * The context with the log at `level` unless one is set: what was asked for should not stand between lines about a database
 * that starts and stops. Throws `configuration` for a file that cannot be read.
 */
export function quietly(
  context: CommandContext,
  envFile: string | undefined,
  level: 'warn' | 'error',
): CommandContext {
  const environment = loadEnvironment(envFile === undefined ? {} : { envFile }, context.environment);
  return { ...context, environment: { ...environment, LOG_LEVEL: environment.LOG_LEVEL || level } };
}

export type Colours = ReturnType<typeof colours.createColors>;

/** Colours where standard output is a terminal that has them, and NO_COLOR does not forbid them; else plain text. */
export function coloursFor(environment: Readonly<Record<string, string | undefined>>): Colours {
  const { NO_COLOR: forbidden, TERM: terminal } = environment;
  return colours.createColors(process.stdout.isTTY === true && !forbidden && terminal !== 'dumb');
}

/** Rows in aligned columns, without borders; lines as they are to be written. A column is aligned by its heading. */
export function alignColumns(
  head: readonly { title: string; isNumber?: boolean }[],
  rows: readonly (readonly string[])[],
  colours: Colours,
): string[] {
  const table = new Table({
    head: head.map(({ title }) => colours.dim(title)),
    colAligns: head.map(({ isNumber }) => (isNumber ? 'right' : 'left')),
    chars: NO_BORDERS,
    // Its own colours do not know of NO_COLOR.
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 2, compact: true },
  });
  table.push(...rows.map((row) => [...row]));
  return table
    .toString()
    .split('\n')
    .map((line) => line.trimEnd());
}

/**
 * `text` behind `prefix`, in lines: what follows the first stands below its beginning. Broken at words where standard output
 * is a terminal; elsewhere a line stays a line, for those who search it. `prefixWidth` is what a terminal shows of `prefix`.
 */
export function hang(prefix: string, prefixWidth: number, text: string): string[] {
  const width = process.stdout.isTTY ? Math.max(40, process.stdout.columns - prefixWidth) : Infinity;
  return text
    .split('\n')
    .flatMap((line) => wrap(line, width))
    .map((line, i) => (i === 0 ? prefix : ' '.repeat(prefixWidth)) + line);
}

function wrap(line: string, width: number): string[] {
  const indent = /^ */.exec(line)![0];
  const lines: string[] = [];
  for (const word of line.trim().split(' ')) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= width)
      lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(indent + word);
  }
  return lines;
}

/** Text from outside without what a terminal would obey; line breaks stay. */
export function printable(text: string): string {
  return text.replace(/[^\P{Cc}\n]/gu, '\uFFFD');
}

const NO_BORDERS = {
  top: '',
  'top-mid': '',
  'top-left': '',
  'top-right': '',
  bottom: '',
  'bottom-mid': '',
  'bottom-left': '',
  'bottom-right': '',
  left: '',
  'left-mid': '',
  mid: '',
  'mid-mid': '',
  right: '',
  'right-mid': '',
  middle: '',
};
