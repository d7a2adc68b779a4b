import { expect, test } from '@jest/globals';
import { createAgents, findProxy, proxySecrets } from '../../../src/uipath/http/agents.ts';

const proxy = 'http://proxy:3128';

test.each([
  ['https://cloud.uipath.com/x', { HTTPS_PROXY: proxy }, proxy],
  ['https://cloud.uipath.com/x', { https_proxy: proxy, HTTPS_PROXY: 'http://other' }, proxy],
  ['https://cloud.uipath.com/x', { HTTPS_PROXY: 'proxy:3128' }, proxy],
  ['https://cloud.uipath.com/x', {}, undefined],
  ['https://cloud.uipath.com/x', { HTTPS_PROXY: '' }, undefined],
  ['http://cloud.uipath.com/x', { HTTPS_PROXY: proxy }, undefined],
  ['https://cloud.uipath.com/x', { HTTPS_PROXY: proxy, NO_PROXY: '*' }, undefined],
  ['https://cloud.uipath.com/x', { HTTPS_PROXY: proxy, NO_PROXY: 'a.b, Cloud.UiPath.com' }, undefined],
  ['https://cloud.uipath.com/x', { HTTPS_PROXY: proxy, no_proxy: '.uipath.com' }, undefined],
  ['https://cloud.uipath.com/x', { HTTPS_PROXY: proxy, no_proxy: '*.uipath.com' }, undefined],
  ['https://cloud.uipath.com/x', { HTTPS_PROXY: proxy, no_proxy: 'uipath.com:443' }, undefined],
  ['https://cloud.uipath.com/x', { HTTPS_PROXY: proxy, no_proxy: 'uipath.com:8443' }, proxy],
  ['https://cloud.uipath.com/x', { HTTPS_PROXY: proxy, no_proxy: 'path.com,,' }, proxy],
])('%s with %j goes through %s', (url, environment, expected) => {
  expect(findProxy(url, environment)).toBe(expected);
});

test('a proxy that is not a URL is named by its variable and not quoted', () => {
  const create = () => createAgents('https://host/', { HTTPS_PROXY: 'http://user:hunter2@:bad:' });
  expect(create).toThrow('HTTPS_PROXY is not a URL');
  expect(create).not.toThrow('hunter2');
});

test('the password of a proxy is a secret as written, decoded and as sent', () => {
  const basic = Buffer.from('user:p@ss+word').toString('base64');
  const expected = ['p%40ss+word', 'p@ss+word', basic];
  expect(proxySecrets({ HTTPS_PROXY: 'http://user:p%40ss+word@proxy:3128' })).toEqual(expected);
  expect(proxySecrets({ https_proxy: 'user:p%40ss+word@proxy' })).toEqual(expected);
  expect(proxySecrets({ HTTPS_PROXY: 'http://proxy:3128', HTTP_PROXY: 'http://user@proxy' })).toEqual([]);
  expect(proxySecrets({ HTTPS_PROXY: 'http://user:50%@proxy' })).toContain('50%');
});
