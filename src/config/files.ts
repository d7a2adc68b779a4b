/** Reads the text files of a configuration, and names the encoding of one that is not UTF-8. */
import { isUtf8 } from 'node:buffer';
import { readFileSync } from 'node:fs';

/** A file whose encoding cannot be read. The message completes "Cannot read FILE: ". */
export class EncodingError extends Error {
  constructor(encoding: string) {
    super(
      `it is encoded in ${encoding}, and UTF-8 is expected. Save it as UTF-8, for example in PowerShell with ` +
        '`Set-Content -Encoding utf8` instead of `>`',
    );
  }
}

const BYTE_ORDER_MARKS: readonly [bytes: string, encoding: string][] = [
  // Before UTF-16 LE, whose mark it begins with.
  ['fffe0000', 'UTF-32 LE'],
  ['0000feff', 'UTF-32 BE'],
  ['fffe', 'UTF-16 LE'],
  ['feff', 'UTF-16 BE'],
];
/** Of the bytes that judge a file without a mark: more than half of ASCII text in UTF-16 is enough. */
const MAX_JUDGED = 4_096;

/**
 * The text of a file, without a byte order mark. Throws `EncodingError`, and what `readFileSync` throws. With `isLenient` a byte
 * that is not UTF-8 becomes U+FFFD; UTF-16 and UTF-32 are an error all the same.
 */
export function readTextFile(path: string, { isLenient = false } = {}): string {
  const bytes = readFileSync(path);
  const encoding = wideEncodingOf(bytes);
  if (encoding !== undefined) throw new EncodingError(encoding);
  if (!isLenient && !isUtf8(bytes)) throw new EncodingError(NO_UTF8);
  return bytes.toString('utf8').replace(/^\uFEFF/, '');
}

/** Of what is neither UTF-8 nor has NUL bytes. */
export const NO_UTF8 = 'no UTF-8 (ISO-8859-1 or a Windows code page, as it seems)';

/** Of a file in UTF-16 or UTF-32, by its mark or by where its NUL bytes are. */
function wideEncodingOf(bytes: Buffer): string | undefined {
  const begin = bytes.subarray(0, 4).toString('hex');
  const marked = BYTE_ORDER_MARKS.find(([mark]) => begin.startsWith(mark));
  if (marked) return marked[1];
  if (bytes.length < 4) return undefined;
  const judged = bytes.subarray(0, MAX_JUDGED);
  const quarters = [0, 0, 0, 0];
  for (const [i, byte] of judged.entries()) if (byte === 0) quarters[i % 4]!++;
  const isMostlyNul = quarters.map((count) => count > judged.length / 8);
  const found = isMostlyNul.map((isNul) => (isNul ? '0' : 'x')).join('');
  return { x000: 'UTF-32 LE', '000x': 'UTF-32 BE', x0x0: 'UTF-16 LE', '0x0x': 'UTF-16 BE' }[found];
}
