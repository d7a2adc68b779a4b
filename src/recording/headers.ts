import type { Pseudonyms } from './pseudonyms.ts';

const NUMBERS = /^[\d ,;=.wr"-]{1,100}$/;

/** Headers that may keep their value, and what it must look like. The value of any other header is replaced. */
const KEPT_HEADERS: Record<string, RegExp> = {
  'content-type': /^[\w.+-]+\/[\w.+-]+( *; *(charset|odata\.\w+)=[\w."-]+)*$/,
  'content-encoding': /^[a-z, ]{1,40}$/,
  'content-length': /^\d+$/,
  'transfer-encoding': /^[a-z, ]{1,40}$/,
  connection: /^(keep-alive|close|upgrade|te|, )+$/i,
  'keep-alive': /^(timeout|max)=\d+(, *(timeout|max)=\d+)*$/,
  'cache-control':
    /^((no-cache|no-store|no-transform|private|public|immutable|(must|proxy)-revalidate|(s-)?max-?age=\d+)(, *|$))+$/i,
  pragma: /^no-cache$/,
  vary: /^(\*|((accept(-encoding|-language)?|origin|authorization|cookie|user-agent)(, *|$))+)$/i,
  date: /^[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} [\d:]{8} GMT$/,
  expires: /^(-1|0|[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} [\d:]{8} GMT)$/,
  'retry-after': /^(\d{1,8}|[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} [\d:]{8} GMT)$/,
  server:
    /^(nginx|apache|kestrel|cloudflare|istio-envoy|envoy|openresty|microsoft-iis|microsoft-httpapi)(\/[\d.]+)?$/i,
  'strict-transport-security': /^((max-age=\d+|includesubdomains|preload)(; *|$))+$/i,
  'x-content-type-options': /^nosniff$/i,
  'x-frame-options': /^(deny|sameorigin)$/i,
  'x-xss-protection': /^[01](; *mode=block)?$/,
  'referrer-policy': /^[a-z, -]{1,80}$/,
  'api-supported-versions': NUMBERS,
  'x-ratelimit-limit': NUMBERS,
  'x-ratelimit-remaining': NUMBERS,
  'x-ratelimit-reset': NUMBERS,
  'ratelimit-limit': NUMBERS,
  'ratelimit-remaining': NUMBERS,
  'ratelimit-reset': NUMBERS,
  accept: /^application\/json$/,
  'accept-encoding': /^[a-z, ]{1,40}$/,
  'user-agent': /^uipath-audit-export$/,
};

/** Names of headers whose value is replaced. Any other name is replaced, too: the proxy of a company may add its own. */
const KEPT_NAMES = new RegExp(
  `^(${[
    'x-(ms|azure|envoy|uipath|request|correlation|trace|ratelimit|content|frame|cache|powered|aspnet|robots)(-[a-z-]+)?',
    '(cf|content|access-control|cross-origin|proxy)-[a-z-]+',
    'authorization|www-authenticate|set-cookie|location|link|via|age|etag|last-modified|allow|accept-ranges|alt-svc|p3p',
    'trace(parent|state)|request-(id|context)|server-timing|permissions-policy|report-to|nel|expect-ct',
  ].join('|')})$`,
);

/** Replaces names and values of headers, except those that are known to name nobody. */
export function recordHeaders(
  headers: Readonly<Record<string, unknown>>,
  pseudonyms: Pseudonyms,
): Record<string, string | string[]> {
  return Object.fromEntries(
    Object.entries(headers).flatMap(([name, value]) => {
      const lower = name.toLowerCase();
      const isKnown = Object.hasOwn(KEPT_HEADERS, lower);
      const isKept = isKnown || (KEPT_NAMES.test(lower) && !pseudonyms.isProtected(lower));
      const shownName = isKept ? lower : pseudonyms.name('header', lower);
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
