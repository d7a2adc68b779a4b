/**
 * Decodes the encodings in which a server may quote a request: escapes inside text (percent-encoding, JSON and other backslash
 * escapes, HTML entities, quoted-printable) and encodings of a whole text (base64, hexadecimal, decimal bytes). Decoding is
 * lenient: text that is not an escape stays unchanged, and garbage is harmless, since the result is only searched.
 */
import { isAscii, isUtf8 } from 'node:buffer';
import { decodeHTMLStrict } from 'entities';

const HEX = '[0-9a-fA-F]';
const CODE_POINT_FORMS = [
  `%u(${HEX}{4})`,
  `\\\\u(${HEX}{4})`,
  `\\\\u\\{(${HEX}{1,6})\\}`,
  `\\\\U(${HEX}{8})`,
  `_x(${HEX}{4})_`,
  `U\\+(${HEX}{4})`,
  `&#[xX](${HEX}{1,8});?`,
];
const ESCAPES = [
  `(?<bytes>(?:%${HEX}{2})+|(?:\\\\x${HEX}{2})+)`,
  ...CODE_POINT_FORMS,
  '&#(?<decimal>\\d{1,8});?',
  '(?<octal>(?:\\\\[0-3][0-7]{2})+)',
  '\\\\(?<plain>[^])',
  '&(?<entity>[A-Za-z][A-Za-z0-9]{1,30});?',
];
const CONTROLS: Record<string, string> = { b: '\b', f: '\f', n: '\n', r: '\r', t: '\t' };
const escapes = new RegExp(ESCAPES.join('|'), 'g');
/** Decoded separately: it would damage the text after the equals sign in `name=value`. */
const equalsBytes = new RegExp(`(?:=${HEX}{2})+`, 'g');
/** The rest of a soft line break after its line break was removed. */
const looseEquals = new RegExp(`=(?!${HEX}{2})`, 'g');
const softBreaks = /=[ \t\0]*\r?\0?\n/g;

/** HTML tags, which may split one text. */
const tags = /<[^<>]*>/g;

/** Only an attack nests escapes deeper. */
const MAX_ROUNDS = 6;
/** Bytes of the shortest piece of a secret. */
const MIN_BINARY_BYTES = 4;
const MAX_LAYERS = 3;
/** Runs of text that may contain another layer. An encoded piece of a secret has at least eight characters. */
const textRuns = /[\t\n\r\x20-\x7e\u00a0-\ufffc]{8,}/g;

/**
 * Yields `text` and each text that it may encode. Nested encodings are decoded in any order, up to six levels of escapes and three
 * layers of base64 or hexadecimal. All texts together are about 30 to 100 times as long as `text`.
 */
export function* decodings(text: string, seen = new Set<string>(), layer = 0): Generator<string> {
  for (const prepare of PREPARATIONS) {
    for (const view of rounds(text, (found) => decodeEscapes(prepare(found)))) {
      const key = `${layer}${view}`;
      if (seen.has(key)) continue;
      seen.add(key);
      yield view;
      if (layer >= MAX_LAYERS) continue;
      for (const found of binaryDecodings(view).flatMap(textsOfBytes)) {
        yield found;
        const inner = found.replaceAll('\0', '').match(textRuns)?.join(' ');
        if (inner !== undefined) yield* decodings(inner, seen, layer + 1);
      }
    }
  }
}

/** Steps that remove text between or before escapes; each must precede the decoding of escapes in each round. */
const PREPARATIONS: readonly ((view: string) => string)[] = [
  (view) => view,
  decodeQuotedPrintable,
  // Form encoding writes a space as a plus sign.
  (view) => view.replaceAll('+', ' '),
  removeInvisible,
  (view) => decodeQuotedPrintable(removeInvisible(view).replace(looseEquals, '')),
  (view) => removeInvisible(view).replace(tags, ''),
];

function decodeQuotedPrintable(view: string): string {
  return view.replace(softBreaks, '').replace(equalsBytes, decodeBytes);
}

/** Removes white space and invisible characters, which may split an escape. */
function removeInvisible(view: string): string {
  return view
    .replace(softBreaks, '')
    .normalize('NFKC')
    .replace(/[\s\p{Cc}\p{Cf}]+/gu, '');
}

function* rounds(text: string, decode: (view: string) => string): Generator<string> {
  let view = text;
  for (let round = 0; round <= MAX_ROUNDS; round++) {
    yield view;
    const next = decode(view);
    if (next === view) return;
    view = next;
  }
}

/** Decodes one level of escapes of every kind. */
export function decodeEscapes(text: string): string {
  return text.replace(escapes, (...args: unknown[]) => {
    const [whole, ...captured] = args as string[];
    const groups = args.at(-1) as Record<string, string | undefined>;
    if (groups.bytes !== undefined) return decodeBytes(groups.bytes);
    if (groups.decimal !== undefined) return codePoint(Number(groups.decimal));
    if (groups.octal !== undefined) return decodeOctal(groups.octal);
    if (groups.plain !== undefined) return CONTROLS[groups.plain] ?? groups.plain;
    if (groups.entity !== undefined) return decodeEntity(whole!, groups.entity);
    const hex = captured.slice(1, 1 + CODE_POINT_FORMS.length).find((digits) => digits !== undefined);
    return codePoint(Number.parseInt(hex!, 16));
  });
}

function codePoint(code: number): string {
  return code <= 0x10ffff ? String.fromCodePoint(code) : '';
}

/** Decodes the longest entity name that `name` starts with. A browser would require a semicolon for all but the old names. */
function decodeEntity(whole: string, name: string): string {
  for (let length = name.length; length > 1; length--) {
    const entity = `&${name.slice(0, length)};`;
    const decoded = decodeHTMLStrict(entity);
    if (decoded !== entity) return decoded + whole.slice(whole.startsWith(entity) ? length + 2 : length + 1);
  }
  return whole;
}

function decodeBytes(escaped: string): string {
  return textOf(Buffer.from(escaped.replace(/[^0-9a-fA-F]/g, ''), 'hex'));
}

function decodeOctal(escaped: string): string {
  return textOf(Buffer.from(escaped.match(/\d+/g)!.map((digits) => Number.parseInt(digits, 8))));
}

/** Decodes UTF-8, or ISO-8859-1 if the bytes are not UTF-8. */
function textOf(bytes: Buffer): string {
  return isUtf8(bytes) ? bytes.toString('utf8') : bytes.toString('latin1');
}

/**
 * Decodes all of `text` as one run of each encoding, at each alignment. Text between two pieces only shifts the alignment, so a
 * piece is decoded at any position and with any separator.
 */
function binaryDecodings(text: string): Buffer[] {
  const base64 = text.replace(/[^A-Za-z0-9+/_-]+/g, '');
  const hex = text.replace(/0x|[^0-9a-fA-F]+/g, '');
  const numbers = text.match(/\d+/g) ?? [];
  return [
    ...[0, 1, 2, 3].map((from) => Buffer.from(base64.slice(from), 'base64')),
    ...[0, 1].map((from) => Buffer.from(hex.slice(from), 'hex')),
    Buffer.from(numbers.map(Number).filter((number) => number < 256)),
  ].filter((bytes) => bytes.length >= MIN_BINARY_BYTES);
}

/** Decodes as UTF-8, as ISO-8859-1 if that differs, and as UTF-16 if there are NUL bytes. */
function textsOfBytes(bytes: Buffer): string[] {
  const texts = [bytes.toString('utf8')];
  if (!isAscii(bytes)) texts.push(bytes.toString('latin1'));
  if (bytes.includes(0)) {
    texts.push(bytes.toString('utf16le'), bytes.subarray(1).toString('utf16le'));
  }
  return texts;
}
