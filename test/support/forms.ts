/** Other forms of a row: what an upgrade of the source may make of `auditLogDetails`. */
type Fields = Record<string, string | null>;

/** Rewrites the details of a row's JSON text. */
export function withDetails(write: (details: string) => string, rest: Fields = {}): (text: string) => string {
  return (text) => {
    const row = JSON.parse(text) as Fields;
    const { auditLogDetails: details } = row;
    return JSON.stringify({ ...row, ...rest, ...(details !== null && { auditLogDetails: write(details!) }) });
  };
}

const parsed = (write: (value: unknown) => string) => (details: string) => {
  try {
    return write(JSON.parse(details));
  } catch {
    return details;
  }
};

function backwards(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(backwards);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .reverse()
      .map(([name, member]) => [name, backwards(member)]),
  );
}

/** Forms that differ from each other for typical details, by name. */
export const FORMS = {
  CRLF: withDetails((details) => details.replaceAll(/\r?\n/g, '\r\n')),
  LF: withDetails((details) => details.replaceAll('\r\n', '\n')),
  compact: withDetails(parsed((value) => JSON.stringify(value))),
  'order of members': withDetails(parsed((value) => JSON.stringify(backwards(value), null, 2))),
  escapes: withDetails(
    parsed((value) =>
      JSON.stringify(value).replace(
        /[a-z](?=[^"\\]*")/,
        (letter) => `\\u00${letter.charCodeAt(0).toString(16)}`,
      ),
    ),
  ),
  version: withDetails(
    parsed((value) => JSON.stringify(value, null, 4)),
    { detailsVersion: '9.9' },
  ),
} satisfies Record<string, (text: string) => string>;
