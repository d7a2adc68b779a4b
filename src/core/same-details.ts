/** Whether two texts of `auditLogDetails` say the same: JSON with the same value, or text that differs only in its line ends. */

/** Strings and numbers of a JSON text. Other characters are the same in each form of the text, but for white space. */
const SCALAR = /"[^"\\]*(?:\\.[^"\\]*)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;

/**
 * A text that is equal for details that say the same. JSON: order of object members, white space, escapes and forms of a number (`1.0`,
 * `1e0`) do not matter; a number counts with all its digits. Other text: line ends do not matter.
 */
export function canonicalDetails(details: string | null): string | null {
  if (details === null) return null;
  try {
    JSON.parse(details);
    // Numbers become strings, since JSON.parse rounds them; the first character tells them from the strings.
    const exact = details.replace(SCALAR, (token) =>
      token.startsWith('"') ? `"s${token.slice(1)}` : `"n${canonicalNumber(token)}"`,
    );
    return `json ${JSON.stringify(JSON.parse(exact), sortMembers)}`;
  } catch {
    // Not JSON, or nested deeper than the stack.
    return `text ${details.replace(/\r\n?/g, '\n')}`;
  }
}

function sortMembers(_key: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Sign, digits without zeros at either end, and exponent of the last digit. */
function canonicalNumber(number: string): string {
  const [, sign, integer, fraction = '', exponent = '0'] = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(
    number,
  )!;
  const digits = `${integer}${fraction}`.replace(/^0+/, '');
  const significant = digits.replace(/0+$/, '');
  if (significant === '') return '0';
  const shift = BigInt(exponent) - BigInt(fraction.length) + BigInt(digits.length - significant.length);
  return `${sign}${significant}e${shift}`;
}
