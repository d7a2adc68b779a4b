import type { Pseudonyms } from './pseudonyms.ts';

const WORDS = /^[\w ,;=./+*"-]{0,200}$/;
const NUMBERS = /^[\d ,;=.wr"-]{1,100}$/;

/** Headers that may keep their value, and what it must look like. The value of any other header is replaced. */
const KEPT_HEADERS: Record<string, RegExp> = {
  'content-type': /^[\w.+-]+\/[\w.+-]+( *; *(charset|odata\.\w+)=[\w."-]+)*$/,
  'content-encoding': /^[a-z, ]{1,40}$/,
  'content-length': /^\d+$/,
  'transfer-encoding': /^[a-z, ]{1,40}$/,
  connection: /^(keep-alive|close|upgrade|te|, )+$/i,
  'keep-alive': /^(timeout|max)=\d+(, *(timeout|max)=\d+)*$/,
  'cache-control': WORDS,
  pragma: /^no-cache$/,
  vary: WORDS,
  date: /^[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} [\d:]{8} GMT$/,
  expires: /^(-1|0|[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} [\d:]{8} GMT)$/,
  'retry-after': /^(\d{1,8}|[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} [\d:]{8} GMT)$/,
  server:
    /^(nginx|apache|kestrel|cloudflare|istio-envoy|envoy|openresty|microsoft-iis|microsoft-httpapi)(\/[\d.]+)?$/i,
  'strict-transport-security': WORDS,
  'x-content-type-options': /^nosniff$/i,
  'x-frame-options': /^(deny|sameorigin)$/i,
  'x-xss-protection': WORDS,
  'referrer-policy': /^[a-z, -]{1,80}$/,
  'api-supported-versions': NUMBERS,
  'x-ratelimit-limit': NUMBERS,
  'x-ratelimit-remaining': NUMBERS,
  'x-ratelimit-reset': NUMBERS,
  'ratelimit-limit': NUMBERS,
  'ratelimit-remaining': NUMBERS,
  'ratelimit-reset': NUMBERS,
  accept: WORDS,
  'accept-encoding': WORDS,
  'user-agent': /^uipath-audit-export$/,
};

/** Replaces the values of headers. Names stay, unless they contain a name that is known from elsewhere. */
export function recordHeaders(
  headers: Readonly<Record<string, unknown>>,
  pseudonyms: Pseudonyms,
): Record<string, string | string[]> {
  return Object.fromEntries(
    Object.entries(headers).flatMap(([name, value]) => {
      const lower = name.toLowerCase();
      const isKnown = Object.hasOwn(KEPT_HEADERS, lower);
      const shownName = isKnown ? lower : pseudonyms.key(lower);
      const record = (found: unknown) => recordHeader(lower, String(found), pseudonyms);
      if (value === undefined || value === null) return [];
      return [[shownName, Array.isArray(value) ? value.map(record) : record(value)]];
    }),
  );
}

function recordHeader(name: string, value: string, pseudonyms: Pseudonyms): string {
  if (name === 'authorization') return 'Bearer removed';
  const pattern = Object.hasOwn(KEPT_HEADERS, name) ? KEPT_HEADERS[name] : undefined;
  if (pattern?.test(value) && !pseudonyms.isProtected(value)) return value;
  // The scheme tells how to sign in; its parameters may name a host.
  const [, scheme, rest] = /^(Bearer|Basic|Negotiate|NTLM|Digest)\b *(.*)$/is.exec(value) ?? [];
  if (name === 'www-authenticate' && scheme !== undefined) {
    return rest === '' ? scheme : `${scheme} ${pseudonyms.replace(rest!)}`;
  }
  return pseudonyms.replace(value);
}
