import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  dateOfTicks,
  floorToMicrosecond,
  formatMicroseconds,
  formatTicks,
  MAX_TICKS,
  MIN_TICKS,
  parseTicks,
  ticksOfDate,
} from '../../src/core/ticks.ts';

const anyTicks = fc.oneof(
  fc.bigInt({ min: MIN_TICKS, max: MAX_TICKS }),
  fc.bigInt({ min: -20_000_000n, max: 20_000_000n }),
);

describe('a time of the source is read to the 100 ns', () => {
  test.each([
    ['1970-01-01T00:00:00Z', 0n],
    ['1970-01-01T00:00:00.0000001Z', 1n],
    ['1969-12-31T23:59:59.9999999Z', -1n],
    ['2021-10-14T13:10:15.1964174+00:00', 16342170151964174n],
    ['2021-10-14T13:10:15.1964174Z', 16342170151964174n],
    ['2021-10-14T18:40:15.1964174+05:30', 16342170151964174n],
    ['2021-10-14T00:10:15.1964174-13:00', 16342170151964174n],
    ['2021-10-14T13:10:15-00:00', 16342170150000000n],
    ['2021-10-14t13:10:15z', 16342170150000000n],
    ['2021-10-14 13:10:15Z', 16342170150000000n],
    ['2021-10-14 13:10:15.1964174+00', 16342170151964174n],
    ['2021-10-14T13:10:15+0000', 16342170150000000n],
    ['2021-10-14T13:10:15-0000', 16342170150000000n],
    ['2021-10-14T13:10:15+00', 16342170150000000n],
    ['2021-10-14T13:10:15-00', 16342170150000000n],
    ['2021-10-14T18:40:15.1964174+0530', 16342170151964174n],
    ['2021-10-14T18:10:15.1964174+05', 16342170151964174n],
    ['2021-10-14T00:10:15.1964174-13', 16342170151964174n],
    ['2021-10-14 09:40:15.1964174-0330', 16342170151964174n],
    ['2021-10-14T13:10:15.19641749Z', 16342170151964174n],
    ['2021-10-14T13:10:15.196417499Z', 16342170151964174n],
    ['2021-10-14T13:10:15.196417499999999999999999999999+0000', 16342170151964174n],
    ['2021-10-14T13:10:15.000000099Z', 16342170150000000n],
    ['1969-12-31T23:59:59.999999999Z', -1n],
    ['9999-12-31T23:59:59.99999999999Z', MAX_TICKS],
    ['2021-10-14T13:10:15.1Z', 16342170151000000n],
    ['2021-10-14T13:10:15.19Z', 16342170151900000n],
    ['2021-10-14T13:10:15.196Z', 16342170151960000n],
    ['2021-10-14T13:10:15.1964Z', 16342170151964000n],
    ['2021-10-14T13:10:15.19641Z', 16342170151964100n],
    ['2021-10-14T13:10:15.196417Z', 16342170151964170n],
    ['2024-02-29T00:00:00Z', 17091648000000000n],
    ['2000-02-29T00:00:00Z', 9517824000000000n],
    ['0001-01-01T00:00:00Z', MIN_TICKS],
    ['9999-12-31T23:59:59.9999999Z', MAX_TICKS],
    ['0099-06-01T00:00:00Z', BigInt(Date.parse('0099-06-01T00:00:00Z')) * 10_000n],
    ['2023-01-01T00:30:00+01:00', BigInt(Date.parse('2022-12-31T23:30:00Z')) * 10_000n],
    ['2022-12-31T23:30:00-01:00', BigInt(Date.parse('2023-01-01T00:30:00Z')) * 10_000n],
  ])('%s', (text, ticks) => {
    expect(parseTicks(text)).toBe(ticks);
  });

  test.each([
    '',
    'yesterday',
    '2023-06-01',
    '2023-06-01T10:00:00',
    '2023-06-01T10:00:00.Z',
    '2023-06-01 10:00:00',
    '2023-06-01T10:00:00.123456789',
    '2023-06-01T10:00:00.12345678x',
    '2023-06-01T10:00:00.1234567.8Z',
    '2023-06-01T10:00:00,5Z',
    '2023-06-01  10:00:00Z',
    '2023-06-01_10:00:00Z',
    '2023-06-01T10:00:00 Z',
    '2023-06-01T10:00:00 +00:00',
    '2023-06-01T10:00:00Z ',
    '2023-06-01T10:00:00+00:00 ',
    '2023-06-01T10:00:00+00 ',
    '2023-06-01T10:00:00Z0',
    '2023-06-01T10:00:00ZZ',
    '2023-06-01T10:00Z',
    ' 2023-06-01T10:00:00Z',
    '2023-06-01T10:00:00Z\n',
    '2023-06-01T10:00:00Z\0',
    '2023-02-29T10:00:00Z',
    '1900-02-29T10:00:00Z',
    '2023-02-30T10:00:00Z',
    '2023-04-31T10:00:00Z',
    '2023-00-10T10:00:00Z',
    '2023-13-01T10:00:00Z',
    '2023-06-00T10:00:00Z',
    '2023-06-01T24:00:00Z',
    '2023-06-01T10:60:00Z',
    '2023-06-01T10:00:60Z',
    '2023-06-01T10:00:00+24:00',
    '2023-06-01T10:00:00+00:60',
    '2023-06-01T10:00:00+',
    '2023-06-01T10:00:00+1',
    '2023-06-01T10:00:00+010',
    '2023-06-01T10:00:00+01:',
    '2023-06-01T10:00:00+01:0',
    '2023-06-01T10:00:00+01000',
    '2023-06-01T10:00:00+01:000',
    '2023-06-01T10:00:00+010:0',
    '2023-06-01T10:00:00+01::00',
    '2023-06-01T10:00:00+2400',
    '2023-06-01T10:00:00+24',
    '2023-06-01T10:00:00+0060',
    '2023-06-01T10:00:00+0a',
    '2023-06-01T10:00:00+01-00',
    '2023-06-01T10:00:00UTC',
    '2023-06-01T10:00:00\u221200:00',
    '2023-06-01T23:59:60Z',
    '2023-06-01T10:00:00+00:00:00',
    '0000-01-01T00:00:00Z',
    '0000-12-31T23:59:59Z',
    '0001-01-01T00:30:00+01:00',
    '9999-12-31T23:30:00-01:00',
    '10000-01-01T00:00:00Z',
    '-2023-06-01T10:00:00Z',
    '٢٠٢٣-06-01T10:00:00Z',
  ])('%j is not a time', (text) => {
    expect(parseTicks(text)).toBeUndefined();
  });

  test('every tick is parsed back from its text, with any offset', () => {
    fc.assert(
      fc.property(anyTicks, fc.integer({ min: -14 * 60, max: 14 * 60 }), (ticks, offsetMinutes) => {
        expect(parseTicks(formatTicks(ticks))).toBe(ticks);
        const local = ticks + BigInt(offsetMinutes) * 600_000_000n;
        fc.pre(local >= MIN_TICKS && local <= MAX_TICKS);
        expect(parseTicks(formatTicks(local).replace('Z', formatOffset(offsetMinutes)))).toBe(ticks);
      }),
    );
  });

  test('the forms of one offset, and digits after the seventh, do not change the ticks', () => {
    const digits = fc.stringMatching(/^\d{0,23}$/);
    fc.assert(
      fc.property(anyTicks, fc.constantFrom('T', 't', ' '), digits, (ticks, separator, more) => {
        const text = formatTicks(ticks).replace('T', separator).slice(0, -1) + more;
        for (const offset of ['Z', 'z', '+00:00', '-00:00', '+0000', '-0000', '+00', '-00']) {
          expect(parseTicks(text + offset)).toBe(ticks);
        }
        expect(parseTicks(text)).toBeUndefined();
      }),
    );
  });

  test('texts of ticks sort as the ticks do', () => {
    fc.assert(
      fc.property(anyTicks, anyTicks, (a, b) => {
        expect(formatTicks(a) < formatTicks(b)).toBe(a < b);
      }),
    );
  });
});

describe('a tick is cut, and not rounded', () => {
  test.each([
    ['2023-06-01T10:59:59.9999999Z', '2023-06-01T10:59:59.999999Z'],
    ['1969-12-31T23:59:59.9999999Z', '1969-12-31T23:59:59.999999Z'],
    ['1969-12-31T23:59:59.0000001Z', '1969-12-31T23:59:59.000000Z'],
    ['0001-01-01T00:00:00.0000009Z', '0001-01-01T00:00:00.000000Z'],
    ['2023-06-01T10:00:00Z', '2023-06-01T10:00:00.000000Z'],
  ])('%s to the microsecond is %s', (text, cut) => {
    const ticks = parseTicks(text)!;
    expect(formatMicroseconds(ticks)).toBe(cut);
    expect(formatTicks(floorToMicrosecond(ticks))).toBe(cut.replace('Z', '0Z'));
  });

  test('to the microsecond, the tick is never before the cut and never a microsecond behind it', () => {
    fc.assert(
      fc.property(anyTicks, (ticks) => {
        const cut = parseTicks(formatMicroseconds(ticks))!;
        expect(cut).toBe(floorToMicrosecond(ticks));
        expect(ticks - cut >= 0n && ticks - cut < 10n).toBe(true);
      }),
    );
  });

  test('to the millisecond of a date, before 1970 too', () => {
    expect(dateOfTicks(-1n)).toEqual(new Date('1969-12-31T23:59:59.999Z'));
    expect(dateOfTicks(19_999n)).toEqual(new Date(1));
    expect(ticksOfDate(new Date(-1))).toBe(-10_000n);
  });
});

function formatOffset(minutes: number): string {
  const two = (value: number) => String(value).padStart(2, '0');
  return `${minutes < 0 ? '-' : '+'}${two(Math.floor(Math.abs(minutes) / 60))}:${two(Math.abs(minutes) % 60)}`;
}
