import { DEPLOY_BURST, type EventKind, makeEvent, variantsOf } from './events.ts';
import { below, createRandom, type Random } from './random.ts';
import type { Block, Piece, RenderedBlock } from './rows.ts';

/** Not a divisor of any usual page size, so that page and block boundaries differ. */
const BLOCK_LENGTH = 1024;
/** With larger details a block has fewer rows, and each kind fewer different ones: both are kept in memory. */
const HEAVY_BYTES = 10_000;
const HEAVY_BLOCK_LENGTH = 32;
const HEAVY_VARIANTS = 4;
/** The time of a row may be ahead of its index by the time of at most this many rows. */
export const MAX_BURST = 35;
const TICKS_PER_MILLISECOND = 10_000;
const CREATED_ON_MEMBER = '{"createdOn":"';

type Burst = 'single' | 'deploy' | 'twins' | 'import';

/** The mix of events by weight. A burst is several rows with the same `createdOn`. */
const MIX: { weight: number; kind: EventKind; burst: Burst }[] = [
  { weight: 800, kind: 'login', burst: 'single' },
  { weight: 12, kind: 'login', burst: 'twins' },
  { weight: 45, kind: 'userCreate', burst: 'single' },
  { weight: 2, kind: 'userCreate', burst: 'import' },
  { weight: 12, kind: 'userDelete', burst: 'single' },
  { weight: 50, kind: 'groupUpdate', burst: 'single' },
  { weight: 30, kind: 'robotAccountCreate', burst: 'single' },
  { weight: 20, kind: 'externalClientUpdate', burst: 'single' },
  { weight: 6, kind: 'authenticationSettingUpdate', burst: 'single' },
  { weight: 5, kind: 'licenseRenew', burst: 'single' },
  { weight: 2, kind: 'policyCreate', burst: 'single' },
  { weight: 2, kind: 'policyEdit', burst: 'single' },
  { weight: 14, kind: 'policyDeploy', burst: 'deploy' },
];
const TOTAL_WEIGHT = MIX.reduce((sum, { weight }) => sum + weight, 0);

export interface StreamOptions {
  seed: number;
  /** Time of the first row. */
  startAt: Date;
  /** Mean time between two rows. */
  spacingMs: number;
  policyBytes: number;
  /** Approximate size of the details of every row, if they would be smaller; 0 for the usual sizes. */
  detailsBytes: number;
  /** `full` is the documented format; `mixed` also uses `Z`, other offsets, and fractions without trailing zeros. */
  createdOnForm: 'full' | 'mixed';
}

/** An endless sequence of typical rows. Each is a pure function of the options and its index; they are rendered in blocks. */
export class EventStream {
  #blocks = new Map<number, Block>();
  #tails = new Map<string, Map<EventKind, Buffer[]>>();

  readonly #isHeavy: boolean;
  readonly #blockLength: number;

  constructor(private readonly options: StreamOptions) {
    this.#isHeavy = options.detailsBytes > HEAVY_BYTES;
    this.#blockLength = this.#isHeavy ? HEAVY_BLOCK_LENGTH : BLOCK_LENGTH;
  }

  /** The rows `[from, to)` as pieces. */
  *pieces(from: number, to: number): Generator<Piece> {
    for (let index = from; index < to; ) {
      const number = Math.floor(index / this.#blockLength);
      const end = Math.min(to, (number + 1) * this.#blockLength);
      yield {
        block: this.#block(number),
        from: index - number * this.#blockLength,
        to: end - number * this.#blockLength,
      };
      index = end;
    }
  }

  /** Whether row `index` is in the block. */
  isInBlock(block: Block | undefined, index: number): boolean {
    return block !== undefined && this.#blocks.get(Math.floor(index / this.#blockLength)) === block;
  }

  /** Time of row `index` in milliseconds since 1970, within the time of `MAX_BURST` rows. */
  timeOf(index: number): number {
    return this.options.startAt.getTime() + Math.floor(index * this.options.spacingMs);
  }

  /** Creates one typical row with the caller's time. */
  rowAt(random: Random, createdOn: string): (language: string) => string {
    const { kind } = drawAction(random);
    const variant = below(random, variantsOf(kind));
    return (language) =>
      `${CREATED_ON_MEMBER}${createdOn}${this.#tail(kind, variant, language).toString()}`.slice(0, -1);
  }

  #block(number: number): Block {
    const known = this.#blocks.get(number);
    if (known) return known;
    const block = { length: this.#blockLength, render: (language: string) => this.#render(number, language) };
    this.#blocks.set(number, block);
    return block;
  }

  #render(number: number, language: string): RenderedBlock {
    const random = createRandom(this.options.seed, number);
    const startMs = this.timeOf(number * this.#blockLength);
    const span = (this.timeOf((number + 1) * this.#blockLength) - startMs) * TICKS_PER_MILLISECOND;
    const groups = this.#drawGroups(random);
    const parts: { head: string; tail: Buffer }[] = [];
    const ticks = new BigInt64Array(this.#blockLength);
    const starts = new Uint32Array(this.#blockLength + 1);
    groups.forEach(({ kind, variants }) => {
      const offset = Math.floor(((parts.length + random() * variants.length) / this.#blockLength) * span);
      const milliseconds = startMs + Math.floor(offset / TICKS_PER_MILLISECOND);
      const rest = offset % TICKS_PER_MILLISECOND;
      const groupTicks = BigInt(milliseconds) * 10_000n + BigInt(rest);
      const form = this.options.createdOnForm === 'full' ? 0 : below(random, FORMS.length);
      const head = CREATED_ON_MEMBER + FORMS[form]!(milliseconds, rest);
      for (const variant of variants) {
        const tail = this.#tail(kind, variant, language);
        const row = parts.push({ head, tail });
        ticks[row - 1] = groupTicks;
        starts[row] = starts[row - 1]! + head.length + tail.length;
      }
    });
    const bytes = Buffer.allocUnsafe(starts[this.#blockLength]!);
    parts.forEach(({ head, tail }, row) => {
      bytes.write(head, starts[row]!, 'latin1');
      bytes.set(tail, starts[row]! + head.length);
    });
    return { bytes, starts, ticks };
  }

  #drawGroups(random: Random): { kind: EventKind; variants: number[] }[] {
    const groups: { kind: EventKind; variants: number[] }[] = [];
    for (let left = this.#blockLength; left > 0; ) {
      const { kind, burst } = drawAction(random);
      const variants = drawVariants(random, kind, burst).slice(0, left);
      groups.push({ kind, variants });
      left -= variants.length;
    }
    return groups;
  }

  /** The row's text after the value of `createdOn`, and a comma. Rows of one variant differ only in their time. */
  #tail(kind: EventKind, variant: number, language: string): Buffer {
    if (this.#isHeavy && variant >= HEAVY_VARIANTS)
      return this.#tail(kind, variant % HEAVY_VARIANTS, language);
    const known = this.#tails.get(language)?.get(kind)?.[variant];
    if (known) return known;
    const { seed, policyBytes, detailsBytes } = this.options;
    const options = { seed, variant, language, policyBytes, detailsBytes, createdOn: '' };
    const text = JSON.stringify(makeEvent(kind, options));
    const tail = Buffer.from(`${text.slice(CREATED_ON_MEMBER.length)},`);
    const kinds = this.#tails.get(language) ?? new Map<EventKind, Buffer[]>();
    const tails = kinds.get(kind) ?? [];
    this.#tails.set(language, kinds.set(kind, tails));
    tails[variant] = tail;
    return tail;
  }
}

function drawAction(random: Random): { kind: EventKind; burst: Burst } {
  let left = random() * TOTAL_WEIGHT;
  for (const action of MIX) {
    left -= action.weight;
    if (left < 0) return action;
  }
  return MIX[0]!;
}

function drawVariants(random: Random, kind: EventKind, burst: Burst): number[] {
  const variants = variantsOf(kind);
  const first = below(random, variants);
  if (burst === 'twins') return [first, first];
  if (burst === 'import')
    return Array.from({ length: 5 + below(random, MAX_BURST - 5) }, (_, i) => (first + i) % variants);
  if (burst === 'deploy')
    return Array.from({ length: DEPLOY_BURST }, (_, i) => first - (first % DEPLOY_BURST) + i);
  return [first];
}

type Form = (milliseconds: number, rest: number) => string;

const TWO_DIGITS = Array.from({ length: 60 }, (_, number) => String(number).padStart(2, '0'));
const MILLISECONDS_PER_DAY = 86_400_000;
const dayCache = { number: Number.NaN, text: '' };

/**
 * `2021-10-14T13:10:15.1964174+00:00`: milliseconds since 1970 and the 100 ns beyond them.
 * Not `toISOString`, which took half of the time to render a page.
 */
export const formatCreatedOn: Form = (milliseconds, rest) => {
  const day = Math.floor(milliseconds / MILLISECONDS_PER_DAY);
  if (day !== dayCache.number) {
    dayCache.number = day;
    dayCache.text = new Date(day * MILLISECONDS_PER_DAY).toISOString().slice(0, 11);
  }
  const time = milliseconds - day * MILLISECONDS_PER_DAY;
  const hour = TWO_DIGITS[Math.floor(time / 3_600_000)]!;
  const minute = TWO_DIGITS[Math.floor(time / 60_000) % 60]!;
  const second = TWO_DIGITS[Math.floor(time / 1000) % 60]!;
  const fraction = String(10_000_000 + (time % 1000) * 10_000 + rest).slice(1);
  return `${dayCache.text}${hour}:${minute}:${second}.${fraction}+00:00`;
};

const FORMS: Form[] = [
  formatCreatedOn,
  (milliseconds, rest) => formatCreatedOn(milliseconds, rest).replace('+00:00', 'Z'),
  (milliseconds, rest) => formatCreatedOn(milliseconds, rest).replace(/\.?0*\+00:00$/, '+00:00'),
  (milliseconds, rest) => formatCreatedOn(milliseconds + 19_800_000, rest).replace('+00:00', '+05:30'),
  (milliseconds, rest) => formatCreatedOn(milliseconds - 28_800_000, rest).replace('+00:00', '-08:00'),
];
