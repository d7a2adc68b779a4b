import { createSecretSearch, type SecretSearch } from './redaction-search.ts';

const mark = '[redacted]';
/** Below this length a value guards nothing, and replacing it would shred every text. */
const minSecretLength = 4;
/** A token, the one before, and what a test may add. */
const fewPassing = 4;

/** What looks like a secret wherever it comes from; the token of a client is not known in advance. */
const suspects: readonly [RegExp, string][] = [
  [/\b(Bearer|Basic)\s+[\w.~+/=-]{16,}/gi, `$1 ${mark}`],
  // Not from within a run of its own letters, of which a long one would be searched as often as it has such places.
  [/(?<![\w-])eyJ[\w-]{8,}\.[\w-]{8,}(\.[\w-]*)?/g, mark],
  // All but the word that stands for the password in advice.
  [/(\/\/[^\s/:@]*:)(?!password@)[^\s/@]+@/g, `$1${mark}@`],
  // A backslash is part of the value where it begins an escape such as \u002B.
  [/((?:client_secret|access_token|refresh_token|password)=)(?:[^&\s"'\\]|\\+[^\s"'\\])+/gi, `$1${mark}`],
  [
    /((?:client_secret|access_token|refresh_token|password)\\*"\s*:\s*\\*")(?:[^"\\]|\\+[^"\\])+/gi,
    `$1${mark}`,
  ],
];

/** Takes secrets out of text. Meant for everything that leaves the process: log lines, stored errors, responses. */
export interface Redactor {
  (text: string): string;
  /**
   * From here on this value is taken out too, for example a token just received. Only the newest few such values, `mostPassing`,
   * are kept: a token is renewed for as long as the program runs.
   */
  add(secret: string): void;
  /**
   * Whether one of `texts` holds a secret, or a piece of one that is worth something, in whatever encoding. For what came from
   * outside, such as the body of an error; too slow for every line of a log.
   */
  holdsSecret: SecretSearch;
}

/** In place of a text that holds a secret: what is left of it could still tell something. */
export const WITHHELD = '[response text withheld: it contains a credential]';

/**
 * Replaces each of `secrets` of at least four characters, also where it stands JSON-escaped, URL-encoded or inside
 * base64, and whatever looks like a bearer token or a password in a URL. `identifiers` are no secrets, but a text from outside
 * that quotes one of them quotes a request.
 */
export function createRedactor(
  secrets: Iterable<string> = [],
  {
    mostPassing = fewPassing,
    identifiers = [],
  }: { mostPassing?: number; identifiers?: readonly string[] } = {},
): Redactor {
  const lasting = [...secrets];
  const pattern = compile(lasting.flatMap(formsOf));
  // Looked for one by one: a pattern of the tokens of many organizations takes seconds to make, at each new token.
  let passing: { secret: string; forms: string[] }[] = [];
  /** Made when it is first needed, which is rarely. */
  let search: SecretSearch | undefined;
  const redact = (text: string) => {
    let redacted = pattern === undefined ? text : text.replace(pattern, mark);
    for (const { forms } of passing) for (const form of forms) redacted = redacted.replaceAll(form, mark);
    for (const [suspect, replacement] of suspects) redacted = redacted.replace(suspect, replacement);
    return redacted;
  };
  const add = (secret: string) => {
    passing = [...passing, { secret, forms: longestFirst(formsOf(secret)) }].slice(-mostPassing);
    search = undefined;
  };
  const holdsSecret: SecretSearch = (texts) => {
    search ??= createSecretSearch([...lasting, ...passing.map(({ secret }) => secret)], identifiers);
    return search(texts);
  };
  return Object.assign(redact, { add, holdsSecret });
}

function compile(forms: readonly string[]): RegExp | undefined {
  if (forms.length === 0) return undefined;
  return new RegExp(longestFirst(forms).map(escapePattern).join('|'), 'g');
}

/** Or a short form would leave the rest of a longer one standing. */
function longestFirst(forms: readonly string[]): string[] {
  return [...new Set(forms)].sort((a, b) => b.length - a.length);
}

/** Redacts the names and values of a line of JSON so that it stays JSON, and other text as it is. */
export function redactJsonLine(line: string, redact: Redactor, keep: readonly string[] = []): string {
  // With a backslash in it, a secret may stand in the line in a form that only parsing undoes.
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
  if (typeof value === 'number') return redact(String(value)) === String(value) ? value : mark;
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map((item) => redactValue(item, redact));
  return Object.fromEntries(
    Object.entries(value).map(([name, item]) => [redact(name), redactValue(item, redact)]),
  );
}

function formsOf(secret: string): string[] {
  if (secret.length < minSecretLength) return [];
  const escaped = JSON.stringify(secret).slice(1, -1);
  const escapedTwice = JSON.stringify(escaped).slice(1, -1);
  // encodeURIComponent throws on half a surrogate pair; Buffer and URLSearchParams write the same stand-in.
  const wellFormed = secret.replace(/\p{Surrogate}/gu, '\uFFFD');
  const encoded = encodeURIComponent(wellFormed);
  const asForm = new URLSearchParams([['', secret]]).toString().slice(1);
  const inUrl = [encoded, encodeURI(wellFormed), asForm];
  const lowered = inUrl.map((form) => form.replace(/%../g, (code) => code.toLowerCase()));
  return [secret, escaped, escapedTwice, ...inUrl, ...lowered, ...base64Of(secret)];
}

/** The part of each base64 text that `secret` alone decides, at each of the three ways it can be aligned. */
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
