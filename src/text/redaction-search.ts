/** Finds secrets in external text in any encoding. Too slow for every log line; see `redaction.ts`. */
import { decodeEscapes, decodings } from './redaction-decode.ts';

/**
 * Length of a piece that counts as the secret. Fewer than eight characters of a generated secret do not help to guess the rest,
 * and eight in a row occur in no other text. For a short secret the length is three quarters of it, since half of `my-secret` is a
 * word.
 */
const MAX_PIECE_LENGTH = 8;
/** A phrase such as `simulated-secret`. Its words occur in other texts, so its pieces are three quarters of it. */
const phrases = /^[a-z]+([-_. ][a-z]+)+$/;
/** A shorter value protects nothing and would be found everywhere. */
const MIN_LENGTH = 4;
/** For values of this length, such as tokens, only every eighth piece is kept: any part of twice the piece length is still found. */
const LONG = 256;
/** Characters that are searched in all decodings of the texts. Only an attack needs more. */
const MAX_SEARCHED = 2_000_000;

/** Returns true if one of `texts` contains a secret, or if the search exceeds its limit. Takes linear time. */
export type SecretSearch = (texts: readonly string[]) => boolean;

/** Creates a search for each piece of `secrets`, also reversed, and for whole `identifiers`. */
export function createSecretSearch(
  secrets: Iterable<string>,
  identifiers: Iterable<string> = [],
): SecretSearch {
  const pieces = new Pieces();
  const literals: string[] = [];
  for (const secret of secrets) {
    if (secret.length < MIN_LENGTH) continue;
    if (normalize(secret).length < MIN_LENGTH) literals.push(secret);
    // The search decodes escapes, including text in the secret that looks like one.
    const longest = phrases.test(secret) ? Number.POSITIVE_INFINITY : MAX_PIECE_LENGTH;
    for (const form of [secret, decodeEscapes(secret)].map(normalize)) {
      const reversed = [...form].reverse().join('');
      for (const piece of [form, reversed].flatMap((text) => piecesOf(text, longest))) pieces.add(piece);
    }
  }
  for (const identifier of identifiers) {
    const form = normalize(identifier);
    if (form.length >= MAX_PIECE_LENGTH) pieces.add(form);
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

/** A quoted request with any secret: a form, its fields as JSON, or a header. */
const echoes =
  /\b(client_?secret|client_?assertion|(refresh|access)_?token)(["']?\s*=\s*["']?|["']\s*:\s*["'])[^\s"'&,}]|\b(bearer|basic)\s+[\w.~+/-]{20}/i;

/** Removes case, accents, character widths, white space and invisible characters. */
function normalize(text: string): string {
  return text
    .normalize('NFKD')
    .toUpperCase()
    .replace(/[\s\p{M}\p{Cc}\p{Cf}]+/gu, '');
}

function piecesOf(form: string, longest: number): string[] {
  if (form.length < MIN_LENGTH) return [];
  const length = Math.min(longest, Math.max(MIN_LENGTH, Math.ceil(form.length * 0.75)));
  const step = form.length >= LONG ? MAX_PIECE_LENGTH : 1;
  const pieces: string[] = [];
  for (let from = 0; from + length <= form.length; from += step) pieces.push(form.slice(from, from + length));
  return pieces;
}

/** Pieces by length, and a hash table of their first four characters that rules out most positions of a text. */
class Pieces {
  private readonly byLength = new Map<number, Set<string>>();
  private readonly prefixes = new Uint8Array(65_536);

  add(piece: string): void {
    this.byLength.set(piece.length, (this.byLength.get(piece.length) ?? new Set()).add(piece));
    this.prefixes[prefixHash(piece, 0)] = 1;
  }

  isIn(text: string): boolean {
    for (let from = 0; from + MIN_LENGTH <= text.length; from++) {
      if (this.prefixes[prefixHash(text, from)] === 0) continue;
      for (const [length, pieces] of this.byLength) {
        if (pieces.has(text.slice(from, from + length))) return true;
      }
    }
    return false;
  }
}

function prefixHash(text: string, from: number): number {
  let hash = 0;
  for (let i = from; i < from + MIN_LENGTH; i++) hash = Math.imul(hash, 31) + text.charCodeAt(i);
  return hash & 0xffff;
}
