import { createSecretSearch, type SecretSearch } from './redaction-search.ts';

const MARK = '[redacted]';
/** A shorter value protects nothing, and replacing it would damage every text. */
const MIN_SECRET_LENGTH = 4;
/** The current token, the previous one, and those that a test adds. */
const MAX_TEMPORARY = 4;

/** Text that looks like a secret. The token of a client is not known in advance. */
const SECRET_PATTERNS: readonly [RegExp, string][] = [
  [/\b(Bearer|Basic)\s+[\w.~+/=-]{16,}/gi, `$1 ${MARK}`],
  // The lookbehind keeps the search linear: a long run of these letters would otherwise be searched from each `eyJ`.
  [/(?<![\w-])eyJ[\w-]{8,}\.[\w-]{8,}(\.[\w-]*)?/g, MARK],
  // Except the word `password`, the placeholder in our own messages.
  [/(\/\/[^\s/:@]*:)(?!password@)[^\s/@]+@/g, `$1${MARK}@`],
  // A backslash is part of the value if it starts an escape such as \u002B.
  [/((?:client_secret|access_token|refresh_token|password)=)(?:[^&\s"'\\]|\\+[^\s"'\\])+/gi, `$1${MARK}`],
  [
    /((?:client_secret|access_token|refresh_token|password)\\*"\s*:\s*\\*")(?:[^"\\]|\\+[^"\\])+/gi,
    `$1${MARK}`,
  ],
];

/** Replaces secrets in text. For everything that leaves the process: log lines, stored errors, responses. */
export interface Redactor {
  (text: string): string;
  /**
   * Adds a secret, for example a token that was just received. Only the newest `maxTemporary` of these are kept, since a token is
   * renewed again and again.
   */
  add(secret: string): void;
  /**
   * Whether one of `texts` contains a secret or a useful piece of one, in any encoding. For external text, such as the body of an
   * error; too slow for every log line.
   */
  holdsSecret: SecretSearch;
}

/** Replaces a whole text that contains a secret, since the rest of it could still reveal something. */
export const WITHHELD = '[response text withheld: it contains a credential]';

/**
 * Creates a redactor for each of `secrets` with at least four characters, plain, JSON-escaped, URL-encoded or inside base64, and
 * for text that looks like a bearer token or a password in a URL. `identifiers` are not secret, but `holdsSecret` finds them: an
 * external text that contains one quotes a request.
 */
export function createRedactor(
  secrets: Iterable<string> = [],
  {
    maxTemporary = MAX_TEMPORARY,
    identifiers = [],
  }: { maxTemporary?: number; identifiers?: readonly string[] } = {},
): Redactor {
  const permanent = [...secrets];
  const pattern = compile(permanent.flatMap(formsOf));
  // Searched one by one: compiling a pattern of the tokens of many organizations takes seconds, for each new token.
  let temporary: { secret: string; forms: string[] }[] = [];
  /** Created on first use, which is rare. */
  let search: SecretSearch | undefined;
  const redact = (text: string) => {
    let redacted = pattern === undefined ? text : text.replace(pattern, MARK);
    for (const { forms } of temporary) for (const form of forms) redacted = redacted.replaceAll(form, MARK);
    for (const [pattern, replacement] of SECRET_PATTERNS) redacted = redacted.replace(pattern, replacement);
    return redacted;
  };
  const add = (secret: string) => {
    temporary = [...temporary, { secret, forms: longestFirst(formsOf(secret)) }].slice(-maxTemporary);
    search = undefined;
  };
  const holdsSecret: SecretSearch = (texts) => {
    search ??= createSecretSearch([...permanent, ...temporary.map(({ secret }) => secret)], identifiers);
    return search(texts);
  };
  return Object.assign(redact, { add, holdsSecret });
}

function compile(forms: readonly string[]): RegExp | undefined {
  if (forms.length === 0) return undefined;
  return new RegExp(longestFirst(forms).map(escapePattern).join('|'), 'g');
}

/** Sorts longer forms first: a short one would leave the rest of a longer one in the text. */
function longestFirst(forms: readonly string[]): string[] {
  return [...new Set(forms)].sort((a, b) => b.length - a.length);
}

/** Redacts the names and values of a line of JSON so that it stays valid JSON. Redacts other text as text. */
export function redactJsonLine(line: string, redact: Redactor, keep: readonly string[] = []): string {
  // A line with a backslash may contain a secret in a form that only parsing decodes.
  if (!line.includes('\\') && redact(line) === line) return line;
  try {
    const entries = Object.entries(JSON.parse(line) as Record<string, unknown>);
    const redacted = entries.map(([name, value]) =>
      keep.includes(name) ? [name, value] : [redact(name), redactValue(value, redact)],
    );
    return JSON.stringify(Object.fromEntries(redacted));
  } catch {
    return redact(line);
  }
}

function redactValue(value: unknown, redact: Redactor): unknown {
  if (typeof value === 'string') return redact(value);
  if (typeof value === 'number') return redact(String(value)) === String(value) ? value : MARK;
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map((item) => redactValue(item, redact));
  return Object.fromEntries(
    Object.entries(value).map(([name, item]) => [redact(name), redactValue(item, redact)]),
  );
}

function formsOf(secret: string): string[] {
  if (secret.length < MIN_SECRET_LENGTH) return [];
  const escaped = JSON.stringify(secret).slice(1, -1);
  const escapedTwice = JSON.stringify(escaped).slice(1, -1);
  // encodeURIComponent throws on a lone surrogate; Buffer and URLSearchParams write U+FFFD, too.
  const wellFormed = secret.replace(/\p{Surrogate}/gu, '\uFFFD');
  const encoded = encodeURIComponent(wellFormed);
  const asForm = new URLSearchParams([['', secret]]).toString().slice(1);
  const inUrl = [encoded, encodeURI(wellFormed), asForm];
  const lowered = inUrl.map((form) => form.replace(/%../g, (code) => code.toLowerCase()));
  return [secret, escaped, escapedTwice, ...inUrl, ...lowered, ...base64Of(secret)];
}

/** The part of the base64 text that depends on `secret` only, at each of the three alignments. */
function base64Of(secret: string): string[] {
  const bytes = Buffer.from(secret);
  return [0, 1, 2].flatMap((before) => {
    const shifted = Buffer.concat([Buffer.alloc(before), bytes]);
    const from = Math.ceil((before * 8) / 6);
    const to = Math.floor((shifted.length * 8) / 6);
    return [shifted.toString('base64').slice(from, to), shifted.toString('base64url').slice(from, to)];
  });
}

function escapePattern(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&');
}
