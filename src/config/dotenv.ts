/** Parses a `.env` file with dotenv, and warns about each line that dotenv reads differently from what is written. */
import { parse } from 'dotenv';
import { knownNames, variableNames, variableOf } from './variables.ts';

export interface ParsedDotenv {
  values: Record<string, string>;
  /** Each warning names the line, the variable and the fix, and never shows a value. */
  warnings: string[];
}

const CUT =
  'is cut off at a #, which starts a comment outside quotes. Put the value in quotes, or move the comment to its own line.';
const MAX_WARNINGS = 20;
const assignment = /^\s*(?:export\s+)?([\w.-]+)(?:\s*=|:\s)(.*)$/s;
const secretNames = new Set<string>(variableNames.filter((name) => variableOf(name).secret));
const QUOTES = '\'"`';

/** `text` is the whole file. If a name is set twice, the last value wins. */
export function parseDotenv(text: string): ParsedDotenv {
  const lines = text.split(/\r\n?|\n/);
  const warnings: string[] = [];
  const seen = new Map<string, number>();
  for (let i = 0; i < lines.length; ) {
    const line = lines[i]!;
    const number = i + 1;
    const found = assignment.exec(line);
    const [, name, rest] = found ?? [];
    i++;
    if (name === undefined || rest === undefined) {
      if (!/^\s*(#|$)/.test(line))
        warnings.push(`line ${number} is not an assignment (NAME=value) and has no effect.`);
      continue;
    }
    const shown = showName(name);
    const end = endOfQuoted(lines, i - 1, rest);
    if (end > i) {
      warnings.push(
        `line ${number}: the value of ${shown} continues to line ${end}, where its quotation mark is closed. Close it in line ${number}.`,
      );
      i = end;
    } else {
      const warning = explainDifference(rest.trim(), readOwn(parse(line), name), secretNames.has(name));
      if (warning !== undefined) warnings.push(`line ${number}: ${shown} ${warning}`);
    }
    const before = seen.get(name);
    if (before !== undefined) {
      warnings.push(
        `line ${number}: ${shown} is also set in line ${before}. The last one wins; remove the other.`,
      );
    }
    seen.set(name, number);
  }
  const more = warnings.length - MAX_WARNINGS;
  return {
    // dotenv searches for the start of a line from each blank line before it: 100,000 blank lines would take a minute.
    values: parse(lines.filter((line) => line.trim() !== '').join('\n')),
    warnings: more > 0 ? [...warnings.slice(0, MAX_WARNINGS), `and ${more} more like these.`] : warnings,
  };
}

/** Ignores inherited members: the name may be one that every object has, such as `constructor`. */
function readOwn(values: Record<string, string>, name: string): string {
  return Object.hasOwn(values, name) ? values[name]! : '';
}

/** Says how the value that dotenv read differs from the written one; `undefined` if they are equal. */
function explainDifference(written: string, read: string, isSecret: boolean): string | undefined {
  const quote = QUOTES.includes(written[0] ?? ' ') ? written[0]! : '';
  const isQuoted = quote !== '' && written.lastIndexOf(quote) > 0 && !read.startsWith(quote);
  if (isQuoted) {
    if (quote === '"' && /\\[nr]/.test(written)) {
      return 'has \\n or \\r in double quotes, which becomes a line break. Put the value in single quotes.';
    }
    return written[read.length + 2] === '#' ? CUT : undefined;
  }
  const cut = written.length > read.length && written.includes('#') ? written[written.indexOf('#') - 1] : '';
  const isCut = cut !== '';
  // White space before the # means a comment was intended; a secret is unlikely to have one.
  if (isCut && (isSecret || quote !== '' || cut === undefined || !/\s/.test(cut))) {
    return CUT;
  }
  const last = read.at(-1) ?? '';
  const isUnbalanced = quote !== '' || (last !== '' && isSecret && QUOTES.includes(last));
  if (!isUnbalanced) return undefined;
  return 'has a quotation mark at one end only, or text after the closing one, so the mark is part of the value. Put the whole value in quotes.';
}

/** The number of the line where the quoted value that starts in line `from` ends; `from + 1` if it ends in that line or never. */
function endOfQuoted(lines: readonly string[], from: number, rest: string): number {
  const value = rest.trimStart();
  const quote = value[0] ?? ' ';
  if (!QUOTES.includes(quote) || closes(value.slice(1), quote)) return from + 1;
  for (let i = from + 1; i < lines.length; i++) {
    if (!lines[i]!.includes(quote)) continue;
    return closes(lines[i]!, quote) ? i + 1 : from + 1;
  }
  return from + 1;
}

/** Whether nothing but a comment follows the first unescaped quotation mark. */
function closes(text: string, quote: string): boolean {
  const at = [...text.matchAll(/\\?['"`]/g)].find(([mark]) => mark === quote)?.index;
  return at !== undefined && /^\s*(#.*)?$/.test(text.slice(at + 1));
}

/** Hides a name that does not look like a variable: it may be part of a secret. */
function showName(name: string): string {
  return knownNames.includes(name) || /^[A-Z][A-Z_]{1,60}$/.test(name) ? name : 'a variable';
}
