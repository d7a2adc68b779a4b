/** Parses a `.env` file with dotenv, and warns where dotenv silently reads another value than the one that is written. */
import { parse } from 'dotenv';
import { knownNames, variableNames, variableOf } from './variables.ts';

export interface ParsedDotenv {
  values: Record<string, string>;
  /** Each names the line, the variable and the remedy, and never shows a value. */
  warnings: string[];
}

const CUT =
  'is cut off at a #, which begins a comment outside of quotes. Put the value in quotes, or the comment in a line of its own.';
const MAX_WARNINGS = 20;
const assignment = /^\s*(?:export\s+)?([\w.-]+)(?:\s*=|:\s)(.*)$/s;
const secretNames = new Set<string>(variableNames.filter((name) => variableOf(name).secret));
const QUOTES = '\'"`';

/** `text` is the whole file. Of a name that is set twice the last value counts. */
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
        warnings.push(`line ${number} is no assignment (NAME=value) and has no effect.`);
      continue;
    }
    const shown = showName(name);
    const end = endOfQuoted(lines, i - 1, rest);
    if (end > i) {
      warnings.push(
        `line ${number}: the value of ${shown} goes on to line ${end}, where its quotation mark is closed. Close it in line ${number}.`,
      );
      i = end;
    } else {
      const warning = compare(rest.trim(), readOwn(parse(line), name), secretNames.has(name));
      if (warning !== undefined) warnings.push(`line ${number}: ${shown} ${warning}`);
    }
    const before = seen.get(name);
    if (before !== undefined) {
      warnings.push(
        `line ${number}: ${shown} is set in line ${before} as well. The last one counts; remove the other.`,
      );
    }
    seen.set(name, number);
  }
  const more = warnings.length - MAX_WARNINGS;
  return {
    // dotenv looks for the begin of a line from each of the blank ones before it: 100,000 of them would take it a minute.
    values: parse(lines.filter((line) => line.trim() !== '').join('\n')),
    warnings: more > 0 ? [...warnings.slice(0, MAX_WARNINGS), `and ${more} more like these.`] : warnings,
  };
}

/** The name may be that of a member which every object has. */
function readOwn(values: Record<string, string>, name: string): string {
  return Object.hasOwn(values, name) ? values[name]! : '';
}

/** What dotenv changed of one line; `undefined` where it reads what is written. */
function compare(written: string, read: string, isSecret: boolean): string | undefined {
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
  // White space in front of it makes a comment, which a secret is unlikely to have.
  if (isCut && (isSecret || quote !== '' || cut === undefined || !/\s/.test(cut))) {
    return CUT;
  }
  const last = read.at(-1) ?? '';
  const isUnbalanced = quote !== '' || (last !== '' && isSecret && QUOTES.includes(last));
  if (!isUnbalanced) return undefined;
  return 'has a quotation mark at one end alone, or text behind the closing one, so the mark is part of the value. Put the whole value in quotes.';
}

/** The number of the line in which the quoted value that begins in line `from` ends; `from + 1` where it ends there or nowhere. */
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

/** Whether the first mark that is not escaped is followed by nothing but a comment. */
function closes(text: string, quote: string): boolean {
  const at = [...text.matchAll(/\\?['"`]/g)].find(([mark]) => mark === quote)?.index;
  return at !== undefined && /^\s*(#.*)?$/.test(text.slice(at + 1));
}

/** A name that is not written as one may be a piece of a secret. */
function showName(name: string): string {
  return knownNames.includes(name) || /^[A-Z][A-Z_]{1,60}$/.test(name) ? name : 'a variable';
}
