/** The ways in which a server, a proxy or a log may write what it was sent, for tests that no secret comes through in any. */

import { encodeHTML } from 'entities';
import fc from 'fast-check';

const hex = (code: number, digits: number) => code.toString(16).padStart(digits, '0');
const units = (text: string) => Array.from({ length: text.length }, (_, i) => text.charCodeAt(i));
const bytes = (text: string) => [...Buffer.from(text)];
const json = (text: string) => JSON.stringify(text).slice(1, -1);
const quotedPrintable = (text: string) =>
  bytes(text)
    .map((byte) =>
      byte === 0x3d || byte < 33 || byte > 126 ? `=${hex(byte, 2).toUpperCase()}` : String.fromCharCode(byte),
    )
    .join('')
    .replace(/((?:=..|[^=]){5})/g, '$1=\r\n');
const between = (text: string, inserted: string) => [...text].join(inserted);
const percent = (text: string) =>
  bytes(text)
    .map((byte) => `%${hex(byte, 2)}`)
    .join('');

export const ENCODINGS: Record<string, (text: string) => string> = {
  plain: (text) => text,
  json,
  'json twice': (text) => json(json(text)),
  '.NET': (text) =>
    text.replace(/[^\w .,:;!-]/g, (found) =>
      units(found)
        .map((code) => `\\u${hex(code, 4).toUpperCase()}`)
        .join(''),
    ),
  '\\uXXXX': (text) =>
    units(text)
      .map((code) => `\\u${hex(code, 4)}`)
      .join(''),
  '\\uXXXX of other cases': (text) =>
    units(text)
      .map((code, i) => `\\u${i % 2 ? hex(code, 4) : hex(code, 4).toUpperCase()}`)
      .join(''),
  '\\u{X}': (text) => [...text].map((found) => `\\u{${found.codePointAt(0)!.toString(16)}}`).join(''),
  '\\xHH': (text) =>
    bytes(text)
      .map((byte) => `\\x${hex(byte, 2)}`)
      .join(''),
  '%uXXXX': (text) =>
    units(text)
      .map((code) => `%u${hex(code, 4)}`)
      .join(''),
  octal: (text) =>
    bytes(text)
      .map((byte) => `\\${byte.toString(8).padStart(3, '0')}`)
      .join(''),
  _xXXXX_: (text) =>
    units(text)
      .map((code) => `_x${hex(code, 4).toUpperCase()}_`)
      .join(''),
  'named entities': (text) => encodeHTML(text),
  'named entities without semicolon': (text) => encodeHTML(text).replace(/(&[a-zA-Z]+);/g, '$1'),
  'decimal entities': (text) => [...text].map((found) => `&#${found.codePointAt(0)};`).join(''),
  'hexadecimal entities': (text) =>
    [...text].map((found) => `&#x${found.codePointAt(0)!.toString(16)};`).join(''),
  'URL component': encodeURIComponent,
  'URL component twice': (text) => encodeURIComponent(encodeURIComponent(text)),
  form: (text) => new URLSearchParams([['', text]]).toString().slice(1),
  'form in lower case': (text) =>
    new URLSearchParams([['', text]])
      .toString()
      .slice(1)
      .replace(/%../g, (found) => found.toLowerCase()),
  'percent throughout': percent,
  'percent twice': (text) => percent(percent(text)),
  base64: (text) => Buffer.from(text).toString('base64'),
  'base64 one further': (text) => Buffer.from(`a${text}bc`).toString('base64'),
  'base64 two further': (text) => Buffer.from(`ab${text}`).toString('base64'),
  'basic authorization': (text) => `Basic ${Buffer.from(`client:${text}`).toString('base64')}`,
  base64url: (text) => Buffer.from(`x${text}`).toString('base64url'),
  'base64 in lines': (text) =>
    Buffer.from(text)
      .toString('base64')
      .replace(/(.{6})/g, '$1\r\n'),
  'base64 of UTF-16': (text) => Buffer.from(text, 'utf16le').toString('base64'),
  hex: (text) => Buffer.from(text).toString('hex'),
  'HEX with colons': (text) =>
    bytes(text)
      .map((byte) => hex(byte, 2).toUpperCase())
      .join(':'),
  'hex with spaces and 0x': (text) =>
    bytes(text)
      .map((byte) => `0x${hex(byte, 2)}`)
      .join(', '),
  'numbers of bytes': (text) => bytes(text).join(','),
  'quoted-printable': quotedPrintable,
  'NUL between': (text) => between(text, '\0'),
  'NUL before': (text) => `\0${between(text, '\0')}`,
  'full width': (text) =>
    text.replace(/[!-~]/g, (found) => String.fromCharCode(found.charCodeAt(0) + 0xfee0)),
  'zero-width between': (text) => between(text, '\u200b'),
  'soft hyphens between': (text) => between(text, '\u00ad'),
  'spaces between': (text) => between(text, ' '),
  'line breaks between': (text) => between(text, '\r\n'),
  'tags between': (text) => between(text, '<wbr>'),
  'upper case': (text) => text.toUpperCase(),
  reversed: (text) => [...text].reverse().join(''),
};

/** As a client secret may look: at least eight characters, with those that encodings treat in a way of their own. */
export const secrets = fc
  .array(
    fc.oneof(
      {
        weight: 5,
        arbitrary: fc.constantFrom(...'abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789'),
      },
      { weight: 3, arbitrary: fc.constantFrom(...'+&<>"\'\\/%=#?!@$^*(){}[]|~;:,.-_`') },
      { weight: 1, arbitrary: fc.constantFrom(...'üéßñØжλ日本€😀') },
    ),
    { minLength: 10, maxLength: 40 },
  )
  .map((characters) => characters.join(''))
  // An access to the words of messages would be found in each of them.
  .filter((secret) => (secret.match(/[A-Za-z0-9]/g) ?? []).length >= 6);

/** Nobody can undo these once they are applied to something encoded. */
const OF_THE_SECRET_ITSELF = ['upper case', 'reversed'];

/** Names of one to `most` encodings, each of what the one before gave. */
export const chains = (most: number) =>
  fc
    .array(fc.constantFrom(...Object.keys(ENCODINGS)), { minLength: 1, maxLength: most })
    // Its soft line breaks cannot be told from its escapes once something stands between all characters.
    .filter((names) => !/quoted-printable,.*between/.test(names.join()))
    .filter((names) => !/between,.*quoted-printable/.test(names.join()))
    .filter((names) => names.slice(1).every((name) => !OF_THE_SECRET_ITSELF.includes(name)));

export function encode(secret: string, chain: readonly string[]): string {
  return chain.reduce((text, name) => ENCODINGS[name]!(text), secret);
}
