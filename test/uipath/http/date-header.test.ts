import { describe, expect, test } from '@jest/globals';
import { parseDateHeader } from '../../../src/uipath/http/response.ts';

describe('a Date header', () => {
  test.each([
    ['Tue, 04 Jun 2024 10:00:00 GMT', '2024-06-04T10:00:00Z'],
    ['Thu, 29 Feb 2024 23:59:59 GMT', '2024-02-29T23:59:59Z'],
    ['Sat, 01 Jan 2000 00:00:00 GMT', '2000-01-01T00:00:00Z'],
    ['Fri, 31 Dec 9999 23:59:59 GMT', '9999-12-31T23:59:59Z'],
  ])('%s is the time of the source', (text, expected) => {
    expect(parseDateHeader(text)).toEqual(new Date(expected));
  });

  test.each([
    undefined,
    '',
    'yesterday',
    'Fri, 31 Dec 1999 23:59:59 GMT',
    'Thu, 01 Jan 1970 00:00:00 GMT',
    'Mon, 01 Jan 0001 00:00:00 GMT',
    'Sat, 01 Jan 10000 00:00:00 GMT',
    'Wed, 04 Jun 2024 10:00:00 GMT',
    'Thu, 30 Feb 2024 10:00:00 GMT',
    'Tue, 04 Jun 2024 24:00:00 GMT',
    'Tue, 04 Jun 2024 10:00:60 GMT',
    'Tue, 4 Jun 2024 10:00:00 GMT',
    'Tue, 04 Jun 2024 10:00:00 UTC',
    'Tue, 04 Jun 2024 10:00:00 +0000',
    'Tue, 04 Jun 2024 10:00:00 GMT, Tue, 04 Jun 2024 10:00:00 GMT',
    'Tuesday, 04-Jun-24 10:00:00 GMT',
    'Tue Jun  4 10:00:00 2024',
    '2024-06-04T10:00:00Z',
    '1717495200',
    ' Tue, 04 Jun 2024 10:00:00 GMT',
    'Tue, 04 Xxx 2024 10:00:00 GMT',
  ])('%j is not read', (text) => {
    expect(parseDateHeader(text)).toBeUndefined();
  });
});
