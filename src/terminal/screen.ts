/** What a terminal can show, and text made to fit it. */
import { stripVTControlCharacters } from 'node:util';
import colours from 'picocolors';
import stringWidth from 'string-width';
import wrapAnsi from 'wrap-ansi';

export type Colours = ReturnType<typeof colours.createColors>;

/** Standard output or standard error, as far as it matters here. */
interface Screen {
  isTTY?: boolean;
  columns?: number;
}

const USUAL_WIDTH = 80;
/** Narrower than this, breaking lines ourselves makes them no easier to read. */
const MIN_WIDTH = 40;
const MIN_ROOM = 20;

/**
 * Colours where `screen` is a terminal that has them, or FORCE_COLOR requests them; plain text where NO_COLOR forbids them.
 * Only marks and what went wrong are coloured, each beside a sign or a word that says the same: green and yellow words cannot
 * be read on every background.
 */
export function coloursFor(
  environment: Readonly<Record<string, string | undefined>>,
  screen: Screen = process.stdout,
): Colours {
  const { NO_COLOR: forbidden, FORCE_COLOR: forced, TERM: terminal } = environment;
  if (forbidden) return colours.createColors(false);
  if (forced) return colours.createColors(forced !== '0' && forced !== 'false');
  return colours.createColors(screen.isTTY === true && terminal !== 'dumb');
}

/** In columns. Without a terminal there is no end to it: a line stays a line, for those who search it. */
export function widthOf(screen: Screen = process.stdout): number {
  if (!screen.isTTY) return Number.POSITIVE_INFINITY;
  return Math.max(MIN_WIDTH, screen.columns || USUAL_WIDTH);
}

/** `text` behind `prefix`, in lines broken at words: what follows the first stands below its beginning. */
export function hang(prefix: string, text: string, width = widthOf()): string[] {
  const indent = ' '.repeat(stringWidth(prefix));
  return text
    .split('\n')
    .flatMap((line) => wrap(line, width - indent.length))
    .map((line, i) => (i === 0 ? prefix : indent) + line);
}

/** The parts of a line; those of an item in a list, or of an indented line, stand below each other. */
function wrap(line: string, width: number): string[] {
  const [start] = /^ *(?:- )?/.exec(line)!;
  if (stringWidth(line) <= width) return [line];
  const text = line.slice(start.length);
  // Chinese and Japanese have no spaces; a long address stays whole, for copying.
  const hard = stringWidth(text) > stripVTControlCharacters(text).length;
  const parts = wrapAnsi(text, Math.max(MIN_ROOM, width - start.length), { hard }).split('\n');
  return parts.map((part, i) => (i === 0 ? start : ' '.repeat(start.length)) + part);
}

/** Text from outside without what a terminal would obey; line breaks stay. */
export function printable(text: string): string {
  return text.replace(/[^\P{Cc}\n]/gu, '\uFFFD');
}

/** `text` with spaces, so that it takes `width` columns: before it where `toRight`, else behind it. */
export function pad(text: string, width: number, toRight = false): string {
  const spaces = ' '.repeat(Math.max(0, width - stringWidth(text)));
  return toRight ? spaces + text : text + spaces;
}

/** Plain text cut to `width` columns, never within a character, with … in place of what is left out. */
export function cut(text: string, width: number): string {
  if (stringWidth(text) <= width) return text;
  let kept = '';
  let used = 1;
  for (const { segment } of new Intl.Segmenter().segment(text)) {
    used += stringWidth(segment);
    if (used > width) break;
    kept += segment;
  }
  return `${kept}…`;
}
