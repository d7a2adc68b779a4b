/** Of an error message, what was found, in a few words for a headline: `invalid_client`, `HTTP 503`, `ECONNREFUSED`. */
const PATTERNS = [
  /\b(invalid_[a-z]+|unauthorized_client|unsupported_grant_type|access_denied)\b/,
  /\b(HTTP [1-5]\d\d)\b/,
  /\bnot trusted \((\w+)/,
  /\b(E(?:CONN|HOST|NET|ADDR|PIPE|AI_|NOTFOUND|TIMEDOUT)[A-Z_]*)\b/,
  /\b(timeout after [\d.]+ s)\b/,
];
const MAX_CHARACTERS = 80;

/** Returns a code that the message contains, else its first sentence, cut to 80 characters. */
export function causeOf(message: string): string {
  for (const pattern of PATTERNS) {
    const found = pattern.exec(message)?.[1];
    if (found !== undefined) return found;
  }
  const [sentence] = message.trim().split(/(?<=\S)[.:;](?:\s|$)|\n/, 1);
  return sentence!.length > MAX_CHARACTERS
    ? `${sentence!.slice(0, MAX_CHARACTERS - 1).trimEnd()}…`
    : sentence!;
}
