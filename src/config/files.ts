/** Reads the text files of a configuration, and detects the encoding of a file that is not UTF-8. */
import { isUtf8 } from 'node:buffer';
import { readFileSync } from 'node:fs';

/** The file's encoding is not supported. The message completes "Cannot read FILE: ". */
export class EncodingError extends Error {
  constructor(encoding: string) {
    super(
      `its encoding is ${encoding}; UTF-8 is expected. Save it as UTF-8, for example in PowerShell with ` +
        '`Set-Content -Encoding utf8` instead of `>`',
    );
  }
}

const BYTE_ORDER_MARKS: readonly [bytes: string, encoding: string][] = [
  // Must come before UTF-16 LE, whose mark is a prefix of this one.
  ['fffe0000', 'UTF-32 LE'],
  ['0000feff', 'UTF-32 BE'],
  ['fffe', 'UTF-16 LE'],
  ['feff', 'UTF-16 BE'],
];
/** Number of bytes that are inspected in a file without a byte order mark. */
const MAX_SAMPLED = 4_096;

/**
 * Returns the text of a file without its byte order mark. Throws `EncodingError`, and what `readFileSync` throws. With
 * `isLenient`, bytes that are not UTF-8 become U+FFFD; UTF-16 and UTF-32 are still errors.
 */
export function readTextFile(path: string, { isLenient = false } = {}): string {
  const bytes = readFileSync(path);
  const encoding = wideEncodingOf(bytes);
  if (encoding !== undefined) throw new EncodingError(encoding);
  if (!isLenient && !isUtf8(bytes)) throw new EncodingError(NOT_UTF8);
  return bytes.toString('utf8').replace(/^\uFEFF/, '');
}

/** Encoding name for a file that is not UTF-8 and has no NUL bytes. */
export const NOT_UTF8 = 'not UTF-8 (probably ISO-8859-1 or a Windows code page)';

/**
 * Detects UTF-16 and UTF-32 by the byte order mark or by the positions of the NUL bytes. In UTF-16, more than half of the
 * characters must be ASCII.
 */
function wideEncodingOf(bytes: Buffer): string | undefined {
  const begin = bytes.subarray(0, 4).toString('hex');
  const marked = BYTE_ORDER_MARKS.find(([mark]) => begin.startsWith(mark));
  if (marked) return marked[1];
  if (bytes.length < 4) return undefined;
  const sample = bytes.subarray(0, MAX_SAMPLED);
  const quarters = [0, 0, 0, 0];
  for (const [i, byte] of sample.entries()) if (byte === 0) quarters[i % 4]!++;
  const isMostlyNul = quarters.map((count) => count > sample.length / 8);
  const found = isMostlyNul.map((isNul) => (isNul ? '0' : 'x')).join('');
  return { x000: 'UTF-32 LE', '000x': 'UTF-32 BE', x0x0: 'UTF-16 LE', '0x0x': 'UTF-16 BE' }[found];
}
