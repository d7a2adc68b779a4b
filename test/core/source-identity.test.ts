import { expect, test } from '@jest/globals';
import { describeSource, isNews, isSameSource, type SourceIdentity } from '../../src/core/source-identity.ts';

const KNOWN: SourceIdentity = {
  url: 'https://cloud.example',
  path: '/acme/audit_/api/auditlogs',
  partition: 'p1',
};

test.each<[string, Partial<SourceIdentity>, boolean, boolean]>([
  ['nothing', {}, true, false],
  ['the host', { url: 'https://cloud2.example' }, false, true],
  ['the port', { url: 'https://cloud.example:8443' }, false, true],
  ['the scheme', { url: 'http://cloud.example' }, false, true],
  ['the path', { path: '/acme2/audit_/api/auditlogs' }, false, true],
  ['the case of the path', { path: '/Acme/audit_/api/auditlogs' }, false, true],
  ['the partition', { partition: 'p2' }, false, true],
  ['host and partition', { url: 'https://cloud2.example', partition: 'p2' }, false, true],
  ['the partition, which is unknown now', { partition: null }, true, false],
  ['host, with an unknown partition', { url: 'https://cloud2.example', partition: null }, false, true],
  ['only how base URL and path are split', { url: 'https://cloud.example/acme' }, true, false],
])('if %s differs', (_, change, isSame, news) => {
  const found = { ...KNOWN, ...change };
  expect(isSameSource(KNOWN, found)).toBe(isSame);
  expect(isSameSource(found, KNOWN)).toBe(isSame);
  expect(isNews(KNOWN, found)).toBe(news);
});

test('a partition that becomes known, and the first identity, are news', () => {
  expect(isNews({ ...KNOWN, partition: null }, KNOWN)).toBe(true);
  expect(isNews(undefined, KNOWN)).toBe(true);
});

test('an address is shown whole, with the partition if it is known', () => {
  expect(describeSource(KNOWN)).toBe('https://cloud.example/acme/audit_/api/auditlogs (partition p1)');
  expect(describeSource({ ...KNOWN, partition: null })).toBe(
    'https://cloud.example/acme/audit_/api/auditlogs',
  );
});
