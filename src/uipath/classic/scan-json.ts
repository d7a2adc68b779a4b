/**
 * Finds the boundaries of the parts of a JSON text without parsing them, so that an unreadable row does not affect other rows
 * and every row can be stored as its exact text.
 *
 * - Only strings, brackets, colons and commas are examined. JSON.parse checks the rest.
 * - Within an item a closing bracket of either kind closes a level; at the outermost level a wrong bracket is part of the item.
 *   A proper prefix of a JSON text therefore never scans to its end, and a wrong bracket affects as few rows as possible.
 * - Time is linear in the length of any text.
 */
const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const BACKSLASH = 0x5c;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

/** An element or a member's value: the half-open range of its text, without surrounding white space. */
export interface Item {
  start: number;
  end: number;
  /** Index of the comma or bracket after it. */
  delimiter: number;
  /** Number of members of an object; a repeated key counts each time. */
  members: number;
  /** Nesting depth of arrays and objects, 0 for a string or a number. */
  depth: number;
  /** Number of opening brackets, commas and colons: the memory that JSON.parse needs is proportional to it. */
  parts: number;
}

/** Finds the end of the array element that begins at `from`. `undefined` if the text ends before. */
export function scanElement(text: string, from: number): Item | undefined {
  return scanItem(text, from, CLOSE_BRACKET);
}

/** Finds the end of the member value that begins at `from`. `undefined` if the text ends before. */
export function scanValue(text: string, from: number): Item | undefined {
  return scanItem(text, from, CLOSE_BRACE);
}

/**
 * Finds all elements of the array that starts at `from`, and its end. `undefined` if the text ends before.
 * Stops after `max` + 1 elements: elements of a few bytes could otherwise exhaust memory.
 */
export function scanArray(
  text: string,
  from: number,
  max: number,
): { items: Item[]; end: number } | undefined {
  const items: Item[] = [];
  let at = skipSpace(text, from + 1);
  if (text.charCodeAt(at) === CLOSE_BRACKET) return { items, end: at + 1 };
  for (;;) {
    const item = scanElement(text, at);
    if (!item) return undefined;
    items.push(item);
    at = item.delimiter + 1;
    if (text.charCodeAt(item.delimiter) === CLOSE_BRACKET || items.length > max) return { items, end: at };
  }
}

/**
 * Walks the members of the object that starts at `from`. `readValue` receives the key and the start of the value's text, and
 * returns the index of the delimiter after the value, or -1 to stop.
 * Returns the index after the closing brace, or -1 if the text ends early or is not an object.
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
