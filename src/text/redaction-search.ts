/** Finds secrets in text that came from outside, however it is encoded. Too slow for every log line; see `redaction.ts`. */
import { decodings, undoEscapes } from './redaction-decode.ts';

/**
 * A piece of a secret that counts as the secret. Fewer than eight characters of a generated secret tell nothing that helps to
 * guess the rest, and any eight of them in a row occur in no other text. Of a short secret three quarters, since half of
 * `my-secret` is a word.
 */
const LONGEST_PIECE = 8;
/** A phrase, such as `simulated-secret`: each of its words is in other texts too, three quarters of it are not. */
const phrases = /^[a-z]+([-_. ][a-z]+)+$/;
/** Below this length a value guards nothing, and would be found everywhere. */
const SHORTEST = 4;
/** Of a value as long as a token not each piece is kept, so that a piece of twice the length is found for certain. */
const LONG = 256;
/** Characters that are searched of one text, in all its decodings. What needs more was made to be slow. */
const MAX_SEARCHED = 2_000_000;

/** True where one of `texts` holds a secret, or where that cannot be told within bounds. Takes linear time. */
export type SecretSearch = (texts: readonly string[]) => boolean;

/** Searches for each piece of `secrets`, also backwards, and for `identifiers` as a whole. */
export function createSecretSearch(
  secrets: Iterable<string>,
  identifiers: Iterable<string> = [],
): SecretSearch {
  const pieces = new Pieces();
  const literals: string[] = [];
  for (const secret of secrets) {
    if (secret.length < SHORTEST) continue;
    if (normalize(secret).length < SHORTEST) literals.push(secret);
    // What looks like an escape in the secret itself is decoded with the text around it.
    const longest = phrases.test(secret) ? Number.POSITIVE_INFINITY : LONGEST_PIECE;
    for (const form of [secret, undoEscapes(secret)].map(normalize)) {
      const reversed = [...form].reverse().join('');
      for (const piece of [form, reversed].flatMap((text) => piecesOf(text, longest))) pieces.add(piece);
    }
  }
  for (const identifier of identifiers) {
    const form = normalize(identifier);
    if (form.length >= LONGEST_PIECE) pieces.add(form);
  }
  return (texts) => {
    let searched = 0;
    const seen = new Set<string>();
    for (const text of texts) {
      for (const view of decodings(text, seen)) {
        searched += view.length;
        if (searched > MAX_SEARCHED || echoes.test(view)) return true;
        if (literals.some((literal) => view.includes(literal)) || pieces.isIn(normalize(view))) return true;
      }
    }
    return false;
  };
}

/** A quoted request, with any secret: a form, its fields as JSON, or a header. */
const echoes =
  /\b(client_?secret|client_?assertion|(refresh|access)_?token)(["']?\s*=\s*["']?|["']\s*:\s*["'])[^\s"'&,}]|\b(bearer|basic)\s+[\w.~+/-]{20}/i;

/** Without case, accents, widths, white space and characters that nobody sees. */
function normalize(text: string): string {
  return text
    .normalize('NFKD')
    .toUpperCase()
    .replace(/[\s\p{M}\p{Cc}\p{Cf}]+/gu, '');
}

function piecesOf(form: string, longest: number): string[] {
  if (form.length < SHORTEST) return [];
  const length = Math.min(longest, Math.max(SHORTEST, Math.ceil(form.length * 0.75)));
  const step = form.length >= LONG ? LONGEST_PIECE : 1;
  const pieces: string[] = [];
  for (let from = 0; from + length <= form.length; from += step) pieces.push(form.slice(from, from + length));
  return pieces;
}

/** Pieces by their length, and a table that tells of most places of a text by four characters that no piece begins there. */
class Pieces {
  private readonly byLength = new Map<number, Set<string>>();
  private readonly begins = new Uint8Array(65_536);

  add(piece: string): void {
    this.byLength.set(piece.length, (this.byLength.get(piece.length) ?? new Set()).add(piece));
    this.begins[beginAt(piece, 0)] = 1;
  }

  isIn(text: string): boolean {
    for (let from = 0; from + SHORTEST <= text.length; from++) {
      if (this.begins[beginAt(text, from)] === 0) continue;
      for (const [length, pieces] of this.byLength) {
        if (pieces.has(text.slice(from, from + length))) return true;
      }
    }
    return false;
  }
}

function beginAt(text: string, from: number): number {
  let hash = 0;
  for (let i = from; i < from + SHORTEST; i++) hash = Math.imul(hash, 31) + text.charCodeAt(i);
  return hash & 0xffff;
}
