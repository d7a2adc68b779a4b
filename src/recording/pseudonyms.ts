import { isIP, isIPv6 } from 'node:net';

/** Hosts that everybody shares. */
const PUBLIC_HOSTS = new Set([
  'cloud.uipath.com',
  'staging.uipath.com',
  'alpha.uipath.com',
  'govcloud.uipath.us',
]);

/** Parts of the documented paths. */
const PATH_WORDS = new Set(
  'audit_ api auditlogs auditlog auditquery identity identity_ connect token portal_ orchestrator_ odata'.split(
    ' ',
  ),
);

const EMAIL = /[^\s@<>"'(),;:]+@[^\s@<>"'(),;:]+/;
const GUID = /\{?[\da-f]{8}-[\da-f]{4}-[\da-f]{4}-[\da-f]{4}-[\da-f]{12}\}?/i;
const IPV4 = /(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?![\d.])/;
const DATE = /\d{4}-\d\d-\d\d(?:[T ][\d:.,]+(?:Z|[+-]\d\d:?\d\d)?)?/;
/** A value within a longer text. */
const EMBEDDED = new RegExp([EMAIL, GUID, IPV4].map(({ source }) => source).join('|'), 'gi');
const KEPT_WORDS = /^(true|false|null|\s*)$/i;
/** Protected values that are named beside the replacement of a text. */
const MAX_NAMED = 5;
/** A shorter value would be found in almost every text. */
const MIN_PROTECTED_LENGTH = 3;
/** Longest text that is searched for protected values, in words, and longest value that is found. */
const MAX_SEARCHED_WORDS = 60;
const MAX_PROTECTED_WORDS = 12;
/** So that a number is exact. */
const MAX_DRAWN_DIGITS = 12;
/** A host's labels of this length or more name somebody. */
const MIN_LABEL_LENGTH = 4;

/**
 * Replaces values by others of the same kind: an e-mail address by an e-mail address, a GUID by a GUID. The same value always gets
 * the same replacement. Replacements are numbered in the order of their first use: they depend on nothing in the value that could be
 * guessed back. No two values share one, except short numbers.
 *
 * A value may be kept in one place before another place shows that it identifies someone. So callers run over all data twice, with the
 * same two sets.
 */
export class Pseudonyms {
  readonly #replacements = new Map<string, string>();
  /** Results of `replace`: the same texts come again and again. */
  readonly #known = new Map<string, string>();
  readonly #counters = new Map<string, number>();

  constructor(
    /** Names, ids, addresses and hosts seen so far, in lower case. Nothing is kept that contains one as a word. */
    private readonly sensitive: Set<string>,
    /** All values seen so far: no replacement equals one. */
    private readonly originals: Set<string>,
  ) {}

  /** Adds a value that must not be kept anywhere. */
  protect(value: string): void {
    const word = value.toLowerCase().replace(/^[^\p{L}\p{N}]+|[^\p{L}\p{N}]+$/gu, '');
    if (word.length >= MIN_PROTECTED_LENGTH) this.sensitive.add(word);
  }

  /** Whether `text` contains a protected value as a word or words. */
  isProtected(text: string): boolean {
    return this.#protectedIn(text).length > 0;
  }

  #protectedIn(text: string): string[] {
    const lower = text.toLowerCase();
    const words = [...lower.matchAll(/[\p{L}\p{N}]+/gu)].slice(0, MAX_SEARCHED_WORDS);
    return words.flatMap(({ index: from }, i) =>
      words
        .slice(i, i + MAX_PROTECTED_WORDS)
        .map((last) => lower.slice(from, last.index + last[0].length))
        .filter((found) => this.sensitive.has(found)),
    );
  }

  /** Replaces any text. An empty text, `true`, `false` and `null` stay. */
  replace(text: string): string {
    const known = this.#known.get(text);
    if (known !== undefined) return known;
    const replacement = this.#replace(text);
    this.#known.set(text, replacement);
    return replacement;
  }

  #replace(text: string): string {
    if (KEPT_WORDS.test(text)) return text;
    this.originals.add(text);
    const name = this.#replacements.get(`name ${text.toLowerCase()}`);
    if (name !== undefined) return name;
    if (isWhole(GUID, text) || /^[\da-f]{32}$/i.test(text)) return this.#guid(text);
    if (isIP(text.replace(/^\[(.*)\]$/, '$1'))) return this.#address(text);
    if (isWhole(DATE, text)) return this.#date(text);
    if (/^-?\d+(\.\d+)?$/.test(text)) return this.number(text);
    if (/^(https?|wss?|ftp):\/\/\S+$/i.test(text) && URL.canParse(text)) return this.url(text);
    if (isWhole(EMAIL, text)) return this.#email(text);
    return this.#text(text);
  }

  /** A name that is used as such, like the one of the organization. */
  name(kind: string, value: string): string {
    this.protect(value);
    this.originals.add(value);
    return this.#next(`name ${value.toLowerCase()}`, (n) => `${kind}-${n}`, kind);
  }

  /** A number as text, with the same sign, punctuation and number of digits. One digit stays. */
  number(text: string): string {
    if (text.startsWith('-')) return `-${this.number(text.slice(1))}`;
    const digits = text.replace(/\D/g, '').length;
    if (digits <= 1) return text;
    this.originals.add(text);
    // The last digit of a fraction is not 0, which a number would lose.
    const [drawnDigits, end] = text.includes('.') ? [digits - 1, '5'] : [digits, ''];
    const smallest = 10 ** (Math.min(drawnDigits, MAX_DRAWN_DIGITS) - 1);
    const create = (n: number) => {
      // Two digits have 90 numbers; after these they are used again.
      const drawn = `${String(smallest + ((n - 1) % (9 * smallest))).padEnd(drawnDigits, '0')}${end}`;
      let used = 0;
      return text.replace(/\d/g, () => drawn[used++]!);
    };
    return this.#next(`number ${text}`, create, `number of ${digits} digits`);
  }

  /** Keeps scheme, documented path words and the names of parameters. Drops user name, password and fragment. */
  url(text: string): string {
    const { protocol, pathname, searchParams } = new URL(text);
    const path = pathname.split('/').map((encoded) => {
      const isKept = encoded === '' || PATH_WORDS.has(encoded.toLowerCase());
      return isKept ? encoded : encodeURIComponent(this.replace(decode(encoded)));
    });
    const query = [...searchParams].map(
      ([name, value]) => `${encodeURIComponent(this.key(name))}=${encodeURIComponent(this.replace(value))}`,
    );
    return `${protocol}//${this.hostAndPort(text)}${path.join('/')}${query.length > 0 ? `?${query.join('&')}` : ''}`;
  }

  hostAndPort(url: string): string {
    const { hostname, port } = new URL(url);
    return `${this.host(hostname)}${port === '' ? '' : `:${this.number(port)}`}`;
  }

  host(name: string): string {
    const lower = name.toLowerCase();
    if (PUBLIC_HOSTS.has(lower) || lower === '' || lower === 'localhost') return lower;
    if (isIP(lower.replace(/^\[(.*)\]$/, '$1'))) return this.#address(lower);
    for (const label of lower.split('.').slice(0, -1))
      if (label.length >= MIN_LABEL_LENGTH) this.protect(label);
    this.protect(lower);
    return this.#next(`host ${lower}`, (n) => `host-${n}.example`, 'host');
  }

  /** A part of the path of a request, percent-encoded as in the URL. It names the organization, a tenant or a proxy's folder. */
  segment(encoded: string): string {
    if (encoded === '' || PATH_WORDS.has(encoded.toLowerCase())) return encoded;
    const text = decode(encoded);
    this.protect(encoded);
    return isWhole(GUID, text) ? this.#guid(text) : this.name('segment', text);
  }

  /** The name of a field: kept if it looks like one and is not a value seen elsewhere. */
  key(name: string): string {
    const isName = /^[a-z_$@][\w$.-]{0,63}$/i.test(name) && !/\d{4}/.test(name);
    return isName && !isWhole(EMAIL, name) && !this.isProtected(name) ? name : this.replace(name);
  }

  #email(text: string): string {
    const [, local = '', domain = ''] = /^(.*)@(.*)$/s.exec(text.toLowerCase()) ?? [];
    this.protect(text);
    this.protect(local);
    const host = this.host(domain);
    return this.#next(`email ${text.toLowerCase()}`, (n) => `user-${n}@${host}`, 'user');
  }

  #guid(text: string): string {
    this.protect(text);
    const hex = text.replace(/[{}-]/g, '').toLowerCase();
    const guid = this.#next(
      `guid ${hex}`,
      (n) => `00000000-0000-4000-8000-${n.toString(16).padStart(12, '0')}`,
      'guid',
    );
    if (!text.includes('-')) return guid.replaceAll('-', '');
    return text.startsWith('{') ? `{${guid}}` : guid;
  }

  #address(text: string): string {
    const bare = text.replace(/^\[(.*)\]$/, '$1').toLowerCase();
    this.protect(bare);
    const isV6 = isIPv6(bare);
    const create = (n: number) =>
      isV6 ? `2001:db8::${n.toString(16)}` : `198.${18 + ((n >> 16) & 1)}.${(n >> 8) & 255}.${n & 255}`;
    const found = this.#next(`address ${bare}`, create, isV6 ? 'address 6' : 'address 4');
    return text.startsWith('[') ? `[${found}]` : found;
  }

  /** The same form on another day of the year 2000, at midnight. */
  #date(text: string): string {
    return this.#next(
      `date ${text}`,
      (n) => {
        const day = new Date(Date.UTC(2000, 0, n)).toISOString().slice(0, 10);
        const [, time = '', zone = ''] = /^([T ]?[\d:.,]*)(.*)$/.exec(text.slice(10)) ?? [];
        return `${day}${time.replace(/\d/g, '0')}${zone}`;
      },
      'date',
    );
  }

  /** Names the protected values within the text, so that a message still shows whom it is about. */
  #text(text: string): string {
    const lower = text.toLowerCase();
    const known = this.#replacements.get(`text ${lower}`);
    if (known !== undefined) return known;
    for (const [found] of text.matchAll(EMBEDDED)) this.replace(found);
    const found = this.#protectedIn(text);
    const longest = found.filter((one) => !found.some((other) => other !== one && other.includes(one)));
    // A name is not explained by its parts.
    const named = found.includes(lower)
      ? []
      : longest.slice(0, MAX_NAMED).map((value) => this.replace(value));
    const suffix = named.length > 0 ? ` (${[...new Set(named)].join(', ')})` : '';
    return this.#next(`text ${lower}`, (n) => `text-${n}${suffix}`, 'text');
  }

  #next(key: string, create: (n: number) => string, kind: string): string {
    const known = this.#replacements.get(key);
    if (known !== undefined) return known;
    for (;;) {
      const n = (this.#counters.get(kind) ?? 0) + 1;
      this.#counters.set(kind, n);
      const candidate = create(n);
      // A short number is an original of somebody sooner or later.
      if (this.originals.has(candidate) && !/^[\d.]{1,5}$/.test(candidate)) continue;
      this.#replacements.set(key, candidate);
      return candidate;
    }
  }
}

function isWhole(pattern: RegExp, text: string): boolean {
  return new RegExp(`^(?:${pattern.source})$`, pattern.flags).test(text);
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
