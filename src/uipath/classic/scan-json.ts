/**
 * Finds where the parts of a JSON text begin and end without reading them, so that one unreadable row leaves its neighbours
 * alone and every row can be kept as the exact text it came as.
 *
 * - Only strings, brackets, colons and commas are looked at. What lies between is for JSON.parse to judge.
 * - Inside an item a closing bracket of either kind closes; at its outermost level a wrong one is part of it. A proper prefix
 *   of a JSON text therefore never scans to its end, and a wrong bracket costs as few neighbours as possible.
 * - Time is linear in the text, whatever it holds.
 */
const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const BACKSLASH = 0x5c;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

/** An element or a member's value: the half-open range of its text, without white space around it. */
export interface Item {
  start: number;
  end: number;
  /** Where the comma or the bracket stands that ends it. */
  delimiter: number;
  /** How many members an object has, a repeated key counted each time. */
  members: number;
  /** How deep arrays and objects are nested, 0 for a string or a number. */
  depth: number;
  /** How many brackets are opened, and commas and colons written, in it: what JSON.parse would make grows with this. */
  parts: number;
}

/** Finds the end of the array element that begins at `from`. `undefined`: the text ends before it does. */
export function scanElement(text: string, from: number): Item | undefined {
  return scanItem(text, from, CLOSE_BRACKET);
}

/** Finds the end of the member value that begins at `from`. `undefined`: the text ends before it does. */
export function scanValue(text: string, from: number): Item | undefined {
  return scanItem(text, from, CLOSE_BRACE);
}

/**
 * Finds all elements of the array whose bracket stands at `from`, and where it ends. `undefined`: the text ends before.
 * Stops behind one element more than `most`, which a few bytes each could otherwise make more than memory holds.
 */
export function scanArray(
  text: string,
  from: number,
  most: number,
): { items: Item[]; end: number } | undefined {
  const items: Item[] = [];
  let at = skipSpace(text, from + 1);
  if (text.charCodeAt(at) === CLOSE_BRACKET) return { items, end: at + 1 };
  for (;;) {
    const item = scanElement(text, at);
    if (!item) return undefined;
    items.push(item);
    at = item.delimiter + 1;
    if (text.charCodeAt(item.delimiter) === CLOSE_BRACKET || items.length > most) return { items, end: at };
  }
}

/**
 * Walks the members of the object that begins at `from`. `readValue` is given the key and where the value's text begins, and
 * gives back where the delimiter after the value stands, or -1 to stop.
 * Gives back the index after the closing brace, or -1 when the text ends early or is no object.
 */
export function readMembers(
  text: string,
  from: number,
  readValue: (key: string, from: number) => number,
): number {
  let at = skipSpace(text, from);
  if (text.charCodeAt(at) !== OPEN_BRACE) return -1;
  at = skipSpace(text, at + 1);
  if (text.charCodeAt(at) === CLOSE_BRACE) return at + 1;
  for (;;) {
    if (text.charCodeAt(at) !== QUOTE) return -1;
    const quote = findClosingQuote(text, at);
    if (quote < 0) return -1;
    const key = parseKey(text.slice(at, quote + 1));
    at = skipSpace(text, quote + 1);
    if (key === undefined || text.charCodeAt(at) !== COLON) return -1;
    const delimiter = readValue(key, skipSpace(text, at + 1));
    const found = text.charCodeAt(delimiter);
    if (found === CLOSE_BRACE) return delimiter + 1;
    if (found !== COMMA) return -1;
    at = skipSpace(text, delimiter + 1);
  }
}

/** The index of the first character at or after `at` that is not JSON white space. */
export function skipSpace(text: string, at: number): number {
  let index = at;
  while (isSpace(text.charCodeAt(index))) index++;
  return index;
}

function scanItem(text: string, from: number, close: number): Item | undefined {
  const start = skipSpace(text, from);
  let level = 0;
  let depth = 0;
  let members = 0;
  let parts = 0;
  for (let at = start; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) {
      at = findClosingQuote(text, at);
      if (at < 0) return undefined;
    } else if (code === COLON) {
      parts++;
      if (level === 1) members++;
    } else if (level === 0 && (code === COMMA || code === close)) {
      return { start, end: trimSpace(text, start, at), delimiter: at, members, depth, parts };
    } else if (code === COMMA) {
      parts++;
    } else if (code === OPEN_BRACE || code === OPEN_BRACKET) {
      parts++;
      level++;
      if (level > depth) depth = level;
    } else if ((code === CLOSE_BRACE || code === CLOSE_BRACKET) && level > 0) {
      level--;
    }
  }
  return undefined;
}

function findClosingQuote(text: string, open: number): number {
  for (let at = text.indexOf('"', open + 1); at >= 0; at = text.indexOf('"', at + 1)) {
    let before = at;
    while (text.charCodeAt(before - 1) === BACKSLASH) before--;
    if ((at - before) % 2 === 0) return at;
  }
  return -1;
}

function trimSpace(text: string, start: number, end: number): number {
  let index = end;
  while (index > start && isSpace(text.charCodeAt(index - 1))) index--;
  return index;
}

function isSpace(code: number): boolean {
  return code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09;
}

function parseKey(text: string): string | undefined {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
