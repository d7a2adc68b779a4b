/** Colours and width of a terminal, and text wrapped to it. */
import { stripVTControlCharacters } from 'node:util';
import colours from 'picocolors';
import stringWidth from 'string-width';
import wrapAnsi from 'wrap-ansi';

export type Colours = ReturnType<typeof colours.createColors>;

/** The part of standard output or standard error that is used here. */
interface Screen {
  isTTY?: boolean;
  columns?: number;
}

const USUAL_WIDTH = 80;
/** In a narrower terminal, wrapped lines are no easier to read. */
const MIN_WIDTH = 40;
const MIN_TEXT_WIDTH = 20;

/**
 * Colours where `screen` is a terminal that has them, or FORCE_COLOR requests them; plain text where NO_COLOR forbids them.
 * Only marks and failures are coloured, and a sign or word always says the same: green and yellow words are not readable on
 * every background.
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

/** Whether a line can be drawn again in place: not on a terminal without cursor control. */
export function canRedraw(
  screen: Screen,
  { TERM: terminal }: Readonly<Record<string, string | undefined>> = process.env,
): boolean {
  return screen.isTTY === true && terminal !== 'dumb';
}

/** In columns. Infinite without a terminal, so that lines stay whole for grep. */
export function widthOf(screen: Screen = process.stdout): number {
  if (!screen.isTTY) return Number.POSITIVE_INFINITY;
  return Math.max(MIN_WIDTH, screen.columns || USUAL_WIDTH);
}

/** Puts `text` behind `prefix` and wraps it at words; later lines are indented by the width of `prefix`. */
export function hang(prefix: string, text: string, width = widthOf()): string[] {
  const indent = ' '.repeat(stringWidth(prefix));
  return text
    .split('\n')
    .flatMap((line) => wrap(line, width - indent.length))
    .map((line, i) => (i === 0 ? prefix : indent) + line);
}

/** Wraps one line. The indentation of a list item or an indented line is kept. */
function wrap(line: string, width: number): string[] {
  const [start] = /^ *(?:- )?/.exec(line)!;
  if (stringWidth(line) <= width) return [line];
  const text = line.slice(start.length);
  // Chinese and Japanese have no spaces: break within words. A long URL stays whole, so that it can be copied.
  const hard = stringWidth(text) > stripVTControlCharacters(text).length;
  const parts = wrapAnsi(text, Math.max(MIN_TEXT_WIDTH, width - start.length), { hard }).split('\n');
  return parts.map((part, i) => (i === 0 ? start : ' '.repeat(start.length)) + part);
}

/** Replaces control characters in untrusted text, except line breaks. */
export function printable(text: string): string {
  return text.replace(/[^\P{Cc}\n]/gu, '\uFFFD');
}

/** Pads `text` to `width` columns: on the left if `toRight`, else on the right. */
export function pad(text: string, width: number, toRight = false): string {
  const spaces = ' '.repeat(Math.max(0, width - stringWidth(text)));
  return toRight ? spaces + text : text + spaces;
}

/** Cuts plain text to `width` columns, never within a character, and ends it with …. */
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
